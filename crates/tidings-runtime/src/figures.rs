//! How a pool is doing, as values.

use std::sync::atomic::{AtomicU64, Ordering};

use tidings_queue::Figures;

use crate::buffered::Running;

/// How a pool is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolFigures {
    /// The pool; empty is the shared one.
    pub pool: String,
    /// The queue and its workers.
    pub queue: Figures,
    /// Deliveries whose handler, or its fallback, returned `Ok`.
    pub handled: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Deliveries that were tried again.
    pub retries: u64,
    /// Deliveries that went to the dead letters.
    pub dead: u64,
    /// Deliveries that were not called on purpose: switched off, done already, or expired.
    pub skipped: u64,
    /// Deliveries that were dropped for want of room, shed, or whose handler was taken away.
    pub dropped: u64,
    /// Events that were given back to their publishers.
    pub refused: u64,
    /// Events that went to the store for want of room.
    pub spilled: u64,
}

impl PoolFigures {
    pub(crate) fn of(running: &Running) -> Self {
        let counts = &running.pool.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Self {
            pool: running.pool.name.to_string(),
            queue: running.queue.figures(),
            handled: counts.handled.get(),
            failures: read(&counts.failures),
            retries: read(&counts.retries),
            dead: read(&counts.dead),
            skipped: read(&counts.skipped),
            dropped: read(&counts.dropped),
            refused: read(&counts.refused),
            spilled: running.spiller.as_ref().map_or(0, |spiller| spiller.spilled()),
        }
    }

    /// The share of calls that succeeded, 0 to 1; 1 where none was made.
    pub fn success_rate(&self) -> f64 {
        let calls = self.handled + self.failures;
        #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
        let rate = self.handled as f64 / calls as f64;
        if calls == 0 { 1.0 } else { rate }
    }
}
