//! Throttling: at most one item in a while, the first at once.

use std::{fmt, hash::Hash, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_core::Timestamp;

use crate::{
    Error, Operator,
    due::{Due, Ticket},
    error::{some, span},
    keyed::Keyed,
};

/// What becomes of items that come too soon after one that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tail {
    /// They are dropped, and counted.
    #[default]
    Drop,
    /// The latest of them goes out when the while is over, and the next one begins then.
    Latest,
}

/// How often an item may go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttling {
    /// How long after an item the next one may go out.
    pub every: Duration,
    /// What becomes of items in between.
    pub tail: Tail,
    /// The most keys that are held back; for one more, the one that began first may pass again before its time.
    pub keys: usize,
}

impl Default for Throttling {
    /// One second, nothing at the tail, 10,000 keys.
    fn default() -> Self {
        Self { every: Duration::from_secs(1), tail: Tail::Drop, keys: 10_000 }
    }
}

impl Throttling {
    /// The defaults: one item a second, the others dropped.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long after an item the next one may go out.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// The latest of the items in between goes out at the end.
    #[must_use]
    pub fn latest(self) -> Self {
        Self { tail: Tail::Latest, ..self }
    }

    /// The most keys that are held back.
    #[must_use]
    pub fn keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }

    /// What is wrong with the values, each with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        span(&mut faults, "every", self.every);
        some(&mut faults, "keys", self.keys, "or nothing could be held back");
        faults
    }
}

/// What became of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ThrottleCounts {
    /// They came too soon and were dropped, or a later one took their place.
    pub dropped: u64,
    /// Keys that could pass before their time, because too many were held back.
    pub full: u64,
}

/// A key that is held back.
struct Held<T> {
    until: Ticket,
    tail: Option<(T, Ticket)>,
}

/// Lets an item through and holds back those that come too soon after it; each key for itself.
///
/// ```
/// use tidings_core::Timestamp;
/// use tidings_flow::{Operator, Throttle, Throttling};
///
/// let (at, mut shown) = (Timestamp::from_millis, Vec::new());
/// let mut progress = Throttle::new(Throttling::new().latest())?;
/// for (percent, millis) in [(1, 0), (2, 300), (3, 600)] {
///     progress.push(percent, at(millis), &mut |percent| shown.push(percent));
/// }
/// assert_eq!(progress.due(), Some(at(1_000)));
/// progress.fire(at(1_000), &mut |percent| shown.push(percent));
/// assert_eq!(shown, [1, 3]);
/// # Ok::<(), tidings_flow::Error>(())
/// ```
pub struct Throttle<T, K = ()> {
    settings: Throttling,
    key: Box<dyn Fn(&T) -> K + Send + Sync>,
    held: Keyed<K, Held<T>>,
    /// When keys are free again.
    free: Due<K>,
    /// When keys are free again that hold back something to go out then.
    due: Due<K>,
    counts: ThrottleCounts,
}

impl<T> Throttle<T> {
    /// One item at a time, of whatever comes.
    ///
    /// # Errors
    /// Every setting that means nothing.
    pub fn new(settings: Throttling) -> Result<Self, Error> {
        Self::by(settings, |_| ())
    }
}

impl<T, K: Clone + Eq + Hash> Throttle<T, K> {
    /// One item at a time for each key.
    ///
    /// # Errors
    /// Every setting that means nothing.
    pub fn by(settings: Throttling, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Result<Self, Error> {
        Error::settings(settings.faults())?;
        let (held, free, due) = (Keyed::default(), Due::default(), Due::default());
        Ok(Self { settings, key: Box::new(key), held, free, due, counts: ThrottleCounts::default() })
    }

    /// How many keys are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// What became of items.
    pub fn counts(&self) -> ThrottleCounts {
        self.counts
    }

    fn pass(&mut self, key: K, item: T, now: Timestamp, emit: &mut dyn FnMut(T)) {
        let until = self.free.insert(now.after(self.settings.every), key.clone());
        self.held.insert(key, Held { until, tail: None });
        emit(item);
    }

    /// Lets what a key held back go out, and holds it back anew.
    fn pass_tail(&mut self, key: K, now: Timestamp, emit: &mut dyn FnMut(T)) {
        let Some(held) = self.held.remove(&key) else { return };
        self.free.remove(held.until);
        if let Some((item, _)) = held.tail {
            self.pass(key, item, now, emit);
        }
    }

    /// Forgets the key that is free first; what it held back goes out.
    fn make_room(&mut self, emit: &mut dyn FnMut(T)) {
        let Some(key) = self.free.pop() else { return };
        self.counts.full += 1;
        if let Some((item, ticket)) = self.held.remove(&key).and_then(|held| held.tail) {
            self.due.remove(ticket);
            emit(item);
        }
    }
}

impl<T, K: Clone + Eq + Hash> Operator for Throttle<T, K> {
    type Item = T;
    type Out = T;

    fn push(&mut self, item: T, now: Timestamp, emit: &mut dyn FnMut(T)) {
        let key = (self.key)(&item);
        self.fire(now, emit);
        let Some(held) = self.held.get_mut(&key) else {
            if self.held.len() >= self.settings.keys {
                self.make_room(emit);
            }
            return self.pass(key, item, now, emit);
        };
        match (self.settings.tail, &mut held.tail) {
            (Tail::Drop, _) => self.counts.dropped += 1,
            (Tail::Latest, Some((tail, _))) => {
                *tail = item;
                self.counts.dropped += 1;
            }
            (Tail::Latest, none) => *none = Some((item, self.due.insert(held.until.0, key))),
        }
    }

    fn due(&self) -> Option<Timestamp> {
        self.due.first()
    }

    fn fire(&mut self, now: Timestamp, emit: &mut dyn FnMut(T)) {
        while let Some(key) = self.due.pop_by(now) {
            self.pass_tail(key, now, emit);
        }
        while let Some(key) = self.free.pop_by(now) {
            self.held.remove(&key);
        }
    }

    fn flush(&mut self, now: Timestamp, emit: &mut dyn FnMut(T)) {
        while let Some(key) = self.due.pop() {
            self.pass_tail(key, now, emit);
        }
    }
}

impl<T, K> fmt::Debug for Throttle<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("settings", &self.settings)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
