//! What happens to an emission besides the calls, on a bus that was asked for more than calls.
//!
//! A plan without any of it has no `Around` at all, and knows nothing of this module.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    Fault,
    emission::{Emission, Fact},
    hear::Hear,
    history::Keep,
    middleware::{Layer, Passed, Replacement},
    plan::Plan,
    stats::Measure,
};

/// The listeners of a plan, and what stands around them. From the outside in: statistics, middleware, history.
pub(crate) struct Around<T: ?Sized> {
    pub(crate) measure: Option<Measure>,
    pub(crate) layers: Box<[Arc<dyn Layer<T>>]>,
    pub(crate) keep: Option<Keep<T>>,
    pub(crate) listeners: Box<[Arc<dyn Hear<T>>]>,
}

impl<T: ?Sized> Around<T> {
    /// Emits; answers how many listeners ran.
    pub(crate) fn run(&self, plan: &Plan<T>, event: &T, emission: &Emission<'_>) -> usize {
        let heard = match &self.measure {
            Some(measure) => measure.emission(emission.core(), || self.pass(plan, event, emission)),
            None => self.pass(plan, event, emission),
        };
        heard.unwrap_or(0)
    }

    /// Shows the event to the middleware, and what becomes of it to the listeners. Answers how many ran, or nothing
    /// when it was cancelled.
    fn pass(&self, plan: &Plan<T>, event: &T, emission: &Emission<'_>) -> Option<usize> {
        let mut changed: Option<Box<dyn Replacement<T>>> = None;
        for layer in &self.layers {
            let passed = match &changed {
                None => ask(&**layer, event, emission),
                Some(now) => emission.within(fact(&**now), |inner| ask(&**layer, now.event(), inner)),
            };
            match passed {
                Passed::Unchanged => {}
                Passed::Changed(next) => {
                    layer.counts().changed();
                    changed = Some(next);
                }
                Passed::Cancelled => {
                    layer.counts().cancelled();
                    return None;
                }
            }
        }
        Some(match &changed {
            None => self.call(plan, event, emission),
            Some(now) => emission.within(fact(&**now), |inner| self.call(plan, now.event(), inner)),
        })
    }

    fn call(&self, plan: &Plan<T>, event: &T, emission: &Emission<'_>) -> usize {
        match self.keep.as_ref().and_then(|keep| keep.keep(plan, event, emission)) {
            None => plan.call(event, emission),
            Some(current) => current.plan().call(event, emission),
        }
    }
}

fn fact<T: ?Sized>(replacement: &dyn Replacement<T>) -> &dyn Fact {
    replacement
}

/// One that panics cancels: what it was to keep away must not come through because it is broken.
fn ask<T: ?Sized>(layer: &dyn Layer<T>, event: &T, emission: &Emission<'_>) -> Passed<T> {
    catch_unwind(AssertUnwindSafe(|| layer.pass(event, emission))).unwrap_or_else(|payload| {
        emission.failed(layer.about(), Fault::panicked(payload));
        Passed::Cancelled
    })
}
