//! Rate limits: a token bucket or a fixed window, for all or each key, alone or together with other processes.
//!
//! Our own and not `governor`: a policy's clock is that of its caller, a limit that waits hands out the time of its turn,
//! memory is bounded by keys and not by a housekeeping somebody has to call, and the same arithmetic counts windows.

mod meter;
mod shared;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use ahash::AHashMap;
use parking_lot::Mutex;
use tidings_core::{Counters, Envelope, Failure, Handled, Per, Rate, RateKind, Reply, Text, Timestamp};

use self::{
    meter::{Cell, Meter, nanos, span},
    shared::Shared,
};

/// Counts the deliveries of one handler.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: Rate,
    meter: Meter,
    state: Counting,
    refused: AtomicU64,
    /// When it was last told that something was refused, in microseconds.
    told: AtomicI64,
}

#[derive(Debug)]
enum Counting {
    /// The bucket all share.
    One(AtomicI64),
    Window(Mutex<Cell>),
    Keys(Mutex<Keys>),
    Shared(Shared),
}

#[derive(Debug, Default)]
struct Keys {
    cells: AHashMap<Text, Cell>,
    /// Of those for which there was no more room, together.
    rest: Cell,
    /// When idle keys were last looked for.
    swept: i64,
}

/// What became of a start.
pub(crate) enum Turn {
    Now,
    /// After this wait, which is its turn: it is counted already.
    At(Duration),
    /// The window is full for so long, and it may wait for the next.
    Later(Duration),
    /// Somebody has to be asked; the answer belongs into [`Limiter::granted`].
    Ask(Reply<'static, Handled<u32>>),
    Refused(Duration),
}

impl Limiter {
    pub(crate) fn new(name: &Text, rate: &Rate, counters: Option<Arc<dyn Counters>>) -> Self {
        let state = match (rate.shared, counters, rate.each, rate.kind) {
            (true, Some(counters), _, _) => Counting::Shared(Shared::new(name.clone(), rate, counters)),
            (_, _, Per::Key, _) => Counting::Keys(Mutex::default()),
            (_, _, Per::All, RateKind::Bucket) => Counting::One(AtomicI64::new(0)),
            (_, _, Per::All, RateKind::Window) => Counting::Window(Mutex::default()),
        };
        Self {
            meter: Meter::new(rate),
            rate: rate.clone(),
            state,
            refused: AtomicU64::new(0),
            told: AtomicI64::new(i64::MIN),
        }
    }

    pub(crate) fn is_of(&self, rate: &Rate) -> bool {
        self.rate == *rate
    }

    /// Asks for a start. `patience` is how long it may wait for its turn.
    #[inline]
    pub(crate) fn turn(&self, envelope: &Envelope, now: Timestamp, patience: Duration) -> Turn {
        let at = nanos(now);
        match &self.state {
            Counting::One(bucket) => self.one(bucket, at, patience),
            Counting::Window(cell) => self.told_to_wait(self.meter.take(&mut cell.lock(), at), patience),
            Counting::Keys(keys) => self.told_to_wait(self.keyed(&mut keys.lock(), envelope, at), patience),
            Counting::Shared(shared) => match shared.take(&self.meter, &self.key(envelope), at) {
                Ok(None) => Turn::Now,
                Ok(Some(answer)) => Turn::Ask(answer),
                Err(wait) => self.told_to_wait(Err(wait), patience),
            },
        }
    }

    /// What was granted to who asked at `asked`.
    ///
    /// # Errors
    /// Who counts could not be reached.
    pub(crate) fn granted(
        &self,
        envelope: &Envelope,
        asked: Timestamp,
        granted: Handled<u32>,
        patience: Duration,
    ) -> Result<Turn, Failure> {
        let Counting::Shared(shared) = &self.state else { return Ok(Turn::Now) };
        let at = nanos(asked);
        if shared.granted(&self.meter, &self.key(envelope), at, granted)? {
            return Ok(Turn::Now);
        }
        let wait = span(self.meter.window(at).saturating_add(self.meter.per) - at);
        Ok(self.told_to_wait(Err(wait), patience))
    }

    #[inline]
    fn one(&self, bucket: &AtomicI64, now: i64, patience: Duration) -> Turn {
        let ahead = i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
        let mut at = bucket.load(Ordering::Relaxed);
        loop {
            let (next, wait) = match self.meter.fill(at, now, ahead) {
                Ok(turn) => turn,
                Err(wait) => return Turn::Refused(span(wait.saturating_add(ahead))),
            };
            match bucket.compare_exchange_weak(at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) if wait == 0 => return Turn::Now,
                Ok(_) => return Turn::At(span(wait)),
                Err(other) => at = other,
            }
        }
    }

    fn keyed(&self, keys: &mut Keys, envelope: &Envelope, now: i64) -> Result<(), Duration> {
        let key = envelope.key().map_or("", |key| key);
        if let Some(cell) = keys.cells.get_mut(key) {
            return self.meter.take(cell, now);
        }
        let full = keys.cells.len() >= self.rate.keys as usize;
        // Looking at all of them is worth it once a span, when others may have become idle.
        if full && !(0..self.meter.per).contains(&(now - keys.swept)) {
            keys.swept = now;
            keys.cells.retain(|_, cell| !self.meter.is_idle(cell, now));
        }
        if keys.cells.len() >= self.rate.keys as usize {
            return self.meter.take(&mut keys.rest, now);
        }
        let mut cell = Cell::default();
        let taken = self.meter.take(&mut cell, now);
        keys.cells.insert(key.into(), cell);
        taken
    }

    fn told_to_wait(&self, taken: Result<(), Duration>, patience: Duration) -> Turn {
        match taken {
            Ok(()) => Turn::Now,
            Err(wait) if wait <= patience => Turn::Later(wait),
            Err(wait) => Turn::Refused(wait),
        }
    }

    fn key(&self, envelope: &Envelope) -> Text {
        match (self.rate.each, envelope.key()) {
            (Per::Key, Some(key)) => key.clone(),
            (Per::All, _) | (Per::Key, None) => Text::from(""),
        }
    }

    /// Counts a refusal; answers how many there were since it was last told, if it is time to tell.
    pub(crate) fn refused(&self, now: Timestamp) -> Option<u64> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let (told, now) = (self.told.load(Ordering::Relaxed), now.as_micros());
        let due = now < told || now.saturating_sub(told) >= 1_000_000;
        (due && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok())
            .then(|| self.refused.swap(0, Ordering::Relaxed))
    }

    /// How many of all may start now, where that is one number, and how many keys are told apart.
    pub(crate) fn left(&self, now: Timestamp) -> (Option<u32>, usize) {
        let now = nanos(now);
        match &self.state {
            Counting::One(bucket) => {
                let cell = Cell { at: bucket.load(Ordering::Relaxed), count: 0 };
                (Some(self.meter.left(&cell, now)), 0)
            }
            Counting::Window(cell) => (Some(self.meter.left(&cell.lock(), now)), 0),
            Counting::Keys(keys) => (None, keys.lock().cells.len()),
            Counting::Shared(_) => (None, 0),
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        self.rate.wait.unwrap_or_default()
    }
}
