//! The store port: what every engine can do.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tidings_core::{
    Commit, DocumentKey, DueRow, Envelope, EventQuery, Pattern, Position, Tenant, Text, Timestamp, category,
};
use tokio::sync::watch;

use crate::Error;

/// An event with its place in a store.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its place in the whole log, from 1.
    pub position: Position,
    /// Its place in its stream, from 1.
    pub version: u64,
    /// When the store recorded it; never decreases with the position.
    pub recorded: Timestamp,
    /// The stream it is in.
    pub stream: Text,
    /// The event.
    pub envelope: Envelope,
}

/// Which tenants a read sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// One.
    One(Tenant),
    /// All of them; for whoever works on behalf of the platform.
    All,
}

impl Default for Tenants {
    fn default() -> Self {
        Self::One(Tenant::default())
    }
}

impl Tenants {
    /// Whether it sees `tenant`.
    pub fn sees(&self, tenant: &Tenant) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == tenant,
        }
    }
}

/// In which direction to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

/// Which events a read wants; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The name matches one of these; empty is any.
    pub names: Vec<Pattern>,
    /// The stream's category (what is before its first `-`).
    pub category: Option<Text>,
    /// It carries all of these tags.
    pub tags: Vec<Text>,
    /// It has this key.
    pub key: Option<Text>,
    /// Recorded at or after the first, before the second.
    pub recorded: Option<(Timestamp, Timestamp)>,
    /// Happened at or after the first, before the second; an event without a time counts as happening when it was
    /// recorded.
    pub happened: Option<(Timestamp, Timestamp)>,
}

impl Filter {
    /// Events whose name matches one of `patterns`.
    pub fn names(patterns: impl Into<Vec<Pattern>>) -> Self {
        Self { names: patterns.into(), ..Self::default() }
    }

    /// Whether every event is wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `event` is wanted.
    pub fn matches(&self, event: &Recorded) -> bool {
        let envelope = &event.envelope;
        let within = |range: &Option<(Timestamp, Timestamp)>, at: Timestamp| {
            range.is_none_or(|(from, until)| from <= at && at < until)
        };
        (self.names.is_empty() || self.names.iter().any(|name| name.matches(envelope.name())))
            && self.category.as_deref().is_none_or(|wanted| wanted == stream_category(&event.stream))
            && self.tags.iter().all(|tag| envelope.tags().contains(tag))
            && self.key.as_ref().is_none_or(|key| envelope.key() == Some(key))
            && within(&self.recorded, event.recorded)
            && within(&self.happened, envelope.time().map_or(event.recorded, |time| time.at()))
    }
}

/// The category of a stream: what is before its first `-`.
///
/// ```
/// assert_eq!(tidings_store::stream_category("order-4711"), "order");
/// ```
pub fn stream_category(stream: &str) -> &str {
    category(stream.split('-').next().unwrap_or(stream))
}

/// The most events in one page.
pub const PAGE_EVENTS_MAX: usize = 4_096;

/// A page is closed when its payloads have come to this many bytes: 8 MiB.
pub const PAGE_BYTES: usize = 8 << 20;

/// A question to the log, answered page by page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Whose events.
    pub tenants: Tenants,
    /// One stream (of one tenant), or the whole log.
    pub stream: Option<Text>,
    /// Where to go on: forward, from what is after it; backward, from what is before it. It is a position, or a version
    /// where a stream is read. Forward begins with 0, backward with `u64::MAX`.
    pub from: u64,
    /// In which direction.
    pub direction: Direction,
    /// Which events.
    pub filter: Filter,
    /// The most events in the page, at most [`PAGE_EVENTS_MAX`].
    pub limit: usize,
}

impl Read {
    /// The whole log after `position`, oldest first.
    pub fn after(position: Position) -> Self {
        Self {
            tenants: Tenants::default(),
            stream: None,
            from: position,
            direction: Direction::Forward,
            filter: Filter::default(),
            limit: 1_000,
        }
    }

    /// The whole log, newest first.
    pub fn newest() -> Self {
        Self { from: u64::MAX, direction: Direction::Backward, ..Self::after(0) }
    }

