//! What a file may be: missing, empty, something else, newer, cut, damaged, read-only; and its copies.

mod support;

use std::{path::Path, sync::Arc};

use support::{assert_sound, folder, open, placed, runtime, whole_log};
use tidings_core::{
    Append, Commit, DocumentChange, DocumentKey, DocumentWrite, ManualClock, Tenant, Timestamp,
};
use tidings_sqlite::{FORMAT, Options, SqliteStore};
use tidings_store::{Error, ErrorKind, Filter, Read, Store as _};

fn refused(path: &Path, options: Options) -> Error {
    SqliteStore::open(path, options).expect_err("is refused")
}

fn no_making() -> Options {
    Options { create: false, ..Options::default() }
}

/// A store with `many` events, closed.
fn filled(path: &Path, many: u64) {
    let store = open(path);
    runtime().block_on(async {
        for number in 0..many {
            store.apply(placed(&format!("{number}"), &format!("k{}", number % 10))).await.expect("applies");
        }
        store.close().await.expect("closes");
    });
}

/// The same, in one commit.
fn filled_at_once(path: &Path, many: u64) {
    let store = open(path);
    let appends = (0..many)
        .flat_map(|number| placed(&format!("{number}"), &format!("k{}", number % 10)).appends)
        .collect();
    runtime().block_on(async {
        store.apply(Commit { appends, ..Commit::default() }).await.expect("applies");
        store.close().await.expect("closes");
    });
}

/// Runs SQL on a closed store, as a disk or a person would change it.
fn alter(path: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(path).expect("opens");
    conn.execute_batch(sql).expect("runs");
}

fn faults(path: &Path) -> Vec<(Option<u64>, String)> {
    let store = open(path);
    let verified = runtime().block_on(store.verify(&|_, _| {})).expect("verifies");
    verified.faults.into_iter().map(|fault| (fault.position, fault.problem)).collect()
}

#[test]
fn a_file_that_is_not_there_is_made_or_missed() {
    let (kept, path) = folder();
    assert!(matches!(refused(&path, no_making()), Error::NotAStore(_)));
    assert!(!path.exists(), "nothing was made");
    assert_eq!(refused(&kept.path().join("no/such/folder.db"), Options::default()).kind(), ErrorKind::Io);
    filled(&path, 1);
    SqliteStore::open(&path, no_making()).expect("it is there now");
}

#[test]
fn an_empty_file_is_a_beginning_only_for_who_may_make_one() {
    let (_kept, path) = folder();
    std::fs::write(&path, b"").expect("writes");
    assert!(matches!(refused(&path, no_making()), Error::NotAStore(_)));
    filled(&path, 1);
}

#[test]
fn what_is_no_store_is_said_to_be_none_and_left_as_it_is() {
    let (kept, path) = folder();
    assert!(matches!(refused(kept.path(), Options::default()), Error::NotAStore(_)), "a folder");
    for text in ["short", "a text that is longer than the beginning of any SQLite file has to be"] {
        std::fs::write(&path, text).expect("writes");
        assert!(matches!(refused(&path, Options::default()), Error::NotAStore(_)), "{text}");
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), text);
    }
    let other = path.with_extension("other");
    alter(&other, "CREATE TABLE orders (id); INSERT INTO orders VALUES (1);");
    let before = std::fs::read(&other).expect("reads");
    assert!(matches!(refused(&other, Options::default()), Error::NotAStore(_)), "somebody else's database");
    assert_eq!(std::fs::read(&other).expect("reads"), before);
    let mut header = b"SQLite format 3\0".to_vec();
    header.extend([7; 4_000]);
    std::fs::write(&path, header).expect("writes");
    let error = refused(&path, Options::default());
    assert!(matches!(error.kind(), ErrorKind::Foreign | ErrorKind::Damaged), "{error:?}");
}

#[test]
fn a_newer_format_is_left_to_newer_programs() {
    let (_kept, path) = folder();
    filled(&path, 1);
    alter(&path, &format!("PRAGMA user_version = {}", FORMAT + 1));
    assert_eq!(refused(&path, Options::default()), Error::NewerFormat { found: FORMAT + 1, known: FORMAT });
}

#[test]
fn a_file_that_was_cut_is_damaged() {
    let (_kept, path) = folder();
    filled(&path, 500);
    let whole = std::fs::metadata(&path).expect("is there").len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opens");
    file.set_len(whole / 2 / 8_192 * 8_192).expect("cuts");
    assert!(matches!(refused(&path, Options::default()), Error::Damaged(_)));
}

