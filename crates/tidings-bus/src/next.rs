//! Waiting for an event.

use std::{
    any::type_name,
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{BoxFuture, Clock, Envelope, Event, On, Timestamp, TopicError};
use tokio::sync::oneshot;

use crate::{Bus, Guard, Listen, listen::Written, taking::Took};

/// The next event, to be awaited.
///
/// It listens from the moment it is made, not from when it is first polled: an event that comes between is not missed.
/// Dropped, it listens no more. It does not keep the bus alive.
///
/// ```
/// use std::time::Duration;
/// use tidings_bus::{Bus, example::OrderPlaced};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let bus = Bus::new();
/// let large = bus.listen().when(|placed: &OrderPlaced| placed.total_cents > 1_000).next();
/// bus.emit(&OrderPlaced { order: "1".into(), total_cents: 300 });
/// bus.emit(&OrderPlaced { order: "2".into(), total_cents: 5_000 });
/// let large = large.within(Duration::from_secs(5)).await?;
/// assert_eq!(large.order, "2");
/// # Ok::<(), tidings_bus::WaitError>(())
/// # }).expect("it came");
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "it listens until it is awaited or dropped: keep it, and await it"]
pub struct Next<T> {
    guard: Option<Guard>,
    event: oneshot::Receiver<T>,
    clock: Arc<dyn Clock>,
    limit: Option<Limit>,
}

/// Why an event that was waited for has not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// None came within this time.
    #[error("no such event came within {0:?}")]
    TimedOut(Duration),
    /// None can come any more: the bus is gone, or the subscription was removed from it.
    #[error("the subscription was ended before such an event came")]
    Ended,
}

/// How long is waited. The clock is asked to wake only when somebody waits: it may need a runtime for that.
struct Limit {
    span: Duration,
    since: Timestamp,
    sleep: Option<BoxFuture<'static, ()>>,
}

impl<T> Next<T> {
    /// Waits no longer than `span`, from now, by the bus's clock. The machine's clock needs a tokio runtime with time
    /// to wait in.
    pub fn within(mut self, span: Duration) -> Self {
        self.limit = Some(Limit { span, since: self.clock.now(), sleep: None });
        self
    }

    /// The next one, and where the listener that waits for it puts it.
    fn waiting(bus: &Bus) -> (impl FnOnce(Guard) -> Self + use<T>, Given<T>) {
        let (give, event) = oneshot::channel();
        let clock = bus.core().settings.clock.clone();
        let made = move |guard| Self { guard: Some(guard), event, clock, limit: None };
        (made, Given(Arc::new(Mutex::new(Some(give)))))
    }
}

/// Where the event is put that somebody waits for; there is room for one.
struct Given<T>(Arc<Mutex<Option<oneshot::Sender<T>>>>);

impl<T: Send + 'static> Given<T> {
    /// A listener that puts the event there, and what it does when it is ended.
    fn listener(self) -> (impl Fn(T) -> Took + Send + Sync, impl Fn() + Send + Sync) {
        let room = self.0.clone();
        let take = move |event| {
            let give = self.0.lock().take();
            // Who no longer waits does not miss it.
            let _ = give.map(|give| give.send(event));
            Took::One
        };
        (take, move || drop(room.lock().take()))
    }
}

impl<E: Event> Listen<'_, E> {
    /// The next event that meets the conditions, to be awaited.
    #[track_caller]
    pub fn next(self) -> Next<On<E>> {
        let written = Written { function: type_name::<Next<On<E>>>(), location: Location::caller() };
        let (made, given) = Next::waiting(self.bus);
        let (take, on_end) = given.listener();
        made(self.once().take_each(written, take, on_end))
    }
}

impl Listen<'_, Envelope> {
    /// The next event whose name matches `pattern` and that meets the conditions, to be awaited.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    #[track_caller]
    pub fn next_of(self, pattern: &str) -> Result<Next<Envelope>, TopicError> {
        let written = Written { function: type_name::<Next<Envelope>>(), location: Location::caller() };
        let (made, given) = Next::waiting(self.bus);
        let (take, on_end) = given.listener();
        Ok(made(self.once().take_each_of(pattern, written, take, on_end)?))
    }
}

impl Bus {
    /// The next event of a type, to be awaited. It is listened for from now on. Conditions are said with
    /// [`listen`](Self::listen).
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = Bus::new();
    /// let next = bus.next::<OrderPlaced>();
    /// bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
    /// assert_eq!(next.await.expect("it came").order, "4711");
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn next<E: Event>(&self) -> Next<On<E>> {
        self.listen().next()
    }

    /// The next event whose name matches `pattern`, to be awaited. It is listened for from now on.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = Bus::new();
    /// let next = bus.next_of("order.*").expect("a valid pattern");
    /// bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
    /// assert_eq!(&**next.await.expect("it came").name(), "order.placed");
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn next_of(&self, pattern: &str) -> Result<Next<Envelope>, TopicError> {
        self.listen().next_of(pattern)
    }
}

impl<T> Future for Next<T> {
    type Output = Result<T, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // First the event: one that has come in time is in time, however late it is asked for.
        if let Poll::Ready(event) = Pin::new(&mut self.event).poll(cx) {
            return Poll::Ready(event.map_err(|_| WaitError::Ended));
        }
        let this = &mut *self;
        let Some(limit) = &mut this.limit else { return Poll::Pending };
        let sleep = limit.sleep.get_or_insert_with(|| {
            let waited = this.clock.now().since(limit.since);
            this.clock.sleep(limit.span.saturating_sub(waited))
        });
        std::task::ready!(sleep.as_mut().poll(cx));
        this.guard = None;
        Poll::Ready(Err(WaitError::TimedOut(limit.span)))
    }
}

impl<T> fmt::Debug for Next<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next")
            .field("guard", &self.guard)
            .field("within", &self.limit.as_ref().map(|limit| limit.span))
            .finish_non_exhaustive()
    }
}
