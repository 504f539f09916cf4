//! A binary that keeps running, and the lines it says.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

/// When a line that does not come will not come: far longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running binary; killed when dropped.
pub struct Running {
    child: Child,
    pub stdin: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary");
        let out = lines(child.stdout.take().expect("a pipe"));
        let err = lines(child.stderr.take().expect("a pipe"));
        Self { stdin: child.stdin.take(), child, out, err }
    }

    /// The next line of standard output.
    #[track_caller]
    pub fn line(&self) -> String {
        self.out.recv_timeout(PATIENCE).expect("a line")
    }

    /// Waits for a line of standard error that contains this.
    #[track_caller]
    pub fn says(&self, words: &str) -> String {
        loop {
            let line = self.err.recv_timeout(PATIENCE).expect(words);
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Sends a signal by its name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
        assert!(sent.success());
    }

    /// Ends it at once, as the machine would.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Waits for its end; its status, and what it has said since.
    #[track_caller]
    pub fn end(mut self) -> (i32, Vec<String>) {
        drop(self.stdin.take());
        let rest = self.out.iter().collect();
        let status = self.child.wait().expect("it ends");
        (status.code().unwrap_or(-1), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}
