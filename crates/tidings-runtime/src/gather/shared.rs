//! What those who give deliveries share with the loop that gathers them.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{Batches, Clock, Envelope, Failure, Handled, Ran, Timestamp};
use tidings_policy::BatchGuards;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    BatchHandler,
    delivery::Delivery,
    room::{Place, Room},
};
use crate::{
    Callee, EVENT_BYTES, Ended, Ground, Notice, Outside,
    job::Job,
    pool::{Counts, Pool},
};

/// What those who give deliveries share with the loop.
pub(super) struct Shared {
    pub callee: Arc<Callee>,
    pub batches: Batches,
    pub ordered: bool,
    pub guards: BatchGuards,
    pub place: Ran,
    pub outside: Arc<dyn Outside>,
    pub clock: Arc<dyn Clock>,
    pub notices: Arc<dyn Fn(Notice) + Send + Sync>,
    pub input: Mutex<Input>,
    /// Wakes the loop.
    pub work: Notify,
    /// Nothing is held any more.
    pub over: Notify,
    pub room: Room,
    pub held: AtomicUsize,
    /// Deliveries that have ended.
    pub ended: AtomicU64,
    pub counts: Counts,
    /// Calls that have ended.
    pub calls: AtomicU64,
    pub pool: OnceLock<Weak<Pool>>,
    pub closed: CancellationToken,
}

#[derive(Default)]
pub(super) struct Input {
    arrived: Vec<Delivery>,
    next: u64,
    /// Nothing stays in an open batch.
    pub flushing: bool,
    closed: bool,
}

impl Shared {
    pub fn new(handler: BatchHandler, ground: &Ground, place: Ran, bounds: (usize, usize)) -> Self {
        Self {
            callee: handler.callee,
            batches: handler.batches,
            ordered: handler.ordered,
            guards: handler.guards,
            place,
            outside: ground.outside.clone(),
            clock: ground.clock.clone(),
            notices: ground.notices.clone(),
            input: Mutex::default(),
            work: Notify::new(),
            over: Notify::new(),
            room: Room::new(bounds.0, bounds.1),
            held: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            counts: Counts::default(),
            calls: AtomicU64::new(0),
            pool: OnceLock::new(),
            closed: CancellationToken::new(),
        }
    }

    pub fn push(self: &Arc<Self>, job: Job) -> Handled {
        let Some(place) = self.room.try_take(payload(&job.envelope) + EVENT_BYTES) else {
            Counts::add(&self.counts.refused);
            return Err(Failure::transient(format!("{} holds as much as it may", self.callee.name)));
        };
        self.put(job, Duration::ZERO, place).map_err(|_| {
            Counts::add(&self.counts.refused);
            ended()
        })
    }

    pub fn put(self: &Arc<Self>, job: Job, waited: Duration, place: Place) -> Result<(), Job> {
        let now = self.clock.now();
        let ready = Timestamp::from_micros(now.as_micros().saturating_sub(micros(waited)));
        let mut input = self.input.lock();
        if input.closed {
            return Err(job);
        }
        let number = input.next;
        input.next += 1;
        input.arrived.push(Delivery::new(self.clone(), job, number, ready, place));
        drop(input);
        self.work.notify_one();
        Ok(())
    }

    pub fn put_or_end(self: &Arc<Self>, job: Job, waited: Duration, place: Option<Place>) {
        let left = match place {
            Some(place) => self.put(job, waited, place).err(),
            None => Some(job),
        };
        if let Some(job) = left {
            self.count(|counts| &counts.dropped);
            // Its row stays: it comes back with the next start.
            Job { spilled: None, ..job }.end(&self.callee.name, Ended::Dropped("the application ended"));
        }
    }

    /// What has come, and whether it is to be flushed.
    pub fn arrived(&self) -> (Vec<Delivery>, bool) {
        let mut input = self.input.lock();
        (std::mem::take(&mut input.arrived), input.flushing)
    }

    /// How many deliveries are here.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    pub async fn idle(&self) {
        loop {
            let over = self.over.notified();
            if self.held() == 0 {
                return;
            }
            over.await;
        }
    }

    pub fn close(&self) {
        self.input.lock().closed = true;
        self.room.close();
        self.closed.cancel();
    }

    pub fn count_handled(&self) {
        self.counts.handled.add();
        if let Some(pool) = self.pool.get().and_then(Weak::upgrade) {
            pool.counts.handled.add();
        }
    }

    pub fn count(&self, of: impl Fn(&Counts) -> &AtomicU64) {
        Counts::add(of(&self.counts));
        if let Some(pool) = self.pool.get().and_then(Weak::upgrade) {
            Counts::add(of(&pool.counts));
        }
    }
}

pub(super) fn ended() -> Failure {
    Failure::transient("the application has ended")
}

pub(super) fn payload(event: &Envelope) -> usize {
    event.payload().map_or(0, |json| json.len())
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
