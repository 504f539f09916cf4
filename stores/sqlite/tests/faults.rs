//! A fault before and after every write and sync of the engine: the process killed, a torn write, a full disk, a failing
//! disk. Whatever happens, the store opens, is sound, and has everything that was acknowledged.
//!
//! A shim in C is loaded into a child that does a fixed piece of work; a first run counts its calls, then each is struck
//! in each way. A killed process does not lose what the kernel holds in its page cache: that what was acknowledged would
//! also survive a power cut is shown by the order of calls (a sync after the last write, before the answer).

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use support::{
    Running, assert_sound, child, event, folder, folder_in_memory, path_text, runtime, say, skipped, told,
    whole_log,
};
use tidings_core::{
    Append, CheckpointMove, Commit, DocumentChange, DocumentKey, DocumentWrite, Expected, Tenant,
};
use tidings_sqlite::{Options, SqliteStore};
use tidings_store::{Error, ErrorKind, Store as _};

const COMMITS: u64 = 8;

/// Everything a commit can carry, in a form whose parts can be told to be all there or not at all.
fn commit(number: u64) -> Commit {
    let (first, second) = (event(&format!("{number}-a"), "one"), event(&format!("{number}-b"), "two"));
    let document = |id: String, text: String| DocumentWrite {
        key: DocumentKey::new("seen", id),
        change: DocumentChange::Put(Bytes::from(text)),
        indexed: ["n".into()].into(),
        expected: Some(0),
    };
    // A document longer than a page, so that a commit takes several writes.
    let long = format!(r#"{{"n":"{number}","text":"{}"}}"#, "x".repeat(9_000));
    Commit {
        appends: vec![
            Append::to("order-one", vec![first]).expecting(Expected::Exact(number)),
            Append::to("order-two", vec![second]),
        ],
        documents: vec![document(format!("{number}"), long)],
        checkpoints: vec![CheckpointMove {
            name: "reader".into(),
            expected_revision: number,
            watermark: number * 2,
            settled: vec![number * 2 + 2],
        }],
        ..Commit::default()
    }
}

/// Small bounds, so that the log is copied into the file several times on the way.
fn options() -> Options {
    Options { checkpoint_bytes: 96 << 10, ..Options::default() }
}

/// How often a child tries a thing that fails: more often than the longest fault lasts.
const TRIES: usize = 64;

/// Does the work, trying again whatever fails, as an application would.
fn work(path: &Path) {
    let open = || SqliteStore::open(path, options());
    let store = (0..TRIES).find_map(|_| open().ok()).expect("a store, once the fault is over");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for number in 0..COMMITS {
        for attempt in 0.. {
            match runtime.block_on(store.apply(commit(number))) {
                Ok(applied) => {
                    assert_eq!((applied.first, applied.last), (number * 2 + 1, number * 2 + 2));
                    say(&format!("ack {number}"));
                    break;
                }
                Err(error) => {
                    let expected = [ErrorKind::Unknown, ErrorKind::Full, ErrorKind::Io];
                    assert!(expected.contains(&error.kind()) && attempt < TRIES, "{error}");
                    say(&format!("error {:?}", error.kind()));
                }
            }
        }
    }
    runtime.block_on(store.close()).expect("closes");
    say("done");
}

/// The shim, or why there is none.
fn shim(folder: &Path) -> Result<PathBuf, String> {
    if !cfg!(target_os = "linux") {
        return Err("the shim needs Linux".into());
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/faults.c");
    let shim = folder.join("faults.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&shim)
        .arg(source)
        .output();
    match built {
        Err(error) => Err(format!("no C compiler: {error}")),
        Ok(output) if !output.status.success() => {
            panic!("the shim does not compile: {}", String::from_utf8_lossy(&output.stderr))
        }
        Ok(_) => Ok(shim),
    }
}

struct Fault {
    mode: &'static str,
    at: u64,
    calls: u64,
}

fn run(shim: &Path, store: &Path, log: Option<&Path>, fault: Option<&Fault>) -> Vec<String> {
    let mut command = child("every_write_and_sync_can_fail", &[path_text(store)]);
    command.env("LD_PRELOAD", shim).env("FAULT_PATH", store).stderr(std::process::Stdio::piped());
    if let Some(log) = log {
        command.env("FAULT_LOG", log);
    }
    if let Some(Fault { mode, at, calls }) = fault {
        command.env("FAULT_MODE", mode).env("FAULT_AT", at.to_string()).env("FAULT_FOR", calls.to_string());
    }
    let mut running = Running::start(&mut command);
    let mut said = Vec::new();
    while let Some(line) = running.hear() {
        said.push(line);
    }
    let mut stderr = String::new();
    if let Some(pipe) = &mut running.process.stderr {
        std::io::Read::read_to_string(pipe, &mut stderr).expect("text");
    }
    assert!(
        !stderr.contains("panicked"),
        "{} at {:?}: {stderr}",
        fault.map_or("", |f| f.mode),
        fault.map(|f| f.at)
    );
    said
}

/// What must hold after whatever happened: `acked` commits were acknowledged.
fn check(path: &Path, acked: u64, what: &str) {
    let runtime = runtime();
    let store = SqliteStore::open(path, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
    runtime.block_on(async {
        assert_sound(&store).await;
        let there = whole_log(&store).await.len() as u64;
        assert!(there.is_multiple_of(2), "{what}: half a commit");
        let there = there / 2;
        assert!(acked <= there && there <= acked + 1, "{what}: {acked} acknowledged, {there} there");
        for number in 0..COMMITS {
            let key = DocumentKey::new("seen", format!("{number}"));
            let document = store.document(&Tenant::default(), &key).await.expect("reads");
            assert_eq!(document.is_some(), number < there, "{what}: document {number}");
        }
        assert_eq!(store.checkpoint("reader").await.expect("reads").revision, there, "{what}");
        // Repeating tells: what is there is answered as the first time, what is not is done now.
        for number in 0..COMMITS {
            let applied = store.apply(commit(number)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!((applied.first, applied.repeated), (number * 2 + 1, number < there), "{what}");
        }
        assert_sound(&store).await;
    });
}

fn acked(said: &[String]) -> u64 {
    said.iter().filter(|line| line.starts_with("ack ")).count() as u64
}

#[test]
fn every_write_and_sync_can_fail() {
    if let Some(words) = told() {
        return work(Path::new(&words[0]));
    }
    let tools = tempfile::tempdir().expect("a folder");
    let shim = match shim(tools.path()) {
        Ok(shim) => shim,
        Err(why) => return skipped("a fault before and after every write and sync", &why),
    };
    let (_kept, path) = folder();
    let log = tools.path().join("log");
    let said = run(&shim, &path, Some(&log), None);
    assert_eq!(acked(&said), COMMITS, "{said:?}");
    let log = std::fs::read_to_string(&log).expect("the log");
    check(&path, COMMITS, "without a fault");
    assert_synced_before_answers(&log);
    let calls = log.lines().filter(|line| !line.starts_with("ack")).count() as u64;
    assert!(calls > 60, "the shim sees the engine's calls: {calls}");

    let modes =
        [("before", 1), ("after", 1), ("torn", 1), ("enospc", 1), ("enospc", 12), ("eio", 1), ("eio", 5)];
    let faults: Vec<Fault> = modes
        .iter()
        .flat_map(|(mode, many)| (1..=calls).map(move |at| Fault { mode, at, calls: *many }))
        .collect();
    let next = AtomicU64::new(0);
    let errors = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let (_kept, path) = folder_in_memory();
                    let what =
                        format!("{} at call {} of {calls}, {} long", fault.mode, fault.at, fault.calls);
                    let said = run(&shim, &path, None, Some(fault));
                    let failing = matches!(fault.mode, "enospc" | "eio");
                    if failing {
                        assert_eq!(said.last().map(String::as_str), Some("done"), "{what}: {said:?}");
                    }
                    errors.fetch_add(
                        said.iter().filter(|line| line.starts_with("error")).count() as u64,
                        Ordering::Relaxed,
                    );
                    check(&path, acked(&said), &what);
                }
            });
        }
    });
    assert!(errors.into_inner() > calls / 4, "most calls that fail make a commit fail");
}

