//! Direct calls under a whole policy.

use std::{future::Future, panic::AssertUnwindSafe, task::Poll, time::Duration};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use tidings_core::{Envelope, Failure, Handled, Reason};

use crate::{Ask, Guard, Refusal, Settlement, Verdict};

/// What became of a direct call.
#[derive(Debug, Clone)]
#[must_use]
pub enum Ran {
    /// It worked.
    Done,
    /// There was nothing to do: a flag is off, or it was handled before.
    Skipped(Refusal),
    /// It was not let through.
    Refused(Refusal),
    /// It was given up.
    Dead {
        /// Why.
        reason: Reason,
        /// What the last call said.
        failure: Failure,
        /// How many calls there were.
        attempts: u32,
    },
    /// The fallback handler is to take it.
    Fallback {
        /// The last failure, or the refusal as one.
        failure: Failure,
    },
}

impl Guard {
    /// Handles an event under the whole policy: waits where it says so, calls at most once an attempt with the number of
    /// the attempt, drops a call that takes longer than its timeout, catches panics, and tries again after its waits.
    ///
    /// Dropping the future ends all of it, and everything it held comes back.
    pub async fn run<F, Fut>(&self, envelope: &Envelope, mut call: F) -> Ran
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Handled>,
    {
        let clock = self.common().around.clock.clone();
        let since = clock.now();
        let mut attempt = 1;
        loop {
            let now = clock.now();
            let ask = Ask { attempt, since, now, ..Ask::new(envelope, now) };
            let permit = match self.enter(&ask).get().await {
                Ok(permit) => permit.keep(),
                Err(refusal) => return self.refused(refusal),
            };
            let began = clock.now();
            let result = self.call(AssertUnwindSafe(|| call(attempt)), permit.timeout()).await;
            let left = permit.leave(&result, clock.now().since(began));
            if let Some(then) = left.then {
                // A claim that was lost after the work was done: the work is done, and nothing can be taken back.
                let _ = then.await;
            }
            let failure = match result {
                Ok(()) => return Ran::Done,
                Err(failure) => failure,
            };
            match left.verdict {
                Verdict::Done => return Ran::Done,
                Verdict::Dead { reason } => return Ran::Dead { reason, failure, attempts: attempt },
                Verdict::Fallback { .. } => return Ran::Fallback { failure },
                Verdict::Again { after } => clock.sleep(after).await,
            }
            attempt += 1;
        }
    }

    fn refused(&self, refusal: Refusal) -> Ran {
        match refusal.settlement() {
            Settlement::Done => Ran::Skipped(refusal),
            Settlement::Later(_) | Settlement::Dead(_) if self.common().around.fallback => {
                Ran::Fallback { failure: Failure::transient(refusal.to_string()) }
            }
            Settlement::Later(_) | Settlement::Dead(_) => Ran::Refused(refusal),
        }
    }

    async fn call<Fut>(&self, call: AssertUnwindSafe<impl FnOnce() -> Fut>, timeout: Duration) -> Handled
    where
        Fut: Future<Output = Handled>,
    {
        let future = match std::panic::catch_unwind(call) {
            Ok(future) => AssertUnwindSafe(future).catch_unwind(),
            Err(panic) => return Err(Failure::panicked(&*panic)),
        };
        let mut future = Box::pin(future);
        // What is ready at once needs no timer.
        let result = match futures_util::poll!(&mut future) {
            Poll::Ready(result) => result,
            Poll::Pending => match select(future, self.common().around.clock.sleep(timeout)).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => {
                    return Err(Failure::transient(format!("no answer within {timeout:?}")));
                }
            },
        };
        result.unwrap_or_else(|panic| Err(Failure::panicked(&*panic)))
    }
}
