//! Buffered handlers: which of them an event goes to, and how it gets into their queues.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ahash::{AHashMap, RandomState};
use parking_lot::RwLock;
use smallvec::SmallVec;
use tidings_core::{BoxFuture, Clock, Envelope, EnvelopeError, Handled, Pattern, Text};
use tidings_policy::Guard;
use tidings_queue::{Entry, Queue, Reserved, Step, Why};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::{
    Admission, Callee, Config, Ended, Full, NoRoom, Notice, Outcomes, Outside, Overflow, PoolConfig, Spill,
    caller::Caller,
    figures::PoolFigures,
    job::{Job, Row},
    limit::Limit,
    pool::{Counts, Pool, Slot},
    receipt::Told,
    spill::Spiller,
    watch,
};

/// What an event costs in a queue besides its payload, in bytes: the envelope, its texts, and its place.
pub const EVENT_BYTES: usize = 512;

/// How many names of events are remembered with their handlers; more are looked up each time.
const ROUTES_MAX: usize = 4_096;

/// A handler to be run by a pool.
pub struct BufferedHandler {
    /// What it selects.
    pub patterns: Vec<Pattern>,
    /// The name of its pool; empty is the shared one.
    pub pool: Text,
    /// Whether events with the same key are handled in order, one at a time.
    pub ordered: bool,
    /// The handler.
    pub callee: Callee,
    /// What surrounds its calls.
    pub guard: Guard,
}

/// What buffered handlers need from outside.
#[derive(Clone)]
pub struct Ground {
    /// What handlers reach.
    pub outside: Arc<dyn Outside>,
    /// Where events are spilled to, if there is a store.
    pub spill: Option<Arc<dyn Spill>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where futures of handlers find their timers and sockets.
    pub runtime: Handle,
    /// Who is told what happens.
    pub notices: Arc<dyn Fn(Notice) + Send + Sync>,
}

/// Handlers that run on worker threads, behind bounded queues. Cheap to clone.
#[derive(Clone)]
pub struct Buffered(Arc<Inner>);

struct Inner {
    ground: Ground,
    config: RwLock<Config>,
    pools: RwLock<Vec<Arc<Running>>>,
    routes: RwLock<Routes>,
    keys: RandomState,
    closed: AtomicBool,
    tasks: TaskTracker,
    numbers: AtomicUsize,
}

/// A pool with its threads.
pub(crate) struct Running {
    pub pool: Arc<Pool>,
    pub queue: Queue<Pool>,
    pub config: RwLock<PoolConfig>,
    pub input: RwLock<Option<Limit>>,
    pub spiller: Option<Arc<Spiller>>,
    pub caller: Caller,
}

#[derive(Default)]
struct Routes {
    handlers: Vec<Handler>,
    known: AHashMap<Text, Arc<[Route]>>,
}

struct Handler {
    number: HandlerId,
    patterns: Vec<Pattern>,
    route: Route,
}

#[derive(Clone, Copy)]
struct Route {
    pool: usize,
    slot: u32,
    ordered: bool,
    /// Tells keys of one handler from those of another.
    salt: u64,
}

/// Which handler, for taking it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandlerId(usize);

/// An event that was taken in.
#[derive(Debug, Clone, Default)]
pub struct Admitted {
    /// What was done with it.
    pub admission: Admission,
    /// What becomes of it.
    pub outcomes: Outcomes,
}

/// What one pool had not done when it was drained.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PoolLeft {
    /// The pool; empty is the shared one.
    pub pool: String,
    /// Deliveries that waited and were dropped.
    pub waiting: usize,
    /// Calls that were still running.
    pub running: usize,
}

/// What is done with an event in one pool.
enum Way {
    Reserved(Reserved),
    Oldest,
    Newest,
    Spill,
    Inline,
}

impl fmt::Debug for Buffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffered").field("pools", &self.0.pools.read().len()).finish_non_exhaustive()
    }
}

impl Buffered {
    /// No handler yet, and no thread: a pool starts with its first handler.
    pub fn new(config: Config, ground: Ground) -> Self {
        Self(Arc::new(Inner {
            ground,
            config: RwLock::new(config),
            pools: RwLock::default(),
            routes: RwLock::default(),
            keys: RandomState::new(),
            closed: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            numbers: AtomicUsize::new(0),
        }))
    }

