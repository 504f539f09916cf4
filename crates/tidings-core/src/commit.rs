//! Everything that is written to a store at once, as data.
//!
//! A [`Commit`] is applied whole or not at all. Because it is a value, it can be grouped with others, sent in one round
//! trip, faulted in tests and fenced; no transaction is ever held open across an await.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Envelope, Pattern, Text, Timestamp};

/// The place of an event in the whole log, from 1; 0 is before the first.
pub type Position = u64;

/// The most writes in one commit; over it, it is refused.
pub const WRITES_MAX: usize = 10_000;

/// The most bytes in one commit: 16 MiB; over it, it is refused.
pub const COMMIT_BYTES_MAX: usize = 16 << 20;

/// The tenant whose rows a call sees; the empty name is the tenant of those who have none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(pub Text);

impl Default for Tenant {
    fn default() -> Self {
        Self(Text::from(""))
    }
}

/// What a stream's version must be for an append to happen. Versions count a stream's events, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Expected {
    /// Whatever it is.
    #[default]
    Any,
    /// The stream has no event yet.
    None,
    /// The stream has exactly this many events.
    Exact(u64),
    /// The stream has at least one event.
    Exists,
}

/// Events for one stream, in order.
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream.
    pub stream: Text,
    /// What its version must be.
    pub expected: Expected,
    /// The events; never empty.
    pub events: Vec<Envelope>,
}

impl Append {
    /// An append to `stream` whatever its version.
    pub fn to(stream: impl Into<Text>, events: Vec<Envelope>) -> Self {
        Self { stream: stream.into(), expected: Expected::Any, events }
    }

    /// The same under a condition.
    pub fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }
}

/// A question about events: those whose name matches one of `names` (or any, when empty), that carry all of `tags`,
/// and that are in `stream` if one is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Patterns of names; empty is any.
    pub names: Vec<Pattern>,
    /// Tags, all of which an event must carry.
    pub tags: Vec<Text>,
    /// The stream.
    pub stream: Option<Text>,
}

impl EventQuery {
    /// Whether `envelope`, in `stream`, is an answer.
    pub fn matches(&self, stream: &str, envelope: &Envelope) -> bool {
        self.stream.as_deref().is_none_or(|wanted| wanted == stream)
            && (self.names.is_empty() || self.names.iter().any(|name| name.matches(envelope.name())))
            && self.tags.iter().all(|tag| envelope.tags().contains(tag))
    }
}

/// Nothing matching `query` may have been recorded after position `after` (a dynamic consistency boundary).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NothingSince {
    /// The question.
    pub query: EventQuery,
    /// The position up to which the author has seen the answers.
    pub after: Position,
}

/// Names a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// The namespace: a view's name, or one of the platform's own, which begin with `$`.
    pub namespace: Text,
    /// The id within the namespace.
    pub id: Text,
}

impl DocumentKey {
    /// A key from its parts.
    pub fn new(namespace: impl Into<Text>, id: impl Into<Text>) -> Self {
        Self { namespace: namespace.into(), id: id.into() }
    }
}

/// What is done to a document.
#[derive(Debug, Clone, PartialEq)]
pub enum DocumentChange {
    /// Replaces the whole value, which is JSON.
    Put(Bytes),
    /// Removes it.
    Delete,
    /// Applied by the engine in order, to the value as it is then, without having read it.
    Blind(Vec<BlindChange>),
}

/// A change that needs no read. A document that is not there counts as `{}`, a field that is not there as nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum BlindChange {
    /// Adds to a number.
    Add {
        /// The field at the top level.
        field: Text,
        /// How much, perhaps negative.
        by: i64,
    },
    /// Raises a number to at least this.
    Max {
        /// The field at the top level.
        field: Text,
        /// The number.
        to: i64,
    },
    /// Sets the fields of this JSON object at the top level (RFC 7396: `null` removes).
    Merge(Bytes),
}

/// One document written in a commit.
#[derive(Debug, Clone)]
pub struct DocumentWrite {
    /// Which.
    pub key: DocumentKey,
    /// What.
    pub change: DocumentChange,
    /// Top-level fields to keep an index on.
    pub indexed: Arc<[Text]>,
    /// The version it must have, 0 for "is not there"; `None` for whatever.
    pub expected: Option<u64>,
}

/// A document that was read on the way to this commit, and must not have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRead {
    /// Which.
    pub key: DocumentKey,
    /// The version that was seen; 0 for "is not there".
    pub version: u64,
}

