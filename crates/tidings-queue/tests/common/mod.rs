//! A queue whose work is a closure, on a driven clock.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use tidings_core::{ManualClock, Priority, Timestamp};
use tidings_queue::{Config, Entry, Notice, Queue, Step, Turn, Work};
use tokio::runtime::{Builder, Runtime};

type Run<T> = Box<dyn Fn(T, &Turn<'_>) -> Step<T> + Send + Sync>;

/// A value that can be waited for.
#[derive(Default)]
pub struct Watched<T>(Mutex<T>, Condvar);

impl<T> Watched<T> {
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.0.lock().expect("no panic under it"));
        self.1.notify_all();
        result
    }

    /// Waits until it is so; fails after a time that only a fault takes.
    pub fn until<R>(&self, what: &str, mut so: impl FnMut(&mut T) -> Option<R>) -> R {
        let mut value = self.0.lock().expect("no panic under it");
        for _ in 0..200 {
            if let Some(result) = so(&mut value) {
                return result;
            }
            value = self.1.wait_timeout(value, Duration::from_millis(100)).expect("no panic under it").0;
        }
        panic!("never came: {what}")
    }
}

pub struct Act<T> {
    run: Run<T>,
    pub notices: Watched<Vec<Notice>>,
}

impl<T: Send + 'static> Work for Act<T> {
    type Item = T;

    fn run(&self, item: T, turn: &Turn<'_>) -> Step<T> {
        (self.run)(item, turn)
    }

    fn notice(&self, notice: Notice) {
        self.notices.change(|notices| notices.push(notice));
    }
}

/// A queue, what it runs on and what drives it.
pub struct Bench<T: Send + 'static> {
    pub queue: Arc<Queue<Act<T>>>,
    pub act: Arc<Act<T>>,
    pub clock: ManualClock,
    pub runtime: Runtime,
}

pub fn bench<T: Send + 'static>(
    config: Config,
    run: impl Fn(T, &Turn<'_>) -> Step<T> + Send + Sync + 'static,
) -> Bench<T> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let act = Arc::new(Act { run: Box::new(run), notices: Watched::default() });
    let queue = Queue::start(config, act.clone(), Arc::new(clock.clone()), runtime.handle().clone());
    Bench { queue: Arc::new(queue.expect("it starts")), act, clock, runtime }
}

impl<T: Send + 'static> Bench<T> {
    /// Waits until a notice is as wanted.
    pub fn noticed<R>(&self, what: &str, so: impl Fn(&Notice) -> Option<R>) -> R {
        self.act.notices.until(what, |notices| notices.iter().find_map(&so))
    }

    /// Works off what is there and ends.
    pub fn end(&self) {
        let left = self.runtime.block_on(self.queue.drained(Duration::from_secs(3_600)));
        assert!(left.is_empty(), "{} wait, {} run", left.waiting.len(), left.running);
    }
}

/// Waits until something that nobody tells of is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..20_000_000 {
        if so() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("never came: {what}")
}

/// Something that handlers wait for.
#[derive(Default)]
pub struct Gate {
    state: Watched<(usize, usize)>,
}

impl Gate {
    /// Waits to be let through.
    pub fn pass(&self) {
        self.state.change(|(waiting, _)| *waiting += 1);
        self.state.until("the gate to be opened", |(_, open)| (*open > 0).then(|| *open -= 1));
    }

    /// Waits until so many have come.
    pub fn arrived(&self, count: usize) {
        self.state.until("somebody at the gate", |(waiting, _)| (*waiting >= count).then_some(()));
    }

    pub fn open(&self, count: usize) {
        self.state.change(|(_, open)| *open += count);
    }
}

pub fn one_worker() -> Config {
    Config { workers: 1, events_max: 100, ..Config::default() }
}

pub fn entry<T>(item: T, priority: Priority) -> Entry<T> {
    Entry { item, key: None, priority, bytes: 1 }
}

pub fn keyed<T>(item: T, key: u64) -> Entry<T> {
    Entry { item, key: Some(key), priority: Priority::Normal, bytes: 1 }
}
