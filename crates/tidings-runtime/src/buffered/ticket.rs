//! Room that is kept, and how an event is handed over into it.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use smallvec::SmallVec;
use tidings_core::{BoxFuture, DeadLetter, Envelope, Handled};
use tidings_queue::{Entry, Reserved, Step, Why};

use super::{
    Admitted, Buffered, EVENT_BYTES, PublishError, ROOM_WAIT, Route, Running, Stop, Stops, Way, admit::full,
};
use crate::{
    Admission, NoRoom, Outcomes,
    job::{Job, Row},
    receipt::Told,
};

/// Room that is kept for an event in the queues of its handlers; given back when it is dropped.
#[must_use = "the handlers get the event by `hand_over`"]
pub struct Ticket {
    pub(super) buffered: Buffered,
    pub(super) event: Envelope,
    pub(super) bytes: usize,
    pub(super) stops: Stops,
    /// One for each stop.
    pub(super) ways: SmallVec<[Way; 1]>,
    pub(super) admission: Admission,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("event", self.event.id()).finish_non_exhaustive()
    }
}

impl Ticket {
    /// Hands the event to its handlers. `told` says whether somebody wants to know what becomes of it.
    ///
    /// # Errors
    /// It had to be spilled, and the store failed; then no handler has it.
    pub async fn hand_over(self, told: bool) -> Result<Admitted, PublishError> {
        let Self { buffered, event, bytes, stops, ways, mut admission } = self;
        // What can fail comes first: nothing has been handed to anybody yet.
        for (stop, way) in stops.iter().zip(&ways) {
            if let (Way::Spill, Some(spiller)) = (way, &stop.running.spiller) {
                spiller.put(&event).await.map_err(|_| full(&stop.running, &event, NoRoom::Store))?;
            }
        }
        let deliveries = stops.iter().zip(&ways).filter(|(_, way)| !matches!(way, Way::Spill));
        let told = told.then(|| Told::of(deliveries.map(|(stop, _)| stop.routes.len()).sum()));
        for (Stop { running, routes }, way) in stops.iter().zip(ways) {
            match way {
                Way::Reserved(reserved) => {
                    buffered.push(running, reserved, &event, routes, bytes, told.as_ref(), None)
                }
                Way::Spill => admission = Admission::Spilled,
                Way::Oldest => {
                    let dropped = buffered.make_room(running, &event, routes, bytes, told.as_ref()).await;
                    admission = Admission::DroppedOldest(dropped);
                }
                Way::Newest => {
                    admission = Admission::DroppedNewest;
                    let keep = running.config.read().keep_dropped;
                    for route in routes {
                        let job = Job::new(event.clone(), route.slot, told.clone());
                        keep_or_log(running.pool.dropped(job, "there was no room for it", keep)).await;
                    }
                }
                Way::Inline => {
                    admission = Admission::Inline;
                    buffered.inline(running, &event, routes, bytes, told.as_ref()).await;
                }
            }
        }
        Ok(Admitted { admission, outcomes: Outcomes(told) })
    }
}

impl Buffered {
    /// Gives a dead letter to the handler of this name again, and to no other, waiting for room. Its outcome is that of
    /// one delivery. `None` when the handler is not here, or takes nothing in any more.
    pub async fn replay(&self, handler: &str, letter: Arc<DeadLetter>, event: &Envelope) -> Option<Outcomes> {
        let (running, route) = {
            let (pools, routes) = (self.0.pools.read(), self.0.routes.load());
            routes.handlers.iter().find_map(|one| {
                let running = pools.get(one.route.pool)?;
                let slot = running.pool.slot(one.route.slot)?;
                (*slot.callee.name == *handler).then(|| (running.clone(), one.route))
            })?
        };
        let bytes = event.payload().ok()?.len() + EVENT_BYTES;
        let told = Told::of(1);
        let mut entry =
            self.entry(Job::replay(event.clone(), route.slot, letter, told.clone()), route, bytes);
        while !self.0.closed.load(Ordering::Relaxed) {
            match running.queue.push_waiting(entry, ROOM_WAIT).await {
                Ok(()) => return Some(Outcomes(Some(told))),
                Err(full) if full.why == Why::Closed => return None,
                // It fits into no room.
                Err(full) if full.why == Why::Bytes && bytes > running.config.read().queue.bytes_max => {
                    return None;
                }
                // As long as it takes: the letter is safe meanwhile.
                Err(full) => entry = full.entry,
            }
        }
        None
    }

