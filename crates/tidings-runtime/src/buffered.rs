//! Buffered handlers: which of them an event goes to, and how it gets into their queues.

mod admit;
mod drain;
mod ticket;

pub use ticket::Ticket;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ahash::{AHashMap, RandomState};
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use tidings_core::{Clock, EnvelopeError, Pattern, Text, Timestamp};
use tidings_policy::Guard;
use tidings_queue::{Queue, Reserved};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::{
    Admission, BatchHandler, Callee, Config, Full, GatherError, Gatherer, Notice, Outcomes, Outside,
    PoolConfig, Spill,
    caller::Caller,
    figures::PoolFigures,
    limit::Limit,
    pool::{Pool, Refused, Slot},
    spill::Spiller,
    watch,
};

/// What an event costs in a queue besides its payload, in bytes: the envelope, its texts, and its place.
pub const EVENT_BYTES: usize = 512;

/// How long a replay waits for room before it looks whether the application ends.
const ROOM_WAIT: std::time::Duration = std::time::Duration::from_millis(500);

/// How many names of events are remembered with their handlers; more are looked up each time.
const ROUTES_MAX: usize = 1_024;

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
    routes: ArcSwap<Routes>,
    /// Held by whoever changes them.
    routing: Mutex<()>,
    keys: RandomState,
    started: AtomicBool,
    closed: AtomicBool,
    tasks: TaskTracker,
    numbers: AtomicUsize,
}

/// A pool with its threads.
pub(crate) struct Running {
    pub pool: Arc<Pool>,
    pub queue: Queue<Pool>,
    pub config: RwLock<PoolConfig>,
    pub input: Input,
    pub spiller: Option<Arc<Spiller>>,
    pub caller: Caller,
}

#[derive(Default, Clone)]
struct Routes {
    handlers: Vec<Arc<Handler>>,
    known: AHashMap<Text, Stops>,
}

/// Where events of one name go, pool by pool.
type Stops = Arc<[Stop]>;

