//! The order of calls.

use std::{
    cmp::Reverse,
    sync::atomic::{AtomicI64, Ordering},
};

/// A listener's place in the order of calls. No two listeners of a bus have the same one, so that it also tells them
/// apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank {
    /// The higher, the earlier.
    priority: Reverse<i32>,
    /// Decides within one priority; unique by itself.
    turn: i64,
}

/// At which end of the order a new listener stands, among those of its priority.
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
    /// The next rank of that priority, at that end of it.
    pub(crate) fn next(&self, priority: i32, end: End) -> Rank {
        let turn = match end {
            End::First => self.first.fetch_sub(1, Ordering::Relaxed) - 1,
            End::Last => self.last.fetch_add(1, Ordering::Relaxed),
        };
        Rank { priority: Reverse(priority), turn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_in_front_is_first_and_the_latest_behind_is_last() {
        let ranks = Ranks::default();
        let behind = [End::Last, End::Last].map(|end| ranks.next(0, end));
        let front = [End::First, End::First].map(|end| ranks.next(0, end));
        assert!(front[1] < front[0] && front[0] < behind[0] && behind[0] < behind[1]);
    }

    #[test]
    fn a_higher_priority_goes_before_a_lower_one_at_whichever_end_they_joined() {
        let ranks = Ranks::default();
        let low = ranks.next(i32::MIN, End::First);
        let (plain, high) = (ranks.next(0, End::First), ranks.next(1, End::Last));
        let highest = ranks.next(i32::MAX, End::Last);
        assert!(highest < high && high < plain && plain < low);
    }
}
