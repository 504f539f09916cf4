//! Listeners in place whose calls are measured.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidings_core::Handled;

use super::{ListenerSlowed, meter::Call};
use crate::{
    Fault,
    about::About,
    emission::Emission,
    gate::{Chosen, Gate},
    hear::Hear,
    notice,
};

/// A listener that runs where the event is emitted, on a bus with statistics. Only the call is measured, not what it
/// takes to decide about it or to make its envelope.
pub(crate) struct Measured<T: ?Sized> {
    pub(crate) about: About,
    pub(crate) gate: Chosen<T>,
    pub(crate) function: Box<Function<T>>,
}

/// What is called. It answers `None` when it has lost its target.
type Function<T> = dyn Fn(&T) -> Option<Handled> + Send + Sync;

impl<T: ?Sized> Hear<T> for Measured<T> {
    fn hear(&self, event: &T, emission: &Emission<'_>) {
        if !self.gate.passes(event, emission, &self.about) || !self.gate.claim(emission, &self.about) {
            return emission.pass_over();
        }
        let call = Call::begin(&self.about, emission.core());
        // Caught here, and not by the plan, so that a call that panics is measured like any other.
        let fault = match catch_unwind(AssertUnwindSafe(|| (self.function)(event))) {
            Ok(Some(Ok(()))) => None,
            Ok(Some(Err(failure))) => Some(Fault::Failed(failure)),
            Ok(None) => {
                emission.core().detach(self.about.listener().place(), self.about.rank());
                return emission.pass_over();
            }
            Err(payload) => Some(Fault::panicked(payload)),
        };
        let slowed = call.and_then(|call| call.end_in_place(&self.about, emission.core()));
        if let Some(fault) = fault {
            emission.failed(&self.about, fault);
        }
        if let Some(slowed) = slowed {
            let ListenerSlowed { topic, function, file, line, nanos, level } = &slowed;
            tracing::warn!(topic, function, file, line, nanos, ?level, "a listener is slow");
            notice::tell(emission.core(), &slowed);
        }
    }

    fn about(&self) -> &About {
        &self.about
    }
}
