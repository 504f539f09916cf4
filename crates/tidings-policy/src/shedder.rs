//! Refusing what is less urgent while latency is over its target.

use std::{
    sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{Priority, Shed, Timestamp};

/// Decides once a span by the mean latency of the span before: that of its calls, or, where there was none, of the waits
/// of what it refused. A span without either sheds nothing. So it never stays shut by having shut out what would have
/// shown that it is over.
#[derive(Debug)]
pub(crate) struct Shedder {
    shed: Shed,
    /// When the span ends, in microseconds.
    ends: AtomicI64,
    level: AtomicU8,
    called: Mean,
    refused: Mean,
    turn: Mutex<()>,
}

/// A mean in the making.
#[derive(Debug, Default)]
struct Mean {
    micros: AtomicU64,
    samples: AtomicU64,
}

impl Mean {
    fn add(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.samples.fetch_add(1, Ordering::Relaxed);
    }

    /// The mean, if there was anything, and from the beginning.
    fn take(&self) -> Option<Duration> {
        let micros = self.micros.swap(0, Ordering::Relaxed);
        micros.checked_div(self.samples.swap(0, Ordering::Relaxed)).map(Duration::from_micros)
    }
}

impl Shedder {
    pub(crate) fn new(shed: Shed) -> Self {
        Self {
            shed,
            ends: AtomicI64::new(0),
            level: AtomicU8::new(0),
            called: Mean::default(),
            refused: Mean::default(),
            turn: Mutex::new(()),
        }
    }

    pub(crate) fn is_of(&self, shed: &Shed) -> bool {
        self.shed == *shed
    }

    /// Takes the latency of a call into account.
    pub(crate) fn record(&self, latency: Duration) {
        self.called.add(latency);
    }

    /// Takes into account how long something had waited that was refused.
    pub(crate) fn record_refused(&self, waited: Duration) {
        self.refused.add(waited);
    }

    /// Whether something of this priority is refused, and the new level if it has just changed.
    pub(crate) fn refuses(&self, priority: Priority, now: Timestamp) -> (Option<Duration>, Option<u8>) {
        let mut changed = None;
        if self.turns(now) {
            changed = self.turn(now);
        }
        let refused = match priority {
            Priority::Low => self.level() >= 1,
            Priority::Normal => self.level() >= 2,
            Priority::Critical => false,
        };
        (refused.then(|| self.left(now)), changed)
    }

    pub(crate) fn level(&self) -> u8 {
        self.level.load(Ordering::Relaxed)
    }

    /// Whether the span is over, or the clock was set back behind its begin.
    fn turns(&self, now: Timestamp) -> bool {
        let (now, ends) = (now.as_micros(), self.ends.load(Ordering::Relaxed));
        now >= ends || now < ends.saturating_sub(self.span())
    }

    fn turn(&self, now: Timestamp) -> Option<u8> {
        let _turn = self.turn.lock();
        if !self.turns(now) {
            return None;
        }
        // A span nobody asked in says nothing about this one.
        let stale = now.as_micros().saturating_sub(self.ends.load(Ordering::Relaxed)) >= self.span();
        self.ends.store(now.as_micros().saturating_add(self.span()), Ordering::Relaxed);
        let (called, refused) = (self.called.take(), self.refused.take());
        let mean = called.or(refused).unwrap_or_default();
        let level = match mean {
            _ if stale => 0,
            mean if mean > self.shed.target.mul_f64(self.shed.normal_at) => 2,
            mean if mean > self.shed.target => 1,
            _ => 0,
        };
        (self.level.swap(level, Ordering::Relaxed) != level).then_some(level)
    }

    fn left(&self, now: Timestamp) -> Duration {
        Timestamp::from_micros(self.ends.load(Ordering::Relaxed)).since(now)
    }

    fn span(&self) -> i64 {
        i64::try_from(self.shed.over.as_micros()).unwrap_or(i64::MAX).max(1)
    }
}
