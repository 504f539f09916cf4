//! The lane of a handler of batches: it gathers deliveries, and calls the handler with many at once.
//!
//! ```text
//!   inbox ──▶ keys ──▶ ready ──▶ open batches ──▶ complete ──call──▶ book, as one group
//!               ▲                                                      │
//!               └────────── has to wait, or to run again ◀─────────────┘
//! ```
//! A key is shut from when a batch with it is complete until what it holds of the key is in the book: what comes
//! meanwhile waits behind it. So a batch may hold several deliveries of a key, but no two calls do at once.

mod call;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use ahash::AHashMap;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tidings_core::{Batched, Batches, BoxFuture, Cause, Subscriber, Text, Timestamp};
use tidings_flow::{Batch, Operator};
use tokio::sync::{OwnedMutexGuard, mpsc, watch};

use self::call::{Begun, Called, StoodIn};
use crate::{
    bar::Barred,
    book::{Group, Verdict},
    delivery::Delivery,
    judge::wants_to_be_alone,
    lane::{Message, OPEN_MAX},
    shared::Shared,
    suspects::Lone,
};

enum Done {
    /// The policy has had to ask somebody.
    Entered(Begun),
    Called(Called),
    StoodIn(StoodIn),
    /// It is its turn to run alone.
    Turn(Gathered, OwnedMutexGuard<()>),
    /// The one that ran alone is done.
    Alone,
    Waited(Delivery),
}

#[derive(Default)]
struct KeyQueue {
    /// A complete batch holds deliveries of it, or one of them waits to be called for again.
    shut: bool,
    /// How many are in an open batch.
    gathered: usize,
    /// In order of position.
    waiting: VecDeque<Delivery>,
}

type Gathered = Batched<Delivery, Option<Text>>;

pub(crate) struct Gathering {
    shared: Arc<Shared>,
    subscriber: Subscriber,
    handler: tidings_core::BoxedBatch,
    by_key: bool,
    inbox: mpsc::UnboundedReceiver<Message>,
    commits: watch::Receiver<u64>,
    keys: AHashMap<Text, KeyQueue>,
    /// To be gathered, in order of position from when that is done next.
    ready: VecDeque<Delivery>,
    open: Batch<Delivery, Option<Text>>,
    /// The latest time seen: a clock may be set back, an operator must not be.
    now: Timestamp,
    complete: VecDeque<Gathered>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    calls: usize,
    /// Handled, but there was no room in the book.
    held: VecDeque<(Vec<Text>, Group)>,
    /// Since when there is something in the book that nobody was told to commit.
    offered: Option<Instant>,
    /// Batches that may not be called for now.
    barred: Barred<Gathered>,
    /// After the process died, deliveries run alone.
    lone: Lone,
    quiet: watch::Receiver<()>,
}

impl Gathering {
    pub(crate) fn new(
        shared: Arc<Shared>,
        batches: &Batches,
        inbox: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        let by_key = batches.by_key;
        let key = move |delivery: &Delivery| delivery.event.envelope.key().filter(|_| by_key).cloned();
        let settings = batches.settings.clone();
        let open = match settings.bytes {
            None => Batch::by(settings, key),
            Some(_) => Batch::measured_by(settings, key, |delivery: &Delivery| {
                delivery.event.envelope.payload().map_or(0, |payload| payload.len())
            }),
        };
        Self {
            subscriber: shared.subscriber(),
            handler: batches.handler.clone(),
            by_key,
            inbox,
            commits: shared.commits.subscribe(),
            keys: AHashMap::new(),
            ready: VecDeque::new(),
            open: open.expect("the node has checked the settings"),
            now: shared.clock.now(),
            complete: VecDeque::new(),
            running: FuturesUnordered::new(),
            calls: 0,
            held: VecDeque::new(),
            offered: None,
            barred: Barred::new(&shared.bar),
            lone: Lone::None,
            quiet: shared.suspects.quiet.changes(),
            shared,
        }
    }

