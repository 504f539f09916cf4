//! What a pool's workers do with a delivery: the guard, the call, the settlement.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidings_core::{
    Attempt, Clock, Failure, GivenUp, Handled, Ran, Reason, Text, Timestamp, Wish, keep_attempt,
};
use tidings_policy::{Ask, Entered, Guard, Permit, Refusal, Settlement, Verdict};
use tidings_queue::{Notice as QueueNotice, Step, Turn, Work};

use crate::{
    Callee, Calling, Ended, Gatherer, Outside, PoolConfig, job::Job, limit::Limit, notice::Notice,
    shelf::Shelf, tally::Tally,
};

/// How long a delivery waits that could not even be kept as a dead letter.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

/// A handler in a pool.
pub(crate) struct Slot {
    pub callee: Arc<Callee>,
    pub guard: Guard,
    /// Who gathers its deliveries, where it takes batches.
    pub gatherer: Option<Gatherer>,
}

/// The handlers of a pool, and how fast it may go: what every delivery looks at.
#[derive(Clone, Default)]
pub(crate) struct Lineup {
    /// By their number; those that were taken away leave their place empty.
    pub slots: Vec<Option<Arc<Slot>>>,
    pace: Option<Arc<Limit>>,
}

/// What happened in a pool so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub handled: Tally,
    pub failures: AtomicU64,
    pub retries: AtomicU64,
    pub dead: AtomicU64,
    pub skipped: AtomicU64,
    pub dropped: AtomicU64,
    pub refused: AtomicU64,
}

impl Counts {
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What becomes of a delivery that its policy refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It waits in the queue, and uses no attempt.
    Waits,
    /// It fails at once, for nothing keeps it.
    Fails,
}

/// The part of a pool that its workers share.
pub(crate) struct Pool {
    me: Weak<Pool>,
    pub name: Text,
    pub lineup: ArcSwap<Lineup>,
    pub outside: Arc<dyn Outside>,
    pub clock: Arc<dyn Clock>,
    pub counts: Counts,
    pub notices: Arc<dyn Fn(Notice) + Send + Sync>,
    /// Deliveries that waited longer than they should.
    pub late: AtomicU64,
    late_after: AtomicU64,
    refused: Refused,
    changes: Mutex<()>,
    /// What is left of what was handled.
    pub shelf: Shelf,
}

