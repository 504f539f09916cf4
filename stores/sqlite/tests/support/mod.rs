//! What the tests of this engine share: stores, events, child processes and checks of a whole store.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use tidings_core::{Append, Commit, Envelope, Text};
use tidings_sqlite::{Options, SqliteStore};
use tidings_store::{Read, Recorded, Store as _};

/// A runtime with several threads.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

pub fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Options::default()).expect("a store")
}

pub fn event(id: &str, key: &str) -> Envelope {
    let payload = format!(r#"{{"id":"{id}","key":"{key}"}}"#);
    let event = Envelope::build("order.placed").id(id).key(key).tag("key", key).json(payload.into_bytes());
    event.finish().expect("an envelope")
}

pub fn placed(id: &str, key: &str) -> Commit {
    let event = event(id, key);
    let stream = Text::from(&*event.stream());
    Commit::append(Append::to(stream, vec![event]))
}

/// The whole log, with a check that positions and versions have no gaps and recorded times never decrease.
pub async fn whole_log(store: &SqliteStore) -> Vec<Recorded> {
    let mut events: Vec<Recorded> = Vec::new();
    let mut versions: HashMap<Text, u64> = HashMap::new();
    let mut read = Read::after(0).all_tenants();
    loop {
        let page = store.read(&read).await.expect("a page");
        for event in page.events {
            assert_eq!(event.position, events.len() as u64 + 1, "a gap in the log");
            let version = versions.entry(event.stream.clone()).or_default();
            *version += 1;
            assert_eq!(event.version, *version, "a gap in {}", event.stream);
            assert!(events.last().is_none_or(|last| last.recorded <= event.recorded));
            events.push(event);
        }
        read.from = page.next;
        if page.end {
            return events;
        }
    }
}

/// Fails if `verify` finds anything.
pub async fn assert_sound(store: &SqliteStore) {
    let verified = store.verify(&|_, _| {}).await.expect("verifies");
    assert!(verified.faults.is_empty(), "{:#?}", verified.faults);
}

/// Says that a check could not be made, in the form the gate counts.
pub fn skipped(what: &str, why: &str) {
    use std::io::Write as _;
    eprintln!("SKIPPED: {what} — {why}");
    if let Some(list) = std::env::var_os("TIDINGS_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(list);
        file.and_then(|mut file| writeln!(file, "{what} — {why}")).expect("the list of skips can be written");
    }
}

const CHILD: &str = "TIDINGS_SQLITE_CHILD";

/// In a child process, what its parent told it; a test asks this first and then plays the child.
pub fn told() -> Option<Vec<String>> {
    let told = std::env::var(CHILD).ok()?;
    Some(told.split('\n').map(str::to_owned).collect())
}

/// Says something to the parent.
pub fn say(line: &str) {
    use std::io::Write as _;
    // One write a line, so that a killed process never leaves half of one behind.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("child: {line}\n").as_bytes())
        .and_then(|()| out.flush())
        .expect("the parent listens");
}

/// This test's binary, running `test` as a child that is told `words`.
pub fn child(test: &str, words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, words.join("\n"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// A running child, killed when dropped.
pub struct Running {
    pub process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut process = command.spawn().expect("starts");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Self { process, lines }
    }

    /// The next thing the child says; none when it has ended.
    pub fn hear(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.expect("text");
            // What the test harness itself prints is left out; it may stand before the first line.
            if let Some((_, said)) = line.split_once("child: ") {
                return Some(said.to_owned());
            }
        }
    }

    pub fn kill(&mut self) {
        self.process.kill().expect("can be killed");
        self.process.wait().expect("ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn path_text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// A fresh folder with the path of a store in it.
pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    (folder, path)
}

/// A fresh folder in memory where there is such a place: for tests that kill processes a thousand times and gain nothing
/// from a disk, because what a killed process has written is in the kernel's hands on either.
pub fn folder_in_memory() -> (tempfile::TempDir, PathBuf) {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return folder() };
    let path = folder.path().join("store.db");
    (folder, path)
}

/// Numbers from a seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The seed of a test: from the environment, or new.
pub fn seed() -> u64 {
    let given = std::env::var("TIDINGS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        use std::hash::{BuildHasher as _, RandomState};
        RandomState::new().hash_one(0)
    });
    println!("TIDINGS_SEED={seed} repeats this");
    seed
}
