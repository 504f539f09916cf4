//! The loop of a handler of batches: what comes is gathered, what is complete is called for, what has to wait waits.
//!
//! A key is shut from when a batch with it is complete until what that batch holds of the key has ended: what comes
//! meanwhile waits behind it. So a batch may hold several deliveries of a key, but no two calls do at once.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tidings_core::{Batched, BoxFuture, CONCURRENCY, Cause, Text, Timestamp};
use tidings_flow::{Batch, Operator};
use tidings_policy::Ask;

use super::{Shared, call::After, delivery::Delivery};

/// A commit belongs to one tenant, and so does a batch.
pub(super) type BatchKey = (Option<Text>, Option<Text>);
pub(super) type Gathered = Batched<Delivery, BatchKey>;

enum Done {
    Called(Vec<After>),
    Waited(Delivery),
    /// Given up, or handled by the fallback.
    Ended(Option<Text>),
}

#[derive(Default)]
struct KeyQueue {
    /// How many a complete batch holds, or wait to be called for again.
    busy: usize,
    /// How many are in an open batch.
    gathered: usize,
    /// In the order in which they came.
    waiting: VecDeque<Delivery>,
}

pub(super) struct Gathering {
    shared: Arc<Shared>,
    keys: AHashMap<Text, KeyQueue>,
    /// To be gathered; in the order in which they came from when that is done next.
    ready: VecDeque<Delivery>,
    open: Batch<Delivery, BatchKey>,
    /// The latest time seen: a clock may be set back, an operator must not be.
    now: Timestamp,
    complete: VecDeque<Gathered>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    calls: usize,
    /// Until then no batch is called for.
    barred: Option<BoxFuture<'static, ()>>,
}

impl Gathering {
    pub fn new(shared: Arc<Shared>, open: Batch<Delivery, BatchKey>) -> Self {
        Self {
            keys: AHashMap::new(),
            ready: VecDeque::new(),
            open,
            now: shared.clock.now(),
            complete: VecDeque::new(),
            running: FuturesUnordered::new(),
            calls: 0,
            barred: None,
            shared,
        }
    }

