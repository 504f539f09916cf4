//! One call, from asking the policy to what becomes of the delivery.

use std::{panic::AssertUnwindSafe, task::Poll};

use futures_util::{FutureExt, future::Either};
use tidings_core::{
    BoxFuture, Boxed, Call, Clock, Cx, DeliveryInfo, Failure, Handled, OpenCx, Reason, handling,
};
use tidings_policy::{Entered, Permit, Refusal};
use tokio::sync::OwnedMutexGuard;

use super::Lane;
use crate::{
    delivery::{Accepted, Delivery, Outcome},
    judge::{Fit, Next, dead, not_by_fallback, outcome},
    suspects::Lone,
};

/// What a lane has waited for.
pub(super) enum Done {
    /// The policy has had to ask somebody.
    Entered(Delivery, Result<Permit, Refusal>),
    Called(Delivery, Permit, Option<OpenCx>, Handled),
    /// The fallback was called for a delivery that is given up for this reason otherwise.
    StoodIn(Delivery, Reason, Option<OpenCx>, Handled),
    Waited(Delivery),
    /// It is its turn to run alone.
    Turn(Delivery, OwnedMutexGuard<()>),
    /// The one that ran alone is done.
    Alone,
}

impl Lane {
    pub(super) async fn start(&mut self, delivery: Delivery) {
        let (delivery, now) = match self.shared.fit(delivery) {
            Fit::Ready(delivery, now) => (delivery, now),
            Fit::Settled(accepted) => return self.offer(accepted),
            Fit::Gone(delivery) => return self.next_of_key(delivery.key.as_ref()),
        };
        match self.shared.guard.enter(&self.shared.ask(&delivery, now)) {
            Entered::Go(permit) => self.call(delivery, permit).await,
            Entered::Refused(refusal) => self.refused(delivery, &refusal),
            Entered::Wait(entering) => {
                self.calls += 1;
                self.running.push(Box::pin(async move { Done::Entered(delivery, entering.await) }));
            }
        }
    }

    fn refused(&mut self, delivery: Delivery, refusal: &Refusal) {
        let next = self.shared.refused(delivery, refusal);
        self.go_on(next);
    }

