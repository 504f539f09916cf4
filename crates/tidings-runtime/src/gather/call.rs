//! One call with a batch, and what becomes of each delivery in it.
//!
//! What a policy says of deliveries is asked for each of them; what it says of calls has been asked already, once for
//! all of them. What is done is carried out as one; who failed is cut out of it.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{Either, join_all, select},
};
use tidings_core::{Cause, Delivered, DocumentKey, Failure, Handled, Reason, Refused, Text, Together, Wish};
use tidings_policy::{Permit, Settlement};

use super::{
    Shared,
    delivery::Delivery,
    run::Gathered,
    settle::{Good, Out},
};
use crate::{
    callee::{CONFLICTS_FREE, CONFLICTS_MAX},
    pool::Counts,
};

/// What is to be done about a delivery.
pub(super) enum After {
    /// Nothing: it has ended. Its key.
    Ended(Option<Text>),
    /// It is called for again after a while, and its key waits.
    Wait(Delivery, Duration),
    /// It is called for again at once, behind what waits before it in its key.
    Again(Delivery),
    /// It is given up for this reason, unless its fallback handles it.
    GiveUp(Delivery, Reason, Failure),
}

/// What a call has answered.
struct Answer {
    results: Handled<Vec<Handled>>,
    took: Duration,
}

pub(super) async fn call(shared: Arc<Shared>, batch: Gathered, permit: Permit) -> Vec<After> {
    let mut after = Vec::with_capacity(batch.items.len());
    let mut called = shared.enter(batch.items, &mut after).await;
    let (mut last, mut conflicts, mut alone) = (None, 0, None);
    while !called.is_empty() {
        let size = called.len();
        let (together, answer) = shared.ask_handler(&called, batch.cause, permit.timeout()).await;
        let good = shared.sort_out(called, together, &answer, &mut after).await;
        let took = answer.took;
        // Before anybody hears of it.
        if last.replace(answer).is_none() {
            Counts::add(&shared.calls);
        }
        called = Vec::new();
        match shared.carry_out_all(&good).await {
            Out::Done => {
                for one in good {
                    after.push(shared.done(one, took).await);
                }
            }
            Out::Conflict if conflicts < CONFLICTS_MAX => {
                conflicts += 1;
                if conflicts == CONFLICTS_FREE {
                    alone = Some(shared.callee.alone.lock().await);
                }
                called = good.into_iter().map(|one| (one.delivery, one.permit)).collect();
            }
            Out::Conflict => {
                let failure = Failure::transient("documents it read are changed too often");
                shared.all_failed(good, &failure, took, &mut after).await;
            }
            // Nobody is given up, nor tried again, for what another asked for.
            Out::Refused(_) if good.len() > 1 => shared.one_by_one(good, size, took, &mut after).await,
            Out::Failed(failure) | Out::Refused(failure) => {
                shared.all_failed(good, &failure, took, &mut after).await
            }
        }
    }
    drop(alone);
    if let Some(answer) = last {
        leave(permit, &answer);
    }
    after
}

/// What the policy holds for the call comes back. A call has failed when it has answered for none that it is handled.
fn leave(permit: Permit, Answer { results, took }: &Answer) {
    let failed = |result: &&Handled| {
        result.as_ref().is_err_and(|failure| !matches!(failure.wish(), Some(Wish::Later(_))))
    };
    let result = match results {
        Err(failure) => Some(Err(failure.clone())),
        Ok(results) if results.iter().any(Result::is_ok) => Some(Ok(())),
        // It was nobody's time: that says nothing.
        Ok(results) => results.iter().find(failed).cloned(),
    };
    if let Some(result) = result {
        drop(permit.leave(&result, *took));
    }
}