/// Before each answer the write-ahead log has been synced after the last write to it.
fn assert_synced_before_answers(log: &str) {
    let (mut written, mut synced, mut answers) = (0, 0, 0);
    for line in log.lines() {
        let wal = line.ends_with("-wal");
        match line.split(' ').next() {
            Some("write") if wal => {
                written += 1;
                synced = 0;
            }
            Some("sync") if wal => synced += 1,
            Some("ack") => {
                assert!(
                    written > 0 && synced > 0,
                    "answer {answers}: {written} writes, {synced} syncs since"
                );
                (written, synced) = (0, 0);
                answers += 1;
            }
            _ => {}
        }
    }
    assert_eq!(answers, COMMITS);
}

#[test]
fn a_full_disk_refuses_and_the_store_goes_on_when_there_is_room() {
    let (_kept, path) = folder();
    let disk = path.with_extension("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return skipped("a store on a full disk of 16 MiB", "mounting a tmpfs is not allowed here");
    }
    let _mounted = Mounted(disk.clone());
    runtime().block_on(async {
        let store = support::open(&disk.join("store.db"));
        let ballast = disk.join("ballast");
        std::fs::write(&ballast, vec![0; 8 << 20]).expect("room for ballast");
        let large = |number: u64| {
            let event = event(&format!("{number}"), "one")
                .edit()
                .json(format!(r#""{}""#, "x".repeat(200_000)).into_bytes());
            Commit::events([event.finish().expect("an envelope")])
        };
        let mut written = 0;
        let error = loop {
            match store.apply(large(written)).await {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Full(_)), "{error:?}");
        assert!(written > 5, "{written}");
        assert_eq!(whole_log(&store).await.len() as u64, written, "what was written stays");
        assert_eq!(store.apply(large(written)).await.expect_err("still full").kind(), ErrorKind::Full);
        std::fs::remove_file(ballast).expect("makes room");
        let applied = store.apply(large(written)).await.expect("there is room");
        assert_eq!((applied.first, applied.repeated), (written + 1, false));
        assert_sound(&store).await;
        store.close().await.expect("closes");
    });
}

/// A mounted folder, unmounted when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} is still mounted", self.0.display());
    }
}
