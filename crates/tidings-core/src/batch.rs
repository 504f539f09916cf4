//! Batches: many deliveries in one call of a handler, and how they are registered.
//!
//! Here are the words and the settings. Who gathers deliveries is elsewhere: a durable subscription, or the runtime for
//! handlers in memory. `failed` is how a consumer says which items failed.

mod failed;
mod overlay;

use std::{future::Future, marker::PhantomData, ops::Deref, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    failed::{Answer, Failed},
    overlay::{Together, Witness},
};
use crate::{Argument, BoxFuture, Boxed, Call, Cx, Envelope, Handled, Place, Policy, Registration};

/// Items that belong together, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batched<T, K = ()> {
    /// What they have in common; `()` where there are no keys.
    pub key: K,
    /// The items; never none.
    pub items: Vec<T>,
    /// Why the batch was complete.
    pub cause: Cause,
}

impl<T, K> Deref for Batched<T, K> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

/// Why a batch was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It had as many items as a batch may have.
    Items,
    /// It had as many bytes, or the next item would not have fitted in.
    Bytes,
    /// Its first item had waited for the maximum age.
    Age,
    /// It was the oldest when there were too many keys or items in open batches.
    Full,
    /// Somebody asked for it, or what gathers it ended.
    Flush,
    /// It is one delivery that must be called for by itself: at its last attempt, so that nobody is given up for what
    /// another did; because it has met too many conflicts; or because it has waited behind its key already.
    Alone,
}

/// When a batch is complete, and how much may be in open ones.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::Batching;
/// let batching = Batching::new().items(500).age(Duration::from_millis(200));
/// assert!(batching.faults().is_empty());
/// assert_eq!(batching.items(0).faults().len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batching {
    /// The most items in a batch.
    pub items: usize,
    /// The most bytes in a batch, where there is a measure.
    pub bytes: Option<usize>,
    /// How long the first item of a batch waits at most.
    pub age: Duration,
    /// The most keys with an open batch; for one more, the oldest batch is completed before its time.
    pub keys: usize,
    /// The most items in all open batches; for one more, the oldest batch is completed before its time.
    pub open_items: usize,
}

impl Default for Batching {
    /// 100 items or one second, 10,000 keys, 100,000 items in open batches, no bound in bytes.
    fn default() -> Self {
        Self { items: 100, bytes: None, age: Duration::from_secs(1), keys: 10_000, open_items: 100_000 }
    }
}

/// Time is kept in microseconds: what is less than one, or so much that times could not be added, means nothing.
const SPAN_MAX: Duration = Duration::from_micros(1 << 60);

impl Batching {
    /// The defaults: 100 items or one second.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most items in a batch.
    #[must_use]
    pub fn items(self, items: usize) -> Self {
        Self { items, ..self }
    }

    /// The most bytes in a batch.
    #[must_use]
    pub fn bytes(self, bytes: usize) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// How long the first item of a batch waits at most.
    #[must_use]
    pub fn age(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// The most keys with an open batch.
    #[must_use]
    pub fn keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }

    /// The most items in all open batches.
    #[must_use]
    pub fn open_items(self, open_items: usize) -> Self {
        Self { open_items, ..self }
    }

    /// What is wrong with the values, each with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let some = |number: usize, setting: &str, why: &str| {
            (number == 0).then(|| format!("{setting}: must not be 0, {why}"))
        };
        faults.extend(some(self.items, "items", "or no batch could hold anything"));
        faults.extend(some(self.bytes.unwrap_or(1), "bytes", "or no item would fit in"));
        if !(Duration::from_micros(1)..=SPAN_MAX).contains(&self.age) {
            let age = self.age;
            faults.push(format!("age: must be between a microsecond and {SPAN_MAX:?}, not {age:?}"));
        }
        faults.extend(some(self.keys, "keys", "or there could be no batch"));
        if self.open_items < self.items {
            let (open, items) = (self.open_items, self.items);
            faults.push(format!("open_items: {open} is less than the {items} items of one batch"));
        }
        faults
    }
}

/// One delivery of a batch.
#[derive(Debug)]
pub struct Delivered<A = Envelope> {
    /// The event, as the handler takes it: [`On<E>`](crate::On), or an envelope.
    pub event: A,
    /// Its context: what is published and written through it is committed if this delivery does not fail.
    pub cx: Cx,
}

/// A handler of batches behind which no generic parameter is left; it answers for each delivery.
pub type BoxedBatch = Arc<dyn Fn(Vec<Delivered>, Cause) -> BoxFuture<'static, Vec<Handled>> + Send + Sync>;

