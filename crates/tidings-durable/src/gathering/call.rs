//! One call with a batch, and what becomes of each delivery in it.
//!
//! What a policy says of deliveries (flag, quarantine, deadline, shedding, rate, idempotency, retries) is asked for each
//! delivery of a complete batch; what it says of calls (circuit, bulkhead, timeout) is asked once for all of them. A
//! call has failed when it answers for none of its deliveries that it is handled.

use std::{
    collections::{HashSet, VecDeque},
    panic::AssertUnwindSafe,
};

use futures_util::{
    FutureExt,
    future::{Either, join_all, select},
};
use tidings_core::{
    Cause, Delivered, DeliveryInfo, Failure, Handled, Reason, Text, Timestamp, Together, Wish,
};
use tidings_policy::{Ask, Entered, Permit, Refusal};

use super::{Done, Gathered, Gathering};
use crate::{
    book::{Group, Offered},
    delivery::{Accepted, Delivery, Outcome},
    judge::{Fit, Next, dead, not_by_fallback, outcome},
    lane::called_within,
};

/// A delivery of a batch.
enum Member {
    /// The handler was called with it.
    Called(Delivery, Permit),
    /// It is settled without.
    Settled(Accepted),
    /// It waits for a while, or for its fallback.
    Next(Next),
    /// One before it in its key is not done.
    Behind(Delivery),
}

/// A delivery about which the policy was asked.
pub(super) enum Asked {
    Entered(Delivery, Entered),
    Known(Delivery, Result<Permit, Refusal>),
    Settled(Accepted),
}

/// A call whose deliveries are known.
pub(super) struct Begun {
    asked: Vec<Asked>,
    gone: Vec<Text>,
    /// Of the call.
    permit: Permit,
    cause: Cause,
}

/// A call that is over.
pub(super) struct Called {
    members: Vec<Member>,
    together: Together,
    permit: Permit,
    answer: Handled<Vec<Handled>>,
}

/// A fallback that was called for a delivery that is given up for this reason otherwise.
pub(super) struct StoodIn {
    delivery: Delivery,
    reason: Reason,
    together: Together,
    result: Handled,
}

impl Gathering {
    /// Asks the policy about a batch.
    pub(super) async fn call(&mut self, mut batch: Gathered) {
        let shared = self.shared.clone();
        let now = shared.clock.now();
        batch.items.sort_by_key(Delivery::position);
        let (Some(guard), Some(first)) = (&shared.calls, batch.items.first()) else { return };
        let entered = guard.enter(&Ask { hold: false, ..Ask::new(&first.event.envelope, now) });
        let permit = match entered.get().await {
            Ok(permit) => permit,
            Err(refusal) => {
                let timer = shared.clock.sleep(refusal.retry_after().unwrap_or_default());
                let position = |batch: &Gathered| batch.items.first().map_or(0, Delivery::position);
                return self.barred.refused(&shared.bar, batch, timer, position);
            }
        };
        let mut begun = Begun {
            asked: Vec::with_capacity(batch.items.len()),
            gone: Vec::new(),
            permit,
            cause: batch.cause,
        };
        let mut waits = false;
        for delivery in batch.items {
            match shared.fit(delivery) {
                Fit::Ready(delivery, now) => {
                    let entered = shared.guard.enter(&shared.ask(&delivery, now));
                    waits |= matches!(entered, Entered::Wait(_));
                    begun.asked.push(Asked::Entered(delivery, entered));
                }
                Fit::Settled(accepted) => begun.asked.push(Asked::Settled(accepted)),
                Fit::Gone(delivery) => begun.gone.extend(delivery.key),
            }
        }
        if !waits {
            return self.entered(begun, now).await;
        }
        self.calls += 1;
        self.running.push(Box::pin(async move {
            begun.permit = begun.permit.keep();
            begun.asked = join_all(begun.asked.into_iter().map(|one| async move {
                match one {
                    Asked::Entered(delivery, entered) => Asked::Known(delivery, entered.get().await),
                    other => other,
                }
            }))
            .await;
            Done::Entered(begun)
        }));
    }

