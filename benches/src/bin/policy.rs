//! What does a policy cost while nothing trips?
//!
//! The reference is a call without one: an asynchronous handler behind a box, ready at once, four of them taking turns.
//! Around it come our whole policy, each of its parts alone, and what people use otherwise. A figure is the time of one
//! call, all on one thread. Nothing may be refused: each round checks that every call was made.
//!
//! Ours is told the time by its caller, as workers do it: a reading of the clock every 64 calls. The peers read the clock
//! themselves, as they are made.

use std::{
    convert::Infallible,
    future::{Future, ready},
    hint::black_box,
    num::NonZeroU32,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{FutureExt, future::Map};
use governor::{Quota, RateLimiter};
use tidings_benches::harness::{Job, Unit, nanos_each};
use tidings_core::{
    BoxFuture, Bulkhead, Circuit, Clock, Envelope, Handled, Idempotency, Policy, Rate, Retry, Shed,
    SystemClock,
};
use tidings_policy::{Ask, Entered, Guard, Surroundings, Verdict};
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt,
    retry::Policy as Again,
    util::{BoxCloneService, BoxService},
};

/// How many calls a round has.
const CALLS: u64 = 100_000;

/// How many rounds there are.
const ROUNDS: usize = 101;

/// After how many calls our caller reads the clock.
const READING: u64 = 64;

/// A rate that is never reached: a thousand million a second.
const PLENTY: u32 = 1_000_000_000;

type Body = Box<dyn Fn(u64) -> BoxFuture<'static, Handled> + Send + Sync>;

/// Four handlers, and how often they were called.
#[derive(Clone)]
struct Handlers(Arc<[Body; 4]>, Arc<AtomicU64>);

impl Handlers {
    fn new() -> Self {
        let calls = Arc::new(AtomicU64::new(0));
        let [a, b, c, d] = [(); 4].map(|()| calls.clone());
        let bodies: [Body; 4] = [
            Box::new(move |n| made(&a, n)),
            Box::new(move |n| made(&b, n + 1)),
            Box::new(move |n| made(&c, n ^ 1)),
            Box::new(move |n| made(&d, n * 2)),
        ];
        Self(Arc::new(bodies), calls)
    }

    #[inline]
    fn call(&self, turn: u64) -> BoxFuture<'static, Handled> {
        (self.0[(turn % 4) as usize])(turn)
    }

    /// A round: the time of a call, and whether all were made.
    fn round(&self, work: impl FnMut(u64)) -> Result<f64> {
        let before = self.1.load(Ordering::Relaxed);
        let nanos = nanos_each(CALLS, work);
        let made = self.1.load(Ordering::Relaxed) - before;
        ensure!(made == CALLS, "{made} of {CALLS} calls were made");
        Ok(nanos)
    }
}

/// A handler's future. It counts with no atomic addition, which would cost as much as what is measured.
fn made(calls: &Arc<AtomicU64>, work: u64) -> BoxFuture<'static, Handled> {
    let calls = calls.clone();
    Box::pin(async move {
        black_box(work);
        calls.store(calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Ok(())
    })
}

/// The answer of a future that is ready at once.
#[inline]
fn once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn envelope() -> Result<Envelope> {
    Ok(Envelope::build("order.placed")
        .id("0190b5a2-6b0e-7c1e-8d1f-3b6a5c4d2e1f")
        .source("shop")
        .key("7")
        .finish()?)
}

/// Calls through one of our guards.
struct Guarded {
    guard: Guard,
    handlers: Handlers,
    envelopes: Vec<Envelope>,
}

impl Guarded {
    fn new(handlers: &Handlers, policy: Policy) -> Result<Self> {
        let guard = Guard::new("mail/receipt", policy, Surroundings::default())?;
        Ok(Self { guard, handlers: handlers.clone(), envelopes: vec![envelope()?] })
    }

    fn round(&self) -> Result<f64> {
        let (mut now, mut at) = (SystemClock.now(), 0);
        self.handlers.round(|turn| {
            if turn % READING == 0 {
                now = SystemClock.now();
            }
            at = if at + 1 < self.envelopes.len() { at + 1 } else { 0 };
            let ask = Ask::new(&self.envelopes[at], now);
            if let Entered::Go(permit) = self.guard.enter(&ask)
                && let Some(result) = once(self.handlers.call(turn))
            {
                let left = self.guard.leave(permit, &result, Duration::ZERO);
                assert_eq!(left.verdict, Verdict::Done);
            }
        })
    }
}

/// Tries again what failed, as our policy would.
#[derive(Clone)]
struct Attempts(u32);

