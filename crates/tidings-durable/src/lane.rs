//! A lane calls the handler: one delivery a key at a time, many keys at once.
//!
//! A delivery that waits (for its future, for a short retry, behind its key) holds up nothing but its key. Lanes divide
//! the keys by partition, so that the order of a key needs no agreement between them.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use ahash::AHashMap;
use futures_util::{FutureExt, StreamExt, future::Either, stream::FuturesUnordered};
use tidings_core::{BoxFuture, Call, Cx, DeliveryInfo, Failure, Handled, OpenCx, Subscriber, Text};
use tokio::sync::{mpsc, watch};

use crate::{
    book::Verdict,
    delivery::{Accepted, Delivery, Outcome},
    judge::{Dice, Fit, Next, outcome, panicked, wants_to_be_alone},
    shared::Shared,
};

/// After this many deliveries the lane lets others on its thread have a turn.
const TURN: usize = 64;

/// What is finished waits at most this long for more of it, so that slow handlers do not hold up each other's effects.
pub(crate) const OPEN_MAX: Duration = Duration::from_millis(5);

pub(crate) enum Message {
    /// In order of position.
    Deliver(Vec<Delivery>),
    /// To be run again before anything else of their keys.
    Again(Vec<Delivery>),
}

enum Done {
    Called(Delivery, OpenCx, Handled),
    Waited(Delivery),
}

#[derive(Default)]
struct KeyQueue {
    busy: bool,
    /// In order of position.
    waiting: VecDeque<Delivery>,
}

pub(crate) struct Lane {
    shared: Arc<Shared>,
    /// A copy of one's own: lanes on several threads would pass one counter of references back and forth.
    subscriber: Arc<Subscriber>,
    inbox: mpsc::UnboundedReceiver<Message>,
    commits: watch::Receiver<u64>,
    keys: AHashMap<Text, KeyQueue>,
    ready: VecDeque<Delivery>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    calls: usize,
    calls_max: usize,
    /// Finished, but there was no room in the book.
    held: VecDeque<Accepted>,
    /// Since when there is something in the book that nobody was told to commit.
    offered: Option<Instant>,
    dice: Dice,
}

impl Lane {
    pub(crate) fn new(shared: Arc<Shared>, inbox: mpsc::UnboundedReceiver<Message>, number: usize) -> Self {
        let commits = shared.commits.subscribe();
        let calls_max = shared.concurrency.div_ceil(shared.config.lanes).max(1);
        Self {
            subscriber: Arc::new(shared.subscriber()),
            dice: Dice::new(shared.seed(number)),
            shared,
            inbox,
            commits,
            keys: AHashMap::new(),
            ready: VecDeque::new(),
            running: FuturesUnordered::new(),
            calls: 0,
            calls_max,
            held: VecDeque::new(),
            offered: None,
        }
    }