    /// Runs until it is told to stop and everything gathered is handled, or to leave what runs.
    pub(crate) async fn run(mut self) {
        let (leave, stop) = (self.shared.leave.clone(), self.shared.stop.clone());
        let mut timer: Option<(Timestamp, BoxFuture<'static, ()>)> = None;
        loop {
            // What was released a key at a time is gathered as it lies in the log.
            self.ready.make_contiguous().sort_by_key(Delivery::position);
            while !stop.is_cancelled()
                && let Some(delivery) = self.ready.pop_front()
            {
                self.gather(delivery);
            }
            if stop.is_cancelled() {
                self.with_open(|open, now, emit| open.flush(now, emit));
            }
            while self.calls < self.shared.concurrency
                && self.lone.lets_begin(&self.shared.suspects, self.calls)
                && let Some(batch) = self.next()
            {
                if self.shared.suspects.is_active() {
                    let one = batch.items.first().map_or(0, Delivery::position);
                    let turn = self.lone.turn(&self.shared, one);
                    self.running.push(Box::pin(async move { Done::Turn(batch, turn.await) }));
                    continue;
                }
                self.call(batch).await;
            }
            if self.calls == 0
                && let Some(over) = self.lone.is_over(&self.shared)
            {
                self.running.push(Box::pin(async move {
                    over.await;
                    Done::Alone
                }));
            }
            if self.inbox.is_empty() || !self.held.is_empty() {
                self.press();
            }
            // What its policy holds back now comes again after a restart.
            let nothing = self.barred.is_shut() || (self.complete.is_empty() && self.barred.is_empty());
            if stop.is_cancelled() && self.calls == 0 && self.held.is_empty() && nothing {
                break;
            }
            if !stop.is_cancelled() && !self.ready.is_empty() {
                // A call that was over at once has let some go on.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.open.due();
            if timer.as_ref().map(|(at, _)| *at) != due {
                timer = due.map(|due| (due, self.shared.clock.sleep(due.since(self.now))));
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
            tokio::select! {
                biased;
                () = leave.cancelled() => break,
                Some(done) = self.running.next(), if !self.running.is_empty() => match done {
                    Done::Called(called) => {
                        self.calls -= 1;
                        self.called(called).await;
                    }
                    Done::Entered(begun) => {
                        self.calls -= 1;
                        self.entered(begun, self.shared.clock.now()).await;
                    }
                    Done::StoodIn(done) => {
                        self.calls -= 1;
                        self.stood_in(done);
                    }
                    Done::Waited(delivery) => self.waited(delivery),
                    Done::Turn(batch, turn) => {
                        self.lone = Lone::Runs(turn);
                        self.call(batch).await;
                    }
                    Done::Alone => self.lone = Lone::None,
                },
                Ok(()) = self.commits.changed(), if !self.held.is_empty() => {
                    for (keys, group) in std::mem::take(&mut self.held) {
                        self.offer(keys, group);
                    }
                }
                Ok(()) = self.quiet.changed(), if self.shared.suspects.quiet.is_on() => {}
                () = self.barred.until_open(), if self.barred.is_shut() => {}
                message = self.inbox.recv() => match message {
                    Some(Message::Deliver(deliveries)) => deliveries.into_iter().for_each(|d| self.admit(d)),
                    Some(Message::Again(deliveries)) => deliveries.into_iter().for_each(|d| self.again(d)),
                    None => stop.cancelled().await,
                },
                // Whatever the clock says now: it may have been set back.
                due = age => {
                    self.now = self.now.max(due);
                    self.with_open(|open, now, emit| open.fire(now, emit));
                }
                () = stop.cancelled(), if !stop.is_cancelled() => {}
            }
        }
        self.press();
        let held: usize = self.held.iter().map(|(_, group)| group.offered.len()).sum();
        self.shared.left.fetch_add(self.calls + held, Ordering::SeqCst);
    }

    /// The batch to be called for next, if there may be one.
    fn next(&mut self) -> Option<Gathered> {
        let no_room = !self.held.is_empty();
        let may = |batch: &Gathered| !no_room || is_alone(batch);
        if self.barred.first().is_some_and(may) {
            return self.barred.take(&self.shared.bar);
        }
        if !self.barred.is_empty() || !self.complete.front().is_some_and(may) {
            return None;
        }
        self.complete.pop_front()
    }

    /// Nothing follows at once: what was finished is to be committed.
    fn press(&mut self) {
        if self.offered.take().is_some() {
            self.shared.press();
        }
    }

    /// A delivery arrives: it is gathered, or waits behind its key.
    fn admit(&mut self, delivery: Delivery) {
        match delivery.key.as_ref().and_then(|key| self.keys.get_mut(key)) {
            Some(queue) if queue.shut || !queue.waiting.is_empty() => queue.wait(delivery),
            _ => self.ready.push_back(delivery),
        }
    }

    /// A delivery comes back because its commit met a conflict; it goes before later ones of its key.
    fn again(&mut self, delivery: Delivery) {
        let Some(key) = delivery.key.clone() else { return self.ready.push_back(delivery) };
        let queue = self.keys.entry(key.clone()).or_default();
        queue.wait(delivery);
        if !queue.shut {
            self.release(&key);
        }
    }

    /// A delivery has waited for its next attempt.
    fn waited(&mut self, delivery: Delivery) {
        let Some(key) = delivery.key.clone() else { return self.ready.push_back(delivery) };
        self.keys.entry(key.clone()).or_default().wait(delivery);
        self.release(&key);
    }

    /// Nothing of the key is in a complete batch any more: what waits behind it may be gathered, unless an earlier one
    /// is still on its way here.
    fn release(&mut self, key: &Text) {
        let Some(queue) = self.keys.get_mut(key) else { return };
        queue.shut = false;
        match queue.waiting.front() {
            Some(first) if self.shared.book.lock().is_behind(key, first.position()) => {}
            Some(_) => self.ready.append(&mut queue.waiting),
            None if queue.gathered == 0 => drop(self.keys.remove(key)),
            None => {}
        }
    }

    /// Puts a delivery into an open batch, unless its key is shut.
    fn gather(&mut self, delivery: Delivery) {
        let is_alone = self.shared.suspects.is_active()
            || wants_to_be_alone(&delivery)
            || self.is_last(&delivery)
            || delivery.is_follower();
        if !is_alone {
            // First, for it may shut the delivery's key.
            self.now = self.now.max(self.shared.clock.now());
            self.with_open(|open, now, emit| open.make_way_for(&delivery, now, emit));
        }
        if let Some(key) = delivery.key.clone() {
            if is_alone && self.keys.get(&key).is_some_and(|queue| queue.gathered > 0) {
                // Those before it first.
                let batch = self.by_key.then(|| key.clone());
                self.with_open(|open, _, emit| open.close(&batch, emit));
            }
            let queue = self.keys.entry(key).or_default();
            if queue.shut {
                return queue.wait(delivery);
            }
            queue.gathered += 1;
        }
        if is_alone {
            return self.completed(Batched { key: None, items: vec![delivery], cause: Cause::Alone });
        }
        self.with_open(|open, now, emit| open.push(delivery, now, emit));
    }

    /// Whether this is the last attempt it has, after others have failed.
    fn is_last(&self, delivery: &Delivery) -> bool {
        delivery.attempt > 1
            && self.shared.guard.look(|policy| policy.wait_after(delivery.attempt, 0.5).is_none())
    }

    fn with_open(
        &mut self,
        work: impl FnOnce(&mut Batch<Delivery, Option<Text>>, Timestamp, &mut dyn FnMut(Gathered)),
    ) {
        let mut complete = Vec::new();
        work(&mut self.open, self.now, &mut |batch| complete.push(batch));
        complete.into_iter().for_each(|batch| self.completed(batch));
    }

    /// A batch is complete: it shuts its keys.
    fn completed(&mut self, batch: Gathered) {
        for key in batch.items.iter().filter_map(|delivery| delivery.key.as_ref()) {
            if let Some(queue) = self.keys.get_mut(key) {
                queue.shut = true;
                queue.gathered -= 1;
            }
        }
        self.complete.push_back(batch);
    }

    /// Offers what was handled together to the book; `keys` are those that wait for it.
    fn offer(&mut self, keys: Vec<Text>, group: Group) {
        if self.offered.get_or_insert_with(Instant::now).elapsed() > OPEN_MAX {
            self.press();
            self.offered = Some(Instant::now());
        }
        let (verdicts, rest) = self.shared.accept_together(group);
        let more = rest.is_some();
        for verdict in verdicts {
            match verdict {
                Verdict::Accepted | Verdict::Gone | Verdict::Later(_) => {}
                Verdict::Stale(delivery) | Verdict::Behind(delivery) => {
                    if self.shared.stop.is_cancelled() {
                        // It does not begin again here.
                        self.shared.not_alone(delivery.position());
                    }
                    match delivery.key.as_ref().and_then(|key| self.keys.get_mut(key)) {
                        Some(queue) => queue.wait(*delivery),
                        None => self.ready.push_back(*delivery),
                    }
                }
            }
        }
        match rest {
            Some(rest) => self.held.push_back((keys, rest)),
            None => keys.iter().for_each(|key| self.release(key)),
        }
        if more {
            self.press();
        }
    }

    fn wait(&mut self, delivery: Delivery, span: Duration) {
        let sleep = self.shared.clock.sleep(span);
        self.running.push(Box::pin(async move {
            sleep.await;
            Done::Waited(delivery)
        }));
    }
}

impl KeyQueue {
    fn wait(&mut self, delivery: Delivery) {
        let at = self.waiting.partition_point(|other| other.position() < delivery.position());
        self.waiting.insert(at, delivery);
    }
}

fn is_alone(batch: &Gathered) -> bool {
    batch.items.first().is_some_and(wants_to_be_alone)
}
