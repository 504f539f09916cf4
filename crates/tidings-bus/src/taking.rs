//! Listeners that take the event away: called in place, with a handle that may outlive the call.
//!
//! What waits for an event and what queues events are made of these. The handle is made once an emission, whoever else
//! wants one shares it, and it is made after the conditions were asked, so that what is passed over costs no copy.

use std::sync::Arc;

use tidings_core::{Envelope, Event, Handled, On, TopicError};

use crate::{
    Guard, Listen,
    about::{About, Place},
    emission::Emission,
    gate::Gate,
    hear::Hear,
    listen::Written,
};

/// What a listener says of itself when it has taken an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Took {
    /// It can take more.
    One,
    /// It is not to be called again.
    Last,
}

/// A listener that is given something it may keep.
pub(crate) struct Taking<G, P, F> {
    pub(crate) about: About,
    pub(crate) gate: G,
    /// Takes what the function wants out of the emission.
    pub(crate) prepare: P,
    pub(crate) function: F,
}

impl<T, G, P, A, F> Hear<T> for Taking<G, P, F>
where
    T: ?Sized,
    G: Gate<T>,
    P: Fn(&Emission<'_>) -> Handled<A> + Send + Sync,
    F: Fn(A) -> Took + Send + Sync,
{
    fn hear(&self, event: &T, emission: &Emission<'_>) {
        if !self.gate.passes(event, emission, &self.about) {
            return emission.pass_over();
        }
        let taken = match (self.prepare)(emission) {
            Ok(taken) => taken,
            Err(failure) => return emission.unreadable(&self.about, &failure),
        };
        if !self.gate.claim(emission, &self.about) {
            return emission.pass_over();
        }
        let took = (self.function)(taken);
        if self.about.is_ended() {
            drop(self.about.farewell());
        } else if took == Took::Last {
            emission.core().detach(self.about.listener().place(), self.about.rank());
        }
    }

    fn about(&self) -> &About {
        &self.about
    }
}

impl<E: Event> Listen<'_, E> {
    /// Gives each event of the type to `function`, and does `on_end` when the subscription has been ended.
    pub(crate) fn take_each(
        self,
        written: Written,
        function: impl Fn(On<E>) -> Took + Send + Sync + 'static,
        on_end: impl Fn() + Send + Sync + 'static,
    ) -> Guard {
        let about = self.about(Place::Name(E::INFO.name), written).on_end(on_end);
        let guard = self.guard(&about);
        let prepare = |emission: &Emission<'_>| emission.on::<E>();
        self.bus.core().attach_typed(Arc::new(Taking { about, gate: self.chosen, prepare, function }));
        guard
    }
}

impl Listen<'_, Envelope> {
    /// Gives each event whose name matches `pattern` to `function`, and does `on_end` when the subscription has been
    /// ended.
    pub(crate) fn take_each_of(
        self,
        pattern: &str,
        written: Written,
        function: impl Fn(Envelope) -> Took + Send + Sync + 'static,
        on_end: impl Fn() + Send + Sync + 'static,
    ) -> Result<Guard, TopicError> {
        let pattern = self.pattern(pattern)?;
        let about = self.about(Place::Pattern(pattern.clone()), written).on_end(on_end);
        let guard = self.guard(&about);
        let prepare = |emission: &Emission<'_>| Ok(emission.envelope().map_err(Clone::clone)?.clone());
        let listener = Arc::new(Taking { about, gate: self.chosen, prepare, function });
        self.bus.core().attach_pattern(&pattern, listener);
        Ok(guard)
    }
}
