//! Batches: many items in one call, complete by number, by size or by age.

use std::{fmt, hash::Hash};

use tidings_core::{Batched, Batching, Cause, Timestamp};

use crate::{
    Error, Operator,
    due::{Due, Ticket},
    keyed::Keyed,
};

/// How many batches were complete for which reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchCounts {
    /// By number of items.
    pub items: u64,
    /// By bytes.
    pub bytes: u64,
    /// By age.
    pub age: u64,
    /// Before their time, because there was no room for more.
    pub full: u64,
    /// By flushing.
    pub flush: u64,
}

struct Open<T> {
    items: Vec<T>,
    bytes: usize,
    ticket: Ticket,
}

type Measure<T> = Box<dyn Fn(&T) -> usize + Send + Sync>;

/// Collects items into batches, one open batch a key.
///
/// The age counts from a batch's first item: it is the longest an item waits, not a quiet period. Items of a key, and
/// without keys all items, leave in the order in which they came. An item larger than a whole batch may be is a batch of
/// its own.
///
/// ```
/// use tidings_core::Timestamp;
/// use tidings_flow::{Batch, Batching, Cause, Operator};
///
/// let mut batches = Batch::by(Batching::new().items(2), |(customer, _): &(&str, u32)| *customer)?;
/// let mut complete = Vec::new();
/// for order in [("ada", 1), ("bob", 2), ("ada", 3)] {
///     batches.push(order, Timestamp::from_millis(0), &mut |batch| complete.push(batch));
/// }
/// assert_eq!((complete[0].key, &complete[0][..]), ("ada", &[("ada", 1), ("ada", 3)][..]));
/// batches.flush(Timestamp::from_millis(0), &mut |batch| complete.push(batch));
/// assert_eq!((complete[1].key, complete[1].cause), ("bob", Cause::Flush));
/// # Ok::<(), tidings_flow::Error>(())
/// ```
pub struct Batch<T, K = ()> {
    settings: Batching,
    key: Box<dyn Fn(&T) -> K + Send + Sync>,
    measure: Option<Measure<T>>,
    open: Keyed<K, Open<T>>,
    due: Due<K>,
    items: usize,
    /// How many items the last batch had: room for as many is made at once where there is a single batch.
    room: usize,
    counts: BatchCounts,
}

impl<T> Batch<T> {
    /// One batch at a time, of whatever comes.
    ///
    /// # Errors
    /// Every setting that means nothing; and `bytes`, which needs to be [`measured`](Self::measured).
    pub fn new(settings: Batching) -> Result<Self, Error> {
        Self::by(settings, |_| ())
    }
}

