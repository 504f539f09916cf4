//! Handlers of batches in memory: deliveries are gathered, and the handler is called with many at once.
//!
//! ```text
//!  bus, or a pool's queue ──▶ room? ──▶ keys ──▶ open batches ──▶ complete ──▶ guard ──▶ call ──▶ carried out, settled
//!                                         ▲                                                       │
//!                                         └────────── has to wait, or to run again ◀──────────────┘
//! ```
//!
//! The same handlers, policies and settlements as behind a durable subscription, but for what only a log can do: what
//! is here is lost when the process dies, unless it had been spilled. `run` is the loop, `call` one call with a batch,
//! `end` what becomes of those that are given up. Start with [`Gatherer`].

mod call;
mod delivery;
mod end;
mod room;
mod run;
mod settle;
mod shared;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_core::{Batches, DeadLetter, Envelope, Handled, Ran, Text};
use tidings_flow::Batch;
use tidings_policy::BatchGuards;
use tidings_queue::Step;

use self::{
    delivery::Delivery,
    run::Gathering,
    shared::{Shared, ended, payload},
};
use crate::{Callee, EVENT_BYTES, Ground, Outcomes, job::Job, pool::Pool, receipt::Told};

/// The most deliveries that a handler of batches on the bus holds; more are refused.
pub const HELD_MAX: usize = 100_000;

/// The most bytes that a handler of batches on the bus holds: payloads, and [`EVENT_BYTES`] for each.
pub const HELD_BYTES_MAX: usize = 256 << 20;

/// A handler of batches that is to run in memory.
pub struct BatchHandler {
    /// The handler: its name, its fallback and what it reaches. Its function for single events is not called.
    pub callee: Arc<Callee>,
    /// When a batch is complete, and the function.
    pub batches: Batches,
    /// Whether events with the same key are handled in order.
    pub ordered: bool,
    /// What surrounds its calls.
    pub guards: BatchGuards,
}

impl fmt::Debug for BatchHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHandler").field("callee", &self.callee).finish_non_exhaustive()
    }
}

/// How a handler of batches in memory is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatherFigures {
    /// The handler.
    pub handler: Text,
    /// Where it runs.
    pub place: Ran,
    /// Deliveries it holds: in open batches, in calls, or waiting to be called for again.
    pub held: usize,
    /// Calls that have ended.
    pub calls: u64,
    /// Deliveries that were handled, by the handler or its fallback.
    pub handled: u64,
    /// Deliveries that failed in a call.
    pub failures: u64,
    /// Deliveries that were tried again.
    pub retries: u64,
    /// Deliveries that went to the dead letters.
    pub dead: u64,
    /// Deliveries that were not called for on purpose: switched off, done already, or expired.
    pub skipped: u64,
    /// Deliveries that were dropped when the application ended.
    pub dropped: u64,
    /// Deliveries for which there was no room.
    pub refused: u64,
}

/// Gathers deliveries for one handler of batches. Cheap to clone; when the last clone is dropped, it ends as if
/// [closed](Self::close) without any time.
///
/// On the bus its calls run on the application's runtime. In a pool, deliveries reach it through the pool's queue, with
/// its bounds and what it does when it is full, and its calls run on a thread of its own. Up to
/// [`CONCURRENCY`](tidings_core::CONCURRENCY) calls run at once; a bulkhead says fewer.
#[derive(Clone)]
pub struct Gatherer(Arc<Handle>);