impl Shared {
    /// Asks the policy about each delivery; answers those the handler is called with.
    async fn enter(&self, items: Vec<Delivery>, after: &mut Vec<After>) -> Vec<(Delivery, Permit)> {
        let now = self.clock.now();
        let mut asked = Vec::with_capacity(items.len());
        for delivery in items {
            if delivery.envelope().expiry().is_some_and(|expiry| expiry <= now) {
                after.push(self.skipped(delivery, "its time was over"));
                continue;
            }
            let entered = self.guards.each.enter(&delivery.ask(now));
            asked.push(async move { (delivery, entered.get().await.map(Permit::keep)) });
        }
        let (mut called, mut stopped) = (Vec::with_capacity(asked.len()), HashSet::<Text>::new());
        for (mut delivery, known) in join_all(asked).await {
            let is_behind = delivery.key.as_ref().is_some_and(|key| stopped.contains(key));
            match known {
                Ok(permit) if is_behind => {
                    self.unused(permit).await;
                    after.push(After::Again(delivery));
                }
                Err(_) if is_behind => after.push(After::Again(delivery)),
                Ok(permit) => {
                    delivery.job.first.get_or_insert(now);
                    called.push((delivery, permit));
                }
                Err(refusal) => match refusal.settlement() {
                    Settlement::Done => after.push(self.skipped(delivery, refusal.word())),
                    Settlement::Dead(reason) => {
                        if self.callee.fallback.is_some() {
                            stopped.extend(delivery.key.clone());
                        }
                        // The call it asked for was none.
                        delivery.job.calls -= 1;
                        let failure = Failure::transient(refusal.to_string());
                        after.push(After::GiveUp(delivery, reason, failure));
                    }
                    Settlement::Later(span) => {
                        stopped.extend(delivery.key.clone());
                        after.push(After::Wait(delivery, span));
                    }
                },
            }
        }
        called
    }

    /// Calls the handler.
    async fn ask_handler(
        &self,
        called: &[(Delivery, Permit)],
        cause: Cause,
        timeout: Duration,
    ) -> (Together, Answer) {
        let tenant = called.first().and_then(|(first, _)| first.envelope().tenant());
        let subscriber = self.outside.subscriber(&self.callee.name, tenant);
        let (contexts, together) = Together::open(called.iter().map(|(one, _)| one.info()), &subscriber);
        let deliver = |cx: tidings_core::Cx| Delivered { event: cx.envelope().clone(), cx };
        let deliveries: Vec<_> = contexts.into_iter().map(deliver).collect();
        let began = self.clock.now();
        let handler = &self.batches.handler;
        let call = std::panic::catch_unwind(AssertUnwindSafe(|| handler(deliveries, cause)));
        let results = match call {
            Err(panic) => Err(Failure::panicked(&*panic)),
            Ok(call) => {
                let call = AssertUnwindSafe(call).catch_unwind();
                match select(call, self.clock.sleep(timeout)).await {
                    Either::Left((answer, _)) => answer.map_err(|panic| Failure::panicked(&*panic)),
                    Either::Right(_) => Err(Failure::transient(format!("no answer within {timeout:?}"))),
                }
            }
        };
        (together, Answer { results, took: self.clock.now().since(began) })
    }

    /// Sorts out what is done, what failed and what has to wait; answers the first.
    async fn sort_out(
        &self,
        called: Vec<(Delivery, Permit)>,
        together: Together,
        answer: &Answer,
        after: &mut Vec<After>,
    ) -> Vec<Good> {
        let (mut places, mut written) = (vec![false; called.len()], HashSet::<DocumentKey>::new());
        let (mut good, mut waiting) = (Vec::with_capacity(called.len()), HashSet::<Text>::new());
        for (place, ((delivery, permit), closed)) in called.into_iter().zip(together.close()).enumerate() {
            let key = delivery.key.clone();
            if key.as_ref().is_some_and(|key| waiting.contains(key)) {
                // What it did is undone with its context; it comes after the one before it.
                self.unused(permit).await;
                after.push(After::Again(delivery));
                continue;
            }
            let result = match &answer.results {
                Ok(results) => results.get(place).cloned().unwrap_or(Ok(())),
                Err(failure) => Err(failure.clone()),
            };
            let result = match (result, closed) {
                (_, Err(Refused::Loop)) => Err(Failure::permanent("it publishes in a loop")),
                (Err(failure), _) | (Ok(()), Err(Refused::Failure(failure))) => Err(failure),
                (Ok(()), Ok(witness)) => Ok(witness),
            };
            match result {
                Ok(witness) if witness.stands(&places, &written) => {
                    places[place] = true;
                    written.extend(witness.effects.writes.iter().map(|write| write.key.clone()));
                    good.push(Good { delivery, permit, witness, place });
                }
                Ok(_) => {
                    // It had read what another of its batch did not get done: that is not its fault.
                    waiting.extend(key);
                    self.unused(permit).await;
                    after.push(After::Again(delivery));
                }
                Err(failure) => {
                    let next = self.failed(delivery, permit, failure, answer.took).await;
                    if self.holds_up(&next) {
                        waiting.extend(key);
                    }
                    after.push(next);
                }
            }
        }
        good
    }
}
