//! What tests of a running application share: a handler that waits at a gate, a driven clock, what the platform tells.

// Each test file is a program of its own and uses its part of the kit.
#![allow(dead_code)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tidings::{ManualClock, Registration, Settings, Timestamp, prelude::*};
use tokio::sync::Semaphore;

#[tidings::event(name = "order.placed")]
pub struct OrderPlaced {
    #[event(key)]
    pub order: u64,
}

pub fn placed(order: u64) -> OrderPlaced {
    OrderPlaced { order }
}

pub fn settings(toml: &str) -> Settings {
    Settings::load().toml(toml).finish().unwrap_or_else(|error| panic!("{error}"))
}

/// Where a handler of batches runs in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At {
    Bus,
    Pool,
}

pub const BOTH: [At; 2] = [At::Bus, At::Pool];

impl At {
    pub fn place(self, registration: Registration) -> Registration {
        if self == Self::Pool { registration.buffered() } else { registration }
    }
}

/// Notices of the platform, by name, with what they say.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<(String, serde_json::Value)>>>);

impl Heard {
    pub fn of(app: &App) -> Self {
        let heard = Self::default();
        let noted = heard.clone();
        let listener = move |notice: &Envelope| {
            let body = serde_json::from_slice(notice.payload().expect("JSON")).expect("JSON");
            noted.0.lock().expect("nobody panicked").push((notice.name().to_string(), body));
        };
        app.bus().subscribe("tidings.**", listener).expect("valid").forever();
        heard
    }

    pub fn named(&self, name: &str) -> Vec<serde_json::Value> {
        let all = self.0.lock().expect("nobody panicked");
        all.iter().filter(|(one, _)| one == name).map(|(_, body)| body.clone()).collect()
    }
}

/// A handler that waits for a permit with each event, and the orders it has been through with.
#[derive(Clone)]
pub struct Gate {
    pub permits: Arc<Semaphore>,
    seen: Arc<Mutex<Vec<u64>>>,
    begun: Arc<AtomicU64>,
}

impl Gate {
    pub fn new(permits: usize) -> Self {
        let permits = Arc::new(Semaphore::new(permits));
        Self { permits, seen: Arc::default(), begun: Arc::default() }
    }

    pub async fn pass(self, placed: On<OrderPlaced>) -> Handled {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.transient()?.forget();
        self.seen.lock().expect("nobody panicked").push(placed.order);
        Ok(())
    }

    pub fn handler(
        &self,
    ) -> impl Fn(On<OrderPlaced>, Cx) -> tidings::BoxFuture<'static, Handled> + Send + Sync + 'static + Clone
    {
        let gate = self.clone();
        move |placed: On<OrderPlaced>, _: Cx| Box::pin(gate.clone().pass(placed)) as _
    }

    pub fn seen(&self) -> Vec<u64> {
        self.seen.lock().expect("nobody panicked").clone()
    }

    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }
}

pub fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_millis(1_000_000))
}

pub async fn started(settings: Settings, clock: &ManualClock, module: Module) -> App {
    let builder = App::builder().settings(settings).clock(Arc::new(clock.clone())).module(module);
    let app = builder.build().await.unwrap_or_else(|error| panic!("{error}"));
    app.start().await.expect("starts");
    app
}

/// Lets others do what they can until it is so.
pub async fn until(what: impl Fn() -> bool) {
    let given_up = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < given_up, "what is waited for does not come");
        tokio::task::yield_now().await;
    }
}

/// Drives the clock in steps until it is so; answers how far.
pub async fn driven_until(clock: &ManualClock, step: Duration, what: impl Fn() -> bool) -> Duration {
    let begun = tidings::Clock::now(clock);
    let given_up = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < given_up, "what is waited for does not come");
        clock.advance(step);
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    tidings::Clock::now(clock).since(begun)
}

/// Ends an application whose clock nobody drives.
pub async fn ended(app: App, clock: &ManualClock) -> tidings::Drained {
    let ending = tokio::spawn(async move { app.shutdown().await });
    driven_until(clock, Duration::from_millis(5), || ending.is_finished()).await;
    ending.await.expect("no panic")
}

/// How long a condition is waited for before the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub const MS: Duration = Duration::from_millis(1);
