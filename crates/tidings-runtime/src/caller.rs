//! How much of the publishers' time publishing takes.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Instant,
};

/// One publication in so many is timed: reading the clock twice costs more than the rest of it.
const ONE_IN: u32 = 32;

/// Times a sample of publications.
#[derive(Debug)]
pub(crate) struct Caller {
    turn: AtomicU32,
    nanos: AtomicU64,
}

impl Caller {
    pub fn new() -> Self {
        Self { turn: AtomicU32::new(0), nanos: AtomicU64::new(0) }
    }

    pub fn begin(&self) -> Option<Instant> {
        // Counting may miss a publication of another thread; a sample need not be exact.
        let turn = self.turn.load(Ordering::Relaxed).wrapping_add(1);
        self.turn.store(turn, Ordering::Relaxed);
        turn.is_multiple_of(ONE_IN).then(Instant::now)
    }

    pub fn end(&self, begun: Option<Instant>) {
        if let Some(begun) = begun {
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.nanos.fetch_add(nanos.saturating_mul(u64::from(ONE_IN)), Ordering::Relaxed);
        }
    }

    /// The time spent since it was last asked, in nanoseconds.
    pub fn take(&self) -> u64 {
        self.nanos.swap(0, Ordering::Relaxed)
    }
}
