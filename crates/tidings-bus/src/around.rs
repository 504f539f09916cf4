//! What happens to an emission besides the calls, on a bus that was asked for more than calls.
//!
//! A plan without any of it has no `Around` at all, and knows nothing of this module.

use std::sync::Arc;

use crate::{emission::Emission, hear::Hear, plan::Plan, stats::Measure};

/// The listeners of a plan, and what stands around them. From the outside in: statistics.
pub(crate) struct Around<T: ?Sized> {
    pub(crate) measure: Option<Measure>,
    pub(crate) listeners: Box<[Arc<dyn Hear<T>>]>,
}

impl<T: ?Sized> Around<T> {
    /// Emits; answers how many listeners ran.
    pub(crate) fn run(&self, plan: &Plan<T>, event: &T, emission: &Emission<'_>) -> usize {
        let heard = match &self.measure {
            Some(measure) => measure.emission(emission.core(), || self.call(plan, event, emission)),
            None => self.call(plan, event, emission),
        };
        heard.unwrap_or(0)
    }

    /// Answers how many listeners ran, or nothing when it was cancelled.
    fn call(&self, plan: &Plan<T>, event: &T, emission: &Emission<'_>) -> Option<usize> {
        Some(plan.call_all(&self.listeners, event, emission))
    }
}