/// What a [`Registration`] says about batches.
#[derive(Clone)]
pub struct Batches {
    /// When a batch is complete.
    pub settings: Batching,
    /// Whether a batch holds events of one key only.
    pub by_key: bool,
    /// The function.
    pub handler: BoxedBatch,
}

/// A function of batches: `async fn(Batched<Delivered<On<E>>>) -> R`, where `R` says which items failed: nothing,
/// [`Handled`], or `Result<(), Failed<()>>`.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::{Batched, Batching, Delivered, Envelope, Failed, Failure, InBatches, Subscribe};
///
/// async fn index(batch: Batched<Delivered<Envelope>>) -> Result<(), Failed<()>> {
///     let nameless = batch.iter().position(|one| one.event.key().is_none());
///     nameless.map_or(Ok(()), |at| Err(Failed::at([at], Failure::permanent("it has no key"))))
/// }
///
/// let settings = Batching::new().items(100).age(Duration::from_secs(1));
/// let registration = index.in_batches(settings).topic("order.**").durable("index");
/// assert!(registration.batches.is_some());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler of batches",
    note = "a handler of batches is `async fn(Batched<Delivered<On<E>>>) -> Result<(), Failed<()>>`, or one that takes `Delivered<Envelope>`; what else it needs, a closure gives it"
)]
pub trait InBatches<Shape>: Sized {
    /// Called with many deliveries at once: with a batch when it is complete, by number, bytes of payload, or the age of
    /// its first. On the bus, unless the registration goes on to say where.
    ///
    /// Deliveries of one key come in order, also within a batch, and each has a context of its own, which sees what
    /// those before it wrote. When the handler names the items that failed, these fail, and those of the same keys
    /// after them in the batch wait for them; the rest is done. A call that panics or takes longer than the policy's
    /// timeout has failed with all. What is done and what failed for good or for long is settled in one commit; only if
    /// that is more than one commit may hold, or the store refuses it without saying because of whom, in several.
    ///
    /// What a policy says of calls (circuit, bulkhead, timeout) holds for the call, the rest for each delivery. At its
    /// last attempt a delivery is called for alone, so that nobody is given up for what another did. At shutdown, open
    /// batches are handled. Up to [`CONCURRENCY`](crate::CONCURRENCY) batches may be in the hands of the handler at once;
    /// a bulkhead says fewer, or on a durable subscription `concurrency`.
    fn in_batches(self, settings: Batching) -> Registration;

    /// The same with events of one key in a batch; those without a key make batches of their own.
    fn in_batches_by_key(self, settings: Batching) -> Registration {
        let mut registration = self.in_batches(settings);
        if let Some(batches) = &mut registration.batches {
            batches.by_key = true;
        }
        registration
    }
}

/// Marks `fn(Batched<Delivered<A>>) -> Future`.
pub struct OfBatches<A>(PhantomData<fn(A)>);

impl<F, A, Fut> InBatches<OfBatches<A>> for F
where
    F: Fn(Batched<Delivered<A>>) -> Fut + Send + Sync + 'static,
    A: Argument,
    Fut: Future<Output: Answer<()>> + Send + 'static,
{
    fn in_batches(self, settings: Batching) -> Registration {
        let function = Arc::new(self);
        let handler: BoxedBatch = Arc::new(move |deliveries, cause| {
            let function = function.clone();
            Box::pin(async move {
                // One that cannot be taken apart has failed; the others need not know of it.
                let (mut results, mut items) = (Vec::with_capacity(deliveries.len()), Vec::new());
                for Delivered { event, cx } in deliveries {
                    results.push(A::take(&event).map(|event| items.push(Delivered { event, cx })));
                }
                if items.is_empty() {
                    return results;
                }
                let taken = items.len();
                if let Err(failed) = function(Batched { key: (), items, cause }).await.into_answer() {
                    // Whoever names only items that are not there has named none.
                    let all = failed.indices().iter().all(|index| *index >= taken);
                    let results = results.iter_mut().filter(|result| result.is_ok());
                    results.enumerate().for_each(|(index, result)| {
                        *result = if all { Err(failed.failure().clone()) } else { failed.of(index) };
                    });
                }
                results
            })
        });
        let one = handler.clone();
        Registration {
            event: A::SELECTS,
            topics: Vec::new(),
            place: Place::Bus,
            policy: Policy::default(),
            name: None,
            function: std::any::type_name::<F>(),
            handler: Boxed::with_cx(move |envelope, cx| {
                let call = one(vec![Delivered { event: envelope.clone(), cx }], Cause::Alone);
                Call::Waiting(Box::pin(async move { call.await.pop().unwrap_or(Ok(())) }))
            }),
            fallback: None,
            batches: Some(Batches { settings, by_key: false, handler }),
        }
    }
}