    async fn call(&mut self, mut delivery: Delivery, permit: Permit) {
        let shared = &*self.shared;
        delivery.first.get_or_insert(permit.given());
        let open = || Cx::open(info(&delivery), self.subscriber.clone());
        let call = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let envelope = &delivery.event.envelope;
            shared.handler.call(handling(&shared.name, envelope, delivery.calls), envelope, open)
        }));
        let (open, result) = match call {
            Err(panic) => (None, Err(Failure::panicked(&*panic))),
            Ok((Call::Done(result), open)) => (open, result),
            Ok((Call::Waiting(future), open)) => {
                let mut future = AssertUnwindSafe(future).catch_unwind();
                match futures_util::poll!(&mut future) {
                    Poll::Ready(result) => {
                        (open, result.unwrap_or_else(|panic| Err(Failure::panicked(&*panic))))
                    }
                    Poll::Pending => {
                        let (clock, timeout) = (shared.clock.clone(), permit.timeout());
                        let permit = permit.keep();
                        self.calls += 1;
                        self.running.push(Box::pin(async move {
                            let result =
                                match futures_util::future::select(future, clock.sleep(timeout)).await {
                                    Either::Left((result, _)) => {
                                        result.unwrap_or_else(|panic| Err(Failure::panicked(&*panic)))
                                    }
                                    Either::Right(_) => {
                                        Err(Failure::transient(format!("no answer within {timeout:?}")))
                                    }
                                };
                            Done::Called(delivery, permit, open, result)
                        }));
                        return;
                    }
                }
            }
        };
        self.called(delivery, permit, open, result).await;
    }

    pub(super) async fn done(&mut self, done: Done) {
        match done {
            Done::Called(delivery, permit, open, result) => {
                self.calls -= 1;
                self.called(delivery, permit, open, result).await;
            }
            Done::Entered(delivery, entered) => {
                self.calls -= 1;
                match entered {
                    Ok(permit) => self.call(delivery, permit).await,
                    Err(refusal) => self.refused(delivery, &refusal),
                }
            }
            Done::StoodIn(delivery, reason, open, result) => {
                self.calls -= 1;
                match outcome(result, OpenCx::effects(open), |effects| effects) {
                    Ok(effects) => self.offer(Accepted { delivery, outcome: Outcome::Handled(effects) }),
                    Err(broken) => self.offer(not_by_fallback(delivery, reason, &broken.failure)),
                }
            }
            Done::Waited(delivery) => self.ready.push_front(delivery),
            Done::Turn(delivery, turn) => {
                self.lone = Lone::Runs(turn);
                if !self.shared.stop.is_cancelled() {
                    self.start(delivery).await;
                }
            }
            Done::Alone => self.lone = Lone::None,
        }
    }

    async fn called(
        &mut self,
        mut delivery: Delivery,
        permit: Permit,
        open: Option<OpenCx>,
        result: Handled,
    ) {
        match outcome(result, OpenCx::effects(open), |effects| effects) {
            Ok(effects) => {
                self.shared.worked(permit, &mut delivery);
                self.offer(Accepted { delivery, outcome: Outcome::Handled(effects) });
            }
            Err(broken) => {
                let next = self.shared.failed(delivery, permit, broken).await;
                self.go_on(next);
            }
        }
    }

    fn go_on(&mut self, next: Next) {
        match next {
            Next::Offer(accepted) => self.offer(accepted),
            Next::Wait(delivery, span) => self.wait(delivery, span),
            Next::Bar(delivery, span) => {
                let timer = self.shared.clock.sleep(span);
                self.barred.refused(&self.shared.bar, delivery, timer, Delivery::position);
            }
            Next::StandIn(delivery, reason) => self.stand_in(delivery, reason),
        }
    }

    fn stand_in(&mut self, delivery: Delivery, reason: Reason) {
        let Some(fallback) = &self.shared.fallback else { return self.offer(dead(delivery, reason)) };
        let (cx, open) = Cx::open(info(&delivery), self.subscriber.clone());
        let call = called_within(fallback, &delivery, cx, &*self.shared.clock, self.shared.guard.timeout());
        self.calls += 1;
        self.running.push(Box::pin(async move { Done::StoodIn(delivery, reason, Some(open), call.await) }));
    }
}

fn info(delivery: &Delivery) -> DeliveryInfo {
    DeliveryInfo {
        envelope: delivery.event.envelope.clone(),
        position: Some(delivery.position()),
        attempt: delivery.calls,
    }
}

/// A call of a handler, with its panics and its timeout as failures.
pub(crate) fn called_within(
    handler: &Boxed,
    delivery: &Delivery,
    cx: Cx,
    clock: &dyn Clock,
    timeout: std::time::Duration,
) -> BoxFuture<'static, Handled> {
    let (handler, envelope) = (handler.clone(), delivery.event.envelope.clone());
    let sleep = clock.sleep(timeout);
    let call = AssertUnwindSafe(async move {
        let call = match handler {
            Boxed::Plain(handler) => Call::Done(handler(&envelope)),
            Boxed::WithCx(handler) => handler(&envelope, cx),
        };
        match call {
            Call::Done(result) => result,
            Call::Waiting(future) => future.await,
        }
    });
    Box::pin(async move {
        let call = Box::pin(call.catch_unwind());
        match futures_util::future::select(call, sleep).await {
            Either::Left((result, _)) => result.unwrap_or_else(|panic| Err(Failure::panicked(&*panic))),
            Either::Right(_) => Err(Failure::transient(format!("no answer within {timeout:?}"))),
        }
    })
}
