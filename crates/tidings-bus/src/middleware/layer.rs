//! Middleware in the plan of an event: of its own type, of another type of the same name, or for envelopes.
//!
//! As with listeners, adapters carry one kind into the plans of the other.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tidings_core::{Envelope, Event, Failure};

use super::{
    MiddlewareInfo, Verdict,
    replacement::{FromEnvelope, NewEnvelope, NewEvent, Replacement, rewritten},
};
use crate::{
    Fault,
    about::About,
    decoded::Decoded,
    emission::Emission,
    gate::{Chosen, Gate},
};

/// A middleware as the plan of `T` calls it.
pub(crate) trait Layer<T: ?Sized>: Send + Sync {
    /// Shows it the event. A failure was told to the error channel already, and cancels.
    fn pass(&self, event: &T, emission: &Emission<'_>) -> Passed<T>;

    /// Who it is.
    fn about(&self) -> &About;

    /// What it counts.
    fn counts(&self) -> &Counts;
}

/// What became of an event in a middleware.
pub(crate) enum Passed<T: ?Sized> {
    Unchanged,
    Changed(Box<dyn Replacement<T>>),
    Cancelled,
}

/// How many events a middleware has changed and cancelled.
#[derive(Default)]
pub(crate) struct Counts {
    changed: AtomicU64,
    cancelled: AtomicU64,
}

impl Counts {
    pub(crate) fn changed(&self) {
        self.changed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }
}

/// A middleware's function.
type Function<T> = dyn Fn(&T) -> Verdict<T> + Send + Sync;

/// A middleware.
pub(crate) struct Middleware<T> {
    pub(super) about: About,
    gate: Chosen<T>,
    function: Box<Function<T>>,
    counts: Counts,
}

impl<T> Middleware<T> {
    pub(crate) fn new(about: About, gate: Chosen<T>, function: Box<Function<T>>) -> Self {
        Self { about, gate, function, counts: Counts::default() }
    }

    fn decide(&self, event: &T, emission: &Emission<'_>) -> Verdict<T> {
        let asked = !self.about.is_ended()
            && self.gate.passes(event, emission, &self.about)
            && self.gate.claim(emission, &self.about);
        if asked { (self.function)(event) } else { Verdict::Pass }
    }

    fn fails<U: ?Sized>(&self, fault: Fault, emission: &Emission<'_>) -> Passed<U> {
        emission.failed(&self.about, fault);
        Passed::Cancelled
    }

    pub(super) fn info(&self) -> MiddlewareInfo {
        let listener = self.about.listener();
        MiddlewareInfo {
            topic: listener.topic().to_owned(),
            function: listener.function().to_owned(),
            file: listener.location().file().to_owned(),
            line: listener.location().line(),
            changed: self.counts.changed.load(Ordering::Relaxed),
            cancelled: self.counts.cancelled.load(Ordering::Relaxed),
        }
    }
}

/// In the plans of its own type.
impl<E: Event> Layer<E> for Middleware<E> {
    fn pass(&self, event: &E, emission: &Emission<'_>) -> Passed<E> {
        match self.decide(event, emission) {
            Verdict::Pass => Passed::Unchanged,
            Verdict::Cancel => Passed::Cancelled,
            Verdict::Change(event) => {
                let known = emission.known_envelope().cloned();
                Passed::Changed(Box::new(NewEvent::new(event, known)))
            }
        }
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// A middleware for envelopes in the plan of a name.
pub(super) struct ForEnvelopes(pub(super) Arc<Middleware<Envelope>>);

impl Layer<Envelope> for ForEnvelopes {
    fn pass(&self, event: &Envelope, emission: &Emission<'_>) -> Passed<Envelope> {
        match self.0.decide(event, emission) {
            Verdict::Pass => Passed::Unchanged,
            Verdict::Cancel => Passed::Cancelled,
            Verdict::Change(envelope) if envelope.name() == event.name() => {
                Passed::Changed(Box::new(NewEnvelope { envelope, decoded: Decoded::default() }))
            }
            Verdict::Change(renamed) => {
                let failure = Failure::permanent(format!("it renamed the event to {}", renamed.name()));
                self.0.fails(Fault::Failed(failure), emission)
            }
        }
    }

    fn about(&self) -> &About {
        &self.0.about
    }

    fn counts(&self) -> &Counts {
        &self.0.counts
    }
}

/// A middleware of a type in the plan of its name: it is shown what the envelope holds, if that has its version.
pub(super) struct Decoding<E>(pub(super) Arc<Middleware<E>>);

impl<E: Event> Layer<Envelope> for Decoding<E> {
    fn pass(&self, envelope: &Envelope, emission: &Emission<'_>) -> Passed<Envelope> {
        if envelope.schema_version() != E::INFO.version {
            return Passed::Unchanged;
        }
        let event = match emission.decoded::<E>() {
            Ok(event) => event,
            Err(failure) => return self.0.fails(Fault::Unreadable(failure.clone()), emission),
        };
        match self.0.decide(event, emission) {
            Verdict::Pass => Passed::Unchanged,
            Verdict::Cancel => Passed::Cancelled,
            Verdict::Change(event) => match rewritten(envelope, &event) {
                Ok(envelope) => {
                    Passed::Changed(Box::new(NewEnvelope { envelope, decoded: Decoded::default() }))
                }
                Err(failure) => self.0.fails(Fault::Failed(failure), emission),
            },
        }
    }

    fn about(&self) -> &About {
        &self.0.about
    }

    fn counts(&self) -> &Counts {
        &self.0.counts
    }
}

/// A middleware in the plan of a type that is not its own: it is shown the event in an envelope.
pub(super) struct ByEnvelope(pub(super) Arc<dyn Layer<Envelope>>);

impl<E: Event> Layer<E> for ByEnvelope {
    fn pass(&self, _: &E, emission: &Emission<'_>) -> Passed<E> {
        let fails = |failure| {
            emission.failed(self.0.about(), Fault::Unreadable(failure));
            Passed::Cancelled
        };
        let envelope = match emission.envelope() {
            Ok(envelope) => envelope,
            Err(failure) => return fails(failure.clone()),
        };
        match self.0.pass(envelope, emission) {
            Passed::Unchanged => Passed::Unchanged,
            Passed::Cancelled => Passed::Cancelled,
            Passed::Changed(changed) => match changed.event().decode::<E>() {
                Ok(event) => {
                    let (envelope, decoded) = (changed.event().clone(), Decoded::default());
                    Passed::Changed(Box::new(FromEnvelope { event, envelope, decoded }))
                }
                Err(failure) => fails(failure),
            },
        }
    }

    fn about(&self) -> &About {
        self.0.about()
    }

    fn counts(&self) -> &Counts {
        self.0.counts()
    }
}