    /// Calls the handler with what of a batch may be called for.
    pub(super) async fn entered(&mut self, begun: Begun, now: Timestamp) {
        let shared = self.shared.clone();
        let Begun { asked, gone, permit, cause } = begun;
        let (mut members, mut stopped) = (Vec::with_capacity(asked.len()), HashSet::<Text>::new());
        for one in asked {
            let (delivery, known) = match one {
                Asked::Settled(accepted) => {
                    if !matches!(accepted.outcome, Outcome::Expired | Outcome::Skipped) {
                        stopped.extend(accepted.delivery.key.clone());
                    }
                    members.push(Member::Settled(accepted));
                    continue;
                }
                Asked::Known(delivery, known) => (delivery, known),
                // None of these waits.
                Asked::Entered(delivery, entered) => (delivery, entered.get().await),
            };
            if delivery.key.as_ref().is_some_and(|key| stopped.contains(key)) {
                members.push(Member::Behind(delivery));
                continue;
            }
            let key = delivery.key.clone();
            members.push(match known {
                Ok(permit) => {
                    let mut delivery = delivery;
                    delivery.first.get_or_insert(now);
                    Member::Called(delivery, permit.keep())
                }
                Err(refusal) => match shared.refused(delivery, &refusal) {
                    Next::Offer(accepted) => {
                        if !matches!(accepted.outcome, Outcome::Skipped) {
                            stopped.extend(key);
                        }
                        Member::Settled(accepted)
                    }
                    // What holds for all of the subscription is asked again for each that is here; there are not many.
                    Next::Bar(delivery, span) => {
                        stopped.extend(key);
                        Member::Next(Next::Wait(delivery, span))
                    }
                    next => {
                        stopped.extend(key);
                        Member::Next(next)
                    }
                },
            });
        }
        let info = |member: &Member| match member {
            Member::Called(delivery, _) => Some(info(delivery)),
            Member::Settled(_) | Member::Next(_) | Member::Behind(_) => None,
        };
        let (contexts, together) = Together::open(members.iter().filter_map(info), &self.subscriber);
        let deliveries: Vec<_> =
            contexts.into_iter().map(|cx| Delivered { event: cx.envelope().clone(), cx }).collect();
        for key in gone.iter().filter(|key| !members.iter().any(|member| member.key() == Some(*key))) {
            self.release(key);
        }
        if deliveries.is_empty() {
            return self.called(Called { members, together, permit, answer: Ok(Vec::new()) }).await;
        }
        let call = std::panic::catch_unwind(AssertUnwindSafe(|| (self.handler)(deliveries, cause)));
        let call = match call {
            Ok(call) => AssertUnwindSafe(call).catch_unwind(),
            Err(panic) => {
                let answer = Err(Failure::panicked(&*panic));
                return self.called(Called { members, together, permit, answer }).await;
            }
        };
        self.calls += 1;
        let permit = permit.keep();
        self.running.push(Box::pin(async move {
            let timeout = permit.timeout();
            let answer = match select(call, shared.clock.sleep(timeout)).await {
                Either::Left((answer, _)) => answer.map_err(|panic| Failure::panicked(&*panic)),
                Either::Right(_) => Err(Failure::transient(format!("no answer within {timeout:?}"))),
            };
            Done::Called(Called { members, together, permit, answer })
        }));
    }

    /// Sorts out what is done, what failed and what has to wait, and offers the first two to the book.
    pub(super) async fn called(&mut self, called: Called) {
        let Called { members, together, permit, answer } = called;
        let closed = together.close();
        let count = closed.len();
        self.call_ended(permit, &answer);
        let mut results: VecDeque<Handled> = match answer {
            Ok(results) => results.into(),
            Err(failure) => std::iter::repeat_n(Err(failure), count).collect(),
        };
        let mut places = closed.into_iter().enumerate();
        let (mut offered, mut keys) = (VecDeque::new(), Vec::new());
        let (mut seen, mut waiting) = (HashSet::new(), HashSet::<Text>::new());
        for member in members {
            let key = member.key().cloned();
            let is_behind = key.as_ref().is_some_and(|key| waiting.contains(key));
            if let Some(key) = key.filter(|key| seen.insert(key.clone())) {
                keys.push(key);
            }
            let next = match member {
                Member::Settled(accepted) => Next::Offer(accepted),
                Member::Next(next) => next,
                Member::Behind(delivery) => {
                    self.wait_behind(delivery);
                    continue;
                }
                Member::Called(mut delivery, permit) => {
                    let (place, closed) = places.next().expect("each that is called for has a context");
                    let result = results.pop_front().unwrap_or(Ok(()));
                    if is_behind {
                        // What it did is undone with its context; it comes after the one before it.
                        self.wait_behind(delivery);
                        continue;
                    }
                    match outcome(result, closed, |witness| &witness.effects) {
                        Ok(witness) => {
                            self.shared.worked(permit, &mut delivery);
                            let accepted =
                                Accepted { delivery, outcome: Outcome::Handled(Default::default()) };
                            offered.push_back(Offered { accepted, witness: Some((place, witness)) });
                            continue;
                        }
                        Err(broken) => self.shared.failed(delivery, permit, broken).await,
                    }
                }
            };
            match next {
                Next::Offer(accepted) => offered.push_back(Offered { accepted, witness: None }),
                Next::Wait(delivery, span) | Next::Bar(delivery, span) => {
                    waiting.extend(delivery.key.clone());
                    self.wait(delivery, span);
                }
                Next::StandIn(delivery, reason) => {
                    waiting.extend(delivery.key.clone());
                    self.stand_in(delivery, reason);
                }
            }
        }
        keys.retain(|key| !waiting.contains(key));
        self.offer(keys, Group { offered, accepted: vec![false; count] });
    }