    /// Runs until it is closed.
    pub async fn run(mut self) {
        let shared = self.shared.clone();
        let mut timer: Option<(Timestamp, BoxFuture<'static, ()>)> = None;
        while !shared.closed.is_cancelled() {
            let (arrived, flushing) = shared.arrived();
            arrived.into_iter().for_each(|delivery| self.admit(delivery));
            // What was released a key at a time is gathered as it came.
            self.ready.make_contiguous().sort_by_key(|delivery| delivery.number);
            while let Some(delivery) = self.ready.pop_front() {
                self.gather(delivery);
            }
            if flushing {
                self.with_open(|open, now, emit| open.flush(now, emit));
            }
            self.begin().await;
            if self.calls == 0 && self.complete.is_empty() && shared.room.is_short() && self.open.open() > 0 {
                self.with_open(|open, _, emit| open.make_room(emit));
                continue;
            }
            let due = self.open.due();
            if timer.as_ref().map(|(at, _)| *at) != due {
                self.now = self.now.max(shared.clock.now());
                // A span and not a time is slept, so that a clock that is set meanwhile makes it neither shorter nor longer.
                timer = due.map(|due| (due, shared.clock.sleep(due.since(self.now))));
            }
            let age = async {
                match &mut timer {
                    Some((at, sleep)) => {
                        sleep.await;
                        *at
                    }
                    None => std::future::pending().await,
                }
            };
            let barred = async {
                match &mut self.barred {
                    Some(barred) => barred.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shared.closed.cancelled() => return,
                Some(done) = self.running.next(), if !self.running.is_empty() => self.done(done),
                () = barred => self.barred = None,
                () = shared.work.notified() => {}
                due = age => {
                    self.now = self.now.max(due);
                    self.with_open(|open, now, emit| open.fire(now, emit));
                }
            }
        }
    }

    /// A delivery arrives: it is gathered, or waits behind its key.
    fn admit(&mut self, delivery: Delivery) {
        match delivery.key.as_ref().and_then(|key| self.keys.get_mut(key)) {
            Some(queue) if queue.busy > 0 || !queue.waiting.is_empty() => queue.wait(delivery),
            _ => self.ready.push_back(delivery),
        }
    }

    /// Puts a delivery into an open batch, unless its key is shut.
    fn gather(&mut self, delivery: Delivery) {
        let is_alone = delivery.job.attempt > 1 && self.shared.guards.is_last(delivery.job.attempt);
        let batch = delivery.batch_key();
        if !is_alone {
            // First, for it may shut the delivery's key.
            self.now = self.now.max(self.shared.clock.now());
            self.with_open(|open, now, emit| open.make_way_for(&delivery, now, emit));
        }
        if let Some(key) = delivery.key.clone() {
            if is_alone && self.keys.get(&key).is_some_and(|queue| queue.gathered > 0) {
                // Those before it first.
                self.with_open(|open, _, emit| open.close(&batch, emit));
            }
            let queue = self.keys.entry(key).or_default();
            if queue.busy > 0 {
                return queue.wait(delivery);
            }
            queue.gathered += 1;
        }
        if is_alone {
            return self.completed(Batched { key: batch, items: vec![delivery], cause: Cause::Alone });
        }
        self.with_open(|open, now, emit| open.push(delivery, now, emit));
    }

    fn with_open(
        &mut self,
        work: impl FnOnce(&mut Batch<Delivery, BatchKey>, Timestamp, &mut dyn FnMut(Gathered)),
    ) {
        let mut complete = Vec::new();
        work(&mut self.open, self.now, &mut |batch| complete.push(batch));
        complete.into_iter().for_each(|batch| self.completed(batch));
    }

    /// A batch is complete: it shuts its keys.
    fn completed(&mut self, batch: Gathered) {
        for key in batch.items.iter().filter_map(|delivery| delivery.key.as_ref()) {
            if let Some(queue) = self.keys.get_mut(key) {
                queue.busy += 1;
                queue.gathered -= 1;
            }
        }
        self.complete.push_back(batch);
    }

    /// Begins as many calls as there may be.
    async fn begin(&mut self) {
        while self.calls < CONCURRENCY
            && self.barred.is_none()
            && let Some(batch) = self.complete.pop_front()
        {
            let Some(first) = batch.items.first() else { continue };
            let ask = Ask { hold: false, ..Ask::new(first.envelope(), self.shared.clock.now()) };
            // Nothing of it waits: what a call takes is had at once or not.
            match self.shared.guards.calls.enter(&ask).get().await {
                Ok(permit) => {
                    self.calls += 1;
                    let call = super::call::call(self.shared.clone(), batch, permit.keep());
                    self.running.push(Box::pin(async move { Done::Called(call.await) }));
                }
                Err(refusal) => {
                    // It holds for all of them: they wait in order, until it is time or a call has ended.
                    let after = refusal.retry_after().unwrap_or_default().max(Duration::from_millis(1));
                    self.barred = Some(self.shared.clock.sleep(after));
                    self.complete.push_front(batch);
                }
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Called(all) => {
                self.calls -= 1;
                self.barred = None;
                self.called(all);
            }
            Done::Waited(delivery) => {
                let Some(key) = delivery.key.clone() else { return self.ready.push_back(delivery) };
                self.keys.entry(key.clone()).or_default().wait(delivery);
                self.freed(&key);
                self.release(&key);
            }
            Done::Ended(Some(key)) => {
                self.freed(&key);
                self.release(&key);
            }
            Done::Ended(None) => {}
        }
    }

    fn called(&mut self, all: Vec<After>) {
        let mut keys = HashSet::new();
        for after in all {
            match after {
                After::Ended(None) => {}
                After::Ended(Some(key)) => {
                    self.freed(&key);
                    keys.insert(key);
                }
                After::Again(delivery) => match delivery.key.clone() {
                    None => self.ready.push_back(delivery),
                    Some(key) => {
                        self.freed(&key);
                        self.keys.entry(key.clone()).or_default().wait(delivery);
                        keys.insert(key);
                    }
                },
                After::Wait(mut delivery, span) => {
                    delivery.ready = self.shared.clock.now().after(span);
                    let sleep = self.shared.clock.sleep(span);
                    self.running.push(Box::pin(async move {
                        sleep.await;
                        Done::Waited(delivery)
                    }));
                }
                After::GiveUp(delivery, reason, failure) => {
                    let shared = self.shared.clone();
                    self.running.push(Box::pin(async move {
                        Done::Ended(super::end::give_up(&shared, delivery, reason, failure).await)
                    }));
                }
            }
        }
        keys.iter().for_each(|key| self.release(key));
    }

    fn freed(&mut self, key: &Text) {
        if let Some(queue) = self.keys.get_mut(key) {
            queue.busy -= 1;
        }
    }

    /// What waits behind the key may be gathered, if nothing of it is in a complete batch any more.
    fn release(&mut self, key: &Text) {
        let Some(queue) = self.keys.get_mut(key).filter(|queue| queue.busy == 0) else { return };
        self.ready.append(&mut queue.waiting);
        if queue.gathered == 0 {
            self.keys.remove(key);
        }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        // Also when the runtime ends: then what is given to it would wait for ever.
        self.shared.close();
        let (left, _) = self.shared.arrived();
        drop(left);
    }
}

impl KeyQueue {
    fn wait(&mut self, delivery: Delivery) {
        let at = self.waiting.partition_point(|other| other.number < delivery.number);
        self.waiting.insert(at, delivery);
    }
}