impl Pool {
    pub fn new(
        name: Text,
        config: &PoolConfig,
        outside: Arc<dyn Outside>,
        clock: Arc<dyn Clock>,
        notices: Arc<dyn Fn(Notice) + Send + Sync>,
        refused: Refused,
    ) -> Arc<Self> {
        let pace = pace(config, clock.now());
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            name,
            lineup: ArcSwap::from_pointee(Lineup { slots: Vec::new(), pace }),
            outside,
            clock,
            counts: Counts::default(),
            notices,
            late: AtomicU64::new(0),
            late_after: AtomicU64::new(micros(config.latency_target)),
            refused,
            changes: Mutex::default(),
            shelf: Shelf::default(),
        })
    }

    pub fn configure(&self, config: &PoolConfig) {
        self.line_up(|lineup| lineup.pace = pace(config, self.clock.now()));
        self.late_after.store(micros(config.latency_target), Ordering::Relaxed);
    }

    /// Adds a handler and answers its number.
    pub fn add(&self, slot: Slot) -> u32 {
        self.line_up(|lineup| {
            lineup.slots.push(Some(Arc::new(slot)));
            u32::try_from(lineup.slots.len() - 1).expect("nobody registers four billion handlers")
        })
    }

    fn line_up<R>(&self, change: impl FnOnce(&mut Lineup) -> R) -> R {
        let _changes = self.changes.lock();
        let mut lineup = Lineup::clone(&self.lineup.load());
        let result = change(&mut lineup);
        self.lineup.store(Arc::new(lineup));
        result
    }

    /// Takes a handler away; what waits for it is dropped, and told so.
    pub fn remove(&self, number: u32) {
        self.line_up(|lineup| {
            if let Some(slot) = lineup.slots.get_mut(number as usize) {
                *slot = None;
            }
        });
    }

    pub fn slot(&self, number: u32) -> Option<Arc<Slot>> {
        self.lineup.load().slots.get(number as usize).cloned().flatten()
    }

    /// Begins with a delivery, wherever: on a worker, or on the publisher's side.
    pub fn begin(&self, job: Job, now: Timestamp, waited: Duration) -> Step<Job> {
        let lineup = self.lineup.load();
        let Some(Some(slot)) = lineup.slots.get(job.handler as usize) else {
            Counts::add(&self.counts.dropped);
            job.end(&self.name, Ended::Dropped("its handler was taken away"));
            return Step::Done;
        };
        if job.envelope.expiry().is_some_and(|expiry| expiry <= now) {
            return self.skip(slot, job, "its time was over");
        }
        if let Some(pace) = &lineup.pace
            && let Err(after) = pace.take(1, now)
        {
            return Step::Again { item: job, after };
        }
        if let Some(gatherer) = &slot.gatherer {
            return gatherer.take(job, waited);
        }
        let ask = Ask {
            envelope: &job.envelope,
            attempt: job.attempt,
            waited,
            priority: job.envelope.priority(),
            since: job.first.unwrap_or(now),
            crashes: 0,
            // Those who wait for a token or a permit are bounded by the policy; the rest comes back.
            hold: true,
            now,
        };
        match slot.guard.enter(&ask) {
            Entered::Go(permit) => self.go(slot, job, permit, now),
            Entered::Refused(refusal) => self.refused(slot, job, refusal),
            Entered::Wait(entering) => {
                let (me, slot) = (self.me.clone(), slot.clone());
                Step::Waiting(Box::pin(async move {
                    let entered = entering.await;
                    let Some(me) = me.upgrade() else { return Step::Done };
                    match entered {
                        Ok(permit) => me.go(&slot, job, permit, me.clock.now()),
                        Err(refusal) => me.refused(&slot, job, refusal),
                    }
                }))
            }
        }
    }

    fn go(&self, slot: &Arc<Slot>, mut job: Job, permit: Permit, now: Timestamp) -> Step<Job> {
        job.first.get_or_insert(now);
        match slot.callee.call(&job.envelope, job.calls, permit.timeout()) {
            Calling::Done(result) => self.settle(slot, job, permit, now, result),
            Calling::Waiting(call) => {
                let (me, slot, permit) = (self.me.clone(), slot.clone(), permit.keep());
                Step::Waiting(Box::pin(async move {
                    let result = call.await;
                    match me.upgrade() {
                        Some(me) => me.settle(&slot, job, permit, now, result),
                        None => Step::Done,
                    }
                }))
            }
        }
    }

    fn settle(
        &self,
        slot: &Arc<Slot>,
        job: Job,
        permit: Permit,
        began: Timestamp,
        result: Handled,
    ) -> Step<Job> {
        if let Err(failure) = &result
            && let Some(Wish::Later(after)) = failure.wish()
        {
            // It was not its time: neither a failure nor an attempt. The permit goes back uncounted.
            let item = Job { calls: job.calls + 1, ..job };
            let Some(then) = permit.unused() else { return Step::Again { item, after } };
            let name = slot.callee.name.clone();
            return Step::Waiting(Box::pin(async move {
                if let Err(trouble) = then.await {
                    tracing::warn!(handler = %name, id = %item.envelope.id(), %trouble, "its claim may not be released");
                }
                Step::Again { item, after }
            }));
        }
        let took = if permit.is_timed() { self.clock.now().since(began) } else { Duration::ZERO };
        let left = slot.guard.leave(permit, &result, took);
        let Some(then) = left.then else { return self.decide(slot, job, left.verdict, result) };
        let (me, slot) = (self.me.clone(), slot.clone());
        Step::Waiting(Box::pin(async move {
            let kept = then.await;
            let Some(me) = me.upgrade() else { return Step::Done };
            if let Err(trouble) = kept {
                tracing::warn!(handler = %slot.callee.name, id = %job.envelope.id(), %trouble, "its claim may not be kept");
            }
            me.decide(&slot, job, left.verdict, result)
        }))
    }

    fn decide(&self, slot: &Arc<Slot>, mut job: Job, verdict: Verdict, result: Handled) -> Step<Job> {
        let Err(failure) = result else {
            self.counts.handled.add();
            self.shelf.put(job.end_and_leave(&slot.callee.name, Ended::Handled));
            return Step::Done;
        };
        Counts::add(&self.counts.failures);
        let attempt = Attempt { at: self.clock.now(), error: failure.describe() };
        keep_attempt(job.troubles.get_or_insert_default(), attempt);
        match verdict {
            Verdict::Again { after } => {
                let after = match failure.wish() {
                    Some(Wish::Again(wished)) => wished,
                    _ => after,
                };
                tracing::warn!(handler = %slot.callee.name, id = %job.envelope.id(), attempt = job.attempt, ?after, %failure, "tried again later");
                Counts::add(&self.counts.retries);
                job.attempt += 1;
                job.calls += 1;
                Step::Again { item: job, after }
            }
            Verdict::Dead { reason } | Verdict::Fallback { reason } => {
                self.give_up(slot, job, reason, failure)
            }
            Verdict::Done => self.give_up(slot, job, Reason::Exhausted, failure),
        }
    }

    fn refused(&self, slot: &Arc<Slot>, job: Job, refusal: Refusal) -> Step<Job> {
        let after = match refusal.settlement() {
            Settlement::Done => return self.skip(slot, job, refusal.word()),
            Settlement::Dead(reason) => {
                return self.give_up(slot, job, reason, Failure::transient(refusal.to_string()));
            }
            Settlement::Later(after) => after,
        };
        // A fallback stands in for a handler that is not called; without one the delivery waits, and uses no attempt.
        match slot.callee.call_fallback(&job.envelope, job.calls, slot.guard.timeout()) {
            Some(call) => self.after_fallback(slot, job, call, move |me, slot, job| {
                me.put_off(slot, job, after, refusal.word())
            }),
            None => self.put_off(slot, job, after, refusal.word()),
        }
    }

    fn put_off(&self, slot: &Slot, job: Job, after: Duration, why: &'static str) -> Step<Job> {
        if self.refused == Refused::Waits {
            return Step::Again { item: job, after };
        }
        Counts::add(&self.counts.refused);
        job.end(&slot.callee.name, Ended::Refused(why));
        Step::Done
    }

    fn skip(&self, slot: &Slot, job: Job, why: &'static str) -> Step<Job> {
        Counts::add(&self.counts.skipped);
        job.end(&slot.callee.name, Ended::Skipped(why));
        Step::Done
    }

    /// The handler will not be called again: its fallback may stand in, otherwise the delivery is a dead letter.
    fn give_up(&self, slot: &Arc<Slot>, job: Job, reason: Reason, failure: Failure) -> Step<Job> {
        match slot.callee.call_fallback(&job.envelope, job.calls, slot.guard.timeout()) {
            Some(call) => {
                self.after_fallback(slot, job, call, move |me, slot, job| me.bury(slot, job, reason, failure))
            }
            None => self.bury(slot, job, reason, failure),
        }
    }

    fn after_fallback(
        &self,
        slot: &Arc<Slot>,
        job: Job,
        call: Calling,
        otherwise: impl FnOnce(&Self, &Arc<Slot>, Job) -> Step<Job> + Send + 'static,
    ) -> Step<Job> {
        let decide = |me: &Self, slot: &Arc<Slot>, mut job: Job, result: Handled| match result {
            Ok(()) => {
                me.counts.handled.add();
                job.end(&slot.callee.name, Ended::ByFallback);
                Step::Done
            }
            Err(failure) => {
                let error = format!("the fallback: {}", failure.describe());
                keep_attempt(job.troubles.get_or_insert_default(), Attempt { at: me.clock.now(), error });
                otherwise(me, slot, job)
            }
        };
        match call {
            Calling::Done(result) => decide(self, slot, job, result),
            Calling::Waiting(call) => {
                let (me, slot) = (self.me.clone(), slot.clone());
                Step::Waiting(Box::pin(async move {
                    let result = call.await;
                    match me.upgrade() {
                        Some(me) => decide(&me, &slot, job, result),
                        None => Step::Done,
                    }
                }))
            }
        }
    }

    fn place(&self) -> Ran {
        if self.refused == Refused::Waits { Ran::Buffered } else { Ran::Bus }
    }

    /// Keeps the delivery as a dead letter; until that is done, its key waits.
    fn bury(&self, slot: &Arc<Slot>, job: Job, reason: Reason, failure: Failure) -> Step<Job> {
        let name = slot.callee.name.clone();
        let now = self.clock.now();
        let mut attempts = job.troubles.as_deref().cloned().unwrap_or_default();
        if attempts.is_empty() {
            attempts.push(Attempt { at: now, error: failure.describe() });
        }
        let given_up = GivenUp {
            envelope: job.envelope.clone(),
            handler: name.clone(),
            place: self.place(),
            reason,
            dead: slot.guard.policy().dead.unwrap_or_default(),
            before: job.letter.clone(),
            at: now,
            calls: if job.first.is_some() { job.calls } else { job.calls - 1 },
            first_at: job.first.unwrap_or(now),
            attempts,
        };
        tracing::error!(handler = %name, id = %job.envelope.id(), %reason, %failure, "given up");
        let (me, kept) = (self.me.clone(), self.outside.keep(given_up));
        let slot = slot.clone();
        Step::Waiting(Box::pin(async move {
            let kept = kept.await;
            let Some(me) = me.upgrade() else { return Step::Done };
            if let Err(trouble) = kept {
                tracing::error!(handler = %name, %trouble, "a dead letter could not be kept; it is tried again");
                me.clock.sleep(KEEP_AGAIN).await;
                return me.bury(&slot, job, reason, failure);
            }
            Counts::add(&me.counts.dead);
            (me.notices)(Notice::DeadLettered {
                handler: name.clone(),
                id: job.envelope.id().clone(),
                reason,
            });
            job.end(&name, Ended::Dead { reason, error: failure.describe() });
            Step::Done
        }))
    }

    /// A delivery for which there was no room, or that had to make room, and is dropped.
    pub fn dropped(
        &self,
        job: Job,
        why: &'static str,
        keep: bool,
    ) -> Option<tidings_core::BoxFuture<'static, Handled>> {
        Counts::add(&self.counts.dropped);
        let slot = self.slot(job.handler);
        let name = slot.as_ref().map_or_else(|| self.name.clone(), |slot| slot.callee.name.clone());
        let dead = slot.and_then(|slot| slot.guard.policy().dead).unwrap_or_default();
        let kept = keep.then(|| {
            let now = self.clock.now();
            let kept = self.outside.keep(GivenUp {
                envelope: job.envelope.clone(),
                handler: name.clone(),
                place: self.place(),
                reason: Reason::Overflow,
                dead,
                before: job.letter.clone(),
                at: now,
                calls: job.calls - 1,
                first_at: job.first.unwrap_or(now),
                attempts: vec![Attempt { at: now, error: why.to_owned() }],
            });
            let (notices, id) = (self.notices.clone(), job.envelope.id().clone());
            let handler = name.clone();
            let told: tidings_core::BoxFuture<'static, Handled> = Box::pin(async move {
                kept.await?;
                notices(Notice::DeadLettered { handler, id, reason: Reason::Overflow });
                Ok(())
            });
            told
        });
        job.end(&name, Ended::Dropped(why));
        kept
    }
}

impl Work for Pool {
    type Item = Job;

    fn run(&self, job: Job, turn: &Turn<'_>) -> Step<Job> {
        Shelf::at_worker();
        let waited = turn.waited();
        if job.calls == 1 && micros(waited) > self.late_after.load(Ordering::Relaxed) {
            Counts::add(&self.late);
        }
        self.begin(job, turn.now(), waited)
    }

    fn idle(&self) {
        self.shelf.clear_all();
    }

    fn notice(&self, notice: QueueNotice) {
        (self.notices)(Notice::Workers { pool: self.name.clone(), notice });
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn pace(config: &PoolConfig, now: Timestamp) -> Option<Arc<Limit>> {
    config.processing_per_second.map(|rate| Arc::new(Limit::of(rate, now)))
}