    /// Runs until it is told to stop and no call is running, or to leave what runs.
    pub(crate) async fn run(mut self) {
        let leave = self.shared.leave.clone();
        let stop = self.shared.stop.clone();
        let mut turn = 0;
        loop {
            while self.calls < self.calls_max
                && !stop.is_cancelled()
                && self.ready.front().is_some_and(|next| self.held.is_empty() || wants_to_be_alone(next))
                && let Some(delivery) = self.ready.pop_front()
            {
                self.start(delivery).await;
                turn += 1;
                if turn % TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
            if self.inbox.is_empty() || !self.held.is_empty() {
                self.press();
            }
            let idle = self.calls == 0 && self.held.is_empty();
            if stop.is_cancelled() && idle {
                break;
            }
            tokio::select! {
                biased;
                () = leave.cancelled() => break,
                Some(done) = self.running.next(), if !self.running.is_empty() => self.done(done).await,
                Ok(()) = self.commits.changed(), if !self.held.is_empty() => {
                    for accepted in std::mem::take(&mut self.held) {
                        self.offer(accepted);
                    }
                }
                message = self.inbox.recv() => match message {
                    Some(Message::Deliver(deliveries)) => deliveries.into_iter().for_each(|d| self.admit(d)),
                    Some(Message::Again(deliveries)) => deliveries.into_iter().for_each(|d| self.again(d)),
                    None => stop.cancelled().await,
                },
                () = stop.cancelled(), if !stop.is_cancelled() => {}
            }
        }
        self.press();
        self.shared.left.fetch_add(self.calls + self.held.len(), std::sync::atomic::Ordering::SeqCst);
    }

    /// Nothing follows at once: what was finished is to be committed.
    fn press(&mut self) {
        if self.offered.take().is_some() {
            self.shared.press();
        }
    }

    /// A delivery arrives: it starts, waits behind its key, or follows a row that blocks its key.
    fn admit(&mut self, delivery: Delivery) {
        let Some(key) = delivery.key.clone() else { return self.ready.push_back(delivery) };
        let queue = self.keys.entry(key).or_default();
        if queue.busy || !queue.waiting.is_empty() {
            queue.waiting.push_back(delivery);
        } else {
            queue.busy = true;
            self.ready.push_back(delivery);
        }
    }

    /// A delivery comes back because its commit met a conflict; it goes before later ones of its key.
    fn again(&mut self, delivery: Delivery) {
        let Some(key) = delivery.key.clone() else { return self.ready.push_front(delivery) };
        let queue = self.keys.entry(key).or_default();
        let at = queue.waiting.partition_point(|other| other.position() < delivery.position());
        queue.waiting.insert(at, delivery);
        if !queue.busy {
            queue.busy = true;
            let first = queue.waiting.pop_front().expect("one was put in just now");
            self.ready.push_front(first);
        }
    }

    /// The key's next delivery may go on.
    fn next_of_key(&mut self, key: Option<&Text>) {
        let Some(key) = key else { return };
        let Some(queue) = self.keys.get_mut(key) else { return };
        match queue.waiting.pop_front() {
            Some(next) => self.ready.push_front(next),
            None => {
                self.keys.remove(key);
            }
        }
    }

    async fn start(&mut self, delivery: Delivery) {
        let shared = &*self.shared;
        let delivery = match shared.fit(delivery) {
            Fit::Ready(delivery) => delivery,
            Fit::Settled(accepted) => return self.offer(accepted),
            Fit::Gone(delivery) => return self.next_of_key(delivery.key.as_ref()),
        };
        let info = DeliveryInfo {
            envelope: delivery.event.envelope.clone(),
            position: Some(delivery.position()),
            attempt: delivery.calls,
        };
        let (cx, open) = Cx::open(info, self.subscriber.clone());
        let call =
            std::panic::catch_unwind(AssertUnwindSafe(|| (shared.handler)(&delivery.event.envelope, cx)));
        let result = match call {
            Err(panic) => Err(panicked(&*panic)),
            Ok(Call::Done(result)) => result,
            Ok(Call::Waiting(future)) => {
                let mut future = AssertUnwindSafe(future).catch_unwind();
                match futures_util::poll!(&mut future) {
                    std::task::Poll::Ready(result) => result.unwrap_or_else(|panic| Err(panicked(&*panic))),
                    std::task::Poll::Pending => {
                        let (clock, timeout) = (shared.clock.clone(), shared.policy.call_timeout());
                        self.calls += 1;
                        self.running.push(Box::pin(async move {
                            let result =
                                match futures_util::future::select(future, clock.sleep(timeout)).await {
                                    Either::Left((result, _)) => {
                                        result.unwrap_or_else(|panic| Err(panicked(&*panic)))
                                    }
                                    Either::Right(_) => {
                                        Err(Failure::transient(format!("no answer within {timeout:?}")))
                                    }
                                };
                            Done::Called(delivery, open, result)
                        }));
                        return;
                    }
                }
            }
        };
        self.called(delivery, open, result).await;
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Called(delivery, open, result) => {
                self.calls -= 1;
                self.called(delivery, open, result).await;
            }
            Done::Waited(delivery) => self.ready.push_front(delivery),
        }
    }

    async fn called(&mut self, delivery: Delivery, open: OpenCx, result: Handled) {
        match outcome(result, open.close(), |effects| effects) {
            Ok(effects) => self.offer(Accepted { delivery, outcome: Outcome::Handled(effects) }),
            Err(broken) => {
                let dice = self.dice.roll();
                match self.shared.failed(delivery, broken, dice).await {
                    Next::Offer(accepted) => self.offer(accepted),
                    Next::Wait(delivery, span) => self.wait(delivery, span),
                }
            }
        }
    }

    fn wait(&mut self, delivery: Delivery, span: Duration) {
        let sleep = self.shared.clock.sleep(span);
        self.running.push(Box::pin(async move {
            sleep.await;
            Done::Waited(delivery)
        }));
    }

    /// Offers a finished delivery to the book.
    fn offer(&mut self, accepted: Accepted) {
        let key = accepted.delivery.key.clone();
        if self.offered.get_or_insert_with(Instant::now).elapsed() > OPEN_MAX {
            self.press();
            self.offered = Some(Instant::now());
        }
        match self.shared.accept(accepted) {
            Verdict::Accepted => self.next_of_key(key.as_ref()),
            Verdict::Later(accepted) => self.held.push_back(*accepted),
            Verdict::Stale(delivery) => {
                if self.shared.stop.is_cancelled() {
                    // It does not begin again here.
                    self.shared.not_alone(delivery.position());
                }
                self.ready.push_front(*delivery);
            }
            Verdict::Gone => self.next_of_key(key.as_ref()),
            Verdict::Behind(delivery) => {
                if let Some(queue) = key.and_then(|key| self.keys.get_mut(&key)) {
                    let at = queue.waiting.partition_point(|other| other.position() < delivery.position());
                    queue.waiting.insert(at, *delivery);
                    if at > 0 {
                        let first = queue.waiting.pop_front().expect("one was put in just now");
                        self.ready.push_front(first);
                    } else {
                        // Whoever has to run first is still on its way here.
                        queue.busy = false;
                    }
                }
            }
        }
    }
}
