//! What is left of deliveries that were handled, on its way back to whoever publishes.
//!
//! Memory that one thread takes and another gives back is dear: both meet in the allocator. A worker therefore puts what
//! is left of a delivery on a shelf, and the next publisher clears it, whose memory it was. Nothing lies there for long:
//! a worker that has nothing to do clears it, too. It is little, and large payloads are never put there.

use std::{
    cell::{Cell, RefCell},
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tidings_core::Envelope;

use crate::receipt::Told;

/// How many are put there at once.
const MANY: usize = 32;

/// The largest payload, in bytes.
const BYTES_MAX: usize = 4_096;

/// What is left of a delivery.
pub(crate) type Remains = (Envelope, Option<Arc<Told>>);

thread_local! {
    static HAND: RefCell<Vec<Remains>> = const { RefCell::new(Vec::new()) };
    static WORKER: Cell<bool> = const { Cell::new(false) };
}

/// A pool's shelf.
#[derive(Default)]
pub(crate) struct Shelf {
    kept: Mutex<Vec<Remains>>,
    len: AtomicUsize,
}

impl Shelf {
    /// This thread is a worker's: it clears the shelf before it sleeps.
    pub fn at_worker() {
        WORKER.set(true);
    }

    /// A worker has done with a delivery. On any other thread this just drops what is left.
    pub fn put(&self, remains: Remains) {
        if !WORKER.get() || remains.0.payload().map_or(usize::MAX, |payload| payload.len()) > BYTES_MAX {
            return;
        }
        let full = HAND.with_borrow_mut(|hand| {
            hand.push(remains);
            (hand.len() == MANY).then(|| mem::replace(hand, Vec::with_capacity(MANY)))
        });
        if let Some(full) = full {
            let mut kept = self.kept.lock();
            // What nobody has fetched is dropped here, when the lock is free.
            let left = mem::replace(&mut *kept, full);
            self.len.store(MANY, Ordering::Relaxed);
            drop(kept);
            drop(left);
        }
    }

    /// Drops what lies there.
    pub fn clear(&self) {
        if self.len.load(Ordering::Relaxed) > 0 {
            let mut kept = self.kept.lock();
            self.len.store(0, Ordering::Relaxed);
            let all = mem::take(&mut *kept);
            drop(kept);
            drop(all);
        }
    }

    /// The same, and what this worker has not put there yet.
    pub fn clear_all(&self) {
        self.clear();
        drop(HAND.with_borrow_mut(mem::take));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remains(bytes: usize) -> (Remains, std::sync::Weak<Told>) {
        let told = Told::of(1);
        let weak = Arc::downgrade(&told);
        let event = Envelope::build("order.placed").json(vec![b'1'; bytes]).finish().expect("valid");
        ((event, Some(told)), weak)
    }

    #[test]
    fn what_is_left_lies_there_until_somebody_publishes_or_the_worker_is_idle() {
        let shelf = Shelf::default();
        let (first, other_thread) = remains(1);
        shelf.put(first);
        assert!(other_thread.upgrade().is_none(), "no worker, no shelf");

        Shelf::at_worker();
        let (large, gone) = remains(BYTES_MAX + 1);
        shelf.put(large);
        assert!(gone.upgrade().is_none());
        let many: Vec<_> = (0..MANY + 3).map(|_| remains(1)).collect();
        let (all, weak): (Vec<_>, Vec<_>) = many.into_iter().unzip();
        all.into_iter().for_each(|one| shelf.put(one));
        let lie = || weak.iter().filter(|one| one.upgrade().is_some()).count();
        assert_eq!(lie(), MANY + 3);
        shelf.clear();
        assert_eq!(lie(), 3);
        shelf.clear_all();
        assert_eq!(lie(), 0);
    }
}
