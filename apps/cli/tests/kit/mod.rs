//! What the tests of the binary share: running it in a folder of its own, lines of events, an application that fails.

// Each test file is a program of its own and uses its part of the kit.
#![allow(dead_code)]

pub mod app;
pub mod child;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder to run the binary in, with a store called `test.db`.
pub struct Room {
    folder: TempDir,
}

/// What a run has said, and its status.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Room {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect(name)
    }

    /// The names of what lies in the folder.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The binary, in this folder, on this store.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.current_dir(self.folder.path()).args(words);
        command.env("TIDINGS_STORE", "test.db").env_remove("RUST_LOG").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().expect("the binary"))
    }

    pub fn run_with(&self, words: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().expect("the binary");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let feeding = std::thread::spawn(move || stdin.write_all(&input));
        let ran = Ran::of(child.wait_with_output().expect("the binary"));
        feeding.join().expect("no panic").expect("the binary reads everything");
        ran
    }

    /// Runs it and expects success.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> Ran {
        let ran = self.run(words);
        assert_eq!(ran.status, 0, "{words:?}: {ran:?}");
        ran
    }

    /// Runs it with `--json` and gives back its lines.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Vec<Value> {
        self.ok(&[words, &["--json"]].concat()).json()
    }

    /// The same for an answer of one line.
    #[track_caller]
    pub fn one(&self, words: &[&str]) -> Value {
        let mut lines = self.json(words);
        assert_eq!(lines.len(), 1, "{words:?}: {lines:?}");
        lines.remove(0)
    }

    /// A store with these events.
    #[track_caller]
    pub fn ingest(&self, lines: &str) {
        self.write("events.ndjson", lines);
        self.ok(&["ingest", "events.ndjson"]);
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// That it failed with one sentence that says all of this.
    #[track_caller]
    pub fn fails(&self, words: &[&str]) {
        assert_eq!(self.status, 1, "{self:?}");
        assert!(self.err.starts_with("error: ") && self.err.trim_end().lines().count() == 1, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} in {self:?}");
        }
        for debug in ["Error {", "Err(", "panicked", "Some("] {
            assert!(!self.err.contains(debug), "{self:?}");
        }
    }
}

/// Orders placed and paid: `many` lines of two events each, for ten customers.
pub fn orders(many: usize) -> String {
    (1..=many).map(|n| format!("{}\n", order(n))).collect()
}

/// The n-th event: an order is placed by every odd one, and paid by the next.
pub fn order(n: usize) -> String {
    let (name, order) = if n % 2 == 1 { ("placed", n / 2 + 1) } else { ("paid", n / 2) };
    let (minute, second) = (n / 60 % 60, n % 60);
    format!(
        r#"{{"specversion":"1.0","id":"e{n}","source":"/shop","type":"order.{name}","subject":"{order}","time":"2024-05-01T10:{minute:02}:{second:02}Z","datacontenttype":"application/json","partitionkey":"{order}","tags":"[\"customer:{}\"]","data":{{"n":{n},"total":1.50}}}}"#,
        order % 10
    )
}

/// The log of loan applications, or why it cannot be used; then the test is over.
pub fn loans(test: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/loans.ndjson.gz");
    if path.is_file() {
        return Some(path);
    }
    let why = format!("{test} — {} is not there", path.display());
    eprintln!("SKIPPED: {why}");
    if let Some(list) = std::env::var_os("TIDINGS_SKIPS") {
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).expect("the list");
        writeln!(list, "{why}").expect("the list");
    }
    None
}
