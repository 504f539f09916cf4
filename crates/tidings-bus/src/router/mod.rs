//! Which listeners' patterns match a topic.
//!
//! Patterns are filed by their [shape](shape): a topic is hashed once a shape and looked up in one table a shape, so
//! that the time depends on how many shapes there are, not on how many patterns. What a table gives is verified by
//! comparing segments: a hash only narrows. Not a cache and not thread-safe: its owner has both.

mod shape;

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use tidings_core::Pattern;

use self::shape::{Segments, Shape};
use crate::{few::Few, rank::Rank};

/// How many shapes have a table of their own. A pattern of a further shape is filed by its first literal segment; there
/// are fewer than seventy such tables, so that a topic costs at most this many and seventy look-ups.
const SHAPES_MAX: usize = 64;

/// Patterns and, under each, values in order of rank.
pub(crate) struct Router<V> {
    families: Vec<Family<V>>,
    seed: u64,
}

/// The patterns of one shape.
struct Family<V> {
    shape: Shape,
    table: HashMap<u64, Few<Pattern, Few<Rank, V>>, BuildHasherDefault<AlreadyHashed>>,
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
        Self { families: Vec::new(), seed }
    }

    /// Files `value` under `pattern`.
    pub(crate) fn insert(&mut self, pattern: &Pattern, rank: Rank, value: V) {
        let exact = Shape::of(pattern);
        let own_table = self.families.len() < SHAPES_MAX || self.position(exact).is_some();
        let shape = if own_table { exact } else { exact.coarse() };
        let at = self.position(shape).unwrap_or_else(|| {
            self.families.push(Family { shape, table: HashMap::default() });
            self.families.len() - 1
        });
        let Some(family) = self.families.get_mut(at) else { unreachable!("it was found or added just now") };
        let bucket = family.table.entry(shape.key_of(pattern, self.seed)).or_default();
        bucket.entry(pattern.clone(), Few::default).entry(rank, || value);
    }

    /// Takes out what `insert` had filed under `pattern` with this rank.
    pub(crate) fn remove(&mut self, pattern: &Pattern, rank: Rank) -> Option<V> {
        self.places(pattern).into_iter().find_map(|(at, key)| {
            let bucket = self.families.get_mut(at)?.table.get_mut(&key)?;
            let listeners = bucket.get_mut(pattern)?;
            let value = listeners.remove(&rank)?;
            if listeners.is_empty() {
                bucket.remove(pattern);
                self.tidy(at, key);
            }
            Some(value)
        })
    }

    /// Takes out everything under `pattern`.
    pub(crate) fn remove_pattern(&mut self, pattern: &Pattern) -> Vec<V> {
        let mut removed = Vec::new();
        for (at, key) in self.places(pattern) {
            let bucket = self.families.get_mut(at).and_then(|family| family.table.get_mut(&key));
            if let Some(listeners) = bucket.and_then(|bucket| bucket.remove(pattern)) {
                removed.extend(listeners.into_values());
                self.tidy(at, key);
            }
        }
        removed
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = V> {
        let families = std::mem::take(&mut self.families).into_iter();
        let buckets = families.flat_map(|family| family.table.into_values());
        buckets.flat_map(Few::into_values).flat_map(Few::into_values)
    }

    /// Calls `found` for everything whose pattern matches `topic`, in no order. A name with more segments than a topic
    /// can have matches nothing.
    pub(crate) fn matching(&self, topic: &str, mut found: impl FnMut(Rank, &V)) {
        if self.families.is_empty() {
            return;
        }
        let Some(segments) = Segments::of(topic, self.seed) else { return };
        for family in &self.families {
            let bucket = family.shape.key(&segments).and_then(|key| family.table.get(&key));
            for (_, listeners) in bucket.into_iter().flat_map(Few::iter).filter(|(p, _)| p.matches(topic)) {
                listeners.iter().for_each(|(rank, value)| found(*rank, value));
            }
        }
    }

    /// What is filed under `pattern`; nearly always in one place.
    pub(crate) fn filed(&self, pattern: &Pattern) -> Vec<&Few<Rank, V>> {
        let bucket = |(at, key): (usize, u64)| self.families.get(at)?.table.get(&key)?.get(pattern);
        self.places(pattern).into_iter().filter_map(bucket).collect()
    }

    /// What is filed under `pattern` with this rank.
    pub(crate) fn get(&self, pattern: &Pattern, rank: Rank) -> Option<&V> {
        self.filed(pattern).into_iter().find_map(|listeners| listeners.get(&rank))
    }

    /// All patterns, in no order. One may come twice when it has been filed both ways.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.families.iter().flat_map(|family| family.table.values()).flat_map(|b| b.iter().map(|(p, _)| p))
    }

    /// Everything that is filed, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        let buckets = self.families.iter().flat_map(|family| family.table.values());
        buckets.flat_map(Few::iter).flat_map(|(_, listeners)| listeners.iter()).map(|(_, value)| value)
    }

    fn position(&self, shape: Shape) -> Option<usize> {
        self.families.iter().position(|family| family.shape == shape)
    }

    /// The tables and keys under which a pattern may be filed, the last table first so that one can be taken out while
    /// going through them.
    fn places(&self, pattern: &Pattern) -> Vec<(usize, u64)> {
        let exact = Shape::of(pattern);
        let shapes = [Some(exact), Some(exact.coarse()).filter(|coarse| *coarse != exact)];
        let place = |shape: Shape| Some((self.position(shape)?, shape.key_of(pattern, self.seed)));
        let mut places: Vec<_> = shapes.into_iter().flatten().filter_map(place).collect();
        places.sort_unstable_by(|one, other| other.cmp(one));
        places
    }

    /// Forgets a bucket that has become empty, and its family with the last one.
    fn tidy(&mut self, at: usize, key: u64) {
        let Some(family) = self.families.get_mut(at) else { return };
        if family.table.get(&key).is_some_and(Few::is_empty) {
            family.table.remove(&key);
        }
        if family.table.is_empty() {
            self.families.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests;
