//! One call with a batch, and what becomes of each delivery in it.

use std::{
    collections::{HashSet, VecDeque},
    panic::AssertUnwindSafe,
};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use tidings_core::{Delivered, DeliveryInfo, Failure, Handled, Text, Together};

use super::{Done, Gathered, Gathering};
use crate::{
    book::{Group, Offered},
    delivery::{Accepted, Delivery, Outcome},
    judge::{Fit, Next, outcome, panicked},
};

/// A delivery of a batch.
enum Member {
    /// The handler was called with it.
    Called(Delivery),
    /// It is settled without.
    Settled(Accepted),
}

/// A call that is over.
pub(super) struct Called {
    members: Vec<Member>,
    together: Together,
    answer: Handled<Vec<Handled>>,
}

impl Gathering {
    /// Calls the handler with what of a batch is to be called for.
    pub(super) async fn call(&mut self, mut batch: Gathered) {
        let shared = self.shared.clone();
        batch.items.sort_by_key(Delivery::position);
        let (mut members, mut gone) = (Vec::with_capacity(batch.items.len()), Vec::new());
        for delivery in batch.items {
            match shared.fit(delivery) {
                Fit::Ready(delivery) => members.push(Member::Called(delivery)),
                Fit::Settled(accepted) => members.push(Member::Settled(accepted)),
                Fit::Gone(delivery) => gone.extend(delivery.key),
            }
        }
        let info = |member: &Member| match member {
            Member::Settled(_) => None,
            Member::Called(delivery) => Some(DeliveryInfo {
                envelope: delivery.event.envelope.clone(),
                position: Some(delivery.position()),
                attempt: delivery.calls,
            }),
        };
        let (contexts, together) = Together::open(members.iter().filter_map(info), &self.subscriber);
        let deliveries: Vec<_> =
            contexts.into_iter().map(|cx| Delivered { event: cx.envelope().clone(), cx }).collect();
        for key in gone.iter().filter(|key| !members.iter().any(|member| member.key() == Some(*key))) {
            self.release(key);
        }
        if deliveries.is_empty() {
            return self.called(Called { members, together, answer: Ok(Vec::new()) }).await;
        }
        let cause = batch.cause;
        let call = std::panic::catch_unwind(AssertUnwindSafe(|| (self.handler)(deliveries, cause)));
        let call = match call {
            Ok(call) => AssertUnwindSafe(call).catch_unwind(),
            Err(panic) => {
                let answer = Err(panicked(&*panic));
                return self.called(Called { members, together, answer }).await;
            }
        };
        self.calls += 1;
        self.running.push(Box::pin(async move {
            let timeout = shared.policy.call_timeout();
            let answer = match select(call, shared.clock.sleep(timeout)).await {
                Either::Left((answer, _)) => answer.map_err(|panic| panicked(&*panic)),
                Either::Right(_) => Err(Failure::transient(format!("no answer within {timeout:?}"))),
            };
            Done::Called(Called { members, together, answer })
        }));
    }

    /// Sorts out what is done, what failed and what has to wait, and offers the first two to the book.
    pub(super) async fn called(&mut self, called: Called) {
        let Called { members, together, answer } = called;
        let closed = together.close();
        let count = closed.len();
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
            let delivery = match member {
                Member::Settled(accepted) => {
                    offered.push_back(Offered { accepted, witness: None });
                    continue;
                }
                Member::Called(delivery) => delivery,
            };
            let (place, closed) = places.next().expect("each that is called for has a context");
            let result = results.pop_front().unwrap_or(Ok(()));
            if is_behind {
                // What it did is undone with its context; it comes after the one before it.
                if let Some(queue) = delivery.key.as_ref().and_then(|key| self.keys.get_mut(key)) {
                    queue.wait(delivery);
                }
                continue;
            }
            match outcome(result, closed, |witness| &witness.effects) {
                Ok(witness) => {
                    let accepted = Accepted { delivery, outcome: Outcome::Handled(Default::default()) };
                    offered.push_back(Offered { accepted, witness: Some((place, witness)) });
                }
                Err(broken) => {
                    let dice = self.dice.roll();
                    match self.shared.failed(delivery, broken, dice).await {
                        Next::Offer(accepted) => offered.push_back(Offered { accepted, witness: None }),
                        Next::Wait(delivery, span) => {
                            waiting.extend(delivery.key.clone());
                            self.wait(delivery, span);
                        }
                    }
                }
            }
        }
        keys.retain(|key| !waiting.contains(key));
        self.offer(keys, Group { offered, accepted: vec![false; count] });
    }
}

impl Member {
    fn key(&self) -> Option<&Text> {
        match self {
            Self::Called(delivery) | Self::Settled(Accepted { delivery, .. }) => delivery.key.as_ref(),
        }
    }
}
