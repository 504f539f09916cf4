//! The latest calls of a circuit breaker, counted.

use std::collections::VecDeque;

use tidings_core::{Timestamp, Window};

/// Into how many parts a window of time is divided: what is older goes a part at a time.
const PARTS: u32 = 10;

/// How calls went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) calls: u32,
    pub(crate) failed: u32,
    pub(crate) slow: u32,
}

impl Tally {
    pub(crate) fn add(&mut self, failed: bool, slow: bool) {
        self.calls = self.calls.saturating_add(1);
        self.failed = self.failed.saturating_add(failed.into());
        self.slow = self.slow.saturating_add(slow.into());
    }

    fn subtract(&mut self, other: Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failed = self.failed.saturating_sub(other.failed);
        self.slow = self.slow.saturating_sub(other.slow);
    }
}

/// Forgets the oldest calls; keeps sums, so that asking costs the same however many there are.
#[derive(Debug)]
pub(crate) struct Latest {
    window: Window,
    sum: Tally,
    /// Of a window of calls: one entry a call.
    calls: VecDeque<(bool, bool)>,
    /// Of a window of time: when each part began.
    parts: VecDeque<(Timestamp, Tally)>,
}

impl Latest {
    pub(crate) fn new(window: Window) -> Self {
        Self { window, sum: Tally::default(), calls: VecDeque::new(), parts: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, failed: bool, slow: bool, now: Timestamp) {
        self.forget(now);
        self.sum.add(failed, slow);
        match self.window {
            Window::Calls(most) => {
                self.calls.push_back((failed, slow));
                if self.calls.len() > most as usize
                    && let Some((failed, slow)) = self.calls.pop_front()
                {
                    self.sum.subtract(Tally { calls: 1, failed: failed.into(), slow: slow.into() });
                }
            }
            Window::Time(span) => {
                let part = span / PARTS;
                match self.parts.back_mut() {
                    Some((began, tally)) if now.since(*began) < part => tally.add(failed, slow),
                    _ => {
                        let mut tally = Tally::default();
                        tally.add(failed, slow);
                        self.parts.push_back((now, tally));
                    }
                }
            }
        }
    }

    /// How the latest calls went.
    pub(crate) fn tally(&mut self, now: Timestamp) -> Tally {
        self.forget(now);
        self.sum
    }

    pub(crate) fn clear(&mut self) {
        self.sum = Tally::default();
        self.calls.clear();
        self.parts.clear();
    }

    fn forget(&mut self, now: Timestamp) {
        let Window::Time(span) = self.window else { return };
        // A clock that was set back makes parts lie in the future: nobody knows how old they are.
        if self.parts.back().is_some_and(|(began, _)| *began > now) {
            self.clear();
        }
        while let Some((began, tally)) = self.parts.front().copied()
            && now.since(began) >= span
        {
            self.sum.subtract(tally);
            self.parts.pop_front();
        }
    }
}
