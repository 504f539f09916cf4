//! Asynchronous listeners: who runs them, and what becomes of them.
//!
//! An awaited emission runs them in the task that awaits. Any other hands each to a runtime; their number is bounded,
//! and [`settled`](InFlight::settled) waits for them. Either way the end of a call is noticed, also when its task is
//! dropped half-way: nothing that was begun is lost without a word.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::FutureExt;
use tidings_core::{BoxFuture, Envelope, Handled};
use tokio::{runtime::Handle, sync::Notify};

use crate::{
    Fault, Listener, ListenerFailed,
    about::About,
    core::Core,
    emission::{Emission, Ended},
    errors::Quiet,
    failed::Origin,
    stats::Call,
};

/// Runs a future to its end, somewhere.
pub(crate) type Spawn = dyn Fn(BoxFuture<'static, ()>) + Send + Sync;

/// One call of an asynchronous listener, from its beginning to what became of it.
pub(crate) type Run = BoxFuture<'static, Option<ListenerFailed>>;

/// How an asynchronous listener will be run.
pub(crate) enum Way {
    /// By whoever awaits the emission.
    Awaited,
    /// By a runtime.
    Spawned(Spawner, Place),
}

/// Who runs what nobody awaits.
pub(crate) enum Spawner {
    /// What the bus was built with.
    Own(Arc<Spawn>),
    /// The runtime the event was emitted in, or else the listener registered in.
    Runtime(Handle),
}

/// How the listeners of an emission are to be run.
///
/// # Errors
/// Why they cannot be.
pub(crate) fn way(emission: &Emission<'_>, registered_in: Option<&Handle>) -> Result<Way, Fault> {
    if emission.collected().is_some() {
        return Ok(Way::Awaited);
    }
    let core = emission.core();
    let spawner = match &core.settings.spawn {
        Some(own) => Spawner::Own(own.clone()),
        None => match Handle::try_current().ok().or_else(|| registered_in.cloned()) {
            Some(runtime) => Spawner::Runtime(runtime),
            None => return Err(Fault::NoRuntime),
        },
    };
    let most = core.settings.in_flight_max;
    Place::take(core, most).map(|place| Way::Spawned(spawner, place)).ok_or(Fault::TooManyInFlight(most))
}

/// Begins one call.
pub(crate) fn start(emission: &Emission<'_>, about: &About, way: Way, call: BoxFuture<'static, Handled>) {
    let core = emission.core();
    // A listener that can be given the event in a future has an envelope.
    let Ok(envelope) = emission.envelope() else { return };
    let ending = Ending {
        core: core.clone(),
        envelope: envelope.clone(),
        listener: about.listener().clone(),
        origin: core.origin(about, true),
        call: Call::begin(about, core),
        reached: false,
        ended: emission.collected().map(|collected| collected.ended.clone()),
    };
    let run = run(call, ending);
    let run: Run = if core.is_reporting() { Box::pin(Quiet::new(core.clone(), run)) } else { run };
    match (way, emission.collected()) {
        (Way::Spawned(spawner, place), _) => spawner.spawn(Box::pin(async move {
            run.await;
            drop(place);
        })),
        (Way::Awaited, Some(collected)) => collected.running.borrow_mut().push(run),
        // Dropping it tells that it was dropped.
        (Way::Awaited, None) => drop(run),
    }
}

fn run(call: BoxFuture<'static, Handled>, mut ending: Ending) -> Run {
    Box::pin(async move {
        let outcome = AssertUnwindSafe(call).catch_unwind().await;
        ending.reached = true;
        if let Some(call) = &ending.call {
            call.end(&ending.core);
        }
        let fault = match outcome {
            Ok(Ok(())) => return None,
            Ok(Err(failure)) => Fault::Failed(failure),
            Err(payload) => Fault::panicked(payload),
        };
        Some(ending.tell(fault))
    })
}

/// Notices how a call ends.
struct Ending {
    core: Arc<Core>,
    envelope: Envelope,
    listener: Listener,
    origin: Origin,
    call: Option<Call>,
    reached: bool,
    /// Where whoever awaits the emission is told, too.
    ended: Option<Ended>,
}

impl Ending {
    fn tell(&self, fault: Fault) -> ListenerFailed {
        if let Some(call) = &self.call {
            call.failed();
        }
        let failed = self.core.failed(&self.envelope, &self.listener, fault, self.origin);
        if let Some(ended) = &self.ended {
            ended.lock().push(failed.clone());
        }
        self.core.report(&failed);
        failed
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.reached {
            if let Some(call) = &self.call {
                call.end(&self.core);
            }
            self.tell(Fault::Dropped);
        }
    }
}

impl Spawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        match self {
            Self::Own(spawn) => {
                // A spawner that panics has dropped the task, and dropping it was told.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| spawn(task))) {
                    let fault = Fault::panicked(payload);
                    tracing::error!(%fault, "the bus's spawner failed");
                }
            }
            Self::Runtime(runtime) => drop(runtime.spawn(task)),
        }
    }
}

/// The calls that nobody awaits and that have not ended.
#[derive(Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    none: Notify,
}

impl InFlight {
    /// Waits until there is none.
    pub(crate) async fn settled(&self) {
        loop {
            let mut none = std::pin::pin!(self.none.notified());
            // Listening begins before looking, so that the last one cannot end in between unnoticed.
            none.as_mut().enable();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

/// The place of one call among those in flight; given back when dropped.
pub(crate) struct Place(Arc<Core>);

impl Place {
    fn take(core: &Arc<Core>, most: usize) -> Option<Self> {
        let free = |count: usize| (count < most).then_some(count + 1);
        core.in_flight.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, free).ok()?;
        Some(Self(core.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.in_flight.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.in_flight.none.notify_waiters();
        }
    }
}
