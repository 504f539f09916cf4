//! What a queue tells of itself.

use std::time::Duration;

/// What a queue tells of itself at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// How many entries are there, waiting, running and waiting to run again.
    pub events: usize,
    /// How many bytes these take.
    pub bytes: usize,
    /// How much of the room they take, 0 to 1 (and up to a tenth more by what handlers push): of entries or of bytes, the
    /// larger.
    pub utilisation: f64,
    /// How many wait that are critical.
    pub critical: usize,
    /// How many wait that are normal.
    pub normal: usize,
    /// How many wait that are low.
    pub low: usize,
    /// How many wait to run again after a time.
    pub delayed: usize,
    /// How many were settled since the start.
    pub processed: u64,
    /// How many were lost to a panic nobody caught.
    pub lost: u64,
    /// How many were dropped for newer ones.
    pub dropped: u64,
    /// How long entries waited before they ran. Of a burst, every sixteenth is measured, and the first.
    pub wait: Percentiles,
    /// How long entries took, from their start to their end. Those that take less than four microseconds are measured a few
    /// together.
    pub processing: Percentiles,
    /// The workers that work or are to be restarted, and those that ended and have counts.
    pub workers: Vec<WorkerFigures>,
}

/// How spans of time are spread, within a sixteenth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Percentiles {
    /// The average.
    pub mean: Duration,
    /// Half took at most this.
    pub p50: Duration,
    /// 95 of 100 took at most this.
    pub p95: Duration,
    /// 99 of 100 took at most this.
    pub p99: Duration,
}

/// What one worker tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerFigures {
    /// Which, counted from 0.
    pub worker: usize,
    /// Whether it is meant to work: not when it was scaled away.
    pub serving: bool,
    /// Whether it works on something now: it runs a handler or drives an asynchronous one.
    pub active: bool,
    /// Whether its thread sleeps, and does not look for work either.
    pub asleep: bool,
    /// Whether a synchronous handler has held it for too long.
    pub blocked: bool,
    /// Whether it died and has not been restarted yet.
    pub down: bool,
    /// How many asynchronous handlers it drives.
    pub in_flight: usize,
    /// How many wait at it.
    pub waiting: usize,
    /// How many it settled.
    pub processed: u64,
    /// How often it was restarted.
    pub restarted: u64,
}

impl Figures {
    /// How many workers there are to be.
    pub fn total(&self) -> usize {
        self.workers.iter().filter(|worker| worker.serving).count()
    }

    /// How many of them work on something.
    pub fn active(&self) -> usize {
        self.workers.iter().filter(|worker| worker.serving && worker.active).count()
    }

    /// How many of them have nothing to do.
    pub fn idle(&self) -> usize {
        self.total() - self.active()
    }

    /// How often workers were restarted.
    pub fn restarted(&self) -> u64 {
        self.workers.iter().map(|worker| worker.restarted).sum()
    }
}
