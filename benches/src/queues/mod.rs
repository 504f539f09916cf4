//! Queues with three priorities, ours and others', behind one trait.

mod others;
mod ours;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

pub use others::{
    crossbeam_polled, crossbeam_selected, deques, disruptor, flume, kanal, rings, std_mpsc, tokio_mpsc,
};
pub use ours::{Gate, Item, Ours, Turns, idle_cost, ours};

/// What is queued: 64 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Small {
    /// Which one it is, counted from 0.
    pub id: u64,
    /// When it was sent, in nanoseconds of the round; 0 where that is not asked for.
    pub sent: u64,
    /// The rest.
    pub body: [u64; 6],
}

impl Small {
    /// The one with this number.
    pub fn new(id: u64, sent: u64) -> Self {
        Self { id, sent, body: [id; 6] }
    }
}

/// How many may wait at each priority.
pub const ROOM: usize = 4_096;

/// One end: takes entries, and waits while there is no room.
pub trait Publish: Send {
    /// Sends one at a priority, 0 the highest.
    fn send(&mut self, level: usize, small: Small);
}

/// The other end: sees so many entries and answers.
pub trait Consume: Send {
    /// Blocks until `count` entries were seen.
    fn serve(&mut self, count: u64, seen: &Seen);
}

/// Both ends.
pub type Ends = (Box<dyn Publish>, Box<dyn Consume>);

/// Who was seen, by one thread: a bit each, and how long each waited.
#[derive(Debug)]
pub struct Seen {
    begun: Instant,
    bits: Vec<AtomicU64>,
    waits: Vec<AtomicU64>,
    count: AtomicU64,
    /// Ids that came twice, or after a later one of their priority.
    faults: AtomicU64,
    last: [AtomicU64; 3],
    serving: AtomicBool,
}

impl Seen {
    /// Nobody yet, of so many; waits are kept if they are asked for.
    pub fn new(of: u64, waits: bool) -> Self {
        let words = |count: u64| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            begun: Instant::now(),
            bits: words(of / 64 + 1),
            waits: words(if waits { of } else { 0 }),
            count: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            last: Default::default(),
            serving: AtomicBool::new(false),
        }
    }

    /// Who sees is on its processor.
    pub fn serve(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Waits for that. A thread begins on the processor of whoever starts it, and would wait there for a tick.
    pub fn served(&self) {
        while !self.serving.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    /// Nanoseconds since the round began.
    pub fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// Sees one. Only one thread does.
    pub fn see(&self, small: &Small) {
        let word = &self.bits[(small.id / 64) as usize];
        let (bits, bit) = (word.load(Ordering::Relaxed), 1 << (small.id % 64));
        let last = &self.last[(small.id % 3) as usize];
        if bits & bit != 0 || last.load(Ordering::Relaxed) > small.id {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        last.store(small.id, Ordering::Relaxed);
        word.store(bits | bit, Ordering::Relaxed);
        if let Some(wait) = self.waits.get(small.id as usize) {
            wait.store(self.now().saturating_sub(small.sent), Ordering::Relaxed);
        }
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Whether each came once, and each priority in order.
    pub fn check(&self, of: u64) -> anyhow::Result<()> {
        let (count, faults) = (self.count(), self.faults.load(Ordering::Relaxed));
        anyhow::ensure!(count == of && faults == 0, "{count} of {of} seen, {faults} twice or out of order");
        Ok(())
    }

    /// The wait that this part of all did not exceed, in nanoseconds.
    pub fn wait(&self, part: f64) -> f64 {
        let mut waits: Vec<_> = self.waits.iter().map(|wait| wait.load(Ordering::Relaxed)).collect();
        waits.sort_unstable();
        let at = (waits.len().saturating_sub(1) as f64 * part) as usize;
        waits.get(at).map_or(f64::NAN, |wait| *wait as f64)
    }
}

/// Which of three priorities is next: as 3:2:1, of those that wait.
#[derive(Debug, Default)]
pub struct Weights {
    credit: [u32; 3],
}

impl Weights {
    /// Asks the levels in turn for one, the one that has credit first.
    pub fn next<T>(&mut self, mut take: impl FnMut(usize) -> Option<T>) -> Option<T> {
        for _ in 0..2 {
            for level in 0..3 {
                if self.credit[level] > 0
                    && let Some(taken) = take(level)
                {
                    self.credit[level] -= 1;
                    return Some(taken);
                }
            }
            self.credit = [3, 2, 1];
        }
        None
    }
}
