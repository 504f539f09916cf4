//! A lane calls the handler: one delivery a key at a time, many keys at once.
//!
//! A delivery that waits (for its future, for a short retry, behind its key) holds up nothing but its key. Lanes divide
//! the keys by partition, so that the order of a key needs no agreement between them.

mod call;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use ahash::AHashMap;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tidings_core::{BoxFuture, Subscriber, Text};
use tidings_policy::OWN;
use tokio::sync::{mpsc, watch};

use self::call::Done;
pub(crate) use self::call::called_within;
use crate::{
    bar::Barred,
    book::Verdict,
    delivery::{Accepted, Delivery},
    judge::wants_to_be_alone,
    shared::Shared,
    suspects::Lone,
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
    /// What may not begin now, whatever its key.
    barred: Barred<Delivery>,
    /// After the process died, deliveries run alone.
    lone: Lone,
    quiet: watch::Receiver<()>,
}

impl Lane {
    pub(crate) fn new(shared: Arc<Shared>, inbox: mpsc::UnboundedReceiver<Message>) -> Self {
        let commits = shared.commits.subscribe();
        let calls_max = shared.concurrency.div_ceil(shared.config.lanes).max(1);
        Self {
            subscriber: Arc::new(shared.subscriber()),
            barred: Barred::new(&shared.bar),
            lone: Lone::None,
            quiet: shared.suspects.quiet.changes(),
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
                && self.lone.lets_begin(&self.shared.suspects, self.calls)
                && let Some(delivery) = self.next()
            {
                if self.shared.suspects.is_active() {
                    let turn = self.lone.turn(&self.shared, delivery.position());
                    self.running.push(Box::pin(async move { Done::Turn(delivery, turn.await) }));
                    continue;
                }
                self.start(delivery).await;
                turn += 1;
                if turn % TURN == 0 {
                    tokio::task::yield_now().await;
                }
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
                Ok(()) = self.quiet.changed(), if self.shared.suspects.quiet.is_on() => {}
                () = self.barred.until_open(), if self.barred.is_shut() && !stop.is_cancelled() => {}
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

    /// The delivery to begin with next, if one may begin.
    fn next(&mut self) -> Option<Delivery> {
        let no_room = !self.held.is_empty();
        let may = |delivery: &Delivery| !no_room || wants_to_be_alone(delivery);
        if self.barred.first().is_some_and(may) {
            return self.barred.take(&self.shared.bar);
        }
        while self.ready.front().is_some_and(may) {
            let delivery = self.ready.pop_front()?;
            if self.barred.is_empty() || delivery.event.envelope.name().starts_with(OWN) {
                return Some(delivery);
            }
            self.barred.behind(delivery);
        }
        None
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
