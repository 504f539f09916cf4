//! What several tests need: times, and operators driven by hand.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod running;

use std::time::Duration;

use tidings_core::Timestamp;
use tidings_flow::Operator;

/// So many milliseconds after the beginning.
pub const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// So many milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An operator, and what came out of it, with the time.
pub struct Driven<O: Operator> {
    pub operator: O,
    pub now: i64,
    pub out: Vec<(i64, O::Out)>,
}

impl<O: Operator> Driven<O> {
    pub fn new(operator: O) -> Self {
        Self { operator, now: 0, out: Vec::new() }
    }

    pub fn push(&mut self, item: O::Item) -> &mut Self {
        let (now, out) = (self.now, &mut self.out);
        self.operator.push(item, at(now), &mut |one| out.push((now, one)));
        self
    }

    /// Moves to a time, and stops whenever something is due on the way, as a timer would.
    pub fn to(&mut self, millis: i64) -> &mut Self {
        while let Some(due) = self.operator.due().filter(|due| *due <= at(millis)) {
            self.now = self.now.max(due.as_millis());
            let (now, out) = (self.now, &mut self.out);
            self.operator.fire(due.max(at(now)), &mut |one| out.push((now, one)));
            assert!(self.operator.due().is_none_or(|next| next > due), "what is due is done");
        }
        self.now = millis;
        self
    }

    /// Moves to a time without stopping, as a timer would that is late.
    pub fn late(&mut self, millis: i64) -> &mut Self {
        self.now = millis;
        let out = &mut self.out;
        self.operator.fire(at(millis), &mut |one| out.push((millis, one)));
        self
    }

    pub fn flush(&mut self) -> &mut Self {
        let (now, out) = (self.now, &mut self.out);
        self.operator.flush(at(now), &mut |one| out.push((now, one)));
        self
    }

    pub fn take(&mut self) -> Vec<(i64, O::Out)> {
        std::mem::take(&mut self.out)
    }
}
