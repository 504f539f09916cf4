//! Three queues, one a priority, and whose turn it is.

use std::collections::VecDeque;

use tidings_core::Priority;

/// How many priorities there are. Levels count from the highest, 0, to the lowest.
pub(crate) const LEVELS: usize = 3;

/// The level of a priority.
pub(crate) fn level_of(priority: Priority) -> u8 {
    match priority {
        Priority::Critical => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

/// The priority of a level.
pub(crate) fn priority_of(level: u8) -> Priority {
    match level {
        0 => Priority::Critical,
        1 => Priority::Normal,
        _ => Priority::Low,
    }
}

/// What stands in a queue: when it came, in microseconds, and at which level.
pub(crate) trait Stands {
    fn since(&self) -> i64;
    fn level(&self) -> u8;
}

/// The three queues.
#[derive(Debug)]
pub(crate) struct Levels<V> {
    queues: [VecDeque<V>; LEVELS],
    /// How many of each level may still go in this round; nothing if the order is strict.
    credit: [u32; LEVELS],
    weights: Option<[u32; LEVELS]>,
    ageing: i64,
}

impl<V: Stands> Levels<V> {
    /// Strict unless there are weights; what has waited for `ageing` microseconds rises.
    pub(crate) fn new(weights: Option<[u32; LEVELS]>, ageing: i64) -> Self {
        Self { queues: Default::default(), credit: weights.unwrap_or_default(), weights, ageing }
    }

    pub(crate) fn set(&mut self, weights: Option<[u32; LEVELS]>, ageing: i64) {
        if weights != self.weights {
            (self.weights, self.credit) = (weights, weights.unwrap_or_default());
        }
        self.ageing = ageing;
    }

    pub(crate) fn push(&mut self, level: u8, value: V) {
        self.queues[usize::from(level)].push_back(value);
    }

    pub(crate) fn queues(&mut self) -> &mut [VecDeque<V>; LEVELS] {
        &mut self.queues
    }

    /// Lifts what has waited long enough. Each queue is in order of when its values came, so only fronts are looked at.
    pub(crate) fn age(&mut self, now: i64) {
        for level in (1..LEVELS).rev() {
            while let Some(front) = self.queues[level].front() {
                let rises = i64::from(front.level()) - level as i64 + 1;
                if front.since().saturating_add(self.ageing.saturating_mul(rises)) > now {
                    break;
                }
                if let Some(value) = self.queues[level].pop_front() {
                    self.queues[level - 1].push_back(value);
                }
            }
        }
    }

    /// The next one for which `take` has a use; the others were there for nothing and are forgotten.
    pub(crate) fn pop<R>(&mut self, mut take: impl FnMut(V) -> Option<R>) -> Option<R> {
        loop {
            let level = self.next()?;
            let Some(taken) = self.queues[level].pop_front().and_then(&mut take) else { continue };
            self.credit[level] = self.credit[level].saturating_sub(1);
            return Some(taken);
        }
    }

    fn next(&mut self) -> Option<usize> {
        let (queues, credit) = (&self.queues, &self.credit);
        let first = (0..LEVELS).find(|level| !queues[*level].is_empty())?;
        let Some(weights) = self.weights else { return Some(first) };
        let next = (first..LEVELS).find(|level| credit[*level] > 0 && !queues[*level].is_empty());
        if next.is_none() {
            self.credit = weights;
        }
        Some(next.unwrap_or(first))
    }
}
