//! Emissions that somebody awaits.

use std::{fmt, future::IntoFuture, sync::Arc};

use futures_util::{StreamExt, future::join_all, stream};
use tidings_core::{BoxFuture, Envelope, Event, Failure, Handled, IntoHandled, Kind, Text};

use crate::{
    ListenerFailed,
    core::Core,
    emission::{Collected, Emission, Fact, Given, Shared},
    namespace::InNamespace,
};

/// What became of an awaited emission.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many listeners ran.
    pub heard: usize,
    /// What failed, first in place, then asynchronously. The error channel was told the same.
    pub failed: Vec<ListenerFailed>,
}

impl IntoHandled for Report {
    /// A failure if any listener failed, so that an emission can be the last thing a handler does: transient if trying
    /// again can help at least one of them, else permanent. Who tries again emits to all of them again.
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
    begin: Box<dyn FnOnce() -> (usize, Collected) + Send>,
    order: Order,
}

impl EmitAsync {
    pub(crate) fn event<E: Event>(core: Arc<Core>, event: Arc<E>) -> Self {
        let begin = move || begin(&core, &Shared(&event), |emission| core.emit(&*event, emission));
        Self { begin: Box::new(begin), order: Order::Parallel }
    }

    pub(crate) fn named<E: Event>(core: Arc<Core>, name: Text, event: Arc<E>) -> Self {
        let begin = move || {
            begin(&core, &InNamespace { name: name.clone(), event: &*event }, |emission| {
                emission.share(&event);
                core.emit_named(&name, emission)
            })
        };
        Self { begin: Box::new(begin), order: Order::Parallel }
    }

    pub(crate) fn envelope(core: Arc<Core>, envelope: Envelope) -> Self {
        let begin =
            move || begin(&core, &Given::new(&envelope), |emission| core.emit_envelope(&envelope, emission));
        Self { begin: Box::new(begin), order: Order::Parallel }
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
    let emission = Emission::awaited(core, fact);
    let heard = emit(&emission);
    (heard, emission.into_collected())
}

impl IntoFuture for EmitAsync {
    type Output = Report;
    type IntoFuture = BoxFuture<'static, Report>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (heard, collected) = (self.begin)();
            let (running, mut failed) = (collected.running.into_inner(), collected.failed.into_inner());
            match self.order {
                Order::Parallel => failed.extend(join_all(running).await.into_iter().flatten()),
                Order::AtMost(most) => {
                    let ended: Vec<_> = stream::iter(running).buffered(most).collect().await;
                    failed.extend(ended.into_iter().flatten());
                }
                Order::Series => {
                    for run in running {
                        failed.extend(run.await);
                    }
                }
            }
            Report { heard, failed }
        })
    }
}

impl fmt::Debug for EmitAsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitAsync").field("order", &self.order).finish_non_exhaustive()
    }
}
