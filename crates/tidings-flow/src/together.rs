//! Handlers of batches: many deliveries in one call, each settled with what became of it.
//!
//! Every delivery waits in its own call until its batch is handled: on a durable subscription it is unsettled as long,
//! and what was published through its context is committed with it. The first delivery of a batch leads: it waits for
//! the others or for the maximum age, and its call runs the handler. So there is no task, and one timer a batch.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tidings_core::{Argument, BoxFuture, Clock, Cx, Failure, Handled};
use tokio::sync::oneshot;

use crate::{Answer, Batched, Batching, Cause, Error, Failed, flow::panicked};

/// One delivery of a batch.
#[derive(Debug)]
pub struct Delivered<A> {
    /// The event, as the handler takes it: [`On<E>`](tidings_core::On), or an envelope.
    pub event: A,
    /// Its context: what is published and written through it is committed with this delivery.
    pub cx: Cx,
}

/// A handler that is called with one batch at a time of its deliveries, wherever it runs: on the bus, or behind a durable
/// subscription.
///
/// A delivery is settled by what the handler answers for it: when it names the items that failed with
/// [`Failed::at`], only these fail, and the policy of the subscription says what becomes of them. When the
/// handler panics, all have failed. So that batches can fill, at least as many deliveries must be allowed at once as
/// a batch has items, which `concurrency` says; a subscription that keeps the order of keys has one delivery a key in
/// a batch. The policy's timeout counts from when a delivery begins to wait, and has to be longer than the age.
///
/// Of the settings, items, bytes (of the payload) and age are used.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use tidings_core::{Envelope, Failure, Subscribe, SystemClock};
/// use tidings_flow::{Batched, Batching, Delivered, Failed, in_batches};
///
/// async fn index(batch: Batched<Delivered<Envelope>>) -> Result<(), Failed<()>> {
///     let nameless = batch.iter().position(|one| one.event.key().is_none());
///     nameless.map_or(Ok(()), |at| Err(Failed::at([at], Failure::permanent("it has no key"))))
/// }
///
/// let handler = in_batches(Batching::new().items(50), Arc::new(SystemClock), index)?;
/// let registration = handler.topic("order.**").durable("index").concurrency(200);
/// # drop(registration);
/// # Ok::<(), tidings_flow::Error>(())
/// ```
///
/// # Errors
/// Every setting that means nothing.
pub fn in_batches<A, F, Fut>(
    settings: Batching,
    clock: Arc<dyn Clock>,
    handler: F,
) -> Result<impl Fn(A, Cx) -> BoxFuture<'static, Handled> + Clone + Send + Sync + use<A, F, Fut>, Error>
where
    A: Argument,
    F: Fn(Batched<Delivered<A>>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Answer<()>> + Send + 'static,
{
    Error::settings(settings.faults())?;
    let handler: Handle<A> = Box::new(move |batch| {
        let answer = handler(batch);
        Box::pin(async move { answer.await.into_answer() })
    });
    let table = Arc::new(Table { settings, clock, handler, open: Mutex::new(None), next: 0.into() });
    Ok(move |event: A, cx: Cx| -> BoxFuture<'static, Handled> {
        let table = table.clone();
        Box::pin(async move { table.join(event, cx).await })
    })
}

type Handle<A> =
    Box<dyn Fn(Batched<Delivered<A>>) -> BoxFuture<'static, Result<(), Failed<()>>> + Send + Sync>;

/// Where deliveries sit down together.
struct Table<A> {
    settings: Batching,
    clock: Arc<dyn Clock>,
    handler: Handle<A>,
    open: Mutex<Option<Open<A>>>,
    next: std::sync::atomic::AtomicU64,
}

/// The batch that is not complete yet.
struct Open<A> {
    id: u64,
    guests: Vec<Guest<A>>,
    bytes: usize,
    /// Wakes the leader.
    complete: oneshot::Sender<(Vec<Guest<A>>, Cause)>,
}

struct Guest<A> {
    delivered: Delivered<A>,
    /// Where what became of it is told; the leader knows without.
    answer: Option<oneshot::Sender<Handled>>,
}

