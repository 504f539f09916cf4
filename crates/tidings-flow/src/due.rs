//! What is due when: keys in order of their times, and those of the same time in order of arrival.

use std::collections::BTreeMap;

use tidings_core::Timestamp;

/// One entry; it removes the entry.
pub(crate) type Ticket = (Timestamp, u64);

/// Keys by their times. An entry is gone when it is taken or removed; nothing of it stays.
pub(crate) struct Due<K> {
    entries: BTreeMap<Ticket, K>,
    next: u64,
    /// The time of the first entry, at hand because it is asked for with every item.
    first: Option<Timestamp>,
}

impl<K> Default for Due<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), next: 0, first: None }
    }
}

impl<K> Due<K> {
    pub(crate) fn insert(&mut self, at: Timestamp, key: K) -> Ticket {
        let ticket = (at, self.next);
        self.next += 1;
        self.entries.insert(ticket, key);
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        ticket
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) {
        self.entries.remove(&ticket);
        self.look();
    }

    /// The time of the first entry.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.first
    }

    fn look(&mut self) {
        self.first = self.entries.first_key_value().map(|((at, _), _)| *at);
    }

    /// Whether the first entry's time has come.
    pub(crate) fn has_come(&self, now: Timestamp) -> bool {
        self.first().is_some_and(|at| at <= now)
    }

    /// Takes the first entry.
    pub(crate) fn pop(&mut self) -> Option<K> {
        let (_, key) = self.entries.pop_first()?;
        self.look();
        Some(key)
    }

    /// Takes the first entry if its time has come.
    pub(crate) fn pop_by(&mut self, now: Timestamp) -> Option<K> {
        if self.has_come(now) { self.pop() } else { None }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.first = None;
    }
}
