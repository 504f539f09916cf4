//! A map by hash that grows a part at a time and answers "no" from one line of the processor's cache.
//!
//! An ordinary map moves everything it holds when it is full: with a million patterns that takes tens of milliseconds,
//! during which nobody can subscribe and nobody can find. This one is many small maps, chosen by the upper bits of the
//! hash; one that is full is split in two, and the others stay as they are. The list of maps may name one several times,
//! as long as fewer bits tell it from the rest. What a small map holds lies in one list; beside it stand
//! [groups](super::group) of tags, so that only what is probably sought is looked at.

use super::group::{Group, tag};

/// How many entries a part has before it is split: three quarters of 64 groups.
const FULL: usize = 64 * Group::LANES * 3 / 4;

/// At how many bits parts are no longer split. Keys that are secret hashes are spread evenly, so that this is reached
/// only with more patterns than fit into memory.
const BITS_MAX: u32 = 20;

/// How many more entries a part makes room for at a time: it is the slack a part may have.
const STEP: usize = 32;

/// Values by hash. Several may have the same hash: what else tells them apart is the caller's business.
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
    /// Places that were used and are not.
    gone: usize,
    /// A power of two of them.
    groups: Vec<Group>,
    entries: Vec<Entry<T>>,
}

struct Entry<T> {
    key: u64,
    value: T,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { directory: vec![0], bits: 0, parts: vec![Part::new(0)], len: 0 }
    }
}

impl<T> Table<T> {
    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the values under a hash are. Most often there are none, and then one group says so.
    #[inline]
    pub(super) fn probe(&self, key: u64) -> Option<Probe<'_, T>> {
        let part = self.parts.get(self.part(key))?;
        part.groups.get(part.group(key))?.may_have(tag(key)).then_some(Probe { part, key })
    }

    /// The value under a hash that is the right one.
    pub(super) fn get(&self, key: u64, right: impl Fn(&T) -> bool) -> Option<&T> {
        let part = self.parts.get(self.part(key))?;
        let (_, _, at) = part.find(key, right)?;
        part.entries.get(at).map(|entry| &entry.value)
    }

    /// The value under a hash that is the right one.
    pub(super) fn get_mut(&mut self, key: u64, right: impl Fn(&T) -> bool) -> Option<&mut T> {
        let at = self.part(key);
        let part = self.parts.get_mut(at)?;
        let (_, _, at) = part.find(key, right)?;
        part.entries.get_mut(at).map(|entry| &mut entry.value)
    }

    /// Puts a value under a hash, beside those that are there.
    pub(super) fn insert(&mut self, key: u64, value: T) {
        while self.parts.get(self.part(key)).is_some_and(Part::is_full) {
            self.split(self.part(key));
        }
        let at = self.part(key);
        if let Some(part) = self.parts.get_mut(at) {
            part.insert(Entry { key, value });
            self.len += 1;
        }
    }

    /// Takes the value under a hash out that is the right one.
    pub(super) fn remove(&mut self, key: u64, right: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.part(key);
        let removed = self.parts.get_mut(at)?.remove(key, right)?;
        self.len -= 1;
        Some(removed)
    }

    /// All values, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().flat_map(|part| part.entries.iter().map(|entry| &entry.value))
    }

    /// All values, in no order, taking it apart.
    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.parts.into_iter().flat_map(|part| part.entries.into_iter().map(|entry| entry.value))
    }

    #[inline]
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
        let (bits, bit) = (part.bits, 1 << (u64::BITS - part.bits));
        let mut other = Part::new(bits);
        other.entries = part.entries.extract_if(.., |entry| entry.key & bit != 0).collect();
        part.entries.shrink_to_fit();
        part.regroup();
        other.regroup();
        self.parts.push(other);
        for (upper, place) in self.directory.iter_mut().enumerate() {
            if *place as usize == at && upper >> (self.bits - bits) & 1 == 1 {
                *place = new as u32;
            }
        }
    }
}

