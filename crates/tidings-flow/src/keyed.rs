//! A map from keys to what an operator holds for each.

use std::{collections::HashMap, hash::Hash};

/// A map that keeps the entry used last beside it: events of one key often come together, and an operator without keys
/// has but one entry, so most look-ups need no hash.
pub(crate) struct Keyed<K, V> {
    last: Option<(K, V)>,
    others: HashMap<K, V>,
}

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self { last: None, others: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Keyed<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.others.len() + usize::from(self.last.is_some())
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if self.last.as_ref().is_none_or(|(last, _)| last != key) {
            let found = self.others.remove_entry(key)?;
            if let Some((key, value)) = self.last.replace(found) {
                self.others.insert(key, value);
            }
        }
        self.last.as_mut().map(|(_, value)| value)
    }

    /// Puts in what was not there.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if let Some((key, value)) = self.last.replace((key, value)) {
            self.others.insert(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        match self.last.take_if(|(last, _)| last == key) {
            Some((_, value)) => Some(value),
            None => self.others.remove(key),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.last.iter().map(|(key, value)| (key, value)).chain(&self.others)
    }

    /// Takes everything out, in no order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        self.last.take().into_iter().chain(self.others.drain())
    }
}
