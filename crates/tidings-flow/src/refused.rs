//! How an item is refused.

use std::fmt;

use tidings_core::Failure;

/// An item that was not taken, and why.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused<T> {
    /// The item.
    pub item: T,
    /// Why it was not taken.
    pub why: Why,
}

/// Why an item was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// The consumer is behind, and as much waits for it as may.
    #[error("as much waits for the flow's consumer as may")]
    Full,
    /// The flow was closed, or its runtime has ended.
    #[error("the flow has ended")]
    Ended,
}

impl<T> From<Refused<T>> for Failure {
    fn from(refused: Refused<T>) -> Self {
        match refused.why {
            Why::Full => Self::transient(refused.why.to_string()),
            Why::Ended => Self::permanent(refused.why.to_string()),
        }
    }
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("why", &self.why).finish_non_exhaustive()
    }
}
