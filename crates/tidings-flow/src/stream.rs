//! Operators on streams: pulled by whoever reads, with no task and nothing that outlives the reader.

use std::{
    collections::VecDeque,
    fmt,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use tidings_core::{BoxFuture, Clock, Timestamp};

use crate::{
    Aggregation, Batch, Batching, Coalesce, Coalescing, Debounce, Debouncing, Error, Operator, Throttle,
    Throttling, Window, Windowing,
};

/// After so many items of a stream that is always ready, others on its thread have a turn.
const TURN: usize = 256;

/// What comes out of an operator that a stream goes through; made by [`Through`].
///
/// It reads the stream as far as something comes out, and no further: a reader that is slow holds up the stream. When
/// the stream ends, the operator is flushed, and then this ends.
#[must_use = "a stream does nothing until it is read"]
pub struct Flowing<S, O: Operator> {
    stream: Pin<Box<S>>,
    clock: Arc<dyn Clock>,
    running: Box<Running<O>>,
    /// The one timer, and what it is set to.
    timer: Option<(Timestamp, BoxFuture<'static, ()>)>,
    ended: bool,
}

struct Running<O: Operator> {
    operator: O,
    ready: VecDeque<O::Out>,
    now: Timestamp,
}

impl<O: Operator> Running<O> {
    fn run(&mut self, now: Timestamp, work: impl FnOnce(&mut O, Timestamp, &mut dyn FnMut(O::Out))) {
        // A clock may be set back, an operator must not be.
        self.now = self.now.max(now);
        let ready = &mut self.ready;
        work(&mut self.operator, self.now, &mut |out| ready.push_back(out));
    }
}

impl<S, O: Operator> Flowing<S, O> {
    /// The operator: its counts, or what it is to cancel.
    pub fn operator(&mut self) -> &mut O {
        &mut self.running.operator
    }

    /// Waits until the operator has something to do, and lets it.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.running.operator.due() else {
            self.timer = None;
            return Poll::Pending;
        };
        let (at, timer) = match &mut self.timer {
            // One that runs down earlier is as good: then it is looked again.
            Some((at, timer)) if *at <= due => (*at, timer),
            slot => {
                let sleep = self.clock.sleep(due.since(self.running.now));
                let (_, timer) = slot.insert((due, sleep));
                (due, timer)
            }
        };
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        self.running.run(at.max(self.clock.now()), |operator, now, emit| operator.fire(now, emit));
        Poll::Ready(())
    }
}

impl<S: Stream<Item = O::Item>, O: Operator> Stream for Flowing<S, O> {
    type Item = O::Out;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<O::Out>> {
        let this = self.get_mut();
        for _ in 0..TURN {
            if let Some(out) = this.running.ready.pop_front() {
                return Poll::Ready(Some(out));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match this.stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => {
                    this.running.run(this.clock.now(), |operator, now, emit| operator.push(item, now, emit));
                }
                Poll::Ready(None) => {
                    this.ended = true;
                    this.timer = None;
                    this.running.run(this.clock.now(), |operator, now, emit| operator.flush(now, emit));
                }
                Poll::Pending => ready!(this.poll_due(cx)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S, O: Operator> fmt::Debug for Flowing<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flowing").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Sends a stream through operators.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// use std::sync::Arc;
/// use futures_util::{StreamExt, stream};
/// use tidings_core::SystemClock;
/// use tidings_flow::{Batching, Through};
///
/// let rows = stream::iter(1..=5);
/// let batches = rows.batched(Batching::new().items(2), Arc::new(SystemClock))?;
/// let sizes: Vec<usize> = batches.map(|batch| batch.len()).collect().await;
/// assert_eq!(sizes, [2, 2, 1]);
/// # Ok::<(), tidings_flow::Error>(())
/// # }).expect("it works");
/// ```
pub trait Through: Stream + Sized {
    /// Through any operator.
    fn through<O: Operator<Item = Self::Item>>(self, operator: O, clock: Arc<dyn Clock>) -> Flowing<Self, O> {
        let running = Running { operator, ready: VecDeque::new(), now: clock.now() };
        Flowing { stream: Box::pin(self), clock, running: Box::new(running), timer: None, ended: false }
    }

    /// In [batches](Batch).
    ///
    /// # Errors
    /// Every setting that means nothing.
    fn batched(
        self,
        settings: Batching,
        clock: Arc<dyn Clock>,
    ) -> Result<Flowing<Self, Batch<Self::Item>>, Error> {
        Ok(self.through(Batch::new(settings)?, clock))
    }

    /// [Debounced](Debounce).
    ///
    /// # Errors
    /// Every setting that means nothing.
    fn debounced(
        self,
        settings: Debouncing,
        clock: Arc<dyn Clock>,
    ) -> Result<Flowing<Self, Debounce<Self::Item>>, Error> {
        Ok(self.through(Debounce::new(settings)?, clock))
    }

    /// [Throttled](Throttle).
    ///
    /// # Errors
    /// Every setting that means nothing.
    fn throttled(
        self,
        settings: Throttling,
        clock: Arc<dyn Clock>,
    ) -> Result<Flowing<Self, Throttle<Self::Item>>, Error> {
        Ok(self.through(Throttle::new(settings)?, clock))
    }

    /// [Coalesced](Coalesce) by key.
    ///
    /// # Errors
    /// Every setting that means nothing.
    fn coalesced<K: Clone + Eq + Hash>(
        self,
        settings: Coalescing,
        clock: Arc<dyn Clock>,
        key: impl Fn(&Self::Item) -> K + Send + Sync + 'static,
    ) -> Result<Flowing<Self, Coalesce<Self::Item, K>>, Error> {
        Ok(self.through(Coalesce::by(settings, key)?, clock))
    }

    /// In [windows](Window) on event time.
    ///
    /// # Errors
    /// Every setting that means nothing, and an aggregation that cannot merge where it has to.
    fn windowed<A: Aggregation<Self::Item>>(
        self,
        settings: Windowing,
        aggregation: A,
        clock: Arc<dyn Clock>,
        time: impl Fn(&Self::Item) -> Timestamp + Send + Sync + 'static,
    ) -> Result<Flowing<Self, Window<Self::Item, A>>, Error> {
        Ok(self.through(Window::new(settings, aggregation, time)?, clock))
    }
}

impl<S: Stream> Through for S {}
