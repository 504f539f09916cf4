//! The locks, counters and threads of what is checked under every interleaving.
//!
//! The test of interleavings compiles the same files with another module of this name.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::thread::{Thread, current, park};

pub(crate) use parking_lot::{Mutex, MutexGuard};

/// Locks; nothing here panics while it holds a lock, so none is ever poisoned.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
