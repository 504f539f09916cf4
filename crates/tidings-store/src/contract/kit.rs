//! What rows are written with: events and commits in one word, and comparisons that say where they failed.

use std::{fmt::Debug, panic::Location};

use bytes::Bytes;
use tidings_core::{
    Append, BlobChange, Commit, DocumentChange, DocumentKey, DocumentWrite, DueChange, DueRow, Envelope,
    EnvelopeBuilder, EnvelopeError, Pattern, Tenant, Text, Timestamp,
};

use crate::{AnyStore, Direction, Error, Page, Read, Recorded};

/// Why a row failed.
#[derive(Debug)]
pub(super) struct Failed(pub(super) String);

/// What a row ends with.
pub(super) type Outcome = Result<(), Failed>;

impl From<Error> for Failed {
    #[track_caller]
    fn from(error: Error) -> Self {
        failed(&format!("answered {error:?}"))
    }
}

impl From<EnvelopeError> for Failed {
    #[track_caller]
    fn from(error: EnvelopeError) -> Self {
        failed(&format!("{error}"))
    }
}

#[track_caller]
pub(super) fn failed(why: &str) -> Failed {
    let place = Location::caller();
    Failed(format!("{why} ({}:{})", place.file(), place.line()))
}

/// Fails the row with this reason unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::contract::kit::failed(&format!($($why)+)));
        }
    };
}

/// The rows of a module, from names to async functions.
macro_rules! table {
    ($($name:literal => $run:path,)+) => {
        pub(super) const ROWS: &[$crate::contract::Row] = &[$($crate::contract::Row {
            name: $name,
            run: |fresh| Box::pin(async move { $run(fresh).await.map_err(|failed| failed.0) }),
        },)+];
    };
}

/// Fails unless both are equal.
#[track_caller]
pub(super) fn same<T: PartialEq<U> + Debug, U: Debug>(what: &str, got: T, wanted: U) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    Err(failed(&format!("{what}: got {got:?}, wanted {wanted:?}")))
}

/// Fails unless the answer is this error.
#[track_caller]
pub(super) fn refuses<T: Debug>(what: &str, answer: Result<T, Error>, wanted: &Error) -> Outcome {
    match answer {
        Err(error) if error == *wanted => Ok(()),
        other => Err(failed(&format!("{what}: answered {other:?}, wanted {wanted:?}"))),
    }
}

/// The tenant without a name.
pub(super) fn nobody() -> Tenant {
    Tenant::default()
}

/// A tenant.
pub(super) fn tenant(name: &str) -> Tenant {
    Tenant(Text::from(name))
}

/// A pattern.
pub(super) fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("the suite's patterns are valid")
}

/// The source of the suite's events.
pub(super) const SOURCE: &str = "/contract";

/// Begins an event with this id.
pub(super) fn event(id: &str) -> EnvelopeBuilder {
    named(id, "order.placed")
}

