//! What a store can answer besides yes.

use std::fmt;

use tidings_core::{DocumentKey, Expected, Failure, Kind, Position, Text};

/// Why a store did not do what it was asked. Nothing was written, except where the kind is
/// [`ErrorKind::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream's version is not what the append expected.
    #[error("stream {stream} is at version {actual}, expected {}", Wanted(*.expected))]
    WrongVersion {
        /// The stream.
        stream: Text,
        /// What was expected.
        expected: Expected,
        /// Its version.
        actual: u64,
    },
    /// An event matching the condition's query has been recorded since.
    #[error("the event at position {position} matches a condition that nothing should match after {after}")]
    Matched {
        /// The first such event.
        position: Position,
        /// The position after which there should be none.
        after: Position,
    },
    /// Some ids are known and some are not, or they are known from different appends.
    #[error("{known} of {given} ids are known already, the first of them {id:?} of source {source_uri:?}")]
    PartlyKnown {
        /// How many are known.
        known: usize,
        /// How many were given.
        given: usize,
        /// The first known id.
        id: Text,
        /// Its source.
        source_uri: Text,
    },
    /// The id is known with other content, or given twice in one commit.
    #[error("id {id:?} of source {source_uri:?} is known with other content")]
    IdReused {
        /// The id.
        id: Text,
        /// Its source.
        source_uri: Text,
    },
    /// A document has another version than the commit expected or had read.
    #[error("document {}/{} is at version {actual}, expected {expected}", .key.namespace, .key.id)]
    DocumentChanged {
        /// The document.
        key: DocumentKey,
        /// The version that was expected; 0 for none.
        expected: u64,
        /// Its version; 0 for none.
        actual: u64,
    },
    /// A due row that was to be taken is not there.
    #[error("row {id:?} of queue {queue:?} has been taken already")]
    DueTaken {
        /// The queue.
        queue: Text,
        /// The id.
        id: Text,
    },
    /// The checkpoint has moved since it was read.
    #[error("checkpoint {name:?} is at revision {actual}, expected {expected}")]
    CheckpointMoved {
        /// The subscription.
        name: Text,
        /// The revision that was expected.
        expected: u64,
        /// Its revision.
        actual: u64,
    },
    /// The lease is in other hands.
    #[error("lease {lease:?} is at epoch {actual}, not {epoch}: another node has it")]
    Fenced {
        /// The lease.
        lease: Text,
        /// The epoch of the writer.
        epoch: u64,
        /// The epoch now.
        actual: u64,
    },
    /// The request makes no sense, whatever the state of the store.
    #[error("refused: {0}")]
    Refused(String),
    /// Over a limit.
    #[error("{what} has {size}, more than {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// Its size, with the unit.
        size: String,
        /// The limit, with the unit.
        limit: String,
    },
    /// Whether it was written cannot be known: a sync failed, or the reply to a commit was lost. Repeating the same
    /// commit with the same ids tells.
    #[error("whether it was written is not known: {0}; repeat it to know")]
    Unknown(String),
    /// There is no room on the disk.
    #[error("no room to write: {0}")]
    Full(String),
    /// The store can only be read.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// Somebody else holds the store for too long.
    #[error("the store is locked by another process: {0}")]
    Locked(String),
    /// What is stored is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The file is something else.
    #[error("not a store: {0}")]
    NotAStore(String),
    /// The store was written by a newer version of this program.
    #[error("the store has format {found}; this program knows formats up to {known}: use a newer one")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// Reading or writing failed.
    #[error("input or output failed: {0}")]
    Io(String),
}

/// The kinds of [`Error`], to match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The state of the store is not what the commit wants: read again and decide again.
    Conflict,
    /// The request can never be carried out.
    Refused,
    /// It cannot be known whether it was carried out.
    Unknown,
    /// There is no room.
    Full,
    /// The store can only be read.
    ReadOnly,
    /// Somebody else holds it.
    Locked,
    /// It is damaged.
    Damaged,
    /// It is no store, or a newer one.
    Foreign,
    /// It is closed.
    Closed,
    /// Reading or writing failed.
    Io,
}

impl Error {
    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongVersion { .. }
            | Self::Matched { .. }
            | Self::PartlyKnown { .. }
            | Self::IdReused { .. }
            | Self::DocumentChanged { .. }
            | Self::DueTaken { .. }
            | Self::CheckpointMoved { .. }
            | Self::Fenced { .. } => ErrorKind::Conflict,
            Self::Refused(_) | Self::TooLarge { .. } => ErrorKind::Refused,
            Self::Unknown(_) => ErrorKind::Unknown,
            Self::Full(_) => ErrorKind::Full,
            Self::ReadOnly(_) => ErrorKind::ReadOnly,
            Self::Locked(_) => ErrorKind::Locked,
            Self::Damaged(_) => ErrorKind::Damaged,
            Self::NotAStore(_) | Self::NewerFormat { .. } => ErrorKind::Foreign,
            Self::Closed => ErrorKind::Closed,
            Self::Io(_) => ErrorKind::Io,
        }
    }

    /// Whether trying again can help.
    pub fn is_transient(&self) -> bool {
        !matches!(self.kind(), ErrorKind::Refused | ErrorKind::Foreign | ErrorKind::Damaged)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = if error.is_transient() { Kind::Transient } else { Kind::Permanent };
        Self::of(kind, error)
    }
}

struct Wanted(Expected);

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expected::Any => f.write_str("any"),
            Expected::None => f.write_str("no such stream"),
            Expected::Exact(version) => write!(f, "version {version}"),
            Expected::Exists => f.write_str("that it exists"),
        }
    }
}
