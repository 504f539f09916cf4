//! What a batch has asked for is carried out, and each of its deliveries is settled.

use std::{collections::HashSet, time::Duration};

use tidings_core::{DocumentKey, Effects, Failure, Reason, Text, Wish, Witness};
use tidings_policy::{Permit, Verdict};

use super::{Shared, call::After, delivery::Delivery, end::note};
use crate::{Carried, Ended};

/// A delivery the handler has done, before that is carried out.
pub(super) struct Good {
    pub delivery: Delivery,
    pub permit: Permit,
    pub witness: Witness,
    /// Its place in the call.
    pub place: usize,
}

/// What came of carrying out.
pub(super) enum Out {
    /// All of it is done.
    Done,
    /// A document somebody had read was changed.
    Conflict,
    /// It could not be done.
    Failed(Failure),
    /// It is refused for what it asks; nothing was done.
    Refused(Failure),
}

impl Shared {
    /// Whether those behind it in its key wait for it. What failed for good does not come again, and nobody waits for
    /// it here, but for what its fallback does instead.
    pub(super) fn holds_up(&self, after: &After) -> bool {
        match after {
            After::Ended(_) => false,
            After::Wait(..) | After::Again(_) => true,
            After::GiveUp(..) => self.callee.fallback.is_some(),
        }
    }

    /// Does what all of them asked for, or nothing.
    pub(super) async fn carry_out_all(&self, good: &[Good]) -> Out {
        let Some(first) = good.first() else { return Out::Done };
        let mut all = Effects::default();
        for one in good {
            if let Err(failure) = all.then(one.witness.effects.clone()) {
                return Out::Refused(failure);
            }
        }
        self.carry_out(&first.delivery, all).await
    }

    async fn carry_out(&self, cause: &Delivery, effects: Effects) -> Out {
        // What was only read is no condition of anything.
        if effects.events.is_empty() && effects.writes.is_empty() {
            return Out::Done;
        }
        match self.outside.carry_out(cause.envelope(), effects).await {
            Carried::Done => Out::Done,
            Carried::Conflict => Out::Conflict,
            Carried::Failed(failure) => Out::Failed(failure),
            Carried::Refused(failure) => Out::Refused(failure),
        }
    }

    /// Does what each asked for by itself, in order, so that only the guilty one fails.
    pub(super) async fn one_by_one(
        &self,
        good: Vec<Good>,
        size: usize,
        took: Duration,
        after: &mut Vec<After>,
    ) {
        let (mut places, mut written) = (vec![false; size], HashSet::<DocumentKey>::new());
        let mut waiting = HashSet::<Text>::new();
        for one in good {
            let is_behind = one.delivery.key.as_ref().is_some_and(|key| waiting.contains(key));
            let key = one.delivery.key.clone();
            if is_behind || !one.witness.stands(&places, &written) {
                waiting.extend(key);
                self.unused(one.permit).await;
                after.push(After::Again(one.delivery));
                continue;
            }
            let next = match self.carry_out(&one.delivery, one.witness.effects.clone()).await {
                Out::Done => {
                    places[one.place] = true;
                    written.extend(one.witness.effects.writes.iter().map(|write| write.key.clone()));
                    self.done(one, took).await
                }
                Out::Conflict => {
                    self.unused(one.permit).await;
                    After::Again(one.delivery)
                }
                Out::Failed(failure) | Out::Refused(failure) => {
                    self.failed(one.delivery, one.permit, failure, took).await
                }
            };
            if self.holds_up(&next) {
                waiting.extend(key);
            }
            after.push(next);
        }
    }

    pub(super) async fn all_failed(
        &self,
        good: Vec<Good>,
        failure: &Failure,
        took: Duration,
        after: &mut Vec<After>,
    ) {
        let mut waiting = HashSet::<Text>::new();
        for one in good {
            let key = one.delivery.key.clone();
            if key.as_ref().is_some_and(|key| waiting.contains(key)) {
                self.unused(one.permit).await;
                after.push(After::Again(one.delivery));
                continue;
            }
            let next = self.failed(one.delivery, one.permit, failure.clone(), took).await;
            if self.holds_up(&next) {
                waiting.extend(key);
            }
            after.push(next);
        }
    }

    pub(super) async fn done(&self, one: Good, took: Duration) -> After {
        if let Some(then) = one.permit.leave(&Ok(()), took).then
            && let Err(trouble) = then.await
        {
            let id = one.delivery.envelope().id();
            tracing::warn!(handler = %self.callee.name, %id, %trouble, "its claim may not be kept");
        }
        self.count_handled();
        After::Ended(one.delivery.end(Ended::Handled))
    }

    pub(super) fn skipped(&self, delivery: Delivery, why: &'static str) -> After {
        self.count(|counts| &counts.skipped);
        After::Ended(delivery.end(Ended::Skipped(why)))
    }

    /// What becomes of a delivery that failed.
    pub(super) async fn failed(
        &self,
        mut delivery: Delivery,
        permit: Permit,
        failure: Failure,
        took: Duration,
    ) -> After {
        if let Some(Wish::Later(span)) = failure.wish() {
            // It was not its time: neither a failure nor an attempt.
            self.unused(permit).await;
            delivery.job.calls += 1;
            return After::Wait(delivery, span);
        }
        self.count(|counts| &counts.failures);
        note(self, &mut delivery, failure.describe());
        let left = permit.leave(&Err(failure.clone()), took);
        if let Some(then) = left.then
            && let Err(trouble) = then.await
        {
            tracing::warn!(handler = %self.callee.name, %trouble, "a claim was not released");
        }
        let wait = match left.verdict {
            Verdict::Again { after } => after,
            Verdict::Dead { reason } | Verdict::Fallback { reason } => {
                return After::GiveUp(delivery, reason, failure);
            }
            Verdict::Done => return After::GiveUp(delivery, Reason::Exhausted, failure),
        };
        let wait = match failure.wish() {
            Some(Wish::Again(wished)) => wished,
            _ => wait,
        };
        let (id, attempt) = (delivery.envelope().id(), delivery.job.attempt);
        tracing::warn!(handler = %self.callee.name, %id, attempt, ?wait, %failure, "tried again later");
        self.count(|counts| &counts.retries);
        delivery.job.attempt += 1;
        delivery.job.calls += 1;
        After::Wait(delivery, wait)
    }

    /// A permit is not used; what a store still has to be told about it is told.
    pub(super) async fn unused(&self, permit: Permit) {
        if let Some(then) = permit.unused()
            && let Err(trouble) = then.await
        {
            tracing::warn!(handler = %self.callee.name, %trouble, "a claim was not released");
        }
    }
}