impl<T, K: Clone + Eq + Hash> Batch<T, K> {
    /// One batch at a time for each key.
    ///
    /// # Errors
    /// As [`new`](Batch::new).
    pub fn by(settings: Batching, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Result<Self, Error> {
        let mut faults = settings.faults();
        if settings.bytes.is_some() {
            faults.push("bytes: a bound in bytes needs a measure; say how large an item is".into());
        }
        Error::settings(faults)?;
        Ok(Self::made(settings, key, None))
    }

    /// The same, with a measure of an item's size in bytes.
    ///
    /// # Errors
    /// Every setting that means nothing, and a measure without a bound in bytes.
    pub fn measured_by(
        settings: Batching,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        measure: impl Fn(&T) -> usize + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let mut faults = settings.faults();
        if settings.bytes.is_none() {
            faults.push("bytes: there is a measure but no bound".into());
        }
        Error::settings(faults)?;
        Ok(Self::made(settings, key, Some(Box::new(measure))))
    }

    fn made(
        settings: Batching,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        measure: Option<Measure<T>>,
    ) -> Self {
        let (open, due) = (Keyed::default(), Due::default());
        let counts = BatchCounts::default();
        Self { settings, key: Box::new(key), measure, open, due, items: 0, room: 0, counts }
    }

    /// How many items are in open batches.
    pub fn items(&self) -> usize {
        self.items
    }

    /// How many batches are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// How many batches were complete, and why.
    pub fn counts(&self) -> BatchCounts {
        self.counts
    }

    /// Completes the batch of a key, if one is open.
    pub fn close(&mut self, key: &K, emit: &mut dyn FnMut(Batched<T, K>)) {
        self.complete(key.clone(), Cause::Flush, emit);
    }

    /// Completes whatever has to be before `item` can be added: what is due, and what there is no room beside. Pushing
    /// it at the same time then completes nothing but its own batch.
    pub fn make_way_for(&mut self, item: &T, now: Timestamp, emit: &mut dyn FnMut(Batched<T, K>)) {
        let (key, bytes) = self.measured_of(item);
        self.make_way(&key, bytes, now, emit);
    }

    fn measured_of(&self, item: &T) -> (K, usize) {
        ((self.key)(item), self.measure.as_ref().map_or(0, |measure| measure(item)))
    }

    fn make_way(&mut self, key: &K, bytes: usize, now: Timestamp, emit: &mut dyn FnMut(Batched<T, K>)) {
        self.fire(now, emit);
        if self.items >= self.settings.open_items {
            self.make_room(emit);
        }
        let bytes_max = self.settings.bytes.unwrap_or(usize::MAX);
        if self.measure.is_some()
            && self.open.get_mut(key).is_some_and(|open| open.bytes.saturating_add(bytes) > bytes_max)
        {
            self.complete(key.clone(), Cause::Bytes, emit);
        }
        if self.open.len() >= self.settings.keys && self.open.get_mut(key).is_none() {
            self.make_room(emit);
        }
    }

    fn complete(&mut self, key: K, cause: Cause, emit: &mut dyn FnMut(Batched<T, K>)) {
        let Some(open) = self.open.remove(&key) else { return };
        self.due.remove(open.ticket);
        self.items -= open.items.len();
        self.room = open.items.len();
        *match cause {
            Cause::Items => &mut self.counts.items,
            Cause::Bytes => &mut self.counts.bytes,
            Cause::Age => &mut self.counts.age,
            Cause::Full => &mut self.counts.full,
            // Nobody says so of a batch that is gathered.
            Cause::Flush | Cause::Alone => &mut self.counts.flush,
        } += 1;
        emit(Batched { key, items: open.items, cause });
    }

    /// Completes the oldest batch before its time, because there is no room elsewhere.
    pub fn make_room(&mut self, emit: &mut dyn FnMut(Batched<T, K>)) {
        if let Some(key) = self.due.pop() {
            self.complete(key, Cause::Full, emit);
        }
    }
}

impl<T> Batch<T> {
    /// One batch at a time, with a measure of an item's size in bytes.
    ///
    /// ```
    /// use tidings_flow::{Batch, Batching};
    /// let batches = Batch::measured(Batching::new().bytes(64_000), |line: &String| line.len())?;
    /// # drop(batches);
    /// # Ok::<(), tidings_flow::Error>(())
    /// ```
    ///
    /// # Errors
    /// Every setting that means nothing, and a measure without a bound in bytes.
    pub fn measured(
        settings: Batching,
        measure: impl Fn(&T) -> usize + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        Self::measured_by(settings, |_| (), measure)
    }
}

impl<T, K: Clone + Eq + Hash> Operator for Batch<T, K> {
    type Item = T;
    type Out = Batched<T, K>;

    fn push(&mut self, item: T, now: Timestamp, emit: &mut dyn FnMut(Self::Out)) {
        // What belongs to somebody else is called before anything is changed: if it panics, nothing has happened.
        let (key, bytes) = self.measured_of(&item);
        self.make_way(&key, bytes, now, emit);
        let open = match self.open.get_mut(&key) {
            Some(open) => open,
            None => {
                let room = if self.open.len() == 0 { self.room } else { 0 };
                let ticket = self.due.insert(now.after(self.settings.age), key.clone());
                let items = Vec::with_capacity(room);
                self.open.insert(key.clone(), Open { items, bytes: 0, ticket })
            }
        };
        open.items.push(item);
        open.bytes = open.bytes.saturating_add(bytes);
        self.items += 1;
        if open.items.len() >= self.settings.items {
            self.complete(key, Cause::Items, emit);
        } else if open.bytes >= self.settings.bytes.unwrap_or(usize::MAX) {
            self.complete(key, Cause::Bytes, emit);
        }
    }

    fn due(&self) -> Option<Timestamp> {
        self.due.first()
    }

    fn fire(&mut self, now: Timestamp, emit: &mut dyn FnMut(Self::Out)) {
        while let Some(key) = self.due.pop_by(now) {
            self.complete(key, Cause::Age, emit);
        }
    }

    fn flush(&mut self, _: Timestamp, emit: &mut dyn FnMut(Self::Out)) {
        while let Some(key) = self.due.pop() {
            self.complete(key, Cause::Flush, emit);
        }
    }
}

impl<T, K> fmt::Debug for Batch<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("settings", &self.settings)
            .field("items", &self.items)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
