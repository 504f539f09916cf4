//! The order in which a delivery meets its policy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_core::{BoxFuture, ClaimAsk, Claimed, Envelope, Failure, FlagAsk, Handled, Reply, Timestamp};

use crate::{
    Ask, Notice, Permit, Refusal,
    notice::is_own,
    plan::Plan,
    rate::{Limiter, Turn},
    same,
};

/// When to ask again where nobody knows: a permit may come back, a store may answer again.
pub(crate) const SOON: Duration = Duration::from_millis(100);

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Passing,
    Rate,
    Bulkhead,
    Probe,
    Call,
}

/// What has to be waited for.
pub(crate) enum Blocked {
    Turn(Duration),
    Window(Duration),
    Counted(BoxFuture<'static, Handled<u32>>),
    Bulkhead(Waiting),
    Claimed(BoxFuture<'static, Handled<Claimed>>),
}

/// Goes through all that is asked from `from` on, top-down; what was taken is held by the permit.
#[inline]
pub(crate) fn admit(permit: &mut Permit, ask: &Ask<'_>, from: Stage) -> Result<Option<Blocked>, Refusal> {
    let (plan, now) = (&**permit.plan, permit.now);
    // What costs nothing: first what is final, then what passes.
    if from <= Stage::Passing {
        flag(plan, ask)?;
        if ask.crashes >= plan.quarantine_after {
            return Err(quarantine(plan, ask));
        }
        deadline(plan, permit.since, now)?;
        if let Some(retry_after) = plan.breaker.as_ref().and_then(|breaker| breaker.refuses(now)) {
            return Err(Refusal::CircuitOpen { retry_after });
        }
        shed(plan, ask, now)?;
    }
    // What takes something: a token first, which need not come back.
    if from <= Stage::Rate
        && let Some(limiter) = &plan.limiter
        && let Some(blocked) = rate(plan, limiter, ask, now)?
    {
        return Ok(Some(blocked));
    }
    if from <= Stage::Bulkhead
        && let Some(pool) = &plan.pool
    {
        if !pool.take() {
            return Waiting::begin(plan, ask).map(|waiting| Some(Blocked::Bulkhead(waiting)));
        }
        permit.held.pooled = true;
    }
    // Whether it is still open is asked again here: it may have opened while this waited, and a probe is for a call
    // that begins now.
    if from <= Stage::Probe {
        if let Some(breaker) = &plan.breaker {
            let (ticket, changed) =
                breaker.enter(now).map_err(|retry_after| Refusal::CircuitOpen { retry_after })?;
            permit.held.ticket = Some(ticket);
            if changed.is_some() {
                plan.common.tell_circuit(changed);
            }
        }
        // A claim waits for nothing but the call.
        if plan.once.is_some() {
            return claim(permit, ask);
        }
    }
    Ok(None)
}

#[inline]
fn flag(plan: &Plan, ask: &Ask<'_>) -> Result<(), Refusal> {
    if !plan.flags.any() {
        return Ok(());
    }
    let envelope = ask.envelope;
    let key = envelope.key().unwrap_or_else(|| envelope.id());
    let asked =
        FlagAsk { flag: plan.flag.as_deref(), event: envelope.name(), handler: &plan.common.name, key };
    match plan.flags.off(&asked) {
        Some(flag) if !is_own(envelope) => Err(Refusal::FlagOff(flag)),
        Some(_) | None => Ok(()),
    }
}

#[cold]
fn quarantine(plan: &Plan, ask: &Ask<'_>) -> Refusal {
    let (handler, event) = (plan.common.name.clone(), ask.envelope.id().clone());
    plan.common.tell(Notice::Quarantined { handler, event, crashes: ask.crashes });
    Refusal::Poison(ask.crashes)
}

pub(crate) fn deadline(plan: &Plan, since: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    match plan.deadline {
        Some(deadline) if now.since(since) > deadline => Err(Refusal::Deadline),
        Some(_) | None => Ok(()),
    }
}

#[inline]
fn shed(plan: &Plan, ask: &Ask<'_>, now: Timestamp) -> Result<(), Refusal> {
    let Some(shedder) = &plan.shedder else { return Ok(()) };
    let (refused, changed) = shedder.refuses(ask.priority, now);
    if let Some(level) = changed {
        plan.common.tell(Notice::Shedding { handler: plan.common.name.clone(), level });
    }
    match refused {
        Some(retry_after) if !is_own(ask.envelope) => {
            // It says how long things wait, also while they are refused.
            shedder.record_refused(ask.waited);
            Err(Refusal::Shed { retry_after })
        }
        Some(_) | None => Ok(()),
    }
}

#[inline]
fn rate(plan: &Plan, limiter: &Limiter, ask: &Ask<'_>, now: Timestamp) -> Result<Option<Blocked>, Refusal> {
    if is_own(ask.envelope) {
        return Ok(None);
    }
    let turn = limiter.turn(ask.envelope, now, patience(limiter, ask.hold));
    match turn {
        Turn::Now => Ok(None),
        Turn::Ask(Reply::Now(granted)) => counted(plan, limiter, ask.envelope, ask.hold, now, granted),
        other => settle(plan, limiter, now, other),
    }
}

fn patience(limiter: &Limiter, hold: bool) -> Duration {
    if hold { limiter.patience() } else { Duration::ZERO }
}

pub(crate) fn counted(
    plan: &Plan,
    limiter: &Limiter,
    envelope: &Envelope,
    hold: bool,
    asked: Timestamp,
    granted: Handled<u32>,
) -> Result<Option<Blocked>, Refusal> {
    let turn = limiter.granted(envelope, asked, granted, patience(limiter, hold));
    turn.map_err(unavailable).and_then(|turn| settle(plan, limiter, asked, turn))
}

#[cold]
fn settle(plan: &Plan, limiter: &Limiter, now: Timestamp, turn: Turn) -> Result<Option<Blocked>, Refusal> {
    match turn {
        Turn::Now => Ok(None),
        Turn::At(wait) => Ok(Some(Blocked::Turn(wait))),
        Turn::Later(wait) => Ok(Some(Blocked::Window(wait))),
        Turn::Ask(answer) => Ok(Some(Blocked::Counted(Box::pin(answer.get())))),
        Turn::Refused(retry_after) => {
            if let Some(refused) = limiter.refused(now) {
                plan.common.tell(Notice::RateExceeded { handler: plan.common.name.clone(), refused });
            }
            Err(Refusal::RateLimited { retry_after })
        }
    }
}

fn unavailable(failure: Failure) -> Refusal {
    Refusal::Unavailable { retry_after: SOON, failure: failure.describe().into() }
}

/// A place in the queue before a bulkhead.
pub(crate) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    #[cold]
    fn begin(plan: &Plan, ask: &Ask<'_>) -> Result<Self, Refusal> {
        let waiting = plan.common.waiting.clone();
        let more = |waiting: usize| (waiting < plan.queue).then(|| waiting + 1);
        let may = ask.hold && !plan.queue_wait.is_zero();
        match may && waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok() {
            true => Ok(Self(waiting)),
            false => Err(Refusal::BulkheadFull { retry_after: SOON }),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn claim(permit: &mut Permit, ask: &Ask<'_>) -> Result<Option<Blocked>, Refusal> {
    let plan = permit.plan.clone();
    let Some(once) = &plan.once else { return Ok(None) };
    let (key, version) = same::thing(&once.idempotency.by, ask.envelope);
    let (scope, lease) = (plan.common.name.clone(), once.lease);
    match once.claims.claim(&ClaimAsk { scope, key, version, lease, now: permit.now }) {
        Reply::Now(answer) => claimed(permit, answer).map(|()| None),
        Reply::Later(answer) => Ok(Some(Blocked::Claimed(answer))),
    }
}

pub(crate) fn claimed(permit: &mut Permit, answer: Handled<Claimed>) -> Result<(), Refusal> {
    match answer.map_err(unavailable)? {
        Claimed::Mine(claim) => {
            permit.held.claim = Some(Box::new(claim));
            Ok(())
        }
        // Whoever runs may well be done before its lease ends.
        Claimed::Running(until) => {
            let left = until.since(permit.now);
            Err(Refusal::Running { retry_after: left.clamp(Duration::from_millis(1), SOON) })
        }
        Claimed::Finished => Err(Refusal::Finished),
    }
}
