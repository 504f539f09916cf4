//! Which listeners' patterns match a topic.
//!
//! Patterns are filed by their [shape](shape): a topic is hashed once a shape and looked up in one table a shape, so
//! that the time depends on how many shapes there are, not on how many patterns. What a table gives is verified by
//! comparing segments: a hash only narrows. Patterns of more shapes than there are to be tables are filed in a
//! [trie], where ever new shapes cannot make matching ever slower. Not a cache and not thread-safe: its owner has both.

mod shape;
mod table;
mod trie;

use std::hash::Hasher;

use tidings_core::Pattern;

use self::{
    shape::{Segments, Shape},
    table::Table,
    trie::Trie,
};
use crate::{few::Few, rank::Rank};

/// How many shapes have a table of their own, so that a topic costs at most this many look-ups. A pattern of a further
/// shape is filed in a trie.
const SHAPES_MAX: usize = 64;

/// Patterns and, under each, values in order of rank.
pub(crate) struct Router<V> {
    families: Vec<Family<V>>,
    others: Trie<V>,
    seed: u64,
}

/// What is filed under one pattern.
type Listeners<V> = Few<Rank, V>;

/// The patterns of one shape.
struct Family<V> {
    shape: Shape,
    table: Table<Few<Pattern, Listeners<V>>>,
}

/// Keys of the tables are hashes already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

impl<V> Router<V> {
    /// An empty router. The seed is secret, so that nobody can choose segments that collide.
    pub(crate) fn new(seed: u64) -> Self {
        Self { families: Vec::new(), others: Trie::default(), seed }
    }

    /// Files `value` under `pattern`.
    pub(crate) fn insert(&mut self, pattern: &Pattern, rank: Rank, value: V) {
        let (shape, seed) = (Shape::of(pattern), self.seed);
        let mut at = self.position(shape);
        if at.is_none() && self.families.len() < SHAPES_MAX {
            at = Some(self.families.len());
            self.families.push(Family { shape, table: Table::default() });
        }
        let listeners = match at.and_then(|at| self.families.get_mut(at)) {
            Some(family) => {
                let bucket = family.table.entry(shape.key_of(pattern, seed));
                bucket.entry(pattern.clone(), Few::default)
            }
            None => self.others.entry(pattern, 0, seed),
        };
        listeners.entry(rank, || value);
    }

    /// Takes out what `insert` had filed under `pattern` with this rank.
    pub(crate) fn remove(&mut self, pattern: &Pattern, rank: Rank) -> Option<V> {
        let value = self.place(pattern).and_then(|(at, key)| {
            let bucket = self.families.get_mut(at)?.table.get_mut(key)?;
            let listeners = bucket.get_mut(pattern)?;
            let value = listeners.remove(&rank)?;
            if listeners.is_empty() {
                bucket.remove(pattern);
                self.tidy(at, key);
            }
            Some(value)
        });
        // It went there if there was no table for its shape when it came, even if there is one now.
        value.or_else(|| {
            self.others.change(pattern, 0, self.seed, |listeners| listeners.remove(&rank)).flatten()
        })
    }

    /// Takes out everything under `pattern`.
    pub(crate) fn remove_pattern(&mut self, pattern: &Pattern) -> Vec<V> {
        let mut removed = Vec::new();
        if let Some((at, key)) = self.place(pattern) {
            let bucket = self.families.get_mut(at).and_then(|family| family.table.get_mut(key));
            if let Some(listeners) = bucket.and_then(|bucket| bucket.remove(pattern)) {
                removed.extend(listeners.into_values());
                self.tidy(at, key);
            }
        }
        if let Some(listeners) = self.others.change(pattern, 0, self.seed, std::mem::take) {
            removed.extend(listeners.into_values());
        }
        removed
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = V> {
        let families = std::mem::take(&mut self.families).into_iter();
        let buckets = families.flat_map(|family| family.table.into_values());
        let others = std::mem::take(&mut self.others).into_all();
        buckets.flat_map(Few::into_values).chain(others).flat_map(Few::into_values)
    }

    /// Calls `found` for everything whose pattern matches `topic`, in no order. A name with more segments than a topic
    /// can have matches nothing.
    pub(crate) fn matching(&self, topic: &str, mut found: impl FnMut(Rank, &V)) {
        if self.families.is_empty() && self.others.is_empty() {
            return;
        }
        let Some(segments) = Segments::of(topic, self.seed) else { return };
        let mut each =
            |listeners: &Listeners<V>| listeners.iter().for_each(|(rank, value)| found(*rank, value));
        for family in &self.families {
            let bucket = family.shape.key(&segments).and_then(|key| family.table.get(key));
            for (pattern, listeners) in bucket.into_iter().flat_map(Few::iter) {
                if pattern.matches(topic) {
                    each(listeners);
                }
            }
        }
        if !self.others.is_empty() {
            self.others.matching(topic, &segments, each);
        }
    }

    /// What is filed under `pattern`; nearly always in one place.
    pub(crate) fn filed(&self, pattern: &Pattern) -> Vec<&Listeners<V>> {
        let (at, key) = self.place(pattern).unzip();
        let family = at.and_then(|at| self.families.get(at));
        let bucket = family.zip(key).and_then(|(family, key)| family.table.get(key)?.get(pattern));
        bucket.into_iter().chain(self.others.get(pattern, self.seed)).collect()
    }

    /// What is filed under `pattern` with this rank.
    pub(crate) fn get(&self, pattern: &Pattern, rank: Rank) -> Option<&V> {
        self.filed(pattern).into_iter().find_map(|listeners| listeners.get(&rank))
    }

    /// All patterns, in no order. One may come twice when it has been filed both ways.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        let buckets = self.families.iter().flat_map(|family| family.table.values());
        let others = self.others.all().into_iter().map(|(pattern, _)| pattern);
        buckets.flat_map(|bucket| bucket.iter().map(|(pattern, _)| pattern)).chain(others)
    }

    /// Everything that is filed, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        let buckets = self.families.iter().flat_map(|family| family.table.values());
        let listeners = buckets.flat_map(|bucket| bucket.iter().map(|(_, listeners)| listeners));
        let others = self.others.all().into_iter().map(|(_, listeners)| listeners);
        listeners.chain(others).flat_map(|listeners| listeners.iter().map(|(_, value)| value))
    }

    fn position(&self, shape: Shape) -> Option<usize> {
        self.families.iter().position(|family| family.shape == shape)
    }

    /// The table for a pattern's shape, if there is one, and its key there.
    fn place(&self, pattern: &Pattern) -> Option<(usize, u64)> {
        let shape = Shape::of(pattern);
        Some((self.position(shape)?, shape.key_of(pattern, self.seed)))
    }

    /// Forgets a bucket that has become empty, and its family with the last one.
    fn tidy(&mut self, at: usize, key: u64) {
        let Some(family) = self.families.get_mut(at) else { return };
        if family.table.get(key).is_some_and(Few::is_empty) {
            family.table.remove(key);
        }
        if family.table.is_empty() {
            self.families.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests;
