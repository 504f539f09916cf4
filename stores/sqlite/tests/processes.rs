//! Several processes on one file.

mod support;

use std::{path::Path, time::Duration};

use support::{
    Running, assert_sound, child, event, folder, open, path_text, placed, runtime, say, told, whole_log,
};
use tidings_core::{Append, Commit, Expected};
use tidings_sqlite::{Options, SqliteStore};
use tidings_store::{Error, Read, Store};

const EACH: u64 = 150;

/// Appends to a stream all share, at the version expected, and to one of its own.
async fn compete(store: &SqliteStore, who: &str) -> u64 {
    let mut conflicts = 0;
    for number in 0..EACH {
        let shared = event(&format!("{who}-{number}"), "shared");
        loop {
            let version = store.stream_version(&Default::default(), "order-shared").await.expect("reads");
            let append = Append::to("order-shared", vec![shared.clone()]).expecting(Expected::Exact(version));
            match store.apply(Commit::append(append)).await {
                Ok(applied) => {
                    assert_eq!(applied.version, version + 1);
                    break;
                }
                Err(Error::WrongVersion { actual, .. }) => {
                    assert_ne!(actual, version);
                    conflicts += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let own = store.apply(placed(&format!("{who}-{number}-own"), who)).await.expect("applies");
        assert_eq!(own.version, number + 1);
    }
    conflicts
}

#[test]
fn processes_that_write_the_same_streams_conflict_by_version_and_leave_no_gap() {
    if let Some(words) = told() {
        let store = open(Path::new(&words[0]));
        let conflicts = runtime().block_on(compete(&store, &words[1]));
        return say(&format!("{conflicts}"));
    }
    let (_kept, path) = folder();
    let test = "processes_that_write_the_same_streams_conflict_by_version_and_leave_no_gap";
    // They also make the store at the same time.
    let mut children: Vec<_> =
        ["one", "two", "three"].map(|who| Running::start(&mut child(test, &[path_text(&path), who]))).into();
    let store = open(&path);
    let mut conflicts = runtime().block_on(compete(&store, "parent"));
    for running in &mut children {
        conflicts += running.hear().expect("it ends well").parse::<u64>().expect("a number");
    }
    assert!(conflicts > 0, "they met");
    runtime().block_on(async {
        let events = whole_log(&store).await;
        assert_eq!(events.len() as u64, 4 * 2 * EACH);
        assert_eq!(store.stream_version(&Default::default(), "order-shared").await.expect("reads"), 4 * EACH);
        assert_sound(&store).await;
    });
}

#[test]
fn what_another_process_commits_is_told_and_read() {
    if let Some(words) = told() {
        let store = open(Path::new(&words[0]));
        runtime().block_on(async { store.apply(placed("child", "k")).await.expect("applies") });
        return say("done");
    }
    let (_kept, path) = folder();
    let store = open(&path);
    runtime().block_on(async {
        store.apply(placed("first", "k")).await.expect("applies");
        let mut beats = store.beats();
        assert_eq!(beats.borrow_and_update().head, 1);
        let test = "what_another_process_commits_is_told_and_read";
        let mut running = Running::start(&mut child(test, &[path_text(&path)]));
        let told = tokio::time::timeout(Duration::from_secs(30), beats.wait_for(|beat| beat.head == 2));
        told.await.expect("in time").expect("the store lives");
        let page = store.read(&Read::after(0)).await.expect("reads");
        let ids: Vec<_> = page.events.iter().map(|event| &**event.envelope.id()).collect();
        assert_eq!((ids, page.end), (vec!["first", "child"], true));
        // The version remembered for the stream is not trusted any more.
        let applied = store.apply(placed("third", "k")).await.expect("applies");
        assert_eq!((applied.first, applied.version), (3, 3));
        let repeated = store.apply(placed("child", "k")).await.expect("applies");
        assert_eq!((repeated.first, repeated.repeated), (2, true));
        assert_eq!(running.hear().as_deref(), Some("done"));
    });
}

#[test]
fn who_holds_the_file_too_long_makes_the_others_give_up_and_go_on_later() {
    let (_kept, path) = folder();
    let options = Options { lock_wait: Duration::from_millis(50), ..Options::default() };
    let store = SqliteStore::open(&path, options).expect("a store");
    let other = rusqlite::Connection::open(&path).expect("opens");
    runtime().block_on(async {
        other.execute_batch("BEGIN IMMEDIATE").expect("takes the lock");
        let error = store.apply(placed("a", "k")).await.expect_err("waits in vain");
        assert!(matches!(error, Error::Locked(_)), "{error:?}");
        assert_eq!(store.head().await.expect("reads go on"), 0);
        other.execute_batch("ROLLBACK").expect("lets go");
        let applied = store.apply(placed("a", "k")).await.expect("applies");
        assert_eq!((applied.first, applied.repeated), (1, false));
    });
}
