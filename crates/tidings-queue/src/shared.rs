//! What publishers, workers and the keeper share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::Clock;
use tokio::{runtime::Handle, sync::Notify};

use crate::{
    config::{Config, Order, WORKERS_MAX},
    histogram::Histogram,
    post::Post,
    room::Room,
    work::{Notice, Work},
};

pub(crate) struct Shared<W: Work> {
    pub(crate) work: Arc<W>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: Handle,
    pub(crate) config: Mutex<Config>,
    pub(crate) room: Arc<Room>,
    pub(crate) post: Arc<Post<W::Item>>,
    pub(crate) slots: Vec<Slot>,
    /// How many workers there are to be: the first so many.
    pub(crate) active: AtomicUsize,
    /// Held by whoever changes that number.
    pub(crate) scaling: Mutex<()>,
    pub(crate) stopped: AtomicBool,
    pub(crate) dropped: AtomicU64,
    /// What the workers read of the settings.
    pub(crate) spin: AtomicU64,
    pub(crate) concurrency: AtomicUsize,
    pub(crate) timings: AtomicBool,
    /// The keeper has to look at the settings again, or to end.
    pub(crate) changed: Arc<Notify>,
    /// The keeper sleeps until a worker wakes it: there is nothing to look after.
    pub(crate) dozing: AtomicBool,
    /// All ends.
    pub(crate) stopping: Arc<Notify>,
    /// A worker's thread has ended.
    pub(crate) ended: Notify,
}

/// What is known of one worker. The counters are written by its thread only.
pub(crate) struct Slot {
    pub(crate) life: Mutex<Life>,
    /// Odd while a synchronous handler runs; another number with each.
    pub(crate) turn: AtomicU64,
    pub(crate) processed: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) restarted: AtomicU64,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) delayed: AtomicUsize,
    /// For how many microseconds it had nothing to do, and since when it has, if it has.
    pub(crate) idle: AtomicI64,
    pub(crate) idle_since: AtomicI64,
    pub(crate) blocked: AtomicBool,
    pub(crate) wait: Histogram,
    pub(crate) processing: Histogram,
}

#[derive(Debug, Default)]
pub(crate) struct Life {
    /// There is a thread.
    pub(crate) alive: bool,
    /// It died and is to be restarted.
    pub(crate) down: bool,
    /// How often it died in a row, and when it last began.
    pub(crate) deaths: u32,
    pub(crate) begun: i64,
}

/// A worker that is not idle has been so since never.
pub(crate) const NEVER: i64 = i64::MIN;

impl Slot {
    fn new() -> Self {
        Self {
            life: Mutex::default(),
            turn: AtomicU64::new(0),
            processed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            restarted: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            delayed: AtomicUsize::new(0),
            idle: AtomicI64::new(0),
            idle_since: AtomicI64::new(NEVER),
            blocked: AtomicBool::new(false),
            wait: Histogram::new(),
            processing: Histogram::new(),
        }
    }

    /// For how many microseconds it had nothing to do, up to now.
    pub(crate) fn idle_until(&self, now: i64) -> i64 {
        let since = self.idle_since.load(Ordering::Relaxed);
        let this = if since == NEVER { 0 } else { (now - since).max(0) };
        self.idle.load(Ordering::Relaxed) + this
    }
}

pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// The order's weights, if it has any, from the highest level down.
pub(crate) fn weights(order: Order) -> Option<[u32; 3]> {
    match order {
        Order::Weighted { critical, normal, low } => Some([critical, normal, low]),
        Order::Strict => None,
    }
}

impl<W: Work> Shared<W> {
    pub(crate) fn new(config: Config, work: Arc<W>, clock: Arc<dyn Clock>, runtime: Handle) -> Arc<Self> {
        let post = Post::new(WORKERS_MAX, weights(config.order), micros(config.ageing));
        Arc::new(Self {
            work,
            clock,
            runtime,
            room: Room::new(config.events_max, config.bytes_max),
            post: Arc::new(post),
            slots: (0..WORKERS_MAX).map(|_| Slot::new()).collect(),
            active: AtomicUsize::new(0),
            scaling: Mutex::new(()),
            stopped: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            spin: AtomicU64::new(config.spin.as_nanos() as u64),
            concurrency: AtomicUsize::new(config.concurrency),
            timings: AtomicBool::new(config.timings),
            changed: Arc::new(Notify::new()),
            dozing: AtomicBool::new(false),
            stopping: Arc::new(Notify::new()),
            ended: Notify::new(),
            config: Mutex::new(config),
        })
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().as_micros()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn notice(&self, notice: Notice) {
        self.work.notice(notice);
    }

    /// Decides anew which workers get entries: those that are to be there and can take them.
    pub(crate) fn regroup(&self) {
        let active = self.active.load(Ordering::SeqCst);
        let all = (1_u32 << active) - 1;
        let fit = (0..active)
            .filter(|worker| !self.slots[*worker].blocked.load(Ordering::SeqCst))
            .filter(|worker| !self.slots[*worker].life.lock().down)
            .fold(0, |bits, worker| bits | 1 << worker);
        self.post.open(if fit == 0 { all } else { fit }, self.now());
    }

    /// Ends everything: no worker takes anything any more.
    pub(crate) fn stop(&self) {
        self.room.close();
        self.stopped.store(true, Ordering::SeqCst);
        self.stopping.notify_waiters();
        self.changed.notify_one();
        for worker in 0..self.post.len() {
            self.post.place(worker).inbox.wake();
        }
    }
}
