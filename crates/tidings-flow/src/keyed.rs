//! A map from keys to what an operator holds for each.

use std::{collections::HashMap, hash::Hash};

/// A map that remembers where the entry used last is: events of one key often come together, and an operator without
/// keys has but one entry, so most look-ups need no hash. Places of entries that are gone are used again.
pub(crate) struct Keyed<K, V> {
    places: HashMap<K, usize>,
    slots: Vec<Option<(K, V)>>,
    free: Vec<usize>,
    last: usize,
}

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self { places: HashMap::new(), slots: Vec::new(), free: Vec::new(), last: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Keyed<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn place(&self, key: &K) -> Option<usize> {
        match self.slots.get(self.last) {
            Some(Some((last, _))) if last == key => Some(self.last),
            _ => self.places.get(key).copied(),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.last = self.place(key)?;
        self.slots.get_mut(self.last)?.as_mut().map(|(_, value)| value)
    }

    /// Puts in what was not there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> &mut V {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.places.insert(key.clone(), place);
        self.last = place;
        &mut self.slots[place].insert((key, value)).1
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        let (_, value) = self.slots.get_mut(place)?.take()?;
        self.free.push(place);
        if self.places.is_empty() {
            // Nothing is left, so what a crowd of keys once needed is not kept either.
            self.slots.clear();
            self.free.clear();
        }
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().flatten().map(|(key, value)| (key, value))
    }

    /// Takes everything out, in no order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        self.places.clear();
        self.free.clear();
        std::mem::take(&mut self.slots).into_iter().flatten()
    }
}
