//! How many retries there may be in a minute.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use tidings_core::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// Keeps when the latest retries are due, as many as there may be in a minute.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    due: Mutex<VecDeque<Timestamp>>,
}

impl Budget {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { most: per_minute.max(1) as usize, due: Mutex::default() }
    }

    /// The wait, or a longer one until a retry's turn: no minute has more of them than the budget.
    pub(crate) fn wait(&self, now: Timestamp, wait: Duration) -> Duration {
        let mut due = self.due.lock();
        let mut at = now.after(wait);
        if due.len() >= self.most {
            at = at.max(due[due.len() - self.most].after(MINUTE));
        }
        let place = due.partition_point(|other| *other <= at);
        due.insert(place, at);
        if due.len() > self.most {
            due.pop_front();
        }
        at.since(now)
    }

    /// How many more retries may be due within the next minute.
    pub(crate) fn left(&self, now: Timestamp) -> usize {
        let due = self.due.lock();
        let recent = due.iter().filter(|at| at.after(MINUTE) > now).count();
        self.most - recent.min(self.most)
    }
}
