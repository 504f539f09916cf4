//! A sorted map for what is mostly one entry and may be a hundred thousand.

use std::collections::BTreeMap;

/// A sorted map that keeps a single entry in place. Most patterns have one listener: a tree for each would cost ten
/// times the entry. Some have very many: a vector would make removing them all quadratic.
///
/// Of two forms, not three, and with the map in a box: so it is as small as the single entry if `V` is a pointer.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "the box is what makes it small")]
pub(crate) enum Few<K, V> {
    /// One entry.
    One(K, V),
    /// None, or any number, perhaps again one or none after removals.
    Many(Option<Box<BTreeMap<K, V>>>),
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self::Many(None)
    }
}

impl<K: Ord, V> Few<K, V> {
    /// The entry under `key`, made if it is missing.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let map = match std::mem::take(self) {
            Self::Many(None) => {
                *self = Self::One(key, make());
                return self.only();
            }
            Self::One(have, value) if have == key => {
                *self = Self::One(have, value);
                return self.only();
            }
            Self::One(have, value) => Box::new(BTreeMap::from([(have, value)])),
            Self::Many(Some(map)) => map,
        };
        *self = Self::Many(Some(map));
        let Self::Many(Some(map)) = self else { unreachable!("it was put there just now") };
        map.entry(key).or_insert_with(make)
    }

    fn only(&mut self) -> &mut V {
        let Self::One(_, value) = self else { unreachable!("called only where it is one") };
        value
    }

    /// The entry under `key`.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::One(have, value) if have == key => Some(value),
            Self::Many(map) => map.as_ref()?.get(key),
            _ => None,
        }
    }

    /// Takes the entry under `key` out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        if let Self::Many(map) = self {
            return map.as_mut()?.remove(key);
        }
        match std::mem::take(self) {
            Self::One(have, value) if have == *key => Some(value),
            other => {
                *self = other;
                None
            }
        }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Many(map) => map.as_ref().map_or(0, |map| map.len()),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (one, many) = match self {
            Self::One(key, value) => (Some((key, value)), None),
            Self::Many(map) => (None, map.as_deref()),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The values in order, taking the map apart.
    pub(crate) fn into_values(self) -> impl Iterator<Item = V> {
        let (one, many) = match self {
            Self::One(_, value) => (Some(value), None),
            Self::Many(map) => (None, map.map(|map| *map)),
        };
        one.into_iter().chain(many.into_iter().flat_map(BTreeMap::into_values))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, u32),
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..6_u8, any::<u32>()).prop_map(|(k, v)| Step::Put(k, v)),
            (0..6_u8).prop_map(Step::Remove)
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_sorted_map_holds(steps in proptest::collection::vec(step(), 0..40)) {
            let mut few = Few::default();
            let mut plain = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        *few.entry(key, || 0) = value;
                        plain.insert(key, value);
                    }
                    Step::Remove(key) => prop_assert_eq!(few.remove(&key), plain.remove(&key)),
                }
                prop_assert!(few.iter().eq(plain.iter()));
                prop_assert_eq!((few.len(), few.is_empty()), (plain.len(), plain.is_empty()));
                for key in 0..6 {
                    prop_assert_eq!(few.get(&key), plain.get(&key));
                }
            }
            prop_assert!(few.into_values().eq(plain.into_values()));
        }
    }
}
