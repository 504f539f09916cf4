//! Emissions that somebody awaits.

use std::{fmt, future::IntoFuture, sync::Arc};

use futures_util::future::join_all;
use tidings_core::{BoxFuture, Envelope, Event, Text};

use crate::{
    ListenerFailed,
    core::Core,
    emission::{Collected, Emission, Fact, Given, InNamespace, Shared},
};

/// What became of an awaited emission.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many listeners ran.
    pub heard: usize,
    /// What failed, first in place, then asynchronously. The error channel was told the same.
    pub failed: Vec<ListenerFailed>,
}

/// In which order asynchronous listeners run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Parallel,
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
