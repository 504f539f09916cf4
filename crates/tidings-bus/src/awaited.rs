//! Emissions that somebody awaits.

use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    future::{Either, join_all, select},
    stream,
};
use tidings_core::{BoxFuture, Envelope, Event, Failure, Handled, IntoHandled, Kind, Text};

use crate::{
    ListenerFailed, again,
    core::Core,
    emission::{Collected, Emission, Ended, Fact, Given, Shared},
    namespace::InNamespace,
    running::Run,
};

/// What became of an awaited emission.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many listeners ran; those that were called again count once.
    pub heard: usize,
    /// What failed, first in place, then asynchronously. The error channel was told the same.
    pub failed: Vec<ListenerFailed>,
}

impl IntoHandled for Report {
    /// A failure if any listener failed, so that an emission can be the last thing a handler does: transient if trying
    /// again can help at least one of them, else permanent. To call again only those that failed, see
    /// [`EmitAsync::retry`] and [`Bus::emit_again`](crate::Bus::emit_again).
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// use tidings_core::{Failure, Handled, IntoHandled, On};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// async fn send_receipt(_: On<OrderPlaced>) -> Handled {
    ///     Err(Failure::transient("the mail server is busy"))
    /// }
    /// let bus = Bus::new();
    /// bus.on_async(send_receipt).forever();
    /// let report = bus.emit_async(OrderPlaced { order: "4711".into(), total_cents: 300 }).await;
    /// let failure = report.into_handled().expect_err("it failed");
    /// assert!(!failure.is_permanent());
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn into_handled(self) -> Handled {
        let Some(first) = self.failed.first() else { return Ok(()) };
        let text = match self.failed.len() - 1 {
            0 => first.to_string(),
            others => format!("{first}; and {others} more"),
        };
        let can_help = self.failed.iter().any(|failed| failed.fault().kind() == Kind::Transient);
        Err(if can_help { Failure::transient(text) } else { Failure::permanent(text) })
    }
}

/// In which order asynchronous listeners run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Parallel,
    AtMost(usize),
    Series,
}

/// An emission to be awaited; until then nothing happens.
///
/// When it is first polled, the listeners are taken as they are then, those in place are called, and the asynchronous
/// ones run within the awaiting task: no runtime is needed. One that fails stops no other. If the wait is given up,
/// what was begun is dropped, and the error channel is told.
#[must_use = "nothing is emitted until it is awaited"]
pub struct EmitAsync {
    core: Arc<Core>,
    begin: Box<Begin>,
    order: Order,
    span: Option<Duration>,
    waits: Box<dyn Iterator<Item = Duration> + Send>,
}

/// Calls the listeners in place: how many listeners ran, and what is left to be awaited.
type Begin = dyn FnOnce(&Arc<Core>) -> (usize, Collected) + Send;

impl EmitAsync {
    pub(crate) fn event<E: Event>(core: Arc<Core>, event: Arc<E>) -> Self {
        Self::new(core, move |core| begin(core, &Shared(&event), |emission| core.emit(&*event, emission)))
    }

    pub(crate) fn named<E: Event>(core: Arc<Core>, name: Text, event: Arc<E>) -> Self {
        Self::new(core, move |core| {
            begin(core, &InNamespace { name: name.clone(), event: &*event }, |emission| {
                emission.share(&event);
                core.emit_named(&name, emission)
            })
        })
    }

    pub(crate) fn envelope(core: Arc<Core>, envelope: Envelope) -> Self {
        Self::new(core, move |core| {
            begin(core, &Given::new(&envelope), |emission| core.emit_envelope(&envelope, emission))
        })
    }

    pub(crate) fn again(core: Arc<Core>, failed: Vec<ListenerFailed>) -> Self {
        Self::new(core, move |core| again::begin(core, failed))
    }

    fn new(core: Arc<Core>, begin: impl FnOnce(&Arc<Core>) -> (usize, Collected) + Send + 'static) -> Self {
        Self {
            core,
            begin: Box::new(begin),
            order: Order::Parallel,
            span: None,
            waits: Box::new(std::iter::empty()),
        }
    }

