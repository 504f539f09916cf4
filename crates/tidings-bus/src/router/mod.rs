//! Which listeners' patterns match a topic.
//!
//! Patterns are filed by their [shape](shape): a topic is hashed once a shape and looked up in one [table] a shape, so
//! that the time depends on how many shapes there are, not on how many patterns. What a table gives is verified by
//! comparing segments: a hash only narrows. Patterns of more shapes than there are to be tables, and those with several
//! `**`, are filed in a [trie], where ever new shapes cannot make matching ever slower. Not a cache and not thread-safe:
//! its owner has both.

mod group;
mod segments;
mod shape;
mod table;
mod trie;
mod written;

use std::hash::Hasher;

use tidings_core::Pattern;

use self::{
    segments::Segments,
    shape::Shape,
    table::{Probe, Table},
    trie::Trie,
    written::Written,
};
use crate::{few::Few, rank::Rank};

/// How many shapes have a table of their own, so that a topic costs at most this many look-ups. A pattern of a further
/// shape is filed in a trie.
const SHAPES_MAX: usize = 64;

/// How many tables are asked before what they found is looked at.
const AT_ONCE: usize = 8;

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
    table: Table<Filed<V>>,
}

/// A pattern and what is filed under it.
struct Filed<V> {
    text: Written,
    listeners: Listeners<V>,
}

/// Where something of a shape probably is.
type Likely<'a, V> = (&'a Shape, Probe<'a, Filed<V>>);

/// Keys of the maps in the trie are hashes already.
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
        let seed = self.seed;
        let Some((at, shape)) = Shape::of(pattern).and_then(|shape| Some((self.family(shape)?, shape)))
        else {
            self.others.entry(pattern, 0, seed).entry(rank, || value);
            return;
        };
        let Some(Family { table, .. }) = self.families.get_mut(at) else { return };
        let key = shape.key_of(pattern, seed);
        match table.get_mut(key, |filed| filed.text.is(pattern)) {
            Some(filed) => {
                filed.listeners.entry(rank, || value);
            }
            None => {
                let listeners = Few::One(rank, value);
                table.insert(key, Filed { text: Written::of(pattern), listeners });
            }
        }
    }

    /// Takes out what `insert` had filed under `pattern` with this rank.
    pub(crate) fn remove(&mut self, pattern: &Pattern, rank: Rank) -> Option<V> {
        let value = self.place(pattern).and_then(|(at, key)| {
            let table = &mut self.families.get_mut(at)?.table;
            let listeners = &mut table.get_mut(key, |filed| filed.text.is(pattern))?.listeners;
            let value = listeners.remove(&rank)?;
            if listeners.is_empty() {
                self.remove_filed(at, key, pattern);
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
        let filed = self.place(pattern).and_then(|(at, key)| self.remove_filed(at, key, pattern));
        removed.extend(filed.into_iter().flat_map(|filed| filed.listeners.into_values()));
        if let Some(listeners) = self.others.change(pattern, 0, self.seed, std::mem::take) {
            removed.extend(listeners.into_values());
        }
        removed
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = V> {
        let families = std::mem::take(&mut self.families).into_iter();
        let filed = families.flat_map(|family| family.table.into_values()).map(|filed| filed.listeners);
        let others = std::mem::take(&mut self.others).into_all();
        filed.chain(others).flat_map(Few::into_values)
    }

    /// Calls `found` for everything whose pattern matches `topic`, in no order. A name with more segments than a topic
    /// can have matches nothing.
    pub(crate) fn matching(&self, topic: &str, mut found: impl FnMut(Rank, &V)) {
        self.matching_lists(topic, |listeners| {
            listeners.iter().for_each(|(rank, value)| found(*rank, value));
        });
    }

    /// How many values have a pattern that matches `topic`, without looking at them.
    pub(crate) fn matching_count(&self, topic: &str) -> usize {
        let mut count = 0;
        self.matching_lists(topic, |listeners| count += listeners.len());
        count
    }

    fn matching_lists(&self, topic: &str, mut found: impl FnMut(&Listeners<V>)) {
        if self.families.is_empty() && self.others.is_empty() {
            return;
        }
        let mut segments = Segments::new(self.seed);
        if !segments.fill(topic) {
            return;
        }
        // First every table is asked where it would be, and only then is anything looked at that was found: so the
        // processor waits for memory once, not once a table.
        for families in self.families.chunks(AT_ONCE) {
            let mut probes: [Option<Likely<'_, V>>; AT_ONCE] = [const { None }; AT_ONCE];
            let mut count = 0;
            for family in families {
                if let Some(key) = family.shape.key(&segments)
                    && let Some(probe) = family.table.probe(key)
                    && let Some(place) = probes.get_mut(count)
                {
                    *place = Some((&family.shape, probe));
                    count += 1;
                }
            }
            for (shape, probe) in probes.iter().take(count).flatten() {
                probe.each(|filed| {
                    if shape.verify(filed.text.as_bytes(), topic, &segments) {
                        found(&filed.listeners);
                    }
                });
            }
        }
        if !self.others.is_empty() {
            self.others.matching(topic, &segments, found);
        }
    }

    /// What is filed under `pattern`; nearly always in one place.
    pub(crate) fn filed(&self, pattern: &Pattern) -> Vec<&Listeners<V>> {
        let filed = self
            .place(pattern)
            .and_then(|(at, key)| self.families.get(at)?.table.get(key, |filed| filed.text.is(pattern)));
        filed.map(|filed| &filed.listeners).into_iter().chain(self.others.get(pattern, self.seed)).collect()
    }

    /// What is filed under `pattern` with this rank.
    pub(crate) fn get(&self, pattern: &Pattern, rank: Rank) -> Option<&V> {
        self.filed(pattern).into_iter().find_map(|listeners| listeners.get(&rank))
    }

    /// All patterns, in no order. One may come twice when it has been filed both ways.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &str> {
        let filed = self.families.iter().flat_map(|family| family.table.values());
        let others = self.others.all().into_iter().map(|(pattern, _)| pattern.as_str());
        filed.map(|filed| filed.text.as_str()).chain(others)
    }

    /// Everything that is filed, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        let filed = self.families.iter().flat_map(|family| family.table.values());
        let others = self.others.all().into_iter().map(|(_, listeners)| listeners);
        let lists = filed.map(|filed| &filed.listeners).chain(others);
        lists.flat_map(|listeners| listeners.iter().map(|(_, value)| value))
    }

    fn position(&self, shape: Shape) -> Option<usize> {
        self.families.iter().position(|family| family.shape == shape)
    }

    /// The table for a shape; made if it is missing and there may be one more.
    fn family(&mut self, shape: Shape) -> Option<usize> {
        let at = self.position(shape);
        if at.is_none() && self.families.len() < SHAPES_MAX {
            self.families.push(Family { shape, table: Table::default() });
            return Some(self.families.len() - 1);
        }
        at
    }

    /// The table for a pattern's shape, if there is one, and its key there.
    fn place(&self, pattern: &Pattern) -> Option<(usize, u64)> {
        let shape = Shape::of(pattern)?;
        Some((self.position(shape)?, shape.key_of(pattern, self.seed)))
    }

    /// Forgets a pattern, and its family with the last one.
    fn remove_filed(&mut self, at: usize, key: u64, pattern: &Pattern) -> Option<Filed<V>> {
        let family = self.families.get_mut(at)?;
        let filed = family.table.remove(key, |filed| filed.text.is(pattern));
        if family.table.is_empty() {
            self.families.swap_remove(at);
        }
        filed
    }
}

#[cfg(test)]
mod tests;