    /// A stream, oldest first.
    pub fn stream(stream: impl Into<Text>) -> Self {
        Self { stream: Some(stream.into()), ..Self::after(0) }
    }

    /// Newest first, from the end.
    #[must_use]
    pub fn backward(self) -> Self {
        Self { from: u64::MAX, direction: Direction::Backward, ..self }
    }

    /// Goes on at `from`.
    #[must_use]
    pub fn from(self, from: u64) -> Self {
        Self { from, ..self }
    }

    /// Only what `filter` wants.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// At most this many events a page.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Events of all tenants.
    #[must_use]
    pub fn all_tenants(self) -> Self {
        Self { tenants: Tenants::All, ..self }
    }

    /// Events of one tenant.
    #[must_use]
    pub fn tenant(self, tenant: Tenant) -> Self {
        Self { tenants: Tenants::One(tenant), ..self }
    }
}

/// Part of the answer to a [`Read`].
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The events, in the direction of the read. It may be empty although there is more: an engine looks at a bounded
    /// number of events a page.
    pub events: Vec<Recorded>,
    /// The `from` of the next page.
    pub next: u64,
    /// Whether there was nothing further when the page was read.
    pub end: bool,
}

/// What an applied commit became.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Whether all its ids were known from one earlier append, so that this is the answer to that one and nothing was
    /// written now.
    pub repeated: bool,
    /// The position of the first event, 0 without events.
    pub first: Position,
    /// The position of the last event, 0 without events.
    pub last: Position,
    /// The version of the last event in its stream, 0 without events.
    pub version: u64,
    /// The version of every document it wrote; 0 when it wrote none.
    pub revision: u64,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Which.
    pub key: DocumentKey,
    /// Its version: grows with every write, also over a deletion, so that a version never comes back.
    pub version: u64,
    /// JSON.
    pub value: Bytes,
}

/// Which documents of a namespace to list, in order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentQuery {
    /// Whose.
    pub tenant: Tenant,
    /// The namespace.
    pub namespace: Text,
    /// Ids that begin with this.
    pub prefix: Text,
    /// A top-level field an index is kept on, and its value as text.
    pub field: Option<(Text, Text)>,
    /// Ids after this one.
    pub after: Option<Text>,
    /// At most this many, up to [`PAGE_EVENTS_MAX`].
    pub limit: usize,
}

impl DocumentQuery {
    /// All documents of `namespace`.
    pub fn all(namespace: impl Into<Text>) -> Self {
        Self {
            tenant: Tenant::default(),
            namespace: namespace.into(),
            prefix: Text::from(""),
            field: None,
            after: None,
            limit: 1_000,
        }
    }
}

/// How far a subscription has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Grows by one with every move; 0 when there is none.
    pub revision: u64,
    /// Everything up to and including this position is settled.
    pub watermark: Position,
    /// Positions above it that are settled too, ascending.
    pub settled: Vec<Position>,
}

/// The answer to asking for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// It is yours, at this epoch, until it runs out or is let go.
    Granted {
        /// Grows each time the lease changes hands.
        epoch: u64,
    },
    /// Somebody else has it.
    Held {
        /// Who.
        by: Text,
        /// Until when, unless it is renewed.
        until: Timestamp,
    },
}

/// Figures about a store.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct StoreStats {
    /// Events in the log.
    pub events: u64,
    /// Streams that have events.
    pub streams: u64,
    /// The last position.
    pub head: Position,
    /// Documents, by namespace.
    pub documents: Vec<(String, u64)>,
    /// Due rows, by queue.
    pub due: Vec<(String, u64)>,
    /// Bytes on disk, all files together; 0 in memory.
    pub bytes: u64,
    /// Events by name, most first.
    pub names: Vec<(String, u64)>,
}

/// What a store promises and how it is set up, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StoreInfo {
    /// The engine.
    pub engine: String,
    /// Where it is.
    pub url: String,
    /// Whether an append that has returned survives a crash of the machine.
    pub durable: bool,
    /// Settings that matter, by name.
    pub settings: Vec<(String, String)>,
}

/// What `verify` found.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Verified {
    /// Events read and checked.
    pub events: u64,
    /// Faults, in order of position, at most [`FAULTS_MAX`]; none is a sound store.
    pub faults: Vec<Fault>,
}

