//! Child processes: cargo with a clean environment, output read line by line, and a deadline.
//!
//! Everything that xtask starts goes through here, so that no task can inherit half an environment or wait for ever.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// A cargo command in `root`, the cargo that runs us if there is one.
///
/// What `cargo run` told *us* about the xtask package is taken out again: build scripts that watch those variables
/// would otherwise run anew on every change between `cargo build` and `cargo xtask`.
pub fn cargo(root: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root).args(arguments);
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    if cfg!(test) {
        // Workspaces made by our tests build beside themselves, not among what a person keeps.
        command.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR");
    }
    command
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Runs to the end with the caller's own terminal.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    let status = command.stdin(Stdio::null()).stdout(ours()).stderr(ours()).status();
    status.with_context(|| format!("cannot start `{}`", shown(command)))
}

/// Runs to the end and hands each line of standard output to `see` as it comes.
pub fn each_line(command: &mut Command, mut see: impl FnMut(&str)) -> Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(ours())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let stdout = child.stdout.take().context("standard output was asked for as a pipe")?;
    let mut lines = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        see(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
    }
    Ok(child.wait()?)
}

/// What a child left behind.
#[derive(Debug)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: String,
}

/// Runs to the end or to the deadline, whichever comes first; past the deadline the child is killed and this fails.
/// Standard error stays the caller's.
pub fn capture(command: &mut Command, deadline: Duration) -> Result<Captured> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(ours())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let mut pipe = child.stdout.take().context("standard output was asked for as a pipe")?;
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let outcome = pipe.read_to_end(&mut bytes).map(|_| bytes);
        // Nobody listens any more once the deadline has passed.
        let _ = send.send(outcome);
    });
    let Ok(bytes) = receive.recv_timeout(deadline) else {
        child.kill().ok();
        child.wait().ok();
        bail!("`{}` was still running after {} s and was stopped", shown(command), deadline.as_secs_f64());
    };
    let stdout = String::from_utf8_lossy(&bytes?).into_owned();
    Ok(Captured { status: child.wait()?, stdout })
}

/// The stream of the same kind that is our own. In our own tests it leads nowhere: they start children that fail on
/// purpose, and what those say must not be taken for news.
fn ours() -> Stdio {
    if cfg!(test) { Stdio::null() } else { Stdio::inherit() }
}

/// Whether a program of this name is on the path.
pub fn on_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_one_by_one_and_the_status_after_them() {
        let mut seen = Vec::new();
        let status = each_line(Command::new("sh").args(["-c", "echo one; echo two; exit 3"]), |line| {
            seen.push(line.to_owned());
        })
        .expect("a shell starts");
        assert_eq!(seen, ["one", "two"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_child_past_its_deadline_is_stopped_and_reported() {
        // `tail -f` never ends by itself.
        let error = capture(Command::new("tail").args(["-f", "/dev/null"]), Duration::from_millis(20))
            .expect_err("tail -f does not end");
        assert!(error.to_string().contains("still running"), "{error}");
    }

    #[test]
    fn a_captured_child_gives_its_output_and_status() {
        let captured = capture(Command::new("sh").args(["-c", "echo out; exit 4"]), Duration::from_secs(60))
            .expect("runs");
        assert_eq!((captured.stdout.as_str(), captured.status.code()), ("out\n", Some(4)));
    }

    #[test]
    fn a_program_that_is_not_there_is_not_on_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-anywhere"));
    }
}