/// A hash under which there probably is something: first all that is needed is fetched, then it is looked at.
pub(super) struct Probe<'a, T> {
    part: &'a Part<T>,
    key: u64,
}

impl<'a, T> Probe<'a, T> {
    /// Calls `found` for each value under the hash.
    #[inline]
    pub(super) fn each(&self, mut found: impl FnMut(&'a T)) {
        self.part.walk(self.key, |_, _, at| {
            if let Some(entry) = self.part.entries.get(at).filter(|entry| entry.key == self.key) {
                found(&entry.value);
            }
            false
        });
    }
}

impl<T> Part<T> {
    fn new(bits: u32) -> Self {
        Self { bits, gone: 0, groups: vec![Group::default()], entries: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= FULL && self.bits < BITS_MAX
    }

    #[inline]
    fn group(&self, key: u64) -> usize {
        (key >> 16) as usize & (self.groups.len() - 1)
    }

    /// Goes through the places with the tag of a hash until `right` says yes: group, lane and entry.
    #[inline]
    fn walk(
        &self,
        key: u64,
        mut right: impl FnMut(usize, u32, usize) -> bool,
    ) -> Option<(usize, u32, usize)> {
        let mut number = self.group(key);
        for _ in 0..self.groups.len() {
            let group = self.groups.get(number)?;
            let mut tagged = group.tagged(tag(key));
            while tagged != 0 {
                let lane = tagged.trailing_zeros();
                let at = group.entry(lane);
                if right(number, lane, at) {
                    return Some((number, lane, at));
                }
                tagged &= tagged - 1;
            }
            if !group.is_full() {
                return None;
            }
            number = (number + 1) & (self.groups.len() - 1);
        }
        None
    }

    fn find(&self, key: u64, right: impl Fn(&T) -> bool) -> Option<(usize, u32, usize)> {
        let is =
            |at: usize| self.entries.get(at).is_some_and(|entry| entry.key == key && right(&entry.value));
        self.walk(key, |_, _, at| is(at))
    }

    fn insert(&mut self, entry: Entry<T>) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(STEP.min(self.entries.len() + 1));
        }
        let (key, at) = (entry.key, self.entries.len());
        self.entries.push(entry);
        // A quarter stays free, so that most groups have room and the search ends in the first.
        if (self.entries.len() + self.gone) * 4 > self.groups.len() * Group::LANES * 3 {
            self.regroup();
        } else {
            self.tag(key, at);
        }
    }

    /// Says in the groups where an entry is.
    fn tag(&mut self, key: u64, at: usize) {
        let (mut number, groups) = (self.group(key), self.groups.len());
        while let Some(group) = self.groups.get_mut(number) {
            match group.put(tag(key), at) {
                Some(was_gone) => {
                    self.gone -= usize::from(was_gone);
                    return;
                }
                None => number = (number + 1) & (groups - 1),
            }
        }
    }

    /// Makes the groups anew, for as many entries as there are and some more.
    fn regroup(&mut self) {
        let groups = (self.entries.len() * 4 / 3 + 1).div_ceil(Group::LANES).next_power_of_two();
        self.groups = vec![Group::default(); groups];
        self.gone = 0;
        for at in 0..self.entries.len() {
            if let Some(key) = self.entries.get(at).map(|entry| entry.key) {
                self.tag(key, at);
            }
        }
    }

    fn remove(&mut self, key: u64, right: impl Fn(&T) -> bool) -> Option<T> {
        let (number, lane, at) = self.find(key, right)?;
        self.gone += usize::from(self.groups.get_mut(number)?.clear(lane));
        let last = self.entries.len() - 1;
        if at != last {
            // The last one takes its place.
            let moved = self.entries.get(last)?.key;
            let (number, lane, _) = self.walk(moved, |_, _, at| at == last)?;
            self.groups.get_mut(number)?.point(lane, at);
        }
        let removed = self.entries.swap_remove(at).value;
        if self.entries.capacity() > 2 * self.entries.len() + STEP {
            self.entries.shrink_to(self.entries.len() + STEP / 2);
            self.regroup();
        }
        Some(removed)
    }
}

