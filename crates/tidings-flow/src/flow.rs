//! A flow: an operator that runs, with a consumer behind it.
//!
//! ```text
//!  push ──▶ operator ──▶ what came out ──▶ task: one call of the consumer at a time, tried again as the policy says
//!              ▲                            │
//!              └────────── fire ◀── timer ──┘   one timer for the whole operator
//! ```
//! Whoever pushes runs the operator, under a lock; the task only wakes up when something came out or is due. `builder`
//! says what can be set, `shared` is what both sides see, `task` calls the consumer, `input` is how items get in.

mod builder;
mod drain;
mod input;
mod shared;
mod task;

use std::{fmt, sync::Arc, time::Duration};

use tidings_core::{Failure, Handled, Timestamp};
use tokio::task::JoinHandle;

use self::shared::Shared;
pub use self::{
    builder::{Builder, KEPT_MAX, QUEUE_MAX},
    drain::{Drain, Unfinished},
    input::Input,
};
use crate::{Operator, Refused};

/// What a consumer failed with for good.
#[derive(Debug)]
pub struct GivenUp<Out> {
    /// What is left to do: all of what it was given, or the items that failed.
    pub output: Arc<Out>,
    /// Why, the last time.
    pub failure: Failure,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub time: Timestamp,
}

impl<Out> Clone for GivenUp<Out> {
    fn clone(&self) -> Self {
        let failure = self.failure.clone();
        Self { output: self.output.clone(), failure, attempts: self.attempts, time: self.time }
    }
}

/// What a flow has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Items taken.
    pub taken: u64,
    /// Items refused.
    pub refused: u64,
    /// How much the consumer is done with: batches, where the operator makes batches.
    pub done: u64,
    /// Calls that failed and were tried again.
    pub retried: u64,
    /// How much was given up.
    pub given_up: u64,
    /// How much of that is gone, because nobody took it and there was no room to keep it.
    pub lost: u64,
}

/// What a flow left when it was closed.
#[derive(Debug)]
pub struct Left<Out> {
    /// What the consumer is not done with, in order; the first may be what it was called with last.
    pub outputs: Vec<Arc<Out>>,
    /// What was given up and nobody has taken.
    pub given_up: Vec<GivenUp<Out>>,
    /// What the flow has done.
    pub figures: Figures,
}

/// An operator that runs in a task of its own, with a consumer behind it.
///
/// The consumer is called with one output at a time. If it fails or panics, or does not answer within the policy's
/// timeout, it is called again as the policy says, and what comes later waits; when that has not helped, the output is
/// [given up](GivenUp), and the next one has its turn. What is pushed meanwhile, also by the consumer itself, is taken.
///
/// A flow ends when it is [closed](Self::close) or dropped; both flush the operator. Inputs and listeners do not keep
/// it alive, nor does a timer. A consumer that holds the flow's owner would: give it something weak.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use tidings_core::Handled;
/// use tidings_flow::{Batch, Batched, Batching, Flow};
///
/// async fn store(rows: Arc<Batched<u32>>) -> Handled {
///     println!("{} rows at once", rows.len());
///     Ok(())
/// }
///
/// let flow = Flow::of(Batch::new(Batching::new().items(2))?).start(store)?;
/// for row in 0..5 {
///     flow.push(row)?;
/// }
/// let left = flow.close(Duration::from_secs(10)).await;
/// assert_eq!((left.outputs.len(), left.figures.done), (0, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[must_use = "a flow ends when it is dropped"]
pub struct Flow<O: Operator> {
    shared: Arc<Shared<O>>,
    task: JoinHandle<()>,
}

impl<O: Operator> Flow<O> {
    /// Begins a flow through an operator.
    pub fn of(operator: O) -> Builder<O> {
        Builder::new(operator)
    }

    /// Gives it an item. It never waits, so that a consumer may use it.
    ///
    /// # Errors
    /// The item, when too much waits for the consumer, or the flow has ended.
    pub fn push(&self, item: O::Item) -> Result<(), Refused<O::Item>> {
        self.shared.take(item)
    }

    /// Looks at the operator or changes it: its counts, or what it is to cancel. The flow waits meanwhile; `work` must
    /// not use it.
    pub fn with<R>(&self, work: impl FnOnce(&mut O) -> R) -> R {
        work(&mut self.shared.state.lock().operator)
    }

    /// Gives out everything the operator holds, now.
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// What it has done so far.
    pub fn figures(&self) -> Figures {
        self.shared.state.lock().figures
    }

    /// How many outputs wait for the consumer, or are in its hands.
    pub fn waiting(&self) -> usize {
        let state = self.shared.state.lock();
        state.ready.len() + usize::from(state.delivering.is_some())
    }

    /// Takes what was given up, oldest first.
    pub fn take_given_up(&self) -> Vec<GivenUp<O::Out>> {
        self.shared.state.lock().given_up.drain(..).collect()
    }

    /// Ends it: takes nothing more, flushes the operator, and waits until the consumer is done with all or `within` is
    /// over. A call that runs then is dropped, and counts among what is left.
    pub async fn close(mut self, within: Duration) -> Left<O::Out> {
        self.shared.end();
        let deadline = self.shared.clock.sleep(within);
        tokio::select! {
            biased;
            _ = &mut self.task => {}
            () = deadline => {
                self.task.abort();
                let _ = (&mut self.task).await;
            }
        }
        self.shared.left()
    }
}

impl<O> Flow<O>
where
    O: Operator + Send + 'static,
    O::Item: 'static,
    O::Out: Send + Sync,
{
    /// A way in that does not keep the flow alive, and does not know the operator.
    pub fn input(&self) -> Input<O::Item> {
        Input::new(&self.shared)
    }

    /// A listener for a bus, or a handler: it gives the flow a clone of each event.
    pub fn listener(&self) -> impl Fn(&O::Item) -> Handled + Clone + Send + Sync + use<O>
    where
        O::Item: Clone,
    {
        self.input().listener()
    }
}

impl<O: Operator> Drop for Flow<O> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl<O: Operator> fmt::Debug for Flow<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("figures", &self.figures()).finish_non_exhaustive()
    }
}