    /// Adds a handler, also while events come in: those that are published afterwards reach it.
    ///
    /// # Errors
    /// When its pool cannot be started.
    pub fn add(&self, handler: BufferedHandler) -> Result<HandlerId, tidings_queue::Error> {
        let (index, running) = self.pool(&handler.pool)?;
        let slot = running.pool.add(Slot { callee: Arc::new(handler.callee), guard: handler.guard });
        let number = HandlerId(self.0.numbers.fetch_add(1, Ordering::Relaxed));
        let salt = self.0.keys.hash_one(number);
        let route = Route { pool: index, slot, ordered: handler.ordered, salt };
        let mut routes = self.0.routes.write();
        routes.handlers.push(Handler { number, patterns: handler.patterns, route });
        routes.known.clear();
        Ok(number)
    }

    /// Takes a handler away. What runs ends; what waits for it is dropped, and its publishers are told. Answers whether
    /// it was there.
    pub fn remove(&self, handler: HandlerId) -> bool {
        let mut routes = self.0.routes.write();
        let Some(at) = routes.handlers.iter().position(|one| one.number == handler) else { return false };
        let gone = routes.handlers.remove(at);
        routes.known.clear();
        drop(routes);
        if let Some(running) = self.0.pools.read().get(gone.route.pool) {
            running.pool.remove(gone.route.slot);
        }
        true
    }

    /// The handler's guard: its state, and the place to change its policy.
    pub fn guard<T>(&self, handler: &str, look: impl FnOnce(&Guard) -> T) -> Option<T> {
        let pools = self.0.pools.read().clone();
        let mut slots = pools.iter().flat_map(|running| running.pool.slots.load().to_vec()).flatten();
        slots.find(|slot| *slot.callee.name == *handler).map(|slot| look(&slot.guard))
    }

    fn pool(&self, name: &Text) -> Result<(usize, Arc<Running>), tidings_queue::Error> {
        let mut pools = self.0.pools.write();
        if let Some(index) = pools.iter().position(|running| running.pool.name == *name) {
            return Ok((index, pools[index].clone()));
        }
        let ground = &self.0.ground;
        let config = self.0.config.read().of(name).clone();
        let pool = Pool::new(
            name.clone(),
            &config,
            ground.outside.clone(),
            ground.clock.clone(),
            ground.notices.clone(),
        );
        let queue =
            Queue::start(config.queue.clone(), pool.clone(), ground.clock.clone(), ground.runtime.clone())?;
        let spiller = match (&ground.spill, &config.overflow) {
            (Some(store), Overflow::Spill) => {
                Some(Spiller::new(name.clone(), store.clone(), ground.clock.clone()))
            }
            _ => None,
        };
        let running = Arc::new(Running {
            pool,
            queue,
            input: RwLock::new(config.input_per_second.map(|rate| Limit::of(rate, ground.clock.now()))),
            spiller,
            caller: Caller::new(),
            config: RwLock::new(config),
        });
        let index = pools.len();
        pools.push(running.clone());
        drop(pools);
        self.0.tasks.spawn_on(watch::run(Arc::downgrade(&running), ground.clock.clone()), &ground.runtime);
        Ok((index, running))
    }

