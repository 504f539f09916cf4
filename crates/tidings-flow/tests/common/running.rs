//! What tests of flows need: a runtime, a clock, and what a consumer was given.

use std::{
    future::Future,
    sync::{Arc, Mutex},
};

use tidings_core::{ManualClock, Policy, Retry};
use tidings_flow::{Batch, Batching};

use super::{at, ms};

/// Runs a test on one thread, so that a task runs only when the test lets it.
pub fn wait<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(test)
}

/// Lets tasks run until a condition holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never happened: {what}");
}

/// Lets tasks run until they wait for something.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub fn clock() -> ManualClock {
    ManualClock::at(at(0))
}

pub fn batch<T>(items: usize) -> Batch<T> {
    Batch::new(Batching::new().items(items)).expect("valid")
}

pub fn retry(attempts: u32) -> Policy {
    Policy::new().retry(Retry::constant(ms(100)).jitter(0.0).attempts(attempts))
}

/// What a consumer was given.
pub struct Seen<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Seen<T> {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn note(&self, one: T) {
        self.0.lock().expect("no panic while noting").push(one);
    }

    pub fn all(&self) -> Vec<T> {
        self.0.lock().expect("no panic while noting").clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().expect("no panic while noting").len()
    }
}
