//! What waits, and what is given back.

use std::fmt;

use tidings_core::Priority;

/// Something that wants to be worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// What it is.
    pub item: T,
    /// Entries with the same key run one at a time, in the order they were pushed. Without a key nothing is promised.
    pub key: Option<u64>,
    /// How soon it wants to run. The waiting entries of a key have the highest priority among them.
    pub priority: Priority,
    /// How many bytes it takes from the budget.
    pub bytes: usize,
}

/// An entry that was not taken, with the reason.
#[derive(Clone, PartialEq, Eq)]
pub struct Full<T> {
    /// The entry, as it was.
    pub entry: Entry<T>,
    /// Why it was not taken.
    pub why: Why,
}

/// Why an entry was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// As many entries as may be are there, or others wait for room and are first.
    Events,
    /// The entry's bytes would exceed the budget.
    Bytes,
    /// The queue takes nothing any more.
    Closed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "the queue holds as many entries as it may",
            Self::Bytes => "the queue holds as many bytes as it may",
            Self::Closed => "the queue is closed",
        })
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Full").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<T> std::error::Error for Full<T> {}

/// What had not been worked off when a queue ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left<T> {
    /// What still waited, in order a key.
    pub waiting: Vec<Entry<T>>,
    /// How many had begun and not ended: asynchronous ones were dropped where they were, one that waited to run again
    /// with them; a synchronous one that still holds its thread is left to end by itself.
    pub running: usize,
}

impl<T> Left<T> {
    /// Whether all was worked off.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}
