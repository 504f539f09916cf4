//! Coalescing: what comes for one key within a while becomes one item.

use std::{fmt, hash::Hash, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_core::Timestamp;

use crate::{
    Error, Operator,
    due::Due,
    error::{some, span},
    keyed::Keyed,
};

/// How long items of a key are made into one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Coalescing {
    /// How long after the first item of a key the one goes out.
    pub age: Duration,
    /// The most keys that wait; for one more, the oldest goes out before its time.
    pub keys: usize,
}

impl Default for Coalescing {
    /// One second, 10,000 keys.
    fn default() -> Self {
        Self { age: Duration::from_secs(1), keys: 10_000 }
    }
}

impl Coalescing {
    /// The defaults: one second.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long after the first item of a key the one goes out.
    #[must_use]
    pub fn age(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// The most keys that wait.
    #[must_use]
    pub fn keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }

    /// What is wrong with the values, each with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        span(&mut faults, "age", self.age);
        some(&mut faults, "keys", self.keys, "or nothing could wait");
        faults
    }
}

/// What became of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoalesceCounts {
    /// They became one with an earlier item of their key.
    pub joined: u64,
    /// They went out before their time, because too many keys waited.
    pub full: u64,
}

type Join<T> = Box<dyn Fn(&mut T, T) + Send + Sync>;

/// Makes one item of those that come for a key within a while; by default the latest stands for all.
///
/// Unlike [`Debounce`](crate::Debounce) it does not wait for quiet: the while counts from the first item. If joining
/// panics, what waited for the key stays as joining left it, and the item that was to join it is gone.
///
/// ```
/// use tidings_core::Timestamp;
/// use tidings_flow::{Coalesce, Coalescing, Operator};
///
/// let mut prices = Coalesce::by(Coalescing::new(), |(share, _): &(&str, u32)| *share)?;
/// let now = Timestamp::from_millis(0);
/// for quote in [("ACME", 10), ("OTHER", 7), ("ACME", 12)] {
///     prices.push(quote, now, &mut |_| unreachable!());
/// }
/// let mut out = Vec::new();
/// prices.fire(Timestamp::from_millis(1_000), &mut |quote| out.push(quote));
/// assert_eq!(out, [("ACME", 12), ("OTHER", 7)]);
/// # Ok::<(), tidings_flow::Error>(())
/// ```
pub struct Coalesce<T, K> {
    settings: Coalescing,
    key: Box<dyn Fn(&T) -> K + Send + Sync>,
    join: Join<T>,
    waiting: Keyed<K, T>,
    due: Due<K>,
    counts: CoalesceCounts,
}

impl<T, K: Clone + Eq + Hash> Coalesce<T, K> {
    /// The latest item of each key stands for all.
    ///
    /// # Errors
    /// Every setting that means nothing.
    pub fn by(settings: Coalescing, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Result<Self, Error> {
        Self::joining(settings, key, |kept, later| *kept = later)
    }

    /// `join` makes a later item part of the one that waits.
    ///
    /// # Errors
    /// Every setting that means nothing.
    pub fn joining(
        settings: Coalescing,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        join: impl Fn(&mut T, T) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        Error::settings(settings.faults())?;
        let (waiting, due) = (Keyed::default(), Due::default());
        let (key, join) = (Box::new(key), Box::new(join));
        Ok(Self { settings, key, join, waiting, due, counts: CoalesceCounts::default() })
    }

    /// How many keys wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What became of items.
    pub fn counts(&self) -> CoalesceCounts {
        self.counts
    }

    fn out(&mut self, key: &K, emit: &mut dyn FnMut(T)) {
        if let Some(item) = self.waiting.remove(key) {
            emit(item);
        }
    }
}

impl<T, K: Clone + Eq + Hash> Operator for Coalesce<T, K> {
    type Item = T;
    type Out = T;

    fn push(&mut self, item: T, now: Timestamp, emit: &mut dyn FnMut(T)) {
        let key = (self.key)(&item);
        self.fire(now, emit);
        if let Some(kept) = self.waiting.get_mut(&key) {
            self.counts.joined += 1;
            return (self.join)(kept, item);
        }
        if self.waiting.len() >= self.settings.keys
            && let Some(oldest) = self.due.pop()
        {
            self.counts.full += 1;
            self.out(&oldest, emit);
        }
        self.due.insert(now.after(self.settings.age), key.clone());
        self.waiting.insert(key, item);
    }

    fn due(&self) -> Option<Timestamp> {
        self.due.first()
    }

    fn fire(&mut self, now: Timestamp, emit: &mut dyn FnMut(T)) {
        while let Some(key) = self.due.pop_by(now) {
            self.out(&key, emit);
        }
    }

    fn flush(&mut self, _: Timestamp, emit: &mut dyn FnMut(T)) {
        while let Some(key) = self.due.pop() {
            self.out(&key, emit);
        }
    }
}

impl<T, K> fmt::Debug for Coalesce<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesce")
            .field("settings", &self.settings)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
