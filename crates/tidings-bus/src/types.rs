//! From an event type to its slot, without a lock and without a write to shared memory.

use std::{
    any::{Any, TypeId},
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

/// How many chains there are; a power of two. Programs have some hundred event types, so that a chain has one or two.
const CHAINS: usize = 256;

/// A map that only grows: chains of nodes that are set once. Emitting by type is then two loads and a comparison; a map
/// behind a lock or an atomic pointer would cost as much as all the rest. It is bounded by the number of event types in
/// the program.
///
/// Each event type has a type of slot of its own, and that type is the key.
pub(crate) struct Types<const N: usize = CHAINS> {
    /// In place and not behind a pointer: it is the first thing an emission by type waits for.
    chains: [Link; N],
}

type Link = OnceLock<Box<Node>>;

struct Node {
    key: TypeId,
    slot: Arc<dyn Any + Send + Sync>,
    next: Link,
}

impl<const N: usize> Types<N> {
    pub(crate) fn new() -> Self {
        Self { chains: [const { Link::new() }; N] }
    }

    /// The slot of this type, if it was put there.
    #[inline]
    pub(crate) fn get<S: 'static>(&self) -> Option<&S> {
        let key = TypeId::of::<S>();
        let mut node = self.chain(key).get()?;
        // Asking the slot for its type is a call; comparing the key first spares it wherever it would answer no.
        while node.key != key {
            node = node.next.get()?;
        }
        node.slot.downcast_ref()
    }

    /// The slot of this type, with what `make` gives if there is none. Of several threads that ask at once, all are
    /// given the same.
    pub(crate) fn get_or_put<S: Send + Sync + 'static>(&self, make: impl FnOnce() -> S) -> Arc<S> {
        let (key, mut make) = (TypeId::of::<S>(), Some(make));
        let mut link = self.chain(key);
        loop {
            let node = link.get_or_init(|| {
                let Some(make) = make.take() else {
                    unreachable!("the link that was made is the one it looks for")
                };
                Box::new(Node { key, slot: Arc::new(make()), next: Link::new() })
            });
            match node.slot.clone().downcast() {
                Ok(slot) => return slot,
                Err(_) => link = &node.next,
            }
        }
    }

    #[inline]
    fn chain(&self, key: TypeId) -> &Link {
        let mut hash = TakeIt(0);
        key.hash(&mut hash);
        let at = (hash.finish() as usize) & (N - 1);
        self.chains.get(at).unwrap_or_else(|| unreachable!("the number of chains is a power of two"))
    }
}

/// A type id is a hash already.
struct TakeIt(u64);

impl Hasher for TakeIt {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Kind<const N: usize>(usize);

    macro_rules! put_and_check {
        ($types:expr, $($n:literal)*) => {$({
            assert_eq!(*$types.get_or_put(|| Kind::<$n>($n)), Kind($n));
            assert_eq!($types.get::<Kind<$n>>(), Some(&Kind($n)));
        })*};
    }

    #[test]
    fn each_type_has_its_own_slot_and_keeps_it_also_where_all_share_a_chain() {
        fn check<const N: usize>(types: &Types<N>) {
            assert_eq!(types.get::<Kind<0>>(), None);
            put_and_check!(types, 0 1 2 3 4 5 6 7 8 9);
            assert_eq!(*types.get_or_put(|| Kind::<3>(77)), Kind(3), "the first one stays");
            put_and_check!(types, 9 8 7 6 5 4 3 2 1 0);
            assert_eq!(types.get::<Kind<10>>(), None);
        }
        check(&Types::<1>::new());
        check(&Types::<CHAINS>::new());
    }

    #[test]
    fn threads_that_ask_at_once_are_given_the_same_slot() {
        let (types, start) = (Types::<CHAINS>::new(), Barrier::new(4));
        let ask = |n: usize| {
            start.wait();
            types.get_or_put(|| Kind::<0>(n))
        };
        let slots: Vec<Arc<Kind<0>>> = thread::scope(|scope| {
            let ask = &ask;
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || ask(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(slots.iter().all(|slot| Arc::ptr_eq(slot, &slots[0])));
    }
}
