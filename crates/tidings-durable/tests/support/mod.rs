//! A world for tests: one store in memory, one clock that only moves when everybody waits, and nodes that can die.
//!
//! Each node has a runtime of its own. To crash it, its runtime is dropped: nothing of it goes on.
#![allow(dead_code, reason = "each test file uses what it needs")]

mod link;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tidings_core::{
    Clock, Commit, Cx, DocumentKey, Envelope, EnvelopeBuilder, Handled, ManualClock, Policy, Position,
    Registration, Retry, Subscribe, Tenant, Text, Timestamp,
};
use tidings_durable::{
    Answer, Carried, Config, DeadLetter, Left, Node, Operator, Status, Verb, dead_namespace,
};
use tidings_policy::Surroundings;
use tidings_store::{
    Applied, Checkpoint, Document, DocumentQuery, Error, MemoryStore, Read, Recorded, Store, Tenants,
};
use tokio::runtime::{Builder, Runtime};

pub use link::{Fault, Link};

/// When the world begins.
pub const DAWN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The store, the clock, and everything that runs.
pub struct World {
    pub clock: ManualClock,
    pub store: Arc<MemoryStore>,
    main: Runtime,
    nodes: RefCell<BTreeMap<u64, Runtime>>,
    numbers: AtomicU64,
    /// Ids of events that nodes said have become durable.
    pub announced: Arc<Mutex<Vec<Text>>>,
}