/// The handlers of one pool that an event goes to.
struct Stop {
    running: Arc<Running>,
    routes: SmallVec<[Route; 2]>,
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
            routes: ArcSwap::default(),
            routing: Mutex::default(),
            keys: RandomState::new(),
            started: AtomicBool::new(false),
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
        let slot = Slot { callee: Arc::new(handler.callee), guard: handler.guard, gatherer: None };
        let slot = running.pool.add(slot);
        Ok(self.route(handler.patterns, index, slot, handler.ordered))
    }

    /// Adds a handler of batches: what it selects goes through the queue of the pool called `pool`, and is gathered
    /// behind it. It holds as many events and bytes again as that queue may when it is added; while it can hold no
    /// more, its deliveries wait in the queue.
    ///
    /// # Errors
    /// Settings of batches that mean nothing; no thread; a pool that cannot be started.
    pub fn add_batches(
        &self,
        patterns: Vec<Pattern>,
        pool: &Text,
        handler: BatchHandler,
    ) -> Result<(HandlerId, Gatherer), GatherError> {
        let (index, running) = self.pool(pool)?;
        let (ordered, guard) = (handler.ordered, handler.guards.each.clone());
        let callee = handler.callee.clone();
        let queue = running.config.read().queue.clone();
        let gatherer = Gatherer::in_pool(handler, &self.0.ground, (queue.events_max, queue.bytes_max))?;
        gatherer.belongs_to(&running.pool);
        let slot = Slot { callee, guard, gatherer: Some(gatherer.clone()) };
        let slot = running.pool.add(slot);
        Ok((self.route(patterns, index, slot, ordered), gatherer))
    }

    fn route(&self, patterns: Vec<Pattern>, pool: usize, slot: u32, ordered: bool) -> HandlerId {
        let number = HandlerId(self.0.numbers.fetch_add(1, Ordering::Relaxed));
        let salt = self.0.keys.hash_one(number);
        let route = Route { pool, slot, ordered, salt };
        let _routing = self.0.routing.lock();
        let mut handlers = self.0.routes.load().handlers.clone();
        handlers.push(Arc::new(Handler { number, patterns, route }));
        self.0.routes.store(Arc::new(Routes { handlers, known: AHashMap::new() }));
        number
    }

    /// Takes a handler away. What runs ends; what waits for it is dropped, and its publishers are told. Answers whether
    /// it was there.
    pub fn remove(&self, handler: HandlerId) -> bool {
        let routing = self.0.routing.lock();
        let mut handlers = self.0.routes.load().handlers.clone();
        let Some(at) = handlers.iter().position(|one| one.number == handler) else { return false };
        let gone = handlers.remove(at);
        self.0.routes.store(Arc::new(Routes { handlers, known: AHashMap::new() }));
        drop(routing);
        if let Some(running) = self.0.pools.read().get(gone.route.pool) {
            running.pool.remove(gone.route.slot);
        }
        true
    }

    /// The handler's guard: its state, and the place to change its policy; an application has a better one, which its model
    /// shows. A handler of batches has [two](crate::Gatherer::guards).
    pub fn guard<T>(&self, handler: &str, look: impl FnOnce(&Guard) -> T) -> Option<T> {
        let pools = self.0.pools.read().clone();
        let mut slots = pools.iter().flat_map(|running| running.pool.lineup.load().slots.clone()).flatten();
        slots
            .find(|slot| *slot.callee.name == *handler && slot.gatherer.is_none())
            .map(|slot| look(&slot.guard))
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
            Refused::Waits,
        );
        let queue =
            Queue::start(config.queue.clone(), pool.clone(), ground.clock.clone(), ground.runtime.clone())?;
        // Also where nothing is spilled now: an earlier run may have, and settings may change.
        let spill = |store: &Arc<dyn Spill>| Spiller::new(name.clone(), store.clone(), ground.clock.clone());
        let spiller = ground.spill.as_ref().map(spill);
        let running = Arc::new(Running {
            pool,
            queue,
            input: Input::of(&config, ground.clock.now()),
            spiller,
            caller: Caller::new(),
            config: RwLock::new(config),
        });
        let index = pools.len();
        pools.push(running.clone());
        drop(pools);
        self.0.tasks.spawn_on(watch::run(Arc::downgrade(&running), ground.clock.clone()), &ground.runtime);
        if self.0.started.load(Ordering::SeqCst)
            && let Some(spiller) = &running.spiller
        {
            // Until it has been looked, there may be rows, and nothing overtakes them.
            spiller.suspect();
            self.bring_back_from(index, spiller);
        }
        Ok((index, running))
    }

    fn stops(&self, name: &Text) -> Stops {
        let known = self.0.routes.load().known.get(name).cloned();
        known.unwrap_or_else(|| self.find_stops(name))
    }

    #[cold]
    fn find_stops(&self, name: &Text) -> Stops {
        let _routing = self.0.routing.lock();
        let all = self.0.routes.load();
        // After the lock: whoever has a route has its pool here, also when it was added just now.
        let pools = self.0.pools.read().clone();
        let selects = |handler: &&Arc<Handler>| handler.patterns.iter().any(|pattern| pattern.matches(name));
        let mut found: Vec<Route> =
            all.handlers.iter().filter(selects).map(|handler| handler.route).collect();
        // In order of the pools, so that two publishers never wait for each other's room.
        found.sort_by_key(|route| route.pool);
        let stop = |routes: &[Route]| {
            let running = pools.get(routes[0].pool)?.clone();
            Some(Stop { running, routes: SmallVec::from_slice(routes) })
        };
        let stops: Stops = found.chunk_by(|one, other| one.pool == other.pool).filter_map(stop).collect();
        if all.known.len() < ROUTES_MAX {
            let mut more = Routes::clone(&all);
            more.known.insert(name.clone(), stops.clone());
            self.0.routes.store(Arc::new(more));
        }
        stops
    }

    /// What its handlers need from outside.
    pub fn ground(&self) -> &Ground {
        &self.0.ground
    }

    /// Whether any buffered handler selects events of this name.
    pub fn selects(&self, name: &Text) -> bool {
        !self.stops(name).is_empty()
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
            running.input.set(settings, self.0.ground.clock.now());
            *running.config.write() = settings.clone();
        }
        *self.0.config.write() = config;
        Ok(())
    }

    /// The settings, as they were changed last.
    pub fn config(&self) -> Config {
        self.0.config.read().clone()
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
}

/// How much may come in a second; mostly as much as there is room for, and then this is one look at a flag.
#[derive(Default)]
pub(crate) struct Input {
    limited: AtomicBool,
    limit: ArcSwapOption<Limit>,
}

impl Input {
    fn of(config: &PoolConfig, now: Timestamp) -> Self {
        let input = Self::default();
        input.set(config, now);
        input
    }

    fn set(&self, config: &PoolConfig, now: Timestamp) {
        self.limit.store(config.input_per_second.map(|rate| Arc::new(Limit::of(rate, now))));
        self.limited.store(config.input_per_second.is_some(), Ordering::Release);
    }

    /// Takes so many at once, or says how long it is until there are as many.
    fn take(&self, events: usize, clock: &dyn Clock) -> Result<(), std::time::Duration> {
        if !self.limited.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*self.limit.load() {
            Some(limit) => limit.take(events, clock.now()),
            None => Ok(()),
        }
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
