//! How an event comes in: room in every queue it goes to, before anybody has it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use smallvec::SmallVec;
use tidings_core::{Envelope, EnvelopeError};
use tidings_queue::{Held, Reserved, Why};

use super::{Admitted, Buffered, EVENT_BYTES, From, PublishError, Route, Running, Stop, Ticket, Way};
use crate::{Admission, Full, NoRoom, Outcomes, Overflow, job::Job, pool::Counts, receipt::Told};

impl Buffered {
    /// Takes an event in, waiting for room where its pool says so. It reaches all of its handlers or none.
    ///
    /// # Errors
    /// There was no room; the event is given back. Or its payload cannot be serialised.
    pub async fn publish(&self, event: &Envelope, told: bool) -> Result<Admitted, PublishError> {
        match self.admit(event).await? {
            Some(ticket) => ticket.hand_over(told).await,
            None => Ok(Admitted::default()),
        }
    }

    /// Keeps room for an event, waiting for it where its pool says so, and hands nothing over yet: between the two the
    /// event can be made durable. `None` when no handler selects it.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn admit(&self, event: &Envelope) -> Result<Option<Ticket>, PublishError> {
        let stops = self.stops(event.name());
        if stops.is_empty() {
            return Ok(None);
        }
        let bytes = event.payload()?.len() + EVENT_BYTES;
        let mut ways = SmallVec::new();
        let mut admission = Admission::Queued;
        for Stop { running, routes } in &*stops {
            let timing = running.caller.begin();
            let way = match self.room_at_once(running, routes.len(), bytes) {
                Ok(held) => Way::Reserved(held.keep()),
                Err(why) => {
                    let overflow = match &running.spiller {
                        // Whatever the settings say by now: it must not overtake those that were spilled.
                        Some(spiller) if spiller.is_active() => Overflow::Spill,
                        _ => running.config.read().overflow.clone(),
                    };
                    match overflow {
                        _ if why == NoRoom::Closed => return Err(full(running, event, why)),
                        Overflow::Wait(most) => {
                            admission = Admission::Waited;
                            let room = self.wait(running, routes.len(), bytes, most).await;
                            Way::Reserved(room.map_err(|why| full(running, event, why))?)
                        }
                        Overflow::Refuse => return Err(full(running, event, why)),
                        // Room would not make it slower.
                        Overflow::DropOldest if why == NoRoom::Rate => Way::Newest,
                        Overflow::Inline if why == NoRoom::Rate => return Err(full(running, event, why)),
                        Overflow::DropOldest => Way::Oldest,
                        Overflow::DropNewest => Way::Newest,
                        Overflow::Spill if running.spiller.is_some() => Way::Spill,
                        Overflow::Spill => return Err(full(running, event, NoRoom::Store)),
                        Overflow::Inline => Way::Inline,
                    }
                }
            };
            running.caller.end(timing);
            ways.push(way);
        }
        Ok(Some(Ticket { buffered: self.clone(), event: event.clone(), bytes, stops, ways, admission }))
    }

    /// Takes an event in if there is room at once; never waits, drops, spills or calls. For publishers that are not
    /// asynchronous. A `handler` that publishes may exceed the bounds by a tenth, so that it never waits for the queue
    /// that feeds it.
    ///
    /// # Errors
    /// There was no room; the event is given back.
    pub fn publish_now(&self, event: &Envelope, from: From) -> Result<Admitted, PublishError> {
        self.publish_if_room(event, from, false)?.map_err(|(running, why)| full(&running, event, why))
    }

    /// The same for publishers that may wait: `None` says that something has to be done about room first, which
    /// [`admit`](Self::admit) does. `told` says whether somebody wants to know what becomes of the event.
    ///
    /// # Errors
    /// Its payload cannot be serialised.
    pub fn publish_at_once(&self, event: &Envelope, told: bool) -> Result<Option<Admitted>, PublishError> {
        Ok(self.publish_if_room(event, From::Outside, told)?.ok())
    }

    fn publish_if_room(
        &self,
        event: &Envelope,
        from: From,
        told: bool,
    ) -> Result<Result<Admitted, (Arc<Running>, NoRoom)>, EnvelopeError> {
        let routes = self.0.routes.load();
        let found;
        let stops = match routes.known.get(event.name()) {
            Some(stops) => stops,
            None => {
                found = self.find_stops(event.name());
                &found
            }
        };
        if stops.is_empty() {
            return Ok(Ok(Admitted::default()));
        }
        let bytes = event.payload()?.len() + EVENT_BYTES;
        if let [Stop { running, routes }] = &**stops
            && let [route] = &**routes
        {
            let taken = self.to_one(running, *route, event, bytes, from, told);
            return Ok(taken.map_err(|why| (running.clone(), why)));
        }
        let mut rooms: SmallVec<[Held<'_>; 1]> = SmallVec::new();
        for Stop { running, routes } in &**stops {
            let timing = running.caller.begin();
            let room = match from {
                From::Outside => self.room_at_once(running, routes.len(), bytes),
                From::Handler => running.queue.hold_over(routes.len(), bytes).map_err(no_room),
            };
            running.caller.end(timing);
            match room {
                Ok(room) => rooms.push(room),
                Err(why) => return Ok(Err((running.clone(), why))),
            }
        }
        let told = told.then(|| Told::of(stops.iter().map(|stop| stop.routes.len()).sum()));
        for (Stop { running, routes }, mut room) in stops.iter().zip(rooms) {
            for route in routes {
                let job = Job::new(event.clone(), route.slot, told.clone());
                // The room is of this queue and as large as all of them.
                if let Err(full) = running.queue.push_held(&mut room, self.entry(job, *route, bytes)) {
                    running.pool.dropped(full.entry.item, "no room was kept for it", false);
                }
            }
        }
        stops.iter().for_each(|stop| stop.running.pool.shelf.clear());
        Ok(Ok(Admitted { admission: Admission::Queued, outcomes: Outcomes(told) }))
    }

    /// Most events go to one handler: its queue takes it or not, and nothing has to be kept until all others have, too.
    fn to_one(
        &self,
        running: &Running,
        route: Route,
        event: &Envelope,
        bytes: usize,
        from: From,
        told: bool,
    ) -> Result<Admitted, NoRoom> {
        let timing = running.caller.begin();
        if from == From::Outside {
            self.may_come(running, 1)?;
        }
        let told = told.then(|| Told::of(1));
        let entry = self.entry(Job::new(event.clone(), route.slot, told.clone()), route, bytes);
        let pushed = match from {
            From::Outside => running.queue.push(entry),
            From::Handler => running.queue.push_over(entry),
        };
        running.caller.end(timing);
        pushed.map_err(|full| no_room(full.why))?;
        running.pool.shelf.clear();
        Ok(Admitted { admission: Admission::Queued, outcomes: Outcomes(told) })
    }

    fn room_at_once<'a>(
        &self,
        running: &'a Running,
        events: usize,
        bytes: usize,
    ) -> Result<Held<'a>, NoRoom> {
        self.may_come(running, events)?;
        running.queue.hold(events, bytes).map_err(no_room)
    }

    /// Whether so many may come in, if there is room for them.
    fn may_come(&self, running: &Running, events: usize) -> Result<(), NoRoom> {
        if self.0.closed.load(Ordering::Relaxed) {
            return Err(NoRoom::Closed);
        }
        if running.spiller.as_ref().is_some_and(|spiller| spiller.is_active()) {
            return Err(NoRoom::Events);
        }
        if running.input.take(events, &*self.0.ground.clock).is_err() {
            return Err(NoRoom::Rate);
        }
        Ok(())
    }

    async fn wait(
        &self,
        running: &Running,
        events: usize,
        bytes: usize,
        most: Duration,
    ) -> Result<Reserved, NoRoom> {
        let clock = &self.0.ground.clock;
        let begun = clock.now();
        loop {
            let pause = running.input.take(events, &**clock).err();
            let rest = most.saturating_sub(clock.now().since(begun));
            match pause {
                None => return running.queue.reserve_waiting(events, bytes, rest).await.map_err(no_room),
                Some(pause) if pause > rest => return Err(NoRoom::Rate),
                Some(pause) => clock.sleep(pause).await,
            }
        }
    }
}

pub(super) fn full(running: &Running, event: &Envelope, why: NoRoom) -> PublishError {
    Counts::add(&running.pool.counts.refused);
    PublishError::Full(Full { event: event.clone(), pool: running.pool.name.to_string(), why })
}

fn no_room(why: Why) -> NoRoom {
    match why {
        Why::Bytes => NoRoom::Bytes,
        Why::Closed => NoRoom::Closed,
        _ => NoRoom::Events,
    }
}