/// A node that runs, on a runtime of its own.
pub struct Running<'w> {
    world: &'w World,
    number: u64,
    pub node: Arc<Node>,
    pub link: Arc<Link>,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    pub fn new() -> Self {
        let clock = ManualClock::at(DAWN);
        let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Self {
            clock,
            store,
            main: runtime(),
            nodes: RefCell::default(),
            numbers: AtomicU64::new(0),
            announced: Arc::default(),
        }
    }

    /// A node's settings: two lanes, one name for the process, so that a restart takes the lease at once.
    pub fn config() -> Config {
        Config { owner: "node".into(), lanes: 2, ..Config::default() }
    }

    pub fn start(&self, registrations: impl Into<Vec<Registration>>) -> Running<'_> {
        self.start_with(Self::config(), registrations)
    }

    pub fn start_with(&self, config: Config, registrations: impl Into<Vec<Registration>>) -> Running<'_> {
        self.start_harmed(config, registrations, |_, _| Fault::None)
    }

    pub fn start_harmed(
        &self,
        config: Config,
        registrations: impl Into<Vec<Registration>>,
        plan: impl FnMut(u64, &Commit) -> Fault + Send + 'static,
    ) -> Running<'_> {
        self.launch(config, Surroundings::default(), registrations, plan)
    }

    /// A node whose policies meet others, and tell.
    pub fn start_among(
        &self,
        config: Config,
        around: Surroundings,
        registrations: impl Into<Vec<Registration>>,
    ) -> Running<'_> {
        self.launch(config, around, registrations, |_, _| Fault::None)
    }

    fn launch(
        &self,
        config: Config,
        around: Surroundings,
        registrations: impl Into<Vec<Registration>>,
        plan: impl FnMut(u64, &Commit) -> Fault + Send + 'static,
    ) -> Running<'_> {
        let link = Arc::new(Link {
            inner: self.store.clone(),
            plan: Mutex::new(Box::new(plan)),
            applies: AtomicU64::new(0),
            commits: Mutex::default(),
        });
        let announced = self.announced.clone();
        let published = Arc::new(move |events: &[Envelope]| {
            announced.lock().extend(events.iter().map(|event| event.id().clone()));
        });
        let around = Surroundings { clock: Arc::new(self.clock.clone()), ..around };
        let node =
            Node::among(link.clone(), &around, config, registrations.into(), published).expect("valid");
        let runtime = runtime();
        {
            let _inside = runtime.enter();
            node.start();
        }
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        self.nodes.borrow_mut().insert(number, runtime);
        Running { world: self, number, node, link }
    }

    fn everybody(&self) {
        let turn = async {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        };
        self.main.block_on(turn);
        for runtime in self.nodes.borrow().values() {
            runtime.block_on(async {
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
            });
        }
    }

    /// Lets everybody work until `done`, or until everybody waits for the clock.
    fn work(&self, done: &mut dyn FnMut() -> bool) -> bool {
        for _ in 0..25 {
            if done() {
                return true;
            }
            self.everybody();
        }
        done()
    }

    /// Lets everybody work without time passing.
    pub fn quiet(&self) {
        for _ in 0..8 {
            self.work(&mut || false);
        }
    }

    /// Lets time pass until `done`.
    #[track_caller]
    pub fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..20_000 {
            if self.work(&mut done) {
                return;
            }
            self.clock.advance(self.clock.next_wake().unwrap_or(ms(100)));
        }
        panic!("in vain: {what}");
    }

    /// Lets `span` pass, waking everybody in order.
    pub fn pass(&self, span: Duration) {
        let mut left = span;
        loop {
            self.work(&mut || false);
            let step = self.clock.next_wake().unwrap_or(left).min(left);
            self.clock.advance(step);
            left -= step;
            if left.is_zero() {
                break;
            }
        }
        self.quiet();
    }

    /// Runs a future to its end while everybody else works and time passes.
    #[track_caller]
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let task = self.main.spawn(future);
        self.until("the future ends", || task.is_finished());
        self.main.block_on(task).expect("it does not panic")
    }

    /// Appends events, one commit each.
    pub fn put(&self, events: impl IntoIterator<Item = EnvelopeBuilder>) {
        for event in events {
            let commit = Commit::events([event.finish().expect("valid")]);
            self.store.apply(commit).now_or_never().expect("at once").expect("applied");
        }
    }

    pub fn apply(&self, commit: Commit) -> Result<Applied, Error> {
        self.store.apply(commit).now_or_never().expect("at once")
    }

    pub fn head(&self) -> Position {
        self.store.head().now_or_never().expect("at once").expect("read")
    }

    pub fn log(&self) -> Vec<Recorded> {
        let read = Read::after(0).limit(4_096);
        self.store.read(&read).now_or_never().expect("at once").expect("read").events
    }

    /// Ids of the events of this name, in order.
    pub fn ids(&self, name: &str) -> Vec<String> {
        let events = self.log().into_iter().filter(|event| &**event.envelope.name() == name);
        events.map(|event| event.envelope.id().to_string()).collect()
    }

    pub fn doc(&self, view: &str, id: &str) -> Option<serde_json::Value> {
        let key = DocumentKey::new(view, id);
        let found = self.store.document(&Tenant::default(), &key).now_or_never().expect("at once");
        found.expect("read").map(|document| serde_json::from_slice(&document.value).expect("JSON"))
    }

    pub fn docs(&self, namespace: &str) -> Vec<(String, serde_json::Value)> {
        let mut query = DocumentQuery::all(namespace);
        query.limit = 4_096;
        let found = self.store.documents(&query).now_or_never().expect("at once").expect("read");
        let read = |document: Document| {
            (document.key.id.to_string(), serde_json::from_slice(&document.value).expect("JSON"))
        };
        found.into_iter().map(read).collect()
    }

    pub fn dead(&self, subscription: &str) -> Vec<DeadLetter> {
        let letters = self.docs(&dead_namespace(subscription));
        letters.into_iter().map(|(_, value)| serde_json::from_value(value).expect("a letter")).collect()
    }

    /// The rows of keys that wait.
    pub fn rows(&self, subscription: &str) -> Vec<serde_json::Value> {
        self.docs(&format!("$blocked/{subscription}")).into_iter().map(|(_, row)| row).collect()
    }

    pub fn checkpoint(&self, subscription: &str) -> Checkpoint {
        self.store.checkpoint(subscription).now_or_never().expect("at once").expect("read")
    }

    pub fn scheduled(&self) -> usize {
        let rows = self.store.due(&Tenants::All, tidings_durable::SCHEDULE, Timestamp::MAX, 1_000);
        rows.now_or_never().expect("at once").expect("read").len()
    }

    pub fn operator(&self) -> Operator {
        Operator {
            store: self.store.clone(),
            clock: Arc::new(self.clock.clone()),
            config: Config { owner: "operator".into(), ..Self::config() },
        }
    }

    pub fn ask(&self, subscription: &str, verb: Verb) -> Result<Carried, Error> {
        let (operator, subscription) = (self.operator(), subscription.to_owned());
        self.run(async move { operator.carry_out(&subscription, verb, secs(5)).await })
    }

    /// Has the verb carried out, by whoever can.
    #[track_caller]
    pub fn operate(&self, subscription: &str, verb: Verb) -> Answer {
        match self.ask(subscription, verb).expect("carried out") {
            Carried::Here(answer) | Carried::ByNode(answer) => answer,
            Carried::Waiting => panic!("nobody answered"),
        }
    }

    #[track_caller]
    pub fn replay(&self, subscription: &str, positions: impl Into<Vec<Position>>) -> Answer {
        self.operate(subscription, Verb::Replay { positions: positions.into(), pace: None })
    }

    #[track_caller]
    pub fn discard(&self, subscription: &str, positions: impl Into<Vec<Position>>) -> Answer {
        self.operate(subscription, Verb::Discard { positions: positions.into() })
    }
}

