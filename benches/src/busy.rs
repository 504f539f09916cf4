//! Another thread that works while something is measured, and how far two threads are from each other.

use std::{
    hint::{black_box, spin_loop},
    sync::{
        Arc, Barrier, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Does the same again and again on another thread, until it is dropped.
pub struct Busy {
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Busy {
    /// Starts; answers when the first turn is done.
    pub fn start<R>(mut turn: impl FnMut() -> R + Send + 'static) -> Self {
        let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), turns.clone());
        let thread = thread::spawn(move || {
            pin(1);
            while !stopped.load(Ordering::Relaxed) {
                black_box(turn());
                counted.store(counted.load(Ordering::Relaxed) + 1, Ordering::Release);
            }
        });
        while turns.load(Ordering::Acquire) == 0 && !thread.is_finished() {
            thread::yield_now();
        }
        Self { stop, turns, thread: Some(thread) }
    }

    /// How many turns there were.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Keeps this thread on one processor, where that is possible and there are as many.
pub fn pin(number: usize) {
    // Those that the first thread may use that asks: a thread that was begun by a pinned one may use no other, and has to
    // be given another nevertheless.
    static ALL: OnceLock<Vec<core_affinity::CoreId>> = OnceLock::new();
    let all = ALL.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default());
    if let Some(core) = all.get(number) {
        core_affinity::set_for_current(*core);
    }
}

/// Runs `work` on two threads, each on a processor of its own, from the same moment; answers the nanoseconds until the
/// slower one was done. What each prepares, knowing which of the two it is,
/// is not in the figure.
pub fn two_threads<T>(prepare: impl Fn(usize) -> T + Sync, work: impl Fn(T) + Sync) -> f64 {
    let barrier = Barrier::new(2);
    let run = |number: usize| {
        pin(number);
        let prepared = prepare(number);
        barrier.wait();
        let begun = Instant::now();
        work(prepared);
        begun.elapsed().as_nanos() as f64
    };
    thread::scope(|scope| {
        let threads = [0, 1].map(|number| scope.spawn(move || run(number)));
        threads.into_iter().filter_map(|thread| thread.join().ok()).fold(0.0, f64::max)
    })
}

/// What it takes to hand a number to the other thread, in nanoseconds: the distance of the two processors at the moment.
pub fn hand_off() -> f64 {
    const HOPS: u64 = 2_000;
    let number = AtomicU64::new(0);
    let nanos = two_threads(
        |own| own as u64,
        |own| {
            for hop in 0..HOPS {
                let mine = hop * 2 + own;
                while number.load(Ordering::Acquire) != mine {
                    spin_loop();
                }
                number.store(mine + 1, Ordering::Release);
            }
        },
    );
    nanos / (HOPS * 2) as f64
}

/// How much of one processor all threads of this process take while this one waits for so long.
pub fn processor_share(span: Duration) -> anyhow::Result<f64> {
    let spent = || -> anyhow::Result<u64> {
        let mut nanos = 0;
        for task in std::fs::read_dir("/proc/self/task")? {
            let text = match std::fs::read_to_string(task?.path().join("schedstat")) {
                Ok(text) => text,
                // It has ended since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(nanos)
    };
    let (before, begun) = (spent()?, Instant::now());
    while begun.elapsed() < span {
        thread::park_timeout(span.saturating_sub(begun.elapsed()));
    }
    Ok(spent()?.saturating_sub(before) as f64 / begun.elapsed().as_nanos() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_thread_works_until_it_is_dropped() {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let busy = Busy::start(move || counted.fetch_add(1, Ordering::Relaxed));
        assert!(busy.turns() > 0);
        drop(busy);
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn a_thread_that_a_pinned_one_begins_can_be_pinned_elsewhere() {
        fn on(number: usize) -> Vec<core_affinity::CoreId> {
            pin(number);
            core_affinity::get_core_ids().unwrap_or_default()
        }
        let both = || (on(0), thread::spawn(move || on(1)).join().expect("no panic"));
        let (own, other) = thread::spawn(both).join().expect("no panic");
        assert_eq!((own.len(), other.len()), (1, 1));
        assert!(own != other || thread::available_parallelism().is_ok_and(|count| count.get() == 1));
    }

    #[test]
    fn two_threads_do_the_work_once_each() {
        let seen = AtomicU64::new(0);
        let nanos = two_threads(
            |own| own as u64 + 1,
            |own| {
                seen.fetch_add(own, Ordering::Relaxed);
            },
        );
        assert_eq!(seen.load(Ordering::Relaxed), 3);
        assert!(nanos >= 0.0);
    }
}
