//! Trying again: those listeners that failed, and no others.

use std::sync::Arc;

use tidings_core::{Envelope, Kind};

use crate::{
    Bus, EmitAsync, ListenerFailed,
    core::Core,
    emission::{Collected, Emission, Ended, Given},
    hear::Hear,
    plan::Plan,
};

impl Bus {
    /// Calls again those listeners that failed, each with the event it was given then, and no others: neither those that
    /// had succeeded nor middleware, and no history keeps the event a second time. Like any awaited emission, it runs
    /// [in series](EmitAsync::in_series) or at the same time, and [retries](EmitAsync::retry) if it is told to.
    ///
    /// Failures may come from reports or from the error channel, of several events or of one. Those that nothing can be
    /// given to any more, because they have ended (a `once` that ran is one), because the event could not be put into an
    /// envelope, or because they are no listeners of this bus, are not called: they stay in the report as they are. Who
    /// is given an event outside its type, as in a namespace, gets it as it was written.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// use tidings_core::{Failure, Handled, On};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// static CALLS: AtomicU32 = AtomicU32::new(0);
    /// async fn works_the_second_time(_: On<OrderPlaced>) -> Handled {
    ///     match CALLS.fetch_add(1, Ordering::Relaxed) {
    ///         0 => Err(Failure::transient("busy")),
    ///         _ => Ok(()),
    ///     }
    /// }
    /// let bus = Bus::new();
    /// bus.on(|_: &OrderPlaced| ()).forever();
    /// bus.on_async(works_the_second_time).forever();
    /// let report = bus.emit_async(OrderPlaced { order: "4711".into(), total_cents: 300 }).await;
    /// assert_eq!((report.heard, report.failed.len()), (2, 1));
    /// let report = bus.emit_again(report.failed).await;
    /// assert_eq!((report.heard, report.failed.len()), (1, 0));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn emit_again(&self, failed: impl IntoIterator<Item = ListenerFailed>) -> EmitAsync {
        EmitAsync::again(self.core().clone(), failed.into_iter().collect())
    }
}

impl Core {
    /// Whether calling again can help, and there is somebody to call.
    pub(crate) fn can_help(&self, failed: &ListenerFailed) -> bool {
        failed.fault().kind() == Kind::Transient && self.who_failed(failed).is_some()
    }

    fn who_failed(&self, failed: &ListenerFailed) -> Option<Arc<dyn Hear<Envelope>>> {
        let origin = failed.origin();
        if origin.bus != self.secret || !origin.whole {
            return None;
        }
        self.locked(|state, _| state.enveloped(failed.listener().place(), origin.rank))
    }
}

/// Calls those in place, and leaves the asynchronous ones to be awaited.
pub(crate) fn begin(core: &Arc<Core>, failed: Vec<ListenerFailed>) -> (usize, Collected) {
    let (mut heard, all) = (0, Collected { ended: Ended::default(), ..Collected::default() });
    for failed in failed {
        let Some(listener) = core.who_failed(&failed) else {
            all.failed.borrow_mut().push(failed);
            continue;
        };
        let given = Given::new(failed.envelope());
        let emission = Emission::awaited(core, &given, all.ended.clone());
        let plan = Plan::new(Box::new([listener]));
        heard += plan.run(failed.envelope(), &emission);
        let collected = emission.into_collected();
        all.running.borrow_mut().extend(collected.running.into_inner());
        all.failed.borrow_mut().extend(collected.failed.into_inner());
    }
    (heard, all)
}