/// The progress of a subscription, moved in the commit that carries the effects of what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointMove {
    /// The subscription's name.
    pub name: Text,
    /// The revision it must have; 0 when there is none yet. The move adds one.
    pub expected_revision: u64,
    /// Everything up to and including this position is settled.
    pub watermark: Position,
    /// Positions above the watermark that are settled too, ascending.
    pub settled: Vec<Position>,
}

/// A lease this commit is written under: refused when the epoch has moved on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The lease's name.
    pub lease: Text,
    /// The epoch at which the writer holds it.
    pub epoch: u64,
}

/// A row that becomes due at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRow {
    /// The queue.
    pub queue: Text,
    /// The id within the queue; a second row with the same id replaces the first.
    pub id: Text,
    /// When.
    pub due: Timestamp,
    /// What, for whoever owns the queue.
    pub body: Bytes,
}

/// What a commit does to due rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueChange {
    /// Adds or replaces a row.
    Put(DueRow),
    /// Removes a row. One that is not there makes the commit a conflict, so that nothing happens twice.
    Take {
        /// The queue.
        queue: Text,
        /// The id.
        id: Text,
    },
    /// Removes a row if it is there.
    Drop {
        /// The queue.
        queue: Text,
        /// The id.
        id: Text,
    },
}

/// What a commit does to blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobChange {
    /// Stores bytes under a key, replacing what was there.
    Put {
        /// The key.
        key: Text,
        /// The bytes.
        bytes: Bytes,
    },
    /// Removes what is there.
    Delete {
        /// The key.
        key: Text,
    },
}

/// Everything one writer wants written at once.
///
/// Checks come first, in this order: fences, ids already known, checkpoint revisions, stream versions, conditions on
/// events, document versions, due rows to take. When one fails, nothing is written. Known ids come before revisions, so
/// that repeating a commit whose outcome was unknown tells what became of it.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The tenant of all rows in it.
    pub tenant: Tenant,
    /// Leases it is written under.
    pub fences: Vec<Fence>,
    /// Events, in the order in which they get positions.
    pub appends: Vec<Append>,
    /// Conditions on events.
    pub conditions: Vec<NothingSince>,
    /// Documents that were read.
    pub reads: Vec<DocumentRead>,
    /// Documents to write; at most one write a document.
    pub documents: Vec<DocumentWrite>,
    /// Progress of subscriptions.
    pub checkpoints: Vec<CheckpointMove>,
    /// Due rows.
    pub due: Vec<DueChange>,
    /// Blobs.
    pub blobs: Vec<BlobChange>,
}

impl Commit {
    /// A commit of one append.
    pub fn append(append: Append) -> Self {
        Self { appends: vec![append], ..Self::default() }
    }

    /// A commit of events to their own streams, in order.
    pub fn events(events: impl IntoIterator<Item = Envelope>) -> Self {
        let mut commit = Self::default();
        for event in events {
            commit.push_event(event);
        }
        commit
    }

    /// Adds an event to its own stream, after those already there.
    pub fn push_event(&mut self, event: Envelope) {
        let stream = event.stream();
        match self.appends.last_mut() {
            Some(last) if *last.stream == *stream && last.expected == Expected::Any => {
                last.events.push(event)
            }
            _ => {
                let stream = Text::from(&*stream);
                self.appends.push(Append::to(stream, vec![event]));
            }
        }
    }

    /// How many rows it writes.
    pub fn writes(&self) -> usize {
        self.appends.iter().map(|append| append.events.len()).sum::<usize>()
            + self.documents.len()
            + self.checkpoints.len()
            + self.due.len()
            + self.blobs.len()
    }

    /// Roughly how many bytes it writes: payloads, documents, due rows and blobs.
    pub fn bytes(&self) -> usize {
        let events = self.appends.iter().flat_map(|append| &append.events);
        let payloads: usize = events.map(|event| event.payload().map_or(0, Bytes::len)).sum();
        let documents = self.documents.iter().map(|write| match &write.change {
            DocumentChange::Put(bytes) => bytes.len(),
            DocumentChange::Delete => 0,
            DocumentChange::Blind(changes) => changes
                .iter()
                .map(|change| match change {
                    BlindChange::Merge(bytes) => bytes.len(),
                    BlindChange::Add { .. } | BlindChange::Max { .. } => 16,
                })
                .sum(),
        });
        let due = self.due.iter().map(|change| match change {
            DueChange::Put(row) => row.body.len(),
            DueChange::Take { .. } | DueChange::Drop { .. } => 0,
        });
        let blobs = self.blobs.iter().map(|change| match change {
            BlobChange::Put { bytes, .. } => bytes.len(),
            BlobChange::Delete { .. } => 0,
        });
        payloads + documents.sum::<usize>() + due.sum::<usize>() + blobs.sum::<usize>()
    }
}
