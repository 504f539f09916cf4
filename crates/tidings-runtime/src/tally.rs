//! A counter that many threads add to, and few read.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// How many parts there are; a power of two.
const PARTS: usize = 16;

/// A part each thread, as far as they go: threads that add at once do not take the memory out of each other's hands.
#[derive(Debug, Default)]
pub(crate) struct Tally([Part; PARTS]);

/// Alone on what processors pass to each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicU64);

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Tally {
    /// One more.
    pub fn add(&self) {
        let mine = MINE.with(|mine| {
            if mine.get() == usize::MAX {
                mine.set(THREADS.fetch_add(1, Ordering::Relaxed));
            }
            mine.get()
        });
        self.0[mine % PARTS].0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_threads_than_parts_are_counted_each() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..PARTS * 2 {
                scope.spawn(|| (0..1_000).for_each(|_| tally.add()));
            }
        });
        assert_eq!(tally.get(), PARTS as u64 * 2_000);
    }
}
