//! What a lane decides about one delivery: whether it is called for at all, and what becomes of one that failed.

use std::time::Duration;

use tidings_core::{Attempt, Effects, Failure, Handled, Refused, Wish, keep_attempt};

use crate::{
    Reason,
    book::Turn,
    delivery::{Accepted, Delivery, Outcome},
    shared::{Shared, newer},
};

/// After this many runs that met a changed document, a delivery runs alone.
const CONFLICTS_MAX: u32 = 3;

pub(crate) fn wants_to_be_alone(delivery: &Delivery) -> bool {
    delivery.conflicts >= CONFLICTS_MAX
}

/// Whether a delivery is called for.
pub(crate) enum Fit {
    /// It is.
    Ready(Delivery),
    /// It is settled without.
    Settled(Accepted),
    /// Nobody waits for it any more.
    Gone(Delivery),
}

/// What becomes of a delivery that failed.
pub(crate) enum Next {
    /// This is committed.
    Offer(Accepted),
    /// It is called for again after a short while, and its key waits.
    Wait(Delivery, Duration),
}

impl Shared {
    /// Whether a delivery whose turn has come is called for.
    pub(crate) fn fit(&self, mut delivery: Delivery) -> Fit {
        match self.turn(&delivery) {
            Turn::Now => {}
            Turn::Behind => return Fit::Settled(Accepted { delivery, outcome: Outcome::Follow }),
            Turn::Gone => {
                self.gone(&delivery);
                return Fit::Gone(delivery);
            }
        }
        if wants_to_be_alone(&delivery) {
            self.begin_alone(delivery.position());
        }
        let now = self.clock.now();
        if delivery.event.envelope.expiry().is_some_and(|expiry| expiry <= now) {
            return Fit::Settled(Accepted { delivery, outcome: Outcome::Expired });
        }
        delivery.first.get_or_insert(now);
        if let Some(known) = self.event
            && newer(known, &delivery.event.envelope)
        {
            let version = delivery.event.envelope.schema_version();
            let trouble =
                format!("schema version {version} of {}; this program knows {}", known.name, known.version);
            delivery.trouble = Some(trouble);
            let outcome = Outcome::Dead { reason: Reason::Newer, path: Vec::new() };
            return Fit::Settled(Accepted { delivery, outcome });
        }
        Fit::Ready(delivery)
    }

    /// What becomes of a delivery that failed; `dice` is drawn evenly from `0.0..1.0`.
    pub(crate) async fn failed(&self, mut delivery: Delivery, broken: Broken, dice: f64) -> Next {
        let Broken { failure, is_loop } = broken;
        delivery.trouble = Some(failure.describe());
        if let Some(Wish::Later(wait)) = failure.wish() {
            // It was not its time: neither a failure nor an attempt.
            delivery.calls += 1;
            return self.come_back(delivery, wait);
        }
        self.count_failure();
        keep_attempt(&mut delivery.history, Attempt { at: self.clock.now(), error: failure.describe() });
        if is_loop {
            let path = self.path_to(&delivery.event).await;
            return Next::Offer(Accepted { delivery, outcome: Outcome::Dead { reason: Reason::Loop, path } });
        }
        let wait = match failure.is_permanent() {
            true => None,
            false => self.policy.wait_after(delivery.attempt, dice),
        };
        let wait = match failure.wish() {
            Some(Wish::Again(wished)) => wait.map(|_| wished),
            _ => wait,
        };
        let Some(wait) = wait else {
            let reason = if failure.is_permanent() { Reason::Permanent } else { Reason::Exhausted };
            tracing::error!(subscription = %self.name, position = delivery.position(), %reason, %failure, "given up");
            return Next::Offer(Accepted { delivery, outcome: Outcome::Dead { reason, path: Vec::new() } });
        };
        let now = self.clock.now();
        let wait = self.within_budget(now, wait);
        tracing::warn!(subscription = %self.name, position = delivery.position(), attempt = delivery.attempt, ?wait, %failure, "tried again later");
        delivery.attempt += 1;
        delivery.calls += 1;
        self.retried();
        self.come_back(delivery, wait)
    }

    /// Has a delivery come back after a while: in memory, or as a row when that is long.
    fn come_back(&self, delivery: Delivery, wait: Duration) -> Next {
        let now = self.clock.now();
        if wait > self.config.short_wait {
            return Next::Offer(Accepted { delivery, outcome: Outcome::Later { due: now.after(wait) } });
        }
        if wants_to_be_alone(&delivery) {
            self.not_alone(delivery.position());
        }
        Next::Wait(delivery, wait)
    }
}

/// Why a delivery failed.
pub(crate) struct Broken {
    pub failure: Failure,
    pub is_loop: bool,
}

/// What a handler wants committed, or why it failed, as it and its context have it.
pub(crate) fn outcome<T>(
    result: Handled,
    closed: Result<T, Refused>,
    effects: impl Fn(&T) -> &Effects,
) -> Result<T, Broken> {
    let broken = |failure| Broken { failure, is_loop: false };
    match (result, closed) {
        (_, Err(Refused::Loop)) => {
            Err(Broken { failure: Failure::permanent("it publishes in a loop"), is_loop: true })
        }
        (Ok(()), Ok(done)) => {
            let mut later = effects(&done).events.iter().filter(|event| event.due.is_some());
            match later.try_for_each(|event| crate::schedule::body(&event.envelope).map(drop)) {
                Ok(()) => Ok(done),
                Err(failure) => Err(broken(failure)),
            }
        }
        (Ok(()), Err(Refused::Failure(failure))) | (Err(failure), _) => Err(broken(failure)),
    }
}

pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::transient(format!("the handler panicked: {}", text.unwrap_or("no message")))
}

/// Draws evenly from `0.0..1.0`, the same again from the same seed (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
