//! What a guard gives for one call, and takes back.

use std::{fmt, sync::Arc, time::Duration};

use tidings_core::{Claim, Failure, Handled, Keeper, Reason, Reply, Timestamp};

use crate::{
    Left, Verdict,
    breaker::{Outcome, Ticket},
    plan::Plan,
};

/// The right to one call. What it holds (a place in the bulkhead, a probe, a claim) comes back when it is left or
/// dropped, whatever happened: dropped in a panic the call has failed, and otherwise it was cancelled and counts
/// neither as worked nor as failed.
#[must_use]
pub struct Permit {
    pub(crate) plan: arc_swap::Guard<Arc<Plan>>,
    pub(crate) held: Held,
    /// When it was given.
    pub(crate) now: Timestamp,
    pub(crate) waited: Duration,
    pub(crate) since: Timestamp,
    pub(crate) attempt: u32,
}

/// What has to come back.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) pooled: bool,
    pub(crate) ticket: Option<Ticket>,
    /// Boxed, so that a permit without one is small to move.
    pub(crate) claim: Option<Box<Claim>>,
}

impl Permit {
    /// How long the call may take. Whoever runs it drops it then, and leaves with a transient failure.
    pub fn timeout(&self) -> Duration {
        self.plan.timeout
    }

    /// When it was given.
    pub fn given(&self) -> Timestamp {
        self.now
    }

    /// The claim, for a caller that finishes it itself, in one commit with the call's effects, and how long it is to be
    /// remembered. The guard then leaves it alone, unless the call fails: a claim that is not finished is to be
    /// released by whoever took it.
    pub fn take_claim(&mut self) -> Option<(Claim, Duration)> {
        let ttl = self.plan.once.as_ref()?.idempotency.ttl;
        self.held.claim.take().map(|claim| (*claim, ttl))
    }

    /// Whether the store remembers what is claimed for the call.
    pub fn is_stored(&self) -> bool {
        self.plan.once.as_ref().is_some_and(|once| once.idempotency.keep == Keeper::Store)
    }

    /// Whether anything depends on how long the call takes. If not, whoever calls need not read the clock for it.
    pub fn is_timed(&self) -> bool {
        self.plan.breaker.is_some() || self.plan.shedder.is_some()
    }

    /// Makes the permit cheap to keep: to be called where a call turns out to take its time. Without it nothing is
    /// wrong, but many permits kept at once make entering slower for others.
    pub fn keep(mut self) -> Self {
        self.plan = arc_swap::Guard::from_inner(Arc::clone(&self.plan));
        self
    }

    /// Gives it back unused: there was no call, or it was not its time. That counts neither as worked nor as failed. A
    /// claim is released; answers what a store still has to be told about it. Dropping the permit does the same, but for
    /// the store, where the claim then lasts until its lease ends.
    pub fn unused(mut self) -> Option<tidings_core::BoxFuture<'static, Result<(), Failure>>> {
        let claim = self.held.claim.take()?;
        end(&self.plan, &claim, false, self.now)
    }

    /// Gives it back with what the call answered and how long it took.
    #[inline]
    pub fn leave(mut self, result: &Handled, took: Duration) -> Left {
        let plan = &self.plan;
        let now = if took.is_zero() { self.now } else { self.now.after(took) };
        if let Some(shedder) = &plan.shedder {
            shedder.record(self.waited.saturating_add(took));
        }
        if let (Some(ticket), Some(breaker)) = (self.held.ticket.take(), &plan.breaker) {
            let changed = breaker.leave(ticket, outcome(result), took, now);
            if changed.is_some() {
                plan.common.tell_circuit(changed);
            }
        }
        let then = match self.held.claim.take() {
            None => None,
            Some(claim) => end(plan, &claim, result.is_ok(), now),
        };
        let verdict = match result {
            Ok(()) => Verdict::Done,
            Err(failure) => failed(plan, failure, self.attempt, self.since, now),
        };
        Left { verdict, then }
    }
}

fn outcome(result: &Handled) -> Outcome {
    match result {
        Ok(()) => Outcome::Worked,
        // The answer was no: that says something about the event, and nothing about whom was asked.
        Err(failure) if failure.is_permanent() => Outcome::Ignored,
        Err(_) => Outcome::Failed,
    }
}

/// Finishes the claim, or releases it: what failed may be claimed again, by a retry or by a replay.
fn end(
    plan: &Plan,
    claim: &Claim,
    worked: bool,
    now: Timestamp,
) -> Option<tidings_core::BoxFuture<'static, Result<(), Failure>>> {
    let once = plan.once.as_ref()?;
    let answer = match worked {
        true => once.claims.finish(claim, once.idempotency.ttl, now),
        false => once.claims.release(claim),
    };
    match answer {
        Reply::Now(Ok(())) => None,
        Reply::Now(Err(failure)) => Some(Box::pin(std::future::ready(Err(failure)))),
        Reply::Later(answer) => Some(answer),
    }
}

#[cold]
fn failed(plan: &Plan, failure: &Failure, attempt: u32, since: Timestamp, now: Timestamp) -> Verdict {
    let give_up = |reason| match plan.common.around.fallback {
        true => Verdict::Fallback { reason },
        false => Verdict::Dead { reason },
    };
    if failure.is_permanent() {
        return give_up(Reason::Permanent);
    }
    let Some(wait) = plan.retry.wait_after(attempt, plan.common.dice.roll()) else {
        return give_up(Reason::Exhausted);
    };
    let is_late =
        |after: Duration| plan.deadline.is_some_and(|deadline| now.after(after) > since.after(deadline));
    if is_late(wait) {
        return give_up(Reason::Deadline);
    }
    let Some(budget) = &plan.budget else { return Verdict::Again { after: wait } };
    let after = budget.wait(now, wait);
    if after > wait {
        plan.common.tell_budget(now);
    }
    if is_late(after) { give_up(Reason::Deadline) } else { Verdict::Again { after } }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let (true, Some(pool)) = (self.held.pooled, &self.plan.pool) {
            pool.give_back();
        }
        if let (Some(ticket), Some(breaker)) = (self.held.ticket.take(), &self.plan.breaker) {
            let outcome = if std::thread::panicking() { Outcome::Failed } else { Outcome::Ignored };
            let changed = breaker.leave(ticket, outcome, Duration::ZERO, self.now);
            self.plan.common.tell_circuit(changed);
        }
        if let (Some(claim), Some(once)) = (self.held.claim.take(), &self.plan.once) {
            // What a store would have to be told is not: the lease ends it.
            drop(once.claims.release(&claim));
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("handler", &self.plan.common.name).field("held", &self.held).finish()
    }
}
