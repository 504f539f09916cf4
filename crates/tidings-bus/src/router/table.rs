//! A map by hash that grows a part at a time.
//!
//! An ordinary map moves everything it holds when it is full: with a million patterns that takes tens of milliseconds,
//! during which nobody can subscribe and nobody can find. This one is many small maps, chosen by the upper bits of the
//! hash; one that is full is split in two, and the others stay as they are. The list of maps may name one several times,
//! as long as fewer bits tell it from the rest.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::BuildHasherDefault,
};

use super::AlreadyHashed;

/// How many entries a part has before it is split: as many as fill a map of 1,024 places.
const FULL: usize = 896;

/// At how many bits parts are no longer split. Keys that are secret hashes are spread evenly, so that this is reached
/// only with more patterns than fit into memory.
const BITS_MAX: u32 = 20;

type Map<T> = HashMap<u64, T, BuildHasherDefault<AlreadyHashed>>;

/// Values by hash. More than one value for a hash is its caller's business.
pub(super) struct Table<T> {
    /// The part for each value of the upper `bits` bits.
    directory: Vec<u32>,
    bits: u32,
    parts: Vec<Part<T>>,
    len: usize,
}

struct Part<T> {
    /// How many bits all of its keys have in common.
    bits: u32,
    map: Map<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { directory: vec![0], bits: 0, parts: vec![Part { bits: 0, map: Map::default() }], len: 0 }
    }
}

impl<T> Table<T> {
    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value under a hash.
    pub(super) fn get(&self, key: u64) -> Option<&T> {
        self.parts.get(self.part(key))?.map.get(&key)
    }

    /// The value under a hash.
    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let at = self.part(key);
        self.parts.get_mut(at)?.map.get_mut(&key)
    }

    /// The value under a hash; made if it is missing.
    pub(super) fn entry(&mut self, key: u64) -> &mut T
    where
        T: Default,
    {
        while self.parts.get(self.part(key)).is_some_and(Part::is_full) {
            self.split(self.part(key));
        }
        let at = self.part(key);
        let Some(part) = self.parts.get_mut(at) else { unreachable!("the directory names parts") };
        match part.map.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.len += 1;
                entry.insert(T::default())
            }
        }
    }

    /// Takes the value under a hash out.
    pub(super) fn remove(&mut self, key: u64) -> Option<T> {
        let at = self.part(key);
        let removed = self.parts.get_mut(at)?.map.remove(&key)?;
        self.len -= 1;
        Some(removed)
    }

    /// All values, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().flat_map(|part| part.map.values())
    }

    /// All values, in no order, taking it apart.
    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.parts.into_iter().flat_map(|part| part.map.into_values())
    }

    fn part(&self, key: u64) -> usize {
        self.directory.get(upper(key, self.bits)).map_or(0, |at| *at as usize)
    }

    /// Splits a part by one more bit.
    fn split(&mut self, at: usize) {
        let new = self.parts.len();
        let Some(part) = self.parts.get_mut(at) else { return };
        part.bits += 1;
        if part.bits > self.bits {
            self.bits += 1;
            self.directory = self.directory.iter().flat_map(|at| [*at, *at]).collect();
        }
        let bit = 1 << (u64::BITS - part.bits);
        let mut map = Map::with_capacity_and_hasher(part.map.len() / 2, BuildHasherDefault::default());
        map.extend(part.map.extract_if(|key, _| key & bit != 0));
        part.map.shrink_to_fit();
        let bits = part.bits;
        self.parts.push(Part { bits, map });
        for (upper, place) in self.directory.iter_mut().enumerate() {
            if *place as usize == at && upper >> (self.bits - bits) & 1 == 1 {
                *place = new as u32;
            }
        }
    }
}

impl<T> Part<T> {
    fn is_full(&self) -> bool {
        self.map.len() >= FULL && self.bits < BITS_MAX
    }
}

/// The upper bits of a hash.
fn upper(key: u64, bits: u32) -> usize {
    key.checked_shr(u64::BITS - bits).unwrap_or_default() as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    #[test]
    fn it_holds_what_a_sorted_map_holds_through_many_splits_and_removals() {
        let (mut table, mut plain) = (Table::<u64>::default(), BTreeMap::new());
        for number in 0..40_000_u64 {
            let key = xxh3_64(&number.to_le_bytes());
            *table.entry(key) = number;
            plain.insert(key, number);
            if number % 3 == 0 {
                let gone = xxh3_64(&(number / 2).to_le_bytes());
                assert_eq!(table.remove(gone), plain.remove(&gone));
                assert_eq!((table.remove(gone), table.get(gone)), (None, None));
            }
        }
        assert!(table.parts.len() > 20 && table.parts.iter().all(|part| part.map.len() <= FULL));
        for (key, number) in &plain {
            assert_eq!(table.get(*key), Some(number));
            assert_eq!(table.get_mut(*key).copied(), Some(*number));
        }
        let sorted = |mut values: Vec<u64>| {
            values.sort_unstable();
            values
        };
        assert_eq!(sorted(table.values().copied().collect()), sorted(plain.values().copied().collect()));
        for key in plain.keys().skip(1) {
            assert!(table.remove(*key).is_some());
        }
        assert!(!table.is_empty());
        assert_eq!(table.into_values().count(), 1);
    }

    #[test]
    fn keys_that_nothing_tells_apart_do_not_split_for_ever() {
        let mut table = Table::<u64>::default();
        for number in 0..2_000 {
            *table.entry(number) = number;
        }
        assert!(table.parts.len() <= BITS_MAX as usize + 1);
        assert_eq!((0..2_000).filter(|number| table.get(*number) == Some(number)).count(), 2_000);
    }
}