    /// What the policy holds for the call comes back.
    fn call_ended(&self, permit: Permit, answer: &Handled<Vec<Handled>>) {
        let took = self.shared.clock.now().since(permit.given());
        let failed = |result: &&Handled| {
            result.as_ref().is_err_and(|failure| !matches!(failure.wish(), Some(Wish::Later(_))))
        };
        match answer {
            Err(failure) => drop(permit.leave(&Err(failure.clone()), took)),
            Ok(results) if results.iter().any(Result::is_ok) => drop(permit.leave(&Ok(()), took)),
            Ok(results) => match results.iter().find(failed) {
                Some(result) => drop(permit.leave(result, took)),
                // It was nobody's time, or nobody was called.
                None => drop(permit),
            },
        }
        self.shared.bar.ended();
    }

    fn wait_behind(&mut self, delivery: Delivery) {
        match delivery.key.as_ref().and_then(|key| self.keys.get_mut(key)) {
            Some(queue) => queue.wait(delivery),
            None => self.ready.push_back(delivery),
        }
    }

    fn stand_in(&mut self, delivery: Delivery, reason: Reason) {
        let (mut contexts, together) = Together::open([info(&delivery)], &self.subscriber);
        let (Some(fallback), Some(cx)) = (&self.shared.fallback, contexts.pop()) else {
            let keys = delivery.key.iter().cloned().collect();
            let one = Offered { accepted: dead(delivery, reason), witness: None };
            return self.offer(keys, Group { offered: [one].into(), accepted: Vec::new() });
        };
        let (clock, timeout) = (&*self.shared.clock, self.shared.guard.timeout());
        let call = called_within(fallback, &delivery, cx, clock, timeout);
        self.calls += 1;
        self.running.push(Box::pin(async move {
            let result = call.await;
            Done::StoodIn(StoodIn { delivery, reason, together, result })
        }));
    }

    pub(super) fn stood_in(&mut self, done: StoodIn) {
        let StoodIn { delivery, reason, together, result } = done;
        let keys = delivery.key.iter().cloned().collect();
        let Some(closed) = together.close().pop() else { return };
        let one = match outcome(result, closed, |witness| &witness.effects) {
            Ok(witness) => Offered {
                accepted: Accepted { delivery, outcome: Outcome::Handled(Default::default()) },
                witness: Some((0, witness)),
            },
            Err(broken) => {
                Offered { accepted: not_by_fallback(delivery, reason, &broken.failure), witness: None }
            }
        };
        self.offer(keys, Group { offered: [one].into(), accepted: vec![false] });
    }
}

fn info(delivery: &Delivery) -> DeliveryInfo {
    DeliveryInfo {
        envelope: delivery.event.envelope.clone(),
        position: Some(delivery.position()),
        attempt: delivery.calls,
    }
}

impl Member {
    fn key(&self) -> Option<&Text> {
        let delivery = match self {
            Self::Called(delivery, _) | Self::Behind(delivery) => delivery,
            Self::Settled(accepted) | Self::Next(Next::Offer(accepted)) => &accepted.delivery,
            Self::Next(Next::Wait(delivery, _) | Next::Bar(delivery, _) | Next::StandIn(delivery, _)) => {
                delivery
            }
        };
        delivery.key.as_ref()
    }
}