/// The most faults `verify` lists.
pub const FAULTS_MAX: usize = 100;

/// One thing that is wrong in a store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// The record, if it is about one.
    pub position: Option<Position>,
    /// What is wrong.
    pub problem: String,
}

/// A sign of life of a store: sent after every commit that became visible, also those of other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beat {
    /// The last position.
    pub head: Position,
    /// Counts commits noticed by this handle.
    pub commits: u64,
}

/// Told how far long work has come: done, of all.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// The port. An engine implements it and passes the contract suite; nothing else in the platform knows which engine it
/// talks to.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// What it is and promises.
    fn info(&self) -> StoreInfo;

    /// Writes everything in the commit or nothing, durably when it returns.
    ///
    /// Concurrent commits may be made durable together; each is checked as those before it leave things, and one that
    /// fails fails alone.
    ///
    /// # Errors
    /// See [`Error`]; nothing was written, except where the kind is [`ErrorKind::Unknown`](crate::ErrorKind).
    async fn apply(&self, commit: Commit) -> Result<Applied, Error>;

    /// A page of the log or of a stream. Positions come without gaps: a position once seen never gains an earlier one
    /// later.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn read(&self, read: &Read) -> Result<Page, Error>;

    /// The last position.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn head(&self) -> Result<Position, Error>;

    /// The version of a stream, 0 when it has no events.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn stream_version(&self, tenant: &Tenant, stream: &str) -> Result<u64, Error>;

    /// The event with this id.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn find(&self, tenant: &Tenant, source: &str, id: &str) -> Result<Option<Recorded>, Error>;

    /// The first event after `after` that answers `query`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn first_match(
        &self,
        tenant: &Tenant,
        query: &EventQuery,
        after: Position,
    ) -> Result<Option<Position>, Error>;

    /// A document.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn document(&self, tenant: &Tenant, key: &DocumentKey) -> Result<Option<Document>, Error>;

    /// Documents, in order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>, Error>;

    /// How many documents a query would list without its limit.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn count_documents(&self, query: &DocumentQuery) -> Result<u64, Error>;

    /// How far a subscription has come.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn checkpoint(&self, name: &str) -> Result<Checkpoint, Error>;

    /// All checkpoints, in order of their names.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn checkpoints(&self) -> Result<Vec<(Text, Checkpoint)>, Error>;

    /// Asks for a lease, or renews it. Who has it already gets it again at the same epoch.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn lease(&self, name: &str, owner: &str, span: Duration) -> Result<Lease, Error>;

    /// Lets a lease go, if `owner` has it; its epoch stays.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn release(&self, name: &str, owner: &str) -> Result<(), Error>;

    /// Who has a lease now, if somebody has.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn holder(&self, name: &str) -> Result<Option<Text>, Error>;

    /// Rows of a queue due at or before `until`, in order of time, then id.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn due(
        &self,
        tenants: &Tenants,
        queue: &str,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Tenant, DueRow)>, Error>;

    /// A blob.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn blob(&self, tenant: &Tenant, key: &str) -> Result<Option<Bytes>, Error>;

    /// Figures.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn stats(&self) -> Result<StoreStats, Error>;

    /// Signs of life: the newest is always there, and each commit sends one.
    fn beats(&self) -> watch::Receiver<Beat>;

    /// Reads and checks everything.
    ///
    /// # Errors
    /// When the store cannot be read at all; what is merely wrong in it is in the answer.
    async fn verify(&self, progress: Progress<'_>) -> Result<Verified, Error>;

    /// Copies the store as it is at one moment to a new file, while it is being written.
    ///
    /// # Errors
    /// When the copy cannot be written, or something is there already.
    async fn backup(&self, to: &Path, progress: Progress<'_>) -> Result<(), Error>;

    /// Finishes what was begun and closes; further calls answer [`Error::Closed`].
    ///
    /// # Errors
    /// When closing fails; the store is closed all the same.
    async fn close(&self) -> Result<(), Error>;
}

/// A store behind which the engine does not show.
pub type AnyStore = Arc<dyn Store>;
