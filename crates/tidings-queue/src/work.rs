//! What is done with entries, told by whoever owns the queue.

use std::{fmt, time::Duration};

use tidings_core::{BoxFuture, Priority, Timestamp};

/// What is done with the entries of a queue.
pub trait Work: Send + Sync + 'static {
    /// What an entry carries. If it is dropped by a panic that nobody caught, its `Drop` is the place to see it.
    type Item: Send + 'static;

    /// Works on an item, on a worker's thread, inside the context of the asynchronous runtime. What it does here holds
    /// up the worker; what takes its time is answered as [`Step::Waiting`].
    ///
    /// A panic that comes out of here, or out of the future, is not a failed item but a broken work: it costs the worker
    /// its life and the item, and both are [noticed](Notice).
    fn run(&self, item: Self::Item, turn: &Turn<'_>) -> Step<Self::Item>;

    /// A worker has nothing to do and is about to sleep; called on its thread.
    fn idle(&self) {}

    /// Is told what happens to the workers. Called on a worker's thread or on the runtime, never under a lock; it has to
    /// be quick.
    fn notice(&self, notice: Notice);
}

/// How it goes on with an item.
pub enum Step<T> {
    /// The item is settled: its room is free, the next of its key may run.
    Done,
    /// The item runs again after a time, before those behind it with the same key, with the priority it had. Until then
    /// its key waits, its room is taken, and no worker is held.
    Again {
        /// The item.
        item: T,
        /// How long it waits; nothing is at once.
        after: Duration,
    },
    /// The answer comes later. The worker that asked drives the future, beside others.
    Waiting(BoxFuture<'static, Step<T>>),
}

impl<T: fmt::Debug> fmt::Debug for Step<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Again { item, after } => {
                f.debug_struct("Again").field("item", item).field("after", after).finish()
            }
            Self::Waiting(_) => f.write_str("Waiting"),
        }
    }
}

/// What is known of the entry that is worked on.
#[derive(Debug)]
pub struct Turn<'a> {
    pub(crate) worker: usize,
    pub(crate) now: Timestamp,
    pub(crate) priority: Priority,
    pub(crate) key: Option<u64>,
    pub(crate) since: Timestamp,
    pub(crate) scope: std::marker::PhantomData<&'a ()>,
}

impl Turn<'_> {
    /// Which worker this is, counted from 0.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// The time, read when the worker last looked: a few cheap entries share one reading.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The entry's own priority.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The entry's key.
    pub fn key(&self) -> Option<u64> {
        self.key
    }

    /// How long it has waited since it was pushed, or since it was to run again; a few entries that were pushed in
    /// one burst share one reading.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.now.as_micros() - self.since.as_micros()).unwrap_or(0))
    }
}

/// What happens to the workers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A worker's thread began.
    Started {
        /// Which.
        worker: usize,
    },
    /// A worker was no longer needed and its thread ended.
    Ended {
        /// Which.
        worker: usize,
    },
    /// A panic came out of the work and cost the worker its life. What waits is kept; what others can take over, they do.
    Died {
        /// Which.
        worker: usize,
        /// What the panic said.
        message: String,
        /// After which time it is started again.
        restart_after: Duration,
    },
    /// A worker that died works again.
    Restarted {
        /// Which.
        worker: usize,
    },
    /// The item a worker had in hand when it died. It is gone, its room is free, and the next of its key may run.
    Lost {
        /// Which worker.
        worker: usize,
        /// The entry's key.
        key: Option<u64>,
        /// The entry's priority.
        priority: Priority,
        /// The entry's bytes.
        bytes: usize,
    },
    /// A synchronous handler has held its worker for longer than it should. Others took over what waited behind it,
    /// except what has the same key.
    Blocked {
        /// Which worker.
        worker: usize,
        /// For how long at least.
        span: Duration,
    },
    /// A worker that was blocked goes on.
    Unblocked {
        /// Which.
        worker: usize,
    },
    /// The number of workers was changed.
    Scaled {
        /// From how many.
        from: usize,
        /// To how many.
        to: usize,
        /// Why.
        cause: Cause,
    },
    /// The machine gave no thread for a worker that was to be started again; it is tried again.
    NoThread {
        /// Which worker.
        worker: usize,
        /// What the machine said.
        message: String,
    },
}

/// Why the number of workers was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Somebody asked.
    Asked,
    /// They were too busy, or the queue too full.
    Busy,
    /// They had too little to do.
    Idle,
}