#[test]
fn a_store_opened_for_reading_is_only_read() {
    let (_kept, path) = folder();
    filled(&path, 3);
    let options = Options { read_only: true, ..Options::default() };
    assert!(matches!(refused(&path.with_extension("none"), options.clone()), Error::NotAStore(_)));
    let store = SqliteStore::open(&path, options).expect("opens");
    let writing = open(&path);
    runtime().block_on(async {
        assert_eq!(whole_log(&store).await.len(), 3);
        let error = store.apply(placed("x", "k")).await.expect_err("is refused");
        assert!(matches!(error, Error::ReadOnly(_)), "{error:?}");
        assert!(matches!(store.lease("l", "me", Default::default()).await, Err(Error::ReadOnly(_))));
        // What others write is seen.
        let mut beats = store.beats();
        writing.apply(placed("x", "k")).await.expect("applies");
        beats.wait_for(|beat| beat.head == 4).await.expect("the store lives");
        assert_eq!(whole_log(&store).await.len(), 4);
    });
}

#[test]
fn verify_names_the_first_bad_record() {
    for (what, sql, position) in [
        ("a payload", "UPDATE events SET payload = CAST('{}' AS BLOB) WHERE position IN (7, 31)", 7),
        ("a header", "UPDATE events SET header = zeroblob(9) WHERE position = 12", 12),
        ("a column", "UPDATE events SET header = 'text' WHERE position = 12", 12),
        ("a time", "UPDATE events SET recorded = 1 WHERE position = 20", 20),
        ("a hole", "DELETE FROM events WHERE position = 9", 9),
        ("a version", "UPDATE events SET version = 99 WHERE position = 40", 40),
        ("an id forgotten", "DELETE FROM ids WHERE position = 5", 5),
        ("an id astray", "UPDATE ids SET position = 6 WHERE position = 5", 5),
        ("a term", "DELETE FROM terms WHERE position = 3 AND term < 0", 3),
        ("a stream", "UPDATE events SET stream_id = 999 WHERE position = 15", 15),
    ] {
        let (_kept, path) = folder();
        filled(&path, 50);
        assert_eq!(faults(&path), [], "{what}, before");
        alter(&path, sql);
        let found = faults(&path);
        let first = found.first().unwrap_or_else(|| panic!("{what} was not found"));
        assert_eq!(first.0, Some(position), "{what}: {found:?}");
    }
}

#[test]
fn verify_finds_event_times_that_are_not_in_their_index() {
    for (sql, position) in
        [("UPDATE zones SET high = low - 1", 1), ("DELETE FROM zones WHERE block = 1", 1_024)]
    {
        let (_kept, path) = folder();
        filled_at_once(&path, 2_100);
        assert_eq!(faults(&path), []);
        alter(&path, sql);
        let found = faults(&path);
        assert_eq!(found.first().map(|first| first.0), Some(Some(position)), "{sql}: {found:?}");
    }
}

#[test]
fn verify_finds_documents_their_index_does_not_know() {
    let (_kept, path) = folder();
    filled(&path, 1);
    alter(&path, "INSERT INTO document_fields VALUES ('', 'view', 'field', 'value', 'id')");
    assert_eq!(faults(&path).len(), 1);
    alter(
        &path,
        "DELETE FROM document_fields; INSERT INTO documents VALUES ('', 'view', 'id', 9, NULL, '{}')",
    );
    assert_eq!(faults(&path).len(), 1, "newer than the store");
}

#[test]
fn a_commit_that_meets_damage_half_way_leaves_nothing_behind() {
    let (_kept, path) = folder();
    filled(&path, 1);
    alter(&path, "INSERT INTO documents VALUES ('', 'view', 'id', 0, x'ff', '{}')");
    let store = open(&path);
    let write = |namespace: &str| DocumentWrite {
        key: DocumentKey::new(namespace, "id"),
        change: DocumentChange::Put(b"{}".as_slice().into()),
        indexed: [].into(),
        expected: None,
    };
    runtime().block_on(async {
        let commit = Commit { documents: vec![write("fine"), write("view")], ..placed("x", "k") };
        let error =
            store.apply(commit).await.expect_err("the index entries of the old document cannot be read");
        assert!(matches!(error, Error::Damaged(_)), "{error:?}");
        assert_eq!(whole_log(&store).await.len(), 1);
        let fine = DocumentKey::new("fine", "id");
        assert_eq!(store.document(&Tenant::default(), &fine).await.expect("reads"), None);
        let applied = store.apply(placed("y", "k")).await.expect("goes on");
        assert_eq!((applied.first, applied.version), (2, 1));
    });
}

#[test]
fn of_commits_made_durable_together_only_the_guilty_one_fails() {
    let (_kept, path) = folder();
    filled(&path, 1);
    alter(&path, "INSERT INTO documents VALUES ('', 'view', 'id', 0, x'ff', '{}')");
    let store = Arc::new(open(&path));
    // On one thread all are waiting before the first is written.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let tasks: Vec<_> = (0..20_u64)
            .map(|number| {
                let store = store.clone();
                let mut commit = placed(&format!("n{number}"), "k");
                if number == 7 {
                    commit.documents.push(DocumentWrite {
                        key: DocumentKey::new("view", "id"),
                        change: DocumentChange::Delete,
                        indexed: [].into(),
                        expected: None,
                    });
                }
                tokio::spawn(async move { store.apply(commit).await })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            match task.await.expect("does not panic") {
                Ok(_) => assert_ne!(number, 7),
                Err(error) => {
                    assert!(matches!(error, Error::Damaged(_)) && number == 7, "{number}: {error:?}")
                }
            }
        }
        assert_eq!(whole_log(&store).await.len(), 20);
    });
}

