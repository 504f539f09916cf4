//! The order of calls.

use std::sync::atomic::{AtomicI64, Ordering};

/// A listener's place in the order of calls. No two listeners of a bus have the same one, so that it also tells them
/// apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank(i64);

/// At which end of the order a new listener stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Before all that are there.
    First,
    /// After all that are there.
    Last,
}

/// Hands out ranks: upwards from 0 for those that join at the end, downwards from -1 for those that go in front.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    last: AtomicI64,
    first: AtomicI64,
}

impl Ranks {
    /// The next rank at that end.
    pub(crate) fn next(&self, end: End) -> Rank {
        Rank(match end {
            End::First => self.first.fetch_sub(1, Ordering::Relaxed) - 1,
            End::Last => self.last.fetch_add(1, Ordering::Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_in_front_is_first_and_the_latest_behind_is_last() {
        let ranks = Ranks::default();
        let behind = [End::Last, End::Last].map(|end| ranks.next(end));
        let front = [End::First, End::First].map(|end| ranks.next(end));
        assert!(front[1] < front[0] && front[0] < behind[0] && behind[0] < behind[1]);
    }
}
