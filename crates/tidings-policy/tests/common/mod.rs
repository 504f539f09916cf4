//! A guard on a driven clock, and who listens to it.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{Clock, Envelope, Failure, Handled, ManualClock, Policy, Priority, Timestamp};
use tidings_policy::{Ask, Entered, Guard, Notice, Permit, Refusal, Surroundings, Verdict};

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn event(id: &str) -> Envelope {
    Envelope::build("order.placed").id(id).source("shop").finish().expect("an event")
}

pub fn keyed(id: &str, key: &str, json: &str) -> Envelope {
    Envelope::build("order.placed")
        .id(id)
        .source("shop")
        .key(key)
        .json(json.to_owned())
        .finish()
        .expect("an event")
}

pub fn of_priority(priority: Priority) -> Envelope {
    Envelope::build("order.placed").id("1").source("shop").priority(priority).finish().expect("an event")
}

pub fn failed() -> Handled {
    Err(Failure::transient("connection refused"))
}

pub struct World {
    pub clock: ManualClock,
    pub guard: Guard,
    pub notices: Arc<Mutex<Vec<Notice>>>,
}

impl World {
    pub fn new(policy: Policy) -> Self {
        Self::with(policy, |around| around)
    }

    pub fn with(policy: Policy, change: impl FnOnce(Surroundings) -> Surroundings) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
        let notices = Arc::<Mutex<Vec<Notice>>>::default();
        let told = notices.clone();
        let around = Surroundings {
            clock: Arc::new(clock.clone()),
            notices: Arc::new(move |notice| told.lock().push(notice)),
            ..Surroundings::default()
        };
        let guard = Guard::new("mail/receipt", policy, change(around)).expect("a good policy");
        Self { clock, guard, notices }
    }

    pub fn ask<'a>(&self, envelope: &'a Envelope) -> Ask<'a> {
        Ask::new(envelope, self.clock.now())
    }

    pub fn enter(&self, envelope: &Envelope) -> Result<Permit, Refusal> {
        now(self.guard.enter(&self.ask(envelope)))
    }

    /// One call from end to end.
    pub fn call(&self, envelope: &Envelope, result: Handled) -> Result<Verdict, Refusal> {
        self.enter(envelope).map(|permit| self.guard.leave(permit, &result, Duration::ZERO).verdict)
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.notices.lock().iter().map(Notice::name).collect()
    }
}

/// The answer of a guard that has no reason to wait.
#[track_caller]
pub fn now(entered: Entered) -> Result<Permit, Refusal> {
    match entered {
        Entered::Go(permit) => Ok(permit),
        Entered::Refused(refusal) => Err(refusal),
        Entered::Wait(_) => panic!("it waits"),
    }
}

/// Something that waits.
#[track_caller]
pub fn waiting(entered: Entered) -> Pin<Box<dyn Future<Output = Result<Permit, Refusal>> + Send>> {
    match entered {
        Entered::Wait(waiting) => waiting,
        other => panic!("it does not wait: {other:?}"),
    }
}

/// Polls once.
pub fn poll<F: Future + Unpin + ?Sized>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