/// Begins an event with this id and name.
pub(super) fn named(id: &str, name: &str) -> EnvelopeBuilder {
    Envelope::build(name).id(id).source(SOURCE).json(format!(r#"{{"id":"{id}"}}"#))
}

/// Ends it.
pub(super) fn made(builder: EnvelopeBuilder) -> Envelope {
    builder.finish().expect("the suite's events are valid")
}

/// An append of plain events with these ids.
pub(super) fn append(stream: &str, ids: &[&str]) -> Append {
    Append::to(stream, ids.iter().map(|id| made(event(id))).collect())
}

/// A commit of one append of plain events with these ids.
pub(super) fn commit(stream: &str, ids: &[&str]) -> Commit {
    Commit::append(append(stream, ids))
}

/// A commit of one event.
pub(super) fn one(stream: &str, event: EnvelopeBuilder) -> Commit {
    Commit::append(Append::to(stream, vec![made(event)]))
}

/// A commit of several appends.
pub(super) fn commits(appends: impl Into<Vec<Append>>) -> Commit {
    Commit { appends: appends.into(), ..Commit::default() }
}

/// A document in the suite's namespace.
pub(super) fn key(id: &str) -> DocumentKey {
    DocumentKey::new("view", id)
}

/// A write of a document whatever its version, without an index.
pub(super) fn write(id: &str, change: DocumentChange) -> DocumentWrite {
    DocumentWrite { key: key(id), change, indexed: [].into(), expected: None }
}

/// A commit of one document put.
pub(super) fn put(id: &str, json: &str) -> Commit {
    Commit { documents: vec![write(id, put_json(json))], ..Commit::default() }
}

/// A put of this JSON.
pub(super) fn put_json(json: &str) -> DocumentChange {
    DocumentChange::Put(Bytes::from(json.to_owned()))
}

/// A row due at a time, in the suite's queue.
pub(super) fn due_row(id: &str, at_ms: i64) -> DueRow {
    let body = Bytes::from(format!("body of {id}"));
    DueRow { queue: Text::from("timers"), id: Text::from(id), due: Timestamp::from_millis(at_ms), body }
}

/// A commit of due changes.
pub(super) fn due(changes: impl Into<Vec<DueChange>>) -> Commit {
    Commit { due: changes.into(), ..Commit::default() }
}

/// Takes a row of the suite's queue.
pub(super) fn take(id: &str) -> DueChange {
    DueChange::Take { queue: Text::from("timers"), id: Text::from(id) }
}

/// A commit of one blob put.
pub(super) fn blob(key: &str, bytes: &'static [u8]) -> Commit {
    let put = BlobChange::Put { key: Text::from(key), bytes: Bytes::from_static(bytes) };
    Commit { blobs: vec![put], ..Commit::default() }
}

/// The ids of events.
pub(super) fn ids(events: &[Recorded]) -> Vec<String> {
    events.iter().map(|event| event.envelope.id().to_string()).collect()
}

/// The most pages the suite reads before it says that reading never ends.
const PAGES_MAX: usize = 100_000;

/// Reads page by page to the end, checking of every page what holds of all pages.
#[track_caller]
pub(super) fn all<'a>(
    store: &'a AnyStore,
    read: Read,
) -> impl Future<Output = Result<Vec<Recorded>, Failed>> + 'a {
    let place = Location::caller();
    async move {
        let at =
            |failed: Failed| Failed(format!("{} (asked at {}:{})", failed.0, place.file(), place.line()));
        let (mut read, mut events) = (read, Vec::new());
        for _ in 0..PAGES_MAX {
            let page = store.read(&read).await.map_err(|error| at(Failed::from(error)))?;
            check_page(&read, &page).map_err(at)?;
            read.from = page.next;
            events.extend(page.events);
            if page.end {
                return Ok(events);
            }
        }
        Err(at(failed("reading page by page never ends")))
    }
}

/// The number of an event that `from` and `next` of a read count in.
pub(super) fn number(read: &Read, event: &Recorded) -> u64 {
    if read.stream.is_some() { event.version } else { event.position }
}

/// What holds of every page.
pub(super) fn check_page(read: &Read, page: &Page) -> Outcome {
    let forward = read.direction == Direction::Forward;
    let further = |a: u64, b: u64| if forward { a < b } else { a > b };
    let numbers: Vec<u64> = page.events.iter().map(|event| number(read, event)).collect();
    ensure!(numbers.len() <= read.limit.max(1), "{} events in a page of {}", numbers.len(), read.limit);
    ensure!(
        numbers.windows(2).all(|pair| further(pair[0], pair[1])),
        "a page is not in the direction of its read: {numbers:?}"
    );
    ensure!(
        numbers.iter().all(|number| further(read.from, *number)),
        "a page from {} holds {numbers:?}",
        read.from
    );
    ensure!(
        numbers.last().is_none_or(|last| !further(page.next, *last)),
        "a page goes on at {} but holds {numbers:?}",
        page.next
    );
    ensure!(
        page.end || further(read.from, page.next),
        "a page that is not the end goes on where it began, at {}",
        read.from
    );
    Ok(())
}