    /// Calls those listeners again that failed in a way that trying again can help: after each of these waits, by the
    /// bus's clock, until none is left or the waits are over. Who succeeded is not called again, and middleware not
    /// asked again; see [`Bus::emit_again`](crate::Bus::emit_again). Each failure is told to the error channel, the last
    /// one of each listener stays in the report. The machine's clock needs a tokio runtime with time.
    ///
    /// The waits of a [`Retry`](tidings_core::Retry) are
    /// `(1..).map_while(|attempt| retry.wait_after(attempt, dice()))`.
    ///
    /// ```
    /// use std::{sync::atomic::{AtomicU32, Ordering}, time::Duration};
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// use tidings_core::{Failure, Handled, On};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// static CALLS: AtomicU32 = AtomicU32::new(0);
    /// async fn works_the_third_time(_: On<OrderPlaced>) -> Handled {
    ///     match CALLS.fetch_add(1, Ordering::Relaxed) {
    ///         0 | 1 => Err(Failure::transient("busy")),
    ///         _ => Ok(()),
    ///     }
    /// }
    /// let bus = Bus::new();
    /// bus.on_async(works_the_third_time).forever();
    /// let placed = OrderPlaced { order: "4711".into(), total_cents: 300 };
    /// let report = bus.emit_async(placed).retry([1, 2, 4].map(Duration::from_millis)).await;
    /// assert_eq!((report.heard, report.failed.len()), (1, 0));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn retry(self, waits: impl IntoIterator<Item = Duration, IntoIter: Send + 'static>) -> Self {
        Self { waits: Box::new(waits.into_iter()), ..self }
    }

    /// Waits no longer than `span` by the bus's clock, counted from when the asynchronous listeners begin. Those that
    /// have not ended by then are dropped, and those that have not begun never do; the error channel and the report are
    /// told of each as [dropped](crate::Fault::Dropped). With [retries](Self::retry), each time has as long. The machine's clock needs a tokio runtime with time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_bus::{Bus, Fault, example::OrderPlaced};
    /// use tidings_core::On;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let bus = Bus::new();
    /// bus.on_async(async |_: On<OrderPlaced>| std::future::pending::<()>().await).forever();
    /// let placed = OrderPlaced { order: "4711".into(), total_cents: 300 };
    /// let report = bus.emit_async(placed).within(Duration::from_millis(1)).await;
    /// assert!(matches!(report.failed[0].fault(), Fault::Dropped));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn within(self, span: Duration) -> Self {
        Self { span: Some(span), ..self }
    }

    /// One asynchronous listener after another, in the order of calls, instead of all at the same time.
    pub fn in_series(self) -> Self {
        Self { order: Order::Series, ..self }
    }

    /// No more than `most` asynchronous listeners at the same time, begun in the order of calls; 0 is taken for 1.
    pub fn at_most(self, most: usize) -> Self {
        Self { order: Order::AtMost(most.max(1)), ..self }
    }
}

fn begin(core: &Arc<Core>, fact: &dyn Fact, emit: impl FnOnce(&Emission<'_>) -> usize) -> (usize, Collected) {
    let emission = Emission::awaited(core, fact, Ended::default());
    let heard = emit(&emission);
    (heard, emission.into_collected())
}

impl IntoFuture for EmitAsync {
    type Output = Report;
    type IntoFuture = BoxFuture<'static, Report>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { core, begin, order, span, waits } = self;
            let mut report = once(&core, begin, order, span).await;
            for wait in waits {
                let (again, rest) = report.failed.into_iter().partition(|failed| core.can_help(failed));
                report.failed = rest;
                let again: Vec<_> = again;
                if again.is_empty() {
                    break;
                }
                core.settings.clock.sleep(wait).await;
                let begin = Box::new(move |core: &Arc<Core>| again::begin(core, again));
                report.failed.extend(once(&core, begin, order, span).await.failed);
            }
            report
        })
    }
}

/// Calls the listeners one time.
async fn once(core: &Arc<Core>, begin: Box<Begin>, order: Order, span: Option<Duration>) -> Report {
    let (heard, collected) = begin(core);
    let (ended, mut failed) = (collected.ended, collected.failed.into_inner());
    let run = Box::pin(order.run(collected.running.into_inner()));
    match span {
        None => failed.extend(run.await),
        Some(span) => match select(run, core.settings.clock.sleep(span)).await {
            Either::Left((all, _)) => failed.extend(all),
            Either::Right(((), run)) => {
                // Dropping them tells.
                drop(run);
                failed.append(&mut ended.lock());
            }
        },
    }
    Report { heard, failed }
}

impl Order {
    async fn run(self, running: Vec<Run>) -> Vec<ListenerFailed> {
        match self {
            Self::Parallel => join_all(running).await.into_iter().flatten().collect(),
            Self::AtMost(most) => {
                let ended = stream::iter(running).buffered(most);
                ended.filter_map(std::future::ready).collect().await
            }
            Self::Series => {
                let mut failed = Vec::new();
                for run in running {
                    failed.extend(run.await);
                }
                failed
            }
        }
    }
}

impl fmt::Debug for EmitAsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitAsync").field("order", &self.order).finish_non_exhaustive()
    }
}