#[test]
fn verify_finds_a_page_overwritten() {
    let (_kept, path) = folder();
    filled(&path, 400);
    let mut bytes = std::fs::read(&path).expect("reads");
    let page = bytes.len() / 8_192 / 2;
    bytes[page * 8_192..(page + 1) * 8_192].fill(0xa5);
    std::fs::write(&path, bytes).expect("writes");
    assert!(!faults(&path).is_empty());
}

#[test]
fn a_copy_is_of_one_moment_and_never_overwrites() {
    let (kept, path) = folder();
    let store = Arc::new(open(&path));
    runtime().block_on(async {
        for number in 0..300 {
            store.apply(placed(&format!("{number}"), "k")).await.expect("applies");
        }
        let writing = tokio::spawn({
            let store = store.clone();
            async move {
                for number in 300..600 {
                    store.apply(placed(&format!("{number}"), "k")).await.expect("applies");
                }
            }
        });
        let copy = kept.path().join("copy.db");
        let told = std::sync::Mutex::new(Vec::new());
        store.backup(&copy, &|done, all| told.lock().expect("told").push((done, all))).await.expect("copies");
        writing.await.expect("succeeds");
        let told = told.into_inner().expect("told");
        assert!(told.last().is_some_and(|(done, all)| done == all && *all > 0), "{told:?}");
        let copied = open(&copy);
        let events = whole_log(&copied).await;
        assert!((300..=600).contains(&events.len()), "{}", events.len());
        assert_sound(&copied).await;
        copied.apply(placed("in the copy", "k")).await.expect("a copy is a store");
        let error = store.backup(&copy, &|_, _| {}).await.expect_err("is there");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(whole_log(&copied).await.len(), events.len() + 1, "and was left alone");
        assert!(!kept.path().join("copy.db-partial").exists());
    });
}

#[test]
fn a_clock_that_goes_backwards_does_not_break_the_order() {
    let (_kept, path) = folder();
    let clock = ManualClock::at(Timestamp::from_millis(5_000));
    let options = Options { clock: Arc::new(clock.clone()), ..Options::default() };
    let recorded = |store: &SqliteStore| {
        let log = runtime().block_on(whole_log(store));
        log.iter().map(|event| event.recorded.as_millis()).collect::<Vec<_>>()
    };
    let store = SqliteStore::open(&path, options.clone()).expect("a store");
    runtime().block_on(store.apply(placed("a", "k"))).expect("applies");
    clock.set(Timestamp::from_millis(1_000));
    runtime().block_on(store.apply(placed("b", "k"))).expect("applies");
    drop(store);
    let store = SqliteStore::open(&path, options).expect("a store");
    runtime().block_on(store.apply(placed("c", "k"))).expect("applies");
    clock.set(Timestamp::from_millis(6_000));
    runtime().block_on(store.apply(placed("d", "k"))).expect("applies");
    assert_eq!(recorded(&store), [5_000, 5_000, 5_000, 6_000]);
    let range = Some((Timestamp::from_millis(5_001), Timestamp::from_millis(7_000)));
    let read = Read::after(0).filter(Filter { recorded: range, ..Filter::default() });
    let page = runtime().block_on(store.read(&read)).expect("reads");
    assert_eq!(page.events.iter().map(|event| event.position).collect::<Vec<_>>(), [4]);
}

#[test]
fn an_id_is_known_when_its_event_is_gone() {
    let (_kept, path) = folder();
    filled(&path, 20);
    // What retention will do.
    alter(&path, "DELETE FROM events WHERE position <= 5; DELETE FROM terms WHERE position <= 5");
    let store = open(&path);
    runtime().block_on(async {
        let applied = store.apply(placed("3", "k3")).await.expect("applies");
        assert_eq!((applied.repeated, applied.first, applied.last), (true, 4, 4));
        let other = support::event("3", "k3").edit().json(b"{}".as_slice()).finish().expect("an envelope");
        let error = store
            .apply(Commit::append(Append::to("order-k3", vec![other])))
            .await
            .expect_err("other content");
        assert!(matches!(error, Error::IdReused { .. }), "{error:?}");
        assert_eq!(
            store.find(&Tenant::default(), "/tidings", "3").await.expect("reads").map(|e| e.position),
            None
        );
        assert_eq!(store.head().await.expect("reads"), 20, "nothing was written");
    });
}
