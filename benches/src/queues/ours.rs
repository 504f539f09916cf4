//! Our queue: its worker sees what is sent.

use std::{
    hint::spin_loop,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tidings_core::{Priority, SystemClock};
use tidings_queue::{Config, Entry, Notice, Queue, Step, Turn, Work};
use tokio::runtime::Runtime;

use super::{Publish, ROOM, Seen, Small};
use crate::busy::pin;

const LEVELS: [Priority; 3] = [Priority::Critical, Priority::Normal, Priority::Low];

/// What our worker does with an item: sees it, in place or as a future that is ready.
pub struct Turns {
    seen: Arc<Seen>,
    future: bool,
}

impl Work for Turns {
    type Item = Small;

    fn run(&self, item: Small, _: &Turn<'_>) -> Step<Small> {
        if self.future {
            let seen = self.seen.clone();
            return Step::Waiting(Box::pin(async move {
                seen.see(&item);
                Step::Done
            }));
        }
        self.seen.see(&item);
        Step::Done
    }

    fn notice(&self, notice: Notice) {
        // Told on the worker's own thread.
        if matches!(notice, Notice::Started { .. }) {
            pin(1);
            self.seen.serve();
        }
    }
}

/// Our queue with one worker, and what it runs on.
pub struct Ours {
    queue: Queue<Turns>,
    _runtime: Runtime,
}

/// Starts it. Who sees is fixed, since the work is.
pub fn ours(spin: Duration, seen: Arc<Seen>, future: bool) -> Result<Ours> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = Config { workers: 1, events_max: 3 * ROOM, spin, ..Config::default() };
    let work = Arc::new(Turns { seen, future });
    let queue = Queue::start(config, work, Arc::new(SystemClock), runtime.handle().clone())?;
    Ok(Ours { queue, _runtime: runtime })
}

impl Publish for Ours {
    fn send(&mut self, level: usize, small: Small) {
        let mut entry = Entry { item: small, key: None, priority: LEVELS[level], bytes: size_of::<Small>() };
        while let Err(full) = self.queue.push(entry) {
            entry = full.entry;
            spin_loop();
        }
    }
}

/// A body of its own, as an event has one.
pub type Item = Box<[u8; 256]>;

/// Work that stands still until it is let go.
#[derive(Default)]
pub struct Gate(pub AtomicBool);

impl Work for Gate {
    type Item = Item;

    fn run(&self, _: Item, _: &Turn<'_>) -> Step<Item> {
        while !self.0.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Step::Done
    }

    fn notice(&self, _: Notice) {}
}

/// The processor time of two idle workers and their keeper over a while, as a share of one processor.
pub fn idle_cost(span: Duration) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let config = Config { workers: 2, ..Config::default() };
    let queue =
        Queue::start(config, Arc::new(Gate::default()), Arc::new(SystemClock), runtime.handle().clone())?;
    let cost = crate::busy::processor_share(span)?;
    drop(queue);
    Ok(cost)
}