impl Again<u64, (), BoxError> for Attempts {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<(), BoxError>) -> Option<Self::Future> {
        if result.is_ok() || self.0 == 0 {
            return None;
        }
        self.0 -= 1;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

fn through<S: Service<u64, Response = (), Error = BoxError>>(
    handlers: &Handlers,
    service: &mut S,
) -> Result<f64> {
    handlers.round(|turn| {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(())) = service.poll_ready(&mut context) {
            let answer = once(service.call(turn));
            assert!(matches!(answer, Some(Ok(()))));
        }
    })
}

/// What is called behind tower's layers.
#[derive(Clone)]
struct Called(Handlers);

impl Service<u64> for Called {
    type Response = ();
    type Error = Infallible;
    type Future = Map<BoxFuture<'static, Handled>, fn(Handled) -> Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, turn: u64) -> Self::Future {
        self.0.call(turn).map(|answer| {
            assert!(answer.is_ok(), "no handler fails");
            Ok(())
        })
    }
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let _inside = runtime.enter();
    let rounds = if std::env::args().any(|argument| argument == "--quick") { 5 } else { ROUNDS };
    let handlers = Handlers::new();
    let (second, limit) = (Duration::from_secs(1), Duration::from_secs(30));

    let circuit = || Circuit::open_after(5);
    let rate = || Rate::per_second(PLENTY);
    let full = Policy::new()
        .retry(Retry::default())
        .timeout(limit)
        .circuit(circuit())
        .bulkhead(16)
        .rate(rate())
        .shed(Shed::over(second))
        .flag("new-checkout");
    let same_as_tower = Policy::new().retry(Retry::default()).timeout(limit).bulkhead(16).rate(rate());
    let guarded = |policy: Policy| Guarded::new(&handlers, policy);
    let parts = [
        ("ours: nothing said", guarded(Policy::new())?),
        ("ours: circuit, in a row", guarded(Policy::new().circuit(circuit()))?),
        ("ours: circuit, by share of 100 calls", guarded(Policy::new().circuit(Circuit::failing(0.5)))?),
        ("ours: bulkhead", guarded(Policy::new().bulkhead(Bulkhead::from(16)))?),
        ("ours: rate", guarded(Policy::new().rate(rate()))?),
        ("ours: rate each key", guarded(Policy::new().rate(rate().each_key()))?),
        ("ours: shed", guarded(Policy::new().shed(Shed::over(second)))?),
    ];
    let full = guarded(full)?;
    let comparable = guarded(same_as_tower)?;
    let mut once_each =
        guarded(Policy::new().idempotent(Idempotency::by_id().ttl(Duration::from_millis(1))))?;
    once_each.envelopes = (0..CALLS)
        .map(|id| Ok(Envelope::build("order.placed").id(id.to_string()).source("shop").finish()?))
        .collect::<Result<_>>()?;

    let mut chain = ServiceBuilder::new()
        .rate_limit(u64::from(PLENTY), second)
        .retry(Attempts(4))
        .concurrency_limit(16)
        .timeout(limit)
        .service(Called(handlers.clone()));
    let inner = BoxCloneService::new(ServiceBuilder::new().timeout(limit).service(Called(handlers.clone())));
    let inner = BoxCloneService::new(ServiceBuilder::new().concurrency_limit(16).service(inner));
    let inner = BoxCloneService::new(ServiceBuilder::new().retry(Attempts(4)).service(inner));
    let mut boxed: BoxService<u64, (), BoxError> =
        ServiceBuilder::new().rate_limit(u64::from(PLENTY), second).service(inner).boxed();
    let governor = RateLimiter::direct(Quota::per_second(NonZeroU32::new(PLENTY).context("not zero")?));

    let mut job = Job::new("policy").rounds(rounds);
    let mut table = job
        .table("a call that is ready at once, nothing tripping", Unit::time("ns"))
        .reference("the bare call", || {
            handlers.round(|turn| {
                once(handlers.call(turn));
            })
        })
        .note("four handlers behind boxed futures taking turns")
        .peer("ours: flag, circuit, shed, rate, bulkhead, timeout, retry", || full.round())
        .note("goal: at most 60 ns more than the bare call, better 20; see the difference of the two lines")
        .peer("ours: rate, bulkhead, timeout, retry", || comparable.round())
        .peer("tower: rate, retry, concurrency, timeout", || through(&handlers, &mut chain))
        .note("one static type")
        .peer("tower: the same, each layer boxed", || through(&handlers, &mut boxed))
        .peer("governor: rate alone", || {
            handlers.round(|turn| {
                if governor.check().is_ok() {
                    once(handlers.call(turn));
                }
            })
        })
        .note("reads its own clock at each call");
    for (name, part) in &parts {
        table = table.peer(*name, || part.round());
    }
    table
        .peer("ours: idempotency by id, in memory", || once_each.round())
        .note("every id is new; 100,000 are remembered for a millisecond")
        .run()?;
    Ok(())
}
