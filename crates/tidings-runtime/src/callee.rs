//! One handler and how it is called once: its context, its panic, its timeout, and what it asked for.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{FutureExt, future::Either};
use tidings_core::{
    BoxFuture, Boxed, Call, Cx, DeliveryInfo, Effects, Envelope, EventInfo, Failure, Handled, OpenCx,
    Refused, Subscriber, Text, handling,
};

use tokio::sync::Mutex;

use crate::{Carried, Outside};

/// After so many times that a document it had read was changed, a call waits for its turn to run again: those that get in
/// each other's way go one by one.
pub(crate) const CONFLICTS_FREE: u32 = 3;

/// How often it runs again in all before it has failed: somebody else changes what it reads all the time.
pub(crate) const CONFLICTS_MAX: u32 = 50;

/// A handler, and what every call of it needs.
pub struct Callee {
    /// Its name: of the module and the function.
    pub name: Text,
    /// The event type it was written for, if any.
    pub event: Option<&'static EventInfo>,
    /// The function.
    pub handler: Boxed,
    /// What is called instead of giving a delivery up.
    pub fallback: Option<Boxed>,
    /// Whose turn it is among calls that get in each other's way.
    pub(crate) alone: Mutex<()>,
    subscriber: Arc<Subscriber>,
    outside: Arc<dyn Outside>,
}

/// A call that has begun.
pub enum Calling {
    /// It has ended already: nothing had to be waited for.
    Done(Handled),
    /// It goes on.
    Waiting(BoxFuture<'static, Handled>),
}

impl Callee {
    /// A handler that reaches `outside`.
    pub fn new(
        name: Text,
        event: Option<&'static EventInfo>,
        handler: Boxed,
        fallback: Option<Boxed>,
        outside: Arc<dyn Outside>,
    ) -> Self {
        let subscriber = outside.subscriber(&name, None);
        Self { name, event, handler, fallback, alone: Mutex::new(()), subscriber, outside }
    }

    /// Calls the handler. Its future is polled once here, so that one that does not wait costs no more than a function.
    /// Over `timeout` a call is dropped; that is a transient failure. A panic is one too.
    pub fn call(self: &Arc<Self>, envelope: &Envelope, attempt: u32, timeout: Duration) -> Calling {
        self.begin(&self.handler, envelope, attempt, timeout, 0)
    }

    /// Calls the fallback, if there is one.
    pub fn call_fallback(
        self: &Arc<Self>,
        envelope: &Envelope,
        attempt: u32,
        timeout: Duration,
    ) -> Option<Calling> {
        Some(self.begin(self.fallback.as_ref()?, envelope, attempt, timeout, 0))
    }

    fn begin(
        self: &Arc<Self>,
        handler: &Boxed,
        envelope: &Envelope,
        attempt: u32,
        timeout: Duration,
        conflicts: u32,
    ) -> Calling {
        let open = || {
            let info = DeliveryInfo { attempt, ..DeliveryInfo::new(envelope.clone()) };
            let subscriber = match envelope.tenant() {
                None => self.subscriber.clone(),
                tenant => self.outside.subscriber(&self.name, tenant),
            };
            Cx::open(info, subscriber)
        };
        let span = handling(&self.name, envelope, attempt);
        let (mut future, open) = match catch_unwind(AssertUnwindSafe(|| handler.call(span, envelope, open))) {
            Err(panic) => return Calling::Done(Err(Failure::panicked(&*panic))),
            Ok((Call::Done(result), None)) => return Calling::Done(result),
            Ok((Call::Done(result), open)) => {
                return self.finish(handler, result, open, envelope, attempt, timeout, conflicts);
            }
            Ok((Call::Waiting(future), open)) => (future, open),
        };
        // It is polled again by whoever waits for it, with a waker that wakes.
        let first = catch_unwind(AssertUnwindSafe(|| {
            Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()))
        }));
        match first {
            Err(panic) => Calling::Done(Err(Failure::panicked(&*panic))),
            Ok(Poll::Ready(result)) => {
                self.finish(handler, result, open, envelope, attempt, timeout, conflicts)
            }
            Ok(Poll::Pending) => {
                let (me, handler, envelope) = (self.clone(), handler.clone(), envelope.clone());
                let sleep = self.subscriber.clock.sleep(timeout);
                Calling::Waiting(Box::pin(async move {
                    let future = AssertUnwindSafe(future).catch_unwind();
                    let result = match futures_util::future::select(future, sleep).await {
                        Either::Left((result, _)) => {
                            result.unwrap_or_else(|panic| Err(Failure::panicked(&*panic)))
                        }
                        Either::Right(_) => Err(Failure::transient(format!("no answer within {timeout:?}"))),
                    };
                    match me.finish(&handler, result, open, &envelope, attempt, timeout, conflicts) {
                        Calling::Done(result) => result,
                        Calling::Waiting(rest) => rest.await,
                    }
                }))
            }
        }
    }

    /// The handler has answered: what it asked for is done, if it asked for anything.
    #[expect(
        clippy::too_many_arguments,
        reason = "what one call consists of; a structure would be made a call"
    )]
    fn finish(
        self: &Arc<Self>,
        handler: &Boxed,
        result: Handled,
        open: Option<OpenCx>,
        envelope: &Envelope,
        attempt: u32,
        timeout: Duration,
        conflicts: u32,
    ) -> Calling {
        let effects = match (result, OpenCx::effects(open)) {
            (_, Err(Refused::Loop)) => {
                return Calling::Done(Err(Failure::permanent("it publishes in a loop")));
            }
            (Err(failure), _) | (Ok(()), Err(Refused::Failure(failure))) => {
                return Calling::Done(Err(failure));
            }
            (Ok(()), Ok(effects)) if is_nothing(&effects) => return Calling::Done(Ok(())),
            (Ok(()), Ok(effects)) => effects,
        };
        let (me, handler, envelope) = (self.clone(), handler.clone(), envelope.clone());
        Calling::Waiting(Box::pin(async move {
            match me.outside.carry_out(&envelope, effects).await {
                Carried::Done => Ok(()),
                Carried::Failed(failure) | Carried::Refused(failure) => Err(failure),
                Carried::Conflict if conflicts < CONFLICTS_MAX => {
                    // Kept until it has ended, through all that follow.
                    let _alone = match conflicts + 1 == CONFLICTS_FREE {
                        true => Some(me.alone.lock().await),
                        false => None,
                    };
                    match me.begin(&handler, &envelope, attempt, timeout, conflicts + 1) {
                        Calling::Done(result) => result,
                        Calling::Waiting(rest) => rest.await,
                    }
                }
                Carried::Conflict => {
                    Err(Failure::transient(format!("documents it read were changed {conflicts} times")))
                }
            }
        }))
    }
}

impl std::fmt::Debug for Callee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callee").field("name", &self.name).finish_non_exhaustive()
    }
}

fn is_nothing(effects: &Effects) -> bool {
    // What was only read is no condition of anything.
    effects.events.is_empty() && effects.writes.is_empty()
}
