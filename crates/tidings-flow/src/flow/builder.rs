//! What can be said about a flow before it runs.

use std::{fmt, future::Future, sync::Arc};

use tidings_core::{Clock, Policy, SystemClock};
use tokio::runtime::Handle;

use super::{Flow, GivenUp, shared::Shared, task::Task};
use crate::{Answer, Error, Operator, error::some};

/// How many outputs may wait for the consumer, unless said otherwise.
pub const QUEUE_MAX: usize = 1_000;

/// How many outputs that were given up are kept until somebody takes them, unless said otherwise.
pub const KEPT_MAX: usize = 100;

pub(super) type Hook<Out> = Box<dyn Fn(GivenUp<Out>) + Send + Sync>;

/// Builds a [`Flow`]; begun by [`Flow::of`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use tidings_core::{Policy, Retry};
/// use tidings_flow::{Flow, Throttle, Throttling};
///
/// let flow = Flow::of(Throttle::new(Throttling::new())?)
///     .policy(Policy::new().retry(Retry::none()).timeout(Duration::from_secs(5)))
///     .queue(100)
///     .given_up(|given_up| eprintln!("{}", given_up.failure))
///     .start(|level: Arc<u32>| async move { println!("{level}") })?;
/// # drop(flow);
/// # Ok::<(), tidings_flow::Error>(())
/// # }).expect("it works");
/// ```
#[must_use = "a flow begins with `start`"]
pub struct Builder<O: Operator> {
    operator: O,
    clock: Arc<dyn Clock>,
    policy: Policy,
    queue: usize,
    kept: usize,
    hook: Option<Hook<O::Out>>,
}

impl<O: Operator> Builder<O> {
    pub(super) fn new(operator: O) -> Self {
        let (clock, policy) = (Arc::new(SystemClock), Policy::default());
        Self { operator, clock, policy, queue: QUEUE_MAX, kept: KEPT_MAX, hook: None }
    }

    /// Where the time comes from; the machine's clock by default.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// When a failed call of the consumer is tried again, and how long one may take; [`Policy::default`] by default.
    /// The budget of retries is not used.
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// How many outputs may wait for the consumer before items are refused; [`QUEUE_MAX`] by default. What one call of
    /// the operator gives out is never parted: it may go over the bound.
    pub fn queue(self, most: usize) -> Self {
        Self { queue: most, ..self }
    }

    /// How many outputs that were given up are kept until somebody takes them; [`KEPT_MAX`] by default. For one more,
    /// the oldest is lost, and counted.
    pub fn keep(self, most: usize) -> Self {
        Self { kept: most, ..self }
    }

    /// Who is told of an output that was given up; then none is kept.
    pub fn given_up(self, hook: impl Fn(GivenUp<O::Out>) + Send + Sync + 'static) -> Self {
        Self { hook: Some(Box::new(hook)), ..self }
    }
}

impl<O> Builder<O>
where
    O: Operator + Send + 'static,
    O::Out: Send + Sync + 'static,
{
    /// Runs it on the tokio runtime here. The consumer shares its output with the flow, which needs it until the
    /// consumer is done.
    ///
    /// # Errors
    /// Settings that mean nothing; no runtime.
    pub fn start<F, Fut>(self, consumer: F) -> Result<Flow<O>, Error>
    where
        F: Fn(Arc<O::Out>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Answer<O::Out>> + Send + 'static,
    {
        let mut faults: Vec<String> =
            self.policy.faults().into_iter().map(|fault| format!("policy.{fault}")).collect();
        some(&mut faults, "queue", self.queue, "or every item would be refused");
        Error::settings(faults)?;
        let runtime = Handle::try_current().map_err(|_| Error::no_runtime())?;
        let shared = Arc::new(Shared::new(self.operator, self.clock, self.queue));
        let call = move |out| {
            let answer = consumer(out);
            Box::pin(async move { answer.await.into_answer() }) as _
        };
        let task = Task::new(shared.clone(), Box::new(call), self.policy, self.kept, self.hook);
        Ok(Flow { shared, task: runtime.spawn(task.run()) })
    }
}

impl<O: Operator> fmt::Debug for Builder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("clock", &self.clock)
            .field("policy", &self.policy)
            .field("queue", &self.queue)
            .field("kept", &self.kept)
            .field("given_up", &self.hook.is_some())
            .finish_non_exhaustive()
    }
}
