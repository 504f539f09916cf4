//! The task of a flow: it waits, and calls the consumer.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::FutureExt;
use tidings_core::{BoxFuture, Failure, Policy};

use super::{
    GivenUp,
    builder::Hook,
    shared::{Next, Shared},
};
use crate::{Failed, Operator};

/// The consumer.
pub(super) type Consumer<Out> =
    Box<dyn Fn(Arc<Out>) -> BoxFuture<'static, Result<(), Failed<Out>>> + Send + Sync>;

pub(super) struct Task<O: Operator> {
    shared: Arc<Shared<O>>,
    consumer: Consumer<O::Out>,
    policy: Policy,
    kept: usize,
    hook: Option<Hook<O::Out>>,
}

impl<O: Operator> Task<O> {
    pub(super) fn new(
        shared: Arc<Shared<O>>,
        consumer: Consumer<O::Out>,
        policy: Policy,
        kept: usize,
        hook: Option<Hook<O::Out>>,
    ) -> Self {
        Self { shared, consumer, policy, kept, hook }
    }

    pub(super) async fn run(self) {
        loop {
            match self.shared.next() {
                Next::Deliver(out) => self.deliver(out).await,
                Next::Wait(None) => self.shared.work.notified().await,
                Next::Wait(Some((span, due))) => tokio::select! {
                    () = self.shared.work.notified() => {}
                    () = self.shared.clock.sleep(span) => self.shared.slept(due),
                },
                Next::End => return,
            }
        }
    }

    /// Calls the consumer until it is done with `out`, or trying again does not help.
    async fn deliver(&self, out: O::Out) {
        let mut out = Arc::new(out);
        let mut attempt = 1;
        loop {
            self.shared.state.lock().delivering = Some(out.clone());
            let Err(failed) = self.call(out.clone()).await else {
                let mut state = self.shared.state.lock();
                state.delivering = None;
                state.figures.done += 1;
                return;
            };
            let (failure, rest) = failed.into_parts();
            if let Some(rest) = rest {
                out = Arc::new(rest);
                self.shared.state.lock().delivering = Some(out.clone());
            }
            let wait = if failure.is_permanent() { None } else { self.policy.wait_after(attempt, dice()) };
            let Some(wait) = wait else { return self.give_up(out, failure, attempt) };
            tracing::warn!(attempt, ?wait, %failure, "a flow's consumer failed and is called again");
            self.shared.state.lock().figures.retried += 1;
            self.shared.clock.sleep(wait).await;
            attempt += 1;
        }
    }

    async fn call(&self, out: Arc<O::Out>) -> Result<(), Failed<O::Out>> {
        let call = match catch_unwind(AssertUnwindSafe(|| (self.consumer)(out))) {
            Ok(call) => AssertUnwindSafe(call).catch_unwind(),
            Err(panic) => return Err(Failure::panicked(&*panic).into()),
        };
        let timeout = self.policy.call_timeout();
        tokio::select! {
            biased;
            answer = call => answer.unwrap_or_else(|panic| Err(Failure::panicked(&*panic).into())),
            () = self.shared.clock.sleep(timeout) => {
                Err(Failure::transient(format!("no answer within {timeout:?}")).into())
            }
        }
    }

    fn give_up(&self, output: Arc<O::Out>, failure: Failure, attempts: u32) {
        tracing::error!(attempts, %failure, "a flow's consumer failed for good");
        let given_up = GivenUp { output, failure, attempts, time: self.shared.clock.now() };
        {
            let mut state = self.shared.state.lock();
            state.delivering = None;
            state.figures.given_up += 1;
            if self.hook.is_none() {
                state.given_up.push_back(given_up.clone());
                if state.given_up.len() > self.kept {
                    state.given_up.pop_front();
                    state.figures.lost += 1;
                }
            }
        }
        if let Some(hook) = &self.hook
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(given_up)))
        {
            let failure = Failure::panicked(&*panic);
            self.shared.state.lock().figures.lost += 1;
            tracing::error!(%failure, "who is told of what a flow gives up failed");
        }
    }
}

impl<O: Operator> Drop for Task<O> {
    fn drop(&mut self) {
        // Also when the runtime ends: then what is pushed would wait for ever.
        self.shared.end();
    }
}

/// Draws evenly from `0.0..1.0`, so that flows that fail together do not try again together.
fn dice() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}
