//! Debouncing: the last of a burst, once there is quiet.

use std::{fmt, hash::Hash, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_core::Timestamp;

use crate::{
    Error, Operator,
    due::{Due, Ticket},
    error::{some, span},
    keyed::Keyed,
};

/// How long it has to be quiet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Debouncing {
    /// How long nothing may come before the last item goes out.
    pub quiet: Duration,
    /// How long after the first item of a burst one goes out at the latest; without it, a burst without end gives
    /// nothing out.
    pub max_wait: Option<Duration>,
    /// The most keys that wait; for one more, the one that is due first goes out before its time.
    pub keys: usize,
}

impl Default for Debouncing {
    /// 300 milliseconds, no longest wait, 10,000 keys.
    fn default() -> Self {
        Self { quiet: Duration::from_millis(300), max_wait: None, keys: 10_000 }
    }
}

impl Debouncing {
    /// The defaults: 300 milliseconds of quiet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long nothing may come before the last item goes out.
    #[must_use]
    pub fn quiet(self, quiet: Duration) -> Self {
        Self { quiet, ..self }
    }

    /// How long after the first item of a burst one goes out at the latest.
    #[must_use]
    pub fn max_wait(self, wait: Duration) -> Self {
        Self { max_wait: Some(wait), ..self }
    }

    /// The most keys that wait.
    #[must_use]
    pub fn keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }

    /// What is wrong with the values, each with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        span(&mut faults, "quiet", self.quiet);
        if let Some(wait) = self.max_wait {
            span(&mut faults, "max_wait", wait);
            if wait < self.quiet {
                let quiet = self.quiet;
                faults.push(format!(
                    "max_wait: {wait:?} is less than the quiet {quiet:?}, which would never count"
                ));
            }
        }
        some(&mut faults, "keys", self.keys, "or nothing could wait");
        faults
    }
}

/// What became of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DebounceCounts {
    /// A later item of the same burst took their place.
    pub replaced: u64,
    /// They were cancelled.
    pub cancelled: u64,
    /// They went out before their time, because too many keys waited.
    pub full: u64,
}

struct Waiting<T> {
    item: T,
    first: Timestamp,
    ticket: Ticket,
}

/// Gives out the last item of a burst, after a while in which nothing came; each key for itself.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::Timestamp;
/// use tidings_flow::{Debounce, Debouncing, Operator};
///
/// let at = Timestamp::from_millis;
/// let mut typed = Debounce::new(Debouncing::new())?;
/// typed.push("t", at(0), &mut |_| unreachable!());
/// typed.push("ti", at(200), &mut |_| unreachable!());
/// assert_eq!(typed.due(), Some(at(500)));
/// typed.fire(at(500), &mut |text| assert_eq!(text, "ti"));
/// # Ok::<(), tidings_flow::Error>(())
/// ```
pub struct Debounce<T, K = ()> {
    settings: Debouncing,
    key: Box<dyn Fn(&T) -> K + Send + Sync>,
    waiting: Keyed<K, Waiting<T>>,
    due: Due<K>,
    counts: DebounceCounts,
}

impl<T> Debounce<T> {
    /// One burst at a time, of whatever comes.
    ///
    /// # Errors
    /// Every setting that means nothing.
    pub fn new(settings: Debouncing) -> Result<Self, Error> {
        Self::by(settings, |_| ())
    }
}

impl<T, K: Clone + Eq + Hash> Debounce<T, K> {
    /// One burst at a time for each key.
    ///
    /// # Errors
    /// Every setting that means nothing.
    pub fn by(settings: Debouncing, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Result<Self, Error> {
        Error::settings(settings.faults())?;
        let (waiting, due) = (Keyed::default(), Due::default());
        Ok(Self { settings, key: Box::new(key), waiting, due, counts: DebounceCounts::default() })
    }

    /// Takes back what waits under a key: it will not go out.
    pub fn cancel(&mut self, key: &K) -> Option<T> {
        let waiting = self.waiting.remove(key)?;
        self.due.remove(waiting.ticket);
        self.counts.cancelled += 1;
        Some(waiting.item)
    }

    /// Takes back everything that waits, in no order.
    pub fn cancel_all(&mut self) -> Vec<T> {
        self.due.clear();
        let items: Vec<T> = self.waiting.drain().map(|(_, waiting)| waiting.item).collect();
        self.counts.cancelled += items.len() as u64;
        items
    }

    /// How many keys wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What became of items.
    pub fn counts(&self) -> DebounceCounts {
        self.counts
    }

    fn out(&mut self, key: &K, emit: &mut dyn FnMut(T)) {
        if let Some(waiting) = self.waiting.remove(key) {
            emit(waiting.item);
        }
    }
}

impl<T, K: Clone + Eq + Hash> Operator for Debounce<T, K> {
    type Item = T;
    type Out = T;

    fn push(&mut self, item: T, now: Timestamp, emit: &mut dyn FnMut(T)) {
        let key = (self.key)(&item);
        self.fire(now, emit);
        let quiet = now.after(self.settings.quiet);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            let latest = self.settings.max_wait.map_or(quiet, |wait| quiet.min(waiting.first.after(wait)));
            self.due.remove(waiting.ticket);
            waiting.ticket = self.due.insert(latest, key);
            waiting.item = item;
            self.counts.replaced += 1;
            return;
        }
        if self.waiting.len() >= self.settings.keys
            && let Some(first) = self.due.pop()
        {
            self.counts.full += 1;
            self.out(&first, emit);
        }
        let ticket = self.due.insert(quiet, key.clone());
        self.waiting.insert(key, Waiting { item, first: now, ticket });
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

impl<T, K> fmt::Debug for Debounce<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debounce")
            .field("settings", &self.settings)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
