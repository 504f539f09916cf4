//! What can go wrong with an application.

use std::fmt;

use tidings_core::EnvelopeError;

/// Everything that is wrong with an application, found before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// The faults, in the order of what they are about; never empty.
    pub faults: Vec<String>,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [one] => write!(f, "the application cannot start: {one}"),
            many => {
                write!(f, "the application cannot start, for {} reasons:", many.len())?;
                many.iter().try_for_each(|fault| write!(f, "\n  - {fault}"))
            }
        }
    }
}

impl std::error::Error for BuildError {}

/// Why an event was not published.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The event is not valid.
    #[error("the event is not valid: {0}")]
    Invalid(#[from] EnvelopeError),
    /// Its payload is over the limit.
    #[error("{name} has {size} bytes, more than {limit}")]
    TooLarge {
        /// The event's name.
        name: String,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The store said no, or could not say.
    #[error("the store: {0}")]
    Store(#[from] tidings_store::Error),
    /// The application needs a store for this.
    #[error("{0} needs a store; say `.store(\"sqlite:…\")` when the application is built")]
    NoStore(&'static str),
    /// There was no room in the queue of a buffered handler. No handler has the event, and it is not durable.
    #[error(transparent)]
    Full(tidings_runtime::Full),
    /// The event is durable, but could not be spilled: no buffered handler has it.
    #[error("event {id} is durable, but no buffered handler has it: {why}")]
    OnlyDurable {
        /// The event's id.
        id: tidings_core::Text,
        /// Why not.
        why: String,
    },
    /// The application is shutting down and takes nothing in.
    #[error("the application is shutting down")]
    Closed,
}

impl From<tidings_runtime::PublishError> for PublishError {
    fn from(error: tidings_runtime::PublishError) -> Self {
        match error {
            tidings_runtime::PublishError::Full(full) if full.why == tidings_runtime::NoRoom::Closed => {
                Self::Closed
            }
            tidings_runtime::PublishError::Full(full) => Self::Full(full),
            tidings_runtime::PublishError::Payload(error) => Self::Invalid(error),
        }
    }
}
