//! Bounded streams of events, for whoever would rather ask for the next than be called.

use std::{
    any::type_name,
    fmt,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use tidings_core::{Envelope, Event, On, TopicError};

use crate::{
    Bus, Guard, Listen,
    listen::Written,
    waiting::{Waiting, queue},
};

/// What happens to an event for which a stream has no room. Whoever emits is never made to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The one that has waited longest is lost: the stream stays close to the present.
    #[default]
    DropOldest,
    /// The new one is lost: what waits stays as it is.
    DropNewest,
    /// The new one is lost and the stream ends behind what waits: for those who can use only all or none.
    End,
}

/// Why nothing more comes into a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// It was full, and [`Overflow::End`] was said.
    Overflowed,
    /// Its subscription has ended: the bus is gone, the subscription was removed, or it was for one event only.
    Unsubscribed,
}

/// Events as a [`Stream`], in the order in which they were emitted. (The futures kind; nothing is stored.)
///
/// It holds at most as many events as its capacity, counts what is [lost](Self::lost) beyond that, and never makes an
/// emitter wait. It subscribes when it is made and unsubscribes when it is dropped. It does not keep the bus alive: when
/// that goes, the stream ends behind what waits.
///
/// ```
/// use tidings_bus::{Bus, Overflow, example::OrderPlaced};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let bus = Bus::new();
/// let mut orders = bus.stream::<OrderPlaced>(2).overflow(Overflow::DropOldest);
/// for order in ["1", "2", "3"] {
///     bus.emit(&OrderPlaced { order: order.into(), total_cents: 300 });
/// }
/// drop(bus);
/// assert_eq!(orders.lost(), 1);
/// assert_eq!(orders.next().await.expect("two wait").order, "2");
/// assert_eq!(orders.next().await.expect("one waits").order, "3");
/// assert!(orders.next().await.is_none());
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "its subscription ends when it is dropped"]
pub struct EventStream<T> {
    waiting: Arc<Waiting<T>>,
    guard: Guard,
}

/// Counts of a stream that can be read elsewhere, also when the stream has been wrapped in others or dropped.
#[derive(Clone)]
pub struct StreamCounts(Arc<dyn Counted>);

pub(crate) trait Counted: Send + Sync {
    fn lost(&self) -> u64;
    fn waiting(&self) -> usize;
}

impl StreamCounts {
    /// How many events were lost because the stream was full.
    pub fn lost(&self) -> u64 {
        self.0.lost()
    }

    /// How many events wait to be taken.
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }
}

impl<T: Send + 'static> EventStream<T> {
    /// What happens when it is full; [`Overflow::DropOldest`] unless said otherwise.
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.waiting.set_overflow(overflow);
        self
    }

    /// The next event; `None` when the stream has ended. The same as `StreamExt::next`, without that import.
    ///
    /// Giving up this wait loses nothing.
    pub async fn next(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| self.waiting.poll(cx)).await
    }

    /// How many events were lost because it was full.
    pub fn lost(&self) -> u64 {
        self.waiting.lost()
    }

    /// Why nothing more comes, if that is so. What waits can still be taken.
    pub fn ended(&self) -> Option<StreamEnd> {
        self.waiting.ended()
    }

    /// A handle to its counts.
    pub fn counts(&self) -> StreamCounts {
        StreamCounts(self.waiting.clone())
    }
}

impl<T: Send + 'static> Stream for EventStream<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.waiting.poll(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let least = self.waiting.waiting();
        (least, self.ended().map(|_| least))
    }
}

impl<T> Drop for EventStream<T> {
    fn drop(&mut self) {
        // Behind this, what a listener that is not gone yet still brings is not kept.
        self.waiting.close();
    }
}

impl<E: Event> Listen<'_, E> {
    /// The events that meet the conditions, as a stream in which up to `capacity` wait; 0 is taken for 1.
    #[track_caller]
    pub fn stream(self, capacity: usize) -> EventStream<On<E>> {
        let written = Written { function: type_name::<EventStream<On<E>>>(), location: Location::caller() };
        let (waiting, feed, ended) = queue(E::INFO.name.into(), capacity);
        let guard = self.take_each(written, feed, ended);
        EventStream { waiting, guard }
    }
}

impl Listen<'_, Envelope> {
    /// The events whose names match `pattern` and that meet the conditions, as a stream in which up to `capacity` wait;
    /// 0 is taken for 1.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    #[track_caller]
    pub fn stream_of(self, pattern: &str, capacity: usize) -> Result<EventStream<Envelope>, TopicError> {
        let written =
            Written { function: type_name::<EventStream<Envelope>>(), location: Location::caller() };
        let (waiting, feed, ended) = queue(pattern.into(), capacity);
        let guard = self.take_each_of(pattern, written, feed, ended)?;
        Ok(EventStream { waiting, guard })
    }
}

impl Bus {
    /// The events of a type from now on, as a stream in which up to `capacity` wait; 0 is taken for 1. Conditions are
    /// said with [`listen`](Self::listen).
    ///
    /// All streams and asynchronous listeners share one handle to the event, made once an emission.
    #[track_caller]
    pub fn stream<E: Event>(&self, capacity: usize) -> EventStream<On<E>> {
        self.listen().stream(capacity)
    }

    /// The events whose names match `pattern`, from now on, as a stream in which up to `capacity` wait; 0 is taken for 1.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = Bus::new();
    /// let mut all = bus.stream_of("order.**", 100).expect("a valid pattern");
    /// bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
    /// assert_eq!(&**all.next().await.expect("it waits").name(), "order.placed");
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn stream_of(&self, pattern: &str, capacity: usize) -> Result<EventStream<Envelope>, TopicError> {
        self.listen().stream_of(pattern, capacity)
    }
}

impl<T> fmt::Debug for EventStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl fmt::Debug for StreamCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamCounts")
            .field("lost", &self.lost())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