enum Seat<A> {
    /// It waits for its leader's answer.
    Guest(oneshot::Receiver<Handled>),
    /// It leads the batch of this id.
    Leader(u64, oneshot::Receiver<(Vec<Guest<A>>, Cause)>),
}

impl<A> Table<A> {
    async fn join(&self, event: A, cx: Cx) -> Handled {
        match self.sit_down(Delivered { event, cx }) {
            // Who leads may be dropped, at its timeout or when its subscription ends: then all come again.
            Seat::Guest(answer) => answer.await.unwrap_or_else(|_| Err(abandoned())),
            Seat::Leader(id, complete) => self.lead(id, complete).await,
        }
    }

    fn sit_down(&self, delivered: Delivered<A>) -> Seat<A> {
        let bytes = match self.settings.bytes {
            None => 0,
            Some(_) => delivered.cx.envelope().payload().map_or(0, |payload| payload.len()),
        };
        let bytes_max = self.settings.bytes.unwrap_or(usize::MAX);
        let mut open = self.open.lock();
        if open.as_ref().is_some_and(|open| open.bytes.saturating_add(bytes) > bytes_max) {
            serve(&mut open, Cause::Bytes);
        }
        let seat = match &mut *open {
            Some(open) => {
                let (answer, told) = oneshot::channel();
                open.guests.push(Guest { delivered, answer: Some(answer) });
                open.bytes = open.bytes.saturating_add(bytes);
                Seat::Guest(told)
            }
            none => {
                let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let (complete, completed) = oneshot::channel();
                let guests = vec![Guest { delivered, answer: None }];
                *none = Some(Open { id, guests, bytes, complete });
                Seat::Leader(id, completed)
            }
        };
        if open.as_ref().is_some_and(|open| open.guests.len() >= self.settings.items) {
            serve(&mut open, Cause::Items);
        } else if open.as_ref().is_some_and(|open| open.bytes >= bytes_max) {
            serve(&mut open, Cause::Bytes);
        }
        seat
    }

    /// Waits until the batch is complete, and has it handled.
    async fn lead(&self, id: u64, mut complete: oneshot::Receiver<(Vec<Guest<A>>, Cause)>) -> Handled {
        let _seat = Leading { table: self, id };
        let (guests, cause) = tokio::select! {
            biased;
            batch = &mut complete => batch.map_err(|_| abandoned())?,
            () = self.clock.sleep(self.settings.age) => match self.take(id) {
                Some(open) => (open.guests, Cause::Age),
                None => complete.await.map_err(|_| abandoned())?,
            },
        };
        let (items, answers): (Vec<_>, Vec<_>) =
            guests.into_iter().map(|guest| (guest.delivered, guest.answer)).unzip();
        let outcome = self.handle(Batched { key: (), items, cause }).await;
        let mut own = Ok(());
        for (index, answer) in answers.into_iter().enumerate() {
            let result = outcome.as_ref().map_or_else(|failed| failed.of(index), |()| Ok(()));
            match answer {
                // One whose call was dropped meanwhile does not hear it; its delivery is not settled.
                Some(answer) => drop(answer.send(result)),
                None => own = result,
            }
        }
        own
    }

    async fn handle(&self, batch: Batched<Delivered<A>>) -> Result<(), Failed<()>> {
        let call = catch_unwind(AssertUnwindSafe(|| (self.handler)(batch)));
        let call = call.map_err(|panic| Failed::from(panicked(panic)))?;
        AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic).into()))
    }

    /// Takes the open batch if it is the one of this id.
    fn take(&self, id: u64) -> Option<Open<A>> {
        self.open.lock().take_if(|open| open.id == id)
    }
}

/// Gives the open batch to its leader. If that is gone, the guests are told by being dropped.
fn serve<A>(open: &mut Option<Open<A>>, cause: Cause) {
    if let Some(open) = open.take() {
        let _ = open.complete.send((open.guests, cause));
    }
}

/// While this lives, somebody leads the batch; nobody waits for a leader that is gone.
struct Leading<'a, A> {
    table: &'a Table<A>,
    id: u64,
}

impl<A> Drop for Leading<'_, A> {
    fn drop(&mut self) {
        drop(self.table.take(self.id));
    }
}

fn abandoned() -> Failure {
    Failure::transient("the call that led its batch was dropped")
}