    /// Brings back what an earlier run had spilled, and goes on doing so.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(&self) -> Handled {
        let pools = self.0.pools.read().clone();
        for (index, running) in pools.iter().enumerate() {
            let Some(spiller) = &running.spiller else { continue };
            spiller.recover().await?;
            let (weak, row_of) = (Arc::downgrade(&self.0), spiller.clone());
            let bring_back = spiller.clone().run(move |event, number| {
                let (inner, spiller) = (weak.upgrade(), row_of.clone());
                async move {
                    match inner {
                        Some(inner) => Self(inner).bring_back(index, &event, number, spiller).await,
                        None => false,
                    }
                }
            });
            self.0.tasks.spawn_on(bring_back, &self.0.ground.runtime);
        }
        Ok(())
    }

    /// Puts a spilled event into its pool's queue, waiting for room. Answers whether it was taken in.
    async fn bring_back(&self, pool: usize, event: &Envelope, number: u64, spiller: Arc<Spiller>) -> bool {
        let routes: SmallVec<[Route; 4]> =
            self.routes(event.name()).iter().filter(|route| route.pool == pool).copied().collect();
        if routes.is_empty() {
            // Nobody selects it any more.
            spiller.done(number);
            return true;
        }
        let Some(running) = self.0.pools.read().get(pool).cloned() else { return false };
        let bytes = event.payload().map_or(0, |payload| payload.len()) + EVENT_BYTES;
        let reserved = loop {
            // As long as it takes: the row is safe meanwhile.
            match running.queue.reserve_waiting(routes.len(), bytes, Duration::from_secs(3_600)).await {
                Ok(reserved) => break reserved,
                Err(Why::Closed) => return false,
                Err(_) => {}
            }
        };
        let row = Arc::new(Row { number, open: AtomicUsize::new(routes.len()), spiller });
        self.push(&running, reserved, event, &routes, bytes, None, Some(&row));
        true
    }

    fn routes(&self, name: &Text) -> Arc<[Route]> {
        if let Some(routes) = self.0.routes.read().known.get(name) {
            return routes.clone();
        }
        let mut all = self.0.routes.write();
        let selects = |handler: &&Handler| handler.patterns.iter().any(|pattern| pattern.matches(name));
        let mut found: Vec<Route> =
            all.handlers.iter().filter(selects).map(|handler| handler.route).collect();
        found.sort_by_key(|route| route.pool);
        let routes: Arc<[Route]> = found.into();
        if all.known.len() < ROUTES_MAX {
            all.known.insert(name.clone(), routes.clone());
        }
        routes
    }

    /// Whether any buffered handler selects events of this name.
    pub fn selects(&self, name: &Text) -> bool {
        !self.routes(name).is_empty()
    }

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
        let routes = self.routes(event.name());
        if routes.is_empty() {
            return Ok(None);
        }
        let bytes = event.payload()?.len() + EVENT_BYTES;
        let now = self.0.ground.clock.now();
        let mut ways = SmallVec::new();
        let mut admission = Admission::Queued;
        for routes in routes.chunk_by(|one, other| one.pool == other.pool) {
            let running = self.running(routes[0].pool, event)?;
            let timing = running.caller.begin();
            let way = match self.at_once(&running, routes.len(), bytes, now) {
                Ok(reserved) => Way::Reserved(reserved),
                Err(why) => {
                    let overflow = running.config.read().overflow.clone();
                    match overflow {
                        _ if why == NoRoom::Closed => return Err(full(&running, event, why)),
                        Overflow::Wait(most) => {
                            admission = Admission::Waited;
                            let room = self.wait(&running, routes.len(), bytes, most).await;
                            Way::Reserved(room.map_err(|why| full(&running, event, why))?)
                        }
                        Overflow::Refuse => return Err(full(&running, event, why)),
                        Overflow::DropOldest => Way::Oldest,
                        Overflow::DropNewest => Way::Newest,
                        Overflow::Spill if running.spiller.is_some() => Way::Spill,
                        Overflow::Spill => return Err(full(&running, event, NoRoom::Store)),
                        Overflow::Inline => Way::Inline,
                    }
                }
            };
            running.caller.end(timing);
            ways.push((running, SmallVec::from_slice(routes), way));
        }
        Ok(Some(Ticket { buffered: self.clone(), event: event.clone(), bytes, ways, admission }))
    }

    /// Takes an event in if there is room at once; never waits, drops, spills or calls. For publishers that are not
    /// asynchronous. A `handler` that publishes may exceed the bounds by a tenth, so that it never waits for the queue
    /// that feeds it.
    ///
    /// # Errors
    /// There was no room; the event is given back.
    pub fn publish_now(&self, event: &Envelope, from: From) -> Result<Admitted, PublishError> {
        let routes = self.routes(event.name());
        if routes.is_empty() {
            return Ok(Admitted::default());
        }
        let bytes = event.payload()?.len() + EVENT_BYTES;
        let now = self.0.ground.clock.now();
        let mut reserved: SmallVec<[(Arc<Running>, Reserved, &[Route]); 1]> = SmallVec::new();
        for routes in routes.chunk_by(|one, other| one.pool == other.pool) {
            let running = self.running(routes[0].pool, event)?;
            let timing = running.caller.begin();
            let room = match from {
                From::Outside => self.at_once(&running, routes.len(), bytes, now),
                From::Handler => running.queue.reserve_over(routes.len(), bytes).map_err(no_room),
            };
            running.caller.end(timing);
            match room {
                Ok(room) => reserved.push((running, room, routes)),
                Err(why) => {
                    Counts::add(&running.pool.counts.refused);
                    return Err(full(&running, event, why));
                }
            }
        }
        for (running, room, routes) in reserved {
            self.push(&running, room, event, routes, bytes, None, None);
        }
        Ok(Admitted { admission: Admission::Queued, outcomes: Outcomes::default() })
    }

    fn running(&self, pool: usize, event: &Envelope) -> Result<Arc<Running>, PublishError> {
        let running = self.0.pools.read()[pool].clone();
        if self.0.closed.load(Ordering::Relaxed) {
            return Err(full(&running, event, NoRoom::Closed));
        }
        Ok(running)
    }

    fn at_once(
        &self,
        running: &Running,
        events: usize,
        bytes: usize,
        now: tidings_core::Timestamp,
    ) -> Result<Reserved, NoRoom> {
        if running.spiller.as_ref().is_some_and(|spiller| spiller.is_active()) {
            return Err(NoRoom::Events);
        }
        if let Some(limit) = &*running.input.read()
            && limit.take(events, now).is_err()
        {
            return Err(NoRoom::Rate);
        }
        running.queue.reserve(events, bytes).map_err(no_room)
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
            let pause = match &*running.input.read() {
                Some(limit) => limit.take(events, clock.now()).err(),
                None => None,
            };
            let rest = most.saturating_sub(clock.now().since(begun));
            match pause {
                None => return running.queue.reserve_waiting(events, bytes, rest).await.map_err(no_room),
                Some(pause) if pause > rest => return Err(NoRoom::Rate),
                Some(pause) => clock.sleep(pause).await,
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an event, where it goes, and who wants to know")]
    fn push(
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

    fn entry(&self, job: Job, route: Route, bytes: usize) -> Entry<Job> {
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

    /// Changes settings while it runs: those of queues and workers, limits and overflow.
    ///
    /// # Errors
    /// What is wrong with them, with the path of each; nothing is changed then.
    pub fn configure(&self, config: Config) -> Result<(), Vec<String>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        for running in self.0.pools.read().iter() {
            let settings = config.of(&running.pool.name);
            let path = |what: tidings_queue::Error| vec![what.to_string()];
            running.queue.set(settings.queue.clone()).map_err(path)?;
            running.pool.configure(settings);
            let now = self.0.ground.clock.now();
            *running.input.write() = settings.input_per_second.map(|rate| Limit::of(rate, now));
            *running.config.write() = settings.clone();
        }
        *self.0.config.write() = config;
        Ok(())
    }

    /// Changes the number of workers of a pool.
    ///
    /// # Errors
    /// A number that is not allowed, or a pool that is not there.
    pub fn scale(&self, pool: &str, workers: usize) -> Result<(), ScaleError> {
        let pools = self.0.pools.read();
        let running = pools.iter().find(|running| *running.pool.name == *pool);
        running.ok_or_else(|| ScaleError::NoPool(pool.to_owned()))?.queue.scale(workers)?;
        Ok(())
    }

    /// How the pools are doing.
    pub fn figures(&self) -> Vec<PoolFigures> {
        self.0.pools.read().iter().map(|running| PoolFigures::of(running)).collect()
    }

    /// Takes nothing in from outside any more; what handlers publish still comes in.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// Waits until everything that is in the queues has ended, however often it is tried again.
    pub async fn settled(&self) {
        loop {
            let pools = self.0.pools.read().clone();
            for running in &pools {
                running.queue.settled().await;
            }
            let idle = |running: &Arc<Running>| {
                running.queue.figures().events == 0
                    && !running.spiller.as_ref().is_some_and(|spiller| spiller.is_active())
            };
            if pools.iter().all(idle) {
                return;
            }
            self.0.ground.clock.sleep(Duration::from_millis(5)).await;
        }
    }

    /// Closes, works off what is there until the deadline, and ends the threads. What is left is told and counted.
    pub async fn drained(&self, deadline: Duration) -> Vec<PoolLeft> {
        self.close();
        let pools = self.0.pools.read().clone();
        for running in &pools {
            if let Some(spiller) = &running.spiller {
                spiller.stop();
            }
        }
        let mut all = Vec::new();
        let clock = &self.0.ground.clock;
        let begun = clock.now();
        for running in &pools {
            let rest = deadline.saturating_sub(clock.now().since(begun));
            let left = running.queue.drained(rest).await;
            if !left.is_empty() {
                all.push(PoolLeft {
                    pool: running.pool.name.to_string(),
                    waiting: left.waiting.len(),
                    running: left.running,
                });
            }
            for entry in left.waiting {
                let name = running.pool.slot(entry.item.handler).map(|slot| slot.callee.name.clone());
                Counts::add(&running.pool.counts.dropped);
                let job = entry.item;
                // Its row stays: it comes back with the next start.
                let job = Job { spilled: None, ..job };
                job.end(&name.unwrap_or_default(), Ended::Dropped("the application ended"));
            }
            if let Some(spiller) = &running.spiller
                && let Err(failure) = spiller.sweep().await
            {
                tracing::warn!(pool = %running.pool.name, %failure, "rows of events that were handled stay");
            }
        }
        self.0.tasks.close();
        all
    }
}

/// Room that is kept for an event in the queues of its handlers; given back when it is dropped.
#[must_use = "the handlers get the event by `hand_over`"]
pub struct Ticket {
    buffered: Buffered,
    event: Envelope,
    bytes: usize,
    ways: SmallVec<[(Arc<Running>, SmallVec<[Route; 2]>, Way); 1]>,
    admission: Admission,
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
        let Self { buffered, event, bytes, ways, mut admission } = self;
        // What can fail comes first: nothing has been handed to anybody yet.
        for (running, _, way) in &ways {
            if let (Way::Spill, Some(spiller)) = (way, &running.spiller) {
                spiller.put(&event).await.map_err(|_| full(running, &event, NoRoom::Store))?;
            }
        }
        let deliveries =
            ways.iter().filter(|(.., way)| !matches!(way, Way::Spill)).map(|(_, routes, _)| routes.len());
        let told = told.then(|| Told::of(deliveries.sum()));
        for (running, routes, way) in ways {
            match way {
                Way::Reserved(reserved) => {
                    buffered.push(&running, reserved, &event, &routes, bytes, told.as_ref(), None)
                }
                Way::Spill => admission = Admission::Spilled,
                Way::Oldest => {
                    let dropped = buffered.make_room(&running, &event, &routes, bytes, told.as_ref()).await;
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
                    buffered.inline(&running, &event, &routes, bytes, told.as_ref()).await;
                }
            }
        }
        Ok(Admitted { admission, outcomes: Outcomes(told) })
    }
}

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Somebody who can be told to come back later.
    Outside,
    /// A handler, while it handles something else.
    Handler,
}

/// Why an event was not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// There was no room.
    #[error(transparent)]
    Full(#[from] Full),
    /// Its payload cannot be serialised.
    #[error(transparent)]
    Payload(#[from] EnvelopeError),
}

/// Why the number of workers was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// There is no pool of this name.
    #[error("there is no pool {0:?}")]
    NoPool(String),
    /// The number is not allowed.
    #[error(transparent)]
    Queue(#[from] tidings_queue::Error),
}

fn full(running: &Running, event: &Envelope, why: NoRoom) -> PublishError {
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

async fn keep_or_log(kept: Option<BoxFuture<'static, Handled>>) {
    if let Some(kept) = kept
        && let Err(failure) = kept.await
    {
        tracing::error!(%failure, "a delivery that was dropped could not be kept as a dead letter");
    }
}