/// Its end closes the gathering.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Gatherer {
    /// A handler that is given what happens on the bus; it runs on the runtime of `ground`.
    ///
    /// # Errors
    /// Settings of batches that mean nothing.
    pub fn on_bus(handler: BatchHandler, ground: &Ground) -> Result<Self, tidings_flow::Error> {
        let (me, gathering) = Self::new(handler, ground, Ran::Bus, (HELD_MAX, HELD_BYTES_MAX))?;
        ground.runtime.spawn(gathering.run());
        Ok(me)
    }

    /// A handler that is given what comes through a queue with these bounds in events and bytes: it holds no more than
    /// that besides.
    pub(crate) fn in_pool(
        handler: BatchHandler,
        ground: &Ground,
        bounds: (usize, usize),
    ) -> Result<Self, GatherError> {
        let (me, gathering) = Self::new(handler, ground, Ran::Buffered, bounds)?;
        let runtime = ground.runtime.clone();
        let thread = std::thread::Builder::new().name("tidings-batches".into());
        thread.spawn(move || runtime.block_on(gathering.run()))?;
        Ok(me)
    }

    fn new(
        handler: BatchHandler,
        ground: &Ground,
        place: Ran,
        bounds: (usize, usize),
    ) -> Result<(Self, Gathering), tidings_flow::Error> {
        let shared = Arc::new(Shared::new(handler, ground, place, bounds));
        let settings = shared.batches.settings.clone();
        let open = match settings.bytes {
            None => Batch::by(settings, Delivery::batch_key)?,
            Some(_) => Batch::measured_by(settings, Delivery::batch_key, |one| payload(one.envelope()))?,
        };
        let gathering = Gathering::new(shared.clone(), open);
        Ok((Self(Arc::new(Handle(shared))), gathering))
    }

    /// The handler.
    pub fn name(&self) -> &Text {
        &self.0.0.callee.name
    }

    /// Where it runs.
    pub fn place(&self) -> Ran {
        self.0.0.place
    }

    /// What surrounds its calls: how that stands, and the place to change its policy.
    pub fn guards(&self) -> &BatchGuards {
        &self.0.0.guards
    }

    /// A listener for a bus; it does not keep the handler alive. An event for which there is no room is a failure, and
    /// is counted.
    pub fn listener(&self) -> impl Fn(&Envelope) -> Handled + Clone + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.0.0);
        move |event| match shared.upgrade() {
            Some(shared) => shared.push(Job::new(event.clone(), 0, None)),
            None => Err(ended()),
        }
    }

    /// Gives it a dead letter of its again, waiting for room; its outcome is that of one delivery. `None` when its event
    /// is not there, or nothing is taken in any more.
    pub async fn replay(&self, letter: Arc<DeadLetter>, event: &Envelope) -> Option<Outcomes> {
        let (shared, told) = (&self.0.0, Told::of(1));
        let place = shared.room.take(payload(event) + EVENT_BYTES, || shared.work.notify_one()).await?;
        let job = Job::replay(event.clone(), 0, letter, told.clone());
        shared.put(job, Duration::ZERO, place).ok()?;
        Some(Outcomes(Some(told)))
    }

    /// Takes a delivery from its pool's queue, which holds it until there is room here.
    pub(crate) fn take(&self, job: Job, waited: Duration) -> Step<Job> {
        let shared = &self.0.0;
        let bytes = payload(&job.envelope) + EVENT_BYTES;
        if let Some(place) = shared.room.try_take(bytes) {
            shared.put_or_end(job, waited, Some(place));
            return Step::Done;
        }
        let shared = shared.clone();
        Step::Waiting(Box::pin(async move {
            let begun = shared.clock.now();
            let place = shared.room.take(bytes, || shared.work.notify_one()).await;
            let waited = waited.saturating_add(shared.clock.now().since(begun));
            shared.put_or_end(job, waited, place);
            Step::Done
        }))
    }

    /// Counts what it does among what its pool does, too.
    pub(crate) fn belongs_to(&self, pool: &Arc<Pool>) {
        let _ = self.0.0.pool.set(Arc::downgrade(pool));
    }

    /// Calls for what is in open batches now, and from now on gathers only while calls run or wait.
    pub fn flush(&self) {
        self.0.0.input.lock().flushing = true;
        self.0.0.work.notify_one();
    }

    /// Waits until it holds nothing, however often that is tried again.
    pub async fn idle(&self) {
        self.0.0.idle().await;
    }

    /// How many deliveries have ended here.
    pub fn ended(&self) -> u64 {
        self.0.0.ended.load(Ordering::SeqCst)
    }

    /// Ends it: flushes, waits until nothing is held or `within` is over, and takes nothing more. Answers how many
    /// deliveries are left: they are dropped, and their publishers told so; one that had been spilled comes back.
    pub async fn close(&self, within: Duration) -> usize {
        self.flush();
        let shared = &self.0.0;
        tokio::select! {
            biased;
            () = shared.idle() => {}
            () = shared.clock.sleep(within) => {}
        }
        let left = shared.held();
        shared.close();
        left
    }

    /// How it is doing.
    pub fn figures(&self) -> GatherFigures {
        let (shared, counts) = (&self.0.0, &self.0.0.counts);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        GatherFigures {
            handler: shared.callee.name.clone(),
            place: shared.place,
            held: shared.held(),
            calls: read(&shared.calls),
            handled: counts.handled.get(),
            failures: read(&counts.failures),
            retries: read(&counts.retries),
            dead: read(&counts.dead),
            skipped: read(&counts.skipped),
            dropped: read(&counts.dropped),
            refused: read(&counts.refused),
        }
    }
}

impl fmt::Debug for Gatherer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gatherer").field("figures", &self.figures()).finish()
    }
}

/// Why a handler of batches could not begin.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// Settings of batches that mean nothing.
    #[error(transparent)]
    Settings(#[from] tidings_flow::Error),
    /// Its pool could not be started.
    #[error(transparent)]
    Pool(#[from] tidings_queue::Error),
    /// The machine gave no thread.
    #[error("its thread could not be started")]
    Thread(#[from] io::Error),
}
