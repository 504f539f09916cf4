//! Which positions have been read and which are settled: from it a checkpoint is made.

use std::collections::VecDeque;

use tidings_core::Position;
use tidings_store::Checkpoint;

/// Positions between the watermark and what has been read, in order.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Positions read that match the subscription, ascending, with whether they are settled.
    entries: VecDeque<(Position, bool)>,
    /// How many of them are not settled.
    unsettled: usize,
    /// Everything up to here has been read.
    read_to: Position,
    /// Settled in an earlier run, above the watermark, ascending, not read again yet.
    carried: VecDeque<Position>,
}

impl Window {
    pub(crate) fn restore(checkpoint: &Checkpoint) -> Self {
        Self {
            entries: VecDeque::new(),
            unsettled: 0,
            read_to: checkpoint.watermark,
            carried: checkpoint.settled.iter().copied().collect(),
        }
    }

    pub(crate) fn read_to(&self) -> Position {
        self.read_to
    }

    /// How many positions it holds.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// A matching position has been read. Answers whether it has to be delivered; if not, an earlier run settled it.
    pub(crate) fn read(&mut self, position: Position) -> bool {
        while self.carried.front().is_some_and(|carried| *carried < position) {
            self.carried.pop_front();
        }
        let settled = self.carried.front() == Some(&position);
        if settled {
            self.carried.pop_front();
        }
        self.entries.push_back((position, settled));
        self.unsettled += usize::from(!settled);
        self.read_to = position;
        !settled
    }

    /// Everything up to `position` has been read; what was not told by [`read`](Self::read) does not match.
    pub(crate) fn advance(&mut self, position: Position) {
        self.read_to = self.read_to.max(position);
    }

    pub(crate) fn is_settled(&self, position: Position) -> bool {
        match self.entries.binary_search_by_key(&position, |(position, _)| *position) {
            Ok(at) => self.entries[at].1,
            Err(_) => {
                self.carried.contains(&position) || (position <= self.read_to && self.entries.is_empty())
            }
        }
    }

    pub(crate) fn settle(&mut self, position: Position) {
        self.mark(position, true);
    }

    /// Takes back a settlement that was not committed.
    pub(crate) fn unsettle(&mut self, position: Position) {
        self.mark(position, false);
    }

    fn mark(&mut self, position: Position, settled: bool) {
        if let Ok(at) = self.entries.binary_search_by_key(&position, |(position, _)| *position) {
            let before = std::mem::replace(&mut self.entries[at].1, settled);
            self.unsettled = self.unsettled + usize::from(before) - usize::from(settled);
        }
    }

    /// Everything up to here is settled.
    pub(crate) fn watermark(&self) -> Position {
        let first = self.entries.iter().find(|(_, settled)| !settled);
        first.map_or(self.read_to, |(position, _)| position - 1)
    }

    /// The watermark and the settled positions above it.
    pub(crate) fn checkpoint(&self) -> (Position, Vec<Position>) {
        let Some(first) = self.entries.iter().position(|(_, settled)| !settled) else {
            return (self.read_to, self.carried.iter().copied().filter(|at| *at > self.read_to).collect());
        };
        let watermark = self.entries[first].0 - 1;
        let above = self.entries.range(first..).filter(|(_, settled)| *settled).map(|(at, _)| *at);
        (watermark, above.chain(self.carried.iter().copied()).collect())
    }

    /// Forgets what is settled at or below `watermark`, once that is committed.
    pub(crate) fn prune(&mut self, watermark: Position) {
        while self.entries.front().is_some_and(|(at, settled)| *settled && *at <= watermark) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_stops_before_the_first_unsettled_position() {
        let mut window = Window::default();
        for position in [2, 3, 5] {
            assert!(window.read(position));
        }
        window.advance(9);
        assert_eq!(window.checkpoint(), (1, vec![]));
        window.settle(3);
        window.settle(5);
        assert_eq!(window.checkpoint(), (1, vec![3, 5]));
        assert_eq!((window.watermark(), window.unsettled()), (1, 1));
        window.settle(2);
        assert_eq!(window.checkpoint(), (9, vec![]));
        window.unsettle(3);
        assert_eq!(window.checkpoint(), (2, vec![5]));
        window.settle(3);
        window.prune(9);
        assert_eq!((window.len(), window.read_to()), (0, 9));
    }

    #[test]
    fn what_an_earlier_run_settled_is_not_delivered_again_and_stays_settled() {
        let checkpoint = Checkpoint { revision: 1, watermark: 4, settled: vec![6, 9] };
        let mut window = Window::restore(&checkpoint);
        assert_eq!(window.checkpoint(), (4, vec![6, 9]));
        assert!(window.read(5));
        assert!(!window.read(6));
        assert!(window.read(7));
        assert_eq!(window.checkpoint(), (4, vec![6, 9]));
        window.settle(5);
        assert_eq!(window.checkpoint(), (6, vec![9]));
        window.settle(7);
        assert_eq!(window.checkpoint(), (7, vec![9]));
        assert!(!window.read(9));
        assert_eq!(window.checkpoint(), (9, vec![]));
    }
}