    #[expect(clippy::too_many_arguments, reason = "an event, where it goes, and who wants to know")]
    pub(super) fn push(
        &self,
        running: &Running,
        mut reserved: Reserved,
        event: &Envelope,
        routes: &[Route],
        bytes: usize,
        told: Option<&Arc<Told>>,
        row: Option<&Arc<Row>>,
    ) {
        for route in routes {
            let mut job = Job::new(event.clone(), route.slot, told.cloned());
            job.spilled = row.cloned();
            // The room is of this queue and as large as all of them.
            if let Err(full) = running.queue.push_reserved(&mut reserved, self.entry(job, *route, bytes)) {
                running.pool.dropped(full.entry.item, "no room was kept for it", false);
            }
        }
    }

    pub(super) fn entry(&self, job: Job, route: Route, bytes: usize) -> Entry<Job> {
        let key = match job.envelope.key() {
            Some(key) if route.ordered => Some(self.0.keys.hash_one((route.salt, key))),
            _ => None,
        };
        let priority = job.envelope.priority();
        Entry { key, priority, bytes, item: job }
    }

    async fn make_room(
        &self,
        running: &Running,
        event: &Envelope,
        routes: &[Route],
        bytes: usize,
        told: Option<&Arc<Told>>,
    ) -> usize {
        let keep = running.config.read().keep_dropped;
        let mut gone = 0;
        for route in routes {
            let entry = self.entry(Job::new(event.clone(), route.slot, told.cloned()), *route, bytes);
            let dropped = match running.queue.push_dropping_oldest(entry) {
                Ok(dropped) => dropped.into_iter().map(|job| (job, "a newer one took its place")).collect(),
                // All that is there runs already, or it is too large for any room.
                Err(full) => vec![(full.entry.item, "there was no room for it")],
            };
            for (job, why) in dropped {
                gone += 1;
                keep_or_log(running.pool.dropped(job, why, keep)).await;
            }
        }
        gone
    }

    /// The publisher calls the handlers. Where the order of a key has to be kept, the event waits for its turn in the
    /// queue instead.
    async fn inline(
        &self,
        running: &Running,
        event: &Envelope,
        routes: &[Route],
        bytes: usize,
        told: Option<&Arc<Told>>,
    ) {
        for route in routes {
            let job = Job::new(event.clone(), route.slot, told.cloned());
            let entry = self.entry(job, *route, bytes);
            if entry.key.is_some() {
                match running.queue.push_waiting(entry, Duration::from_secs(3_600)).await {
                    Ok(()) => continue,
                    Err(full) => {
                        running.pool.dropped(full.entry.item, "its queue was closed", false);
                        continue;
                    }
                }
            }
            let clock = &self.0.ground.clock;
            let mut step = running.pool.begin(entry.item, clock.now(), Duration::ZERO);
            loop {
                step = match step {
                    Step::Done => break,
                    Step::Waiting(next) => next.await,
                    Step::Again { item, after } => {
                        clock.sleep(after).await;
                        running.pool.begin(item, clock.now(), Duration::ZERO)
                    }
                };
            }
        }
    }
}

async fn keep_or_log(kept: Option<BoxFuture<'static, Handled>>) {
    if let Some(kept) = kept
        && let Err(failure) = kept.await
    {
        tracing::error!(%failure, "a delivery that was dropped could not be kept as a dead letter");
    }
}
