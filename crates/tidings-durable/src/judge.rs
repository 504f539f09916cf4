//! What a lane decides about one delivery: whether it is called for at all, and what becomes of one that failed.

use std::time::Duration;

use tidings_core::{Attempt, Effects, Failure, Handled, Per, Refused, Timestamp, Wish, keep_attempt};
use tidings_policy::{self as policy, Ask, Permit, Refusal, Settlement};

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
    /// It is, now.
    Ready(Delivery, Timestamp),
    /// It is settled without.
    Settled(Accepted),
    /// Nobody waits for it any more.
    Gone(Delivery),
}

/// What becomes of a delivery that failed, or may not begin.
pub(crate) enum Next {
    /// This is committed.
    Offer(Accepted),
    /// It is called for again after a short while, and its key waits.
    Wait(Delivery, Duration),
    /// It is given up for this reason, unless its fallback handles it.
    StandIn(Delivery, Reason),
    /// Neither it nor any other may begin for so long.
    Bar(Delivery, Duration),
}

impl Shared {
    /// Whether a delivery whose turn has come is called for.
    pub(crate) fn fit(&self, mut delivery: Delivery) -> Fit {
        // What is run again claims again.
        delivery.claim = None;
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
        Fit::Ready(delivery, now)
    }

    /// What the guard is asked for a delivery. It is not held: it waits here, where it holds up nothing but its key.
    pub(crate) fn ask<'a>(&self, delivery: &'a Delivery, now: Timestamp) -> Ask<'a> {
        Ask {
            envelope: &delivery.event.envelope,
            attempt: delivery.attempt,
            waited: now.since(delivery.ready),
            priority: delivery.event.envelope.priority(),
            since: delivery.first.unwrap_or(now),
            crashes: self.suspects.crashes(delivery.position()),
            hold: false,
            now,
        }
    }

    /// What becomes of a delivery that its policy refuses. No attempt is burnt.
    pub(crate) fn refused(&self, mut delivery: Delivery, refusal: &Refusal) -> Next {
        let after = match refusal.settlement() {
            Settlement::Done => return Next::Offer(Accepted { delivery, outcome: Outcome::Skipped }),
            Settlement::Dead(reason) => {
                delivery.trouble = Some(match delivery.trouble.take() {
                    Some(before) if delivery.calls > 1 => format!("{refusal}; before: {before}"),
                    _ => refusal.to_string(),
                });
                delivery.uncalled = true;
                if let Refusal::Poison(crashes) = refusal {
                    self.suspects.forget(delivery.position());
                    // These were calls, too.
                    delivery.calls = delivery.calls.max(crashes + 1);
                }
                return self.give_up(delivery, reason);
            }
            Settlement::Later(after) => after,
        };
        let of_all = match refusal {
            Refusal::CircuitOpen { .. } | Refusal::BulkheadFull { .. } | Refusal::BulkheadTimeout { .. } => {
                true
            }
            Refusal::RateLimited { .. } => {
                self.guard.look(|policy| policy.rate.as_ref().is_some_and(|rate| rate.each == Per::All))
            }
            _ => false,
        };
        if !of_all {
            return self.come_back(delivery, after);
        }
        if wants_to_be_alone(&delivery) {
            self.not_alone(delivery.position());
        }
        Next::Bar(delivery, after)
    }

    /// A call has worked: what the policy holds for it comes back, but for its claim, which goes with its commit.
    pub(crate) fn worked(&self, mut permit: Permit, delivery: &mut Delivery) {
        let took = if permit.is_timed() { self.clock.now().since(permit.given()) } else { Duration::ZERO };
        let in_store = permit.is_stored();
        delivery.claim = permit.take_claim().map(|(claim, ttl)| self.claims.hold(claim, ttl, in_store));
        // Without a claim there is nothing left to wait for.
        drop(permit.leave(&Ok(()), took));
        self.bar.ended();
    }

    /// What becomes of a delivery that failed.
    pub(crate) async fn failed(&self, mut delivery: Delivery, permit: Permit, broken: Broken) -> Next {
        let Broken { failure, is_loop } = broken;
        delivery.trouble = Some(failure.describe());
        if let Some(Wish::Later(wait)) = failure.wish() {
            // It was not its time: neither a failure nor an attempt. What the policy holds comes back uncounted.
            if let Some(then) = permit.unused()
                && let Err(trouble) = then.await
            {
                tracing::warn!(subscription = %self.name, %trouble, "a claim may not be released");
            }
            self.bar.ended();
            delivery.calls += 1;
            return self.come_back(delivery, wait);
        }
        self.count_failure();
        keep_attempt(&mut delivery.history, Attempt { at: self.clock.now(), error: failure.describe() });
        let took = self.clock.now().since(permit.given());
        let left = permit.leave(&Err(failure.clone()), took);
        self.bar.ended();
        if let Some(then) = left.then
            && let Err(trouble) = then.await
        {
            tracing::warn!(subscription = %self.name, %trouble, "a claim was not released");
        }
        if is_loop {
            let path = self.path_to(&delivery.event).await;
            return Next::Offer(Accepted { delivery, outcome: Outcome::Dead { reason: Reason::Loop, path } });
        }
        let wait = match left.verdict {
            policy::Verdict::Again { after } => after,
            policy::Verdict::Dead { reason } | policy::Verdict::Fallback { reason } => {
                tracing::error!(subscription = %self.name, position = delivery.position(), %reason, %failure, "given up");
                return self.give_up(delivery, reason);
            }
            policy::Verdict::Done => return self.give_up(delivery, Reason::Exhausted),
        };
        let wait = match failure.wish() {
            Some(Wish::Again(wished)) => wished,
            _ => wait,
        };
        tracing::warn!(subscription = %self.name, position = delivery.position(), attempt = delivery.attempt, ?wait, %failure, "tried again later");
        delivery.attempt += 1;
        delivery.calls += 1;
        self.retried();
        self.come_back(delivery, wait)
    }

    fn give_up(&self, delivery: Delivery, reason: Reason) -> Next {
        match self.fallback {
            Some(_) => Next::StandIn(delivery, reason),
            None => Next::Offer(dead(delivery, reason)),
        }
    }

    /// Has a delivery come back after a while: in memory, or as a row when that is long.
    fn come_back(&self, mut delivery: Delivery, wait: Duration) -> Next {
        let now = self.clock.now();
        if wait > self.config.short_wait {
            return Next::Offer(Accepted { delivery, outcome: Outcome::Later { due: now.after(wait) } });
        }
        if wants_to_be_alone(&delivery) {
            self.not_alone(delivery.position());
        }
        delivery.ready = now.after(wait);
        Next::Wait(delivery, wait)
    }
}

/// A delivery that is given up.
pub(crate) fn dead(delivery: Delivery, reason: Reason) -> Accepted {
    Accepted { delivery, outcome: Outcome::Dead { reason, path: Vec::new() } }
}

/// The fallback has failed, too.
pub(crate) fn not_by_fallback(mut delivery: Delivery, reason: Reason, failure: &Failure) -> Accepted {
    let failure = failure.describe();
    delivery.trouble = Some(match delivery.trouble.take() {
        Some(before) => format!("{before}; the fallback: {failure}"),
        None => format!("the fallback: {failure}"),
    });
    dead(delivery, reason)
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