/// The upper bits of a hash.
#[inline]
fn upper(key: u64, bits: u32) -> usize {
    // In two steps, for none of them is all of it.
    (key >> 1 >> (u64::BITS - 1 - bits)) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn any(_: &u64) -> bool {
        true
    }

    fn under(table: &Table<u64>, key: u64) -> Vec<u64> {
        let mut found = Vec::new();
        if let Some(probe) = table.probe(key) {
            probe.each(|value| found.push(*value));
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn it_holds_what_a_sorted_map_holds_through_many_splits_and_removals() {
        let (mut table, mut plain) = (Table::<u64>::default(), BTreeMap::new());
        for number in 0..40_000_u64 {
            let key = xxh3_64(&number.to_le_bytes());
            table.insert(key, number);
            plain.insert(key, number);
            if number % 3 == 0 {
                let gone = xxh3_64(&(number / 2).to_le_bytes());
                assert_eq!(table.remove(gone, any), plain.remove(&gone));
                assert_eq!((table.remove(gone, any), under(&table, gone)), (None, vec![]));
            }
        }
        assert!(table.parts.len() > 20 && table.parts.iter().all(|part| part.entries.len() <= FULL));
        for (key, number) in &plain {
            assert_eq!(under(&table, *key), [*number]);
            assert_eq!(table.get(*key, any), Some(number));
            assert_eq!(table.get_mut(*key, any).copied(), Some(*number));
            assert_eq!(table.get(*key, |_| false), None);
        }
        let sorted = |mut values: Vec<u64>| {
            values.sort_unstable();
            values
        };
        assert_eq!(sorted(table.values().copied().collect()), sorted(plain.values().copied().collect()));
        for key in plain.keys().skip(1) {
            assert!(table.remove(*key, any).is_some());
        }
        assert!(!table.is_empty());
        let room: usize = table.parts.iter().map(|part| part.entries.capacity()).sum();
        assert!(room <= table.parts.len() * 2 * STEP, "what was removed holds no memory: {room}");
        assert_eq!(table.into_values().count(), 1);
    }

    #[test]
    fn values_under_one_hash_are_told_apart_and_found_together() {
        let mut table = Table::<u64>::default();
        for number in 0..100 {
            table.insert(7, number);
            table.insert(7 + (number << 32), 1_000);
        }
        let mut all: Vec<u64> = (0..100).collect();
        all.push(1_000);
        assert_eq!(under(&table, 7), all);
        assert_eq!(table.remove(7, |value| *value == 50), Some(50));
        assert_eq!(
            (table.get(7, |value| *value == 50), table.get(7, |value| *value == 51)),
            (None, Some(&51))
        );
    }

    #[test]
    fn one_that_comes_and_goes_does_not_use_up_the_places() {
        let mut table = Table::<u64>::default();
        for number in 0..100_000_u64 {
            table.insert(xxh3_64(&number.to_le_bytes()), number);
            if number >= 40 {
                assert!(table.remove(xxh3_64(&(number - 40).to_le_bytes()), any).is_some());
            }
        }
        assert_eq!((table.parts.len(), table.len), (1, 40));
        assert!(table.parts[0].groups.len() <= 8);
    }

    #[test]
    fn keys_that_nothing_tells_apart_do_not_split_for_ever() {
        let mut table = Table::<u64>::default();
        for number in 0..2_000 {
            table.insert(number, number);
        }
        assert!(table.parts.len() <= BITS_MAX as usize + 1);
        assert_eq!((0..2_000).filter(|number| table.get(*number, any) == Some(number)).count(), 2_000);
    }
}