impl Running<'_> {
    /// Everything of it ends at once, in the middle of whatever it did.
    pub fn crash(self) {
        let runtime = self.world.nodes.borrow_mut().remove(&self.number);
        drop(runtime);
    }

    #[track_caller]
    pub fn stop(self) -> Vec<Left> {
        let node = self.node.clone();
        let left = self.world.run(async move { node.stop(secs(10)).await });
        self.world.nodes.borrow_mut().remove(&self.number);
        left
    }

    pub fn statuses(&self) -> Vec<Status> {
        self.node.status().now_or_never().expect("at once").expect("read")
    }

    /// Of its only, or first, subscription.
    pub fn status(&self) -> Status {
        self.statuses().swap_remove(0)
    }

    pub fn is_settled(&self) -> bool {
        let head = self.world.head();
        let settled = |one: &Status| one.lag == 0 && one.unsettled == 0 && one.waiting == 0;
        self.statuses().iter().all(settled) && head == self.world.head()
    }

    #[track_caller]
    pub fn settle(&self) {
        for _ in 0..20_000 {
            if self.world.work(&mut || self.is_settled()) {
                return;
            }
            self.world.clock.advance(self.world.clock.next_wake().unwrap_or(ms(100)));
        }
        panic!("does not settle: {:#?}\nrows: {:#?}", self.statuses(), self.world.rows(&self.status().name));
    }
}

/// One call of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    pub key: String,
    pub id: String,
    pub attempt: u32,
    pub at: Timestamp,
}

/// The calls of a handler, in order.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<Vec<Called>>>);

impl Calls {
    pub fn note(&self, event: &Envelope, cx: &Cx) {
        self.0.lock().push(Called {
            key: event.key().map_or_else(String::new, ToString::to_string),
            id: event.id().to_string(),
            attempt: cx.attempt(),
            at: cx.now(),
        });
    }

    pub fn all(&self) -> Vec<Called> {
        self.0.lock().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn ids(&self) -> Vec<String> {
        self.0.lock().iter().map(|call| call.id.clone()).collect()
    }

    pub fn ids_of(&self, key: &str) -> Vec<String> {
        self.0.lock().iter().filter(|call| call.key == key).map(|call| call.id.clone()).collect()
    }

    pub fn of(&self, id: &str) -> Vec<Called> {
        self.0.lock().iter().filter(|call| call.id == id).cloned().collect()
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

/// A durable subscription called `name` to everything.
pub fn on<F, Fut>(name: &str, handler: F) -> Registration
where
    F: Fn(Envelope, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Handled> + Send + 'static,
{
    on_topic(name, "**", handler)
}

/// A durable subscription called `name` to what matches `pattern`.
pub fn on_topic<F, Fut>(name: &str, pattern: &str, handler: F) -> Registration
where
    F: Fn(Envelope, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Handled> + Send + 'static,
{
    handler.topic(pattern).durable(name)
}

/// An event `order.placed` of this key and id.
pub fn order(key: &str, id: impl std::fmt::Display) -> EnvelopeBuilder {
    Envelope::build("order.placed").source("/test").key(key).id(id.to_string())
}

/// So many attempts, with this wait in between, exactly.
pub fn every(wait: Duration, attempts: u32) -> Policy {
    Policy::new().retry(Retry::constant(wait).attempts(attempts).jitter(0.0))
}

/// One attempt.
pub fn once() -> Policy {
    Policy::new().retry(Retry::none())
}

/// A place for handlers to wait at until the test lets them go.
#[derive(Debug, Clone)]
pub struct Gate {
    open: Arc<tokio::sync::watch::Sender<bool>>,
    waiting: Arc<AtomicU64>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: Arc::new(tokio::sync::watch::channel(false).0), waiting: Arc::default() }
    }
}

impl Gate {
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub async fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    pub fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Those that waited are gone with their process.
    pub fn left(&self) {
        self.waiting.store(0, Ordering::SeqCst);
    }

    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }
}

/// Numbers from a seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

/// The seeds to try: those given, or only `TIDINGS_SEED`.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("TIDINGS_SEED") {
        Ok(seed) => vec![seed.parse().expect("TIDINGS_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

/// Prints the seed when a test with it fails.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TIDINGS_SEED={} replays this", self.0);
        }
    }
}

/// What `clock` says, so that a test need not import the trait.
pub fn now(world: &World) -> Timestamp {
    world.clock.now()
}
