//! How the different kinds of listeners are called.
//!
//! All of them are [`Hear<T>`] behind one pointer: `T` is the event's type in the list of that type, and `Envelope` in
//! the list of a name. Adapters carry a listener from one kind of list into the other. Nothing here catches panics; the
//! [plan](crate::plan) does, around each call.

use std::sync::Arc;

use tidings_core::{BoxFuture, Envelope, Event, Handled};

use crate::{
    Fault,
    about::{About, State},
    emission::Emission,
    gate::Gate,
    running,
};

/// A listener as a list of `T` calls it.
pub(crate) trait Hear<T: ?Sized>: Send + Sync {
    /// Gives it the event; answers whether it ran.
    fn hear(&self, event: &T, emission: &Emission<'_>) -> bool;

    /// Who it is.
    fn about(&self) -> &About;
}

/// A listener that runs where the event is emitted. Its function answers `None` when it has lost its target.
pub(crate) struct InPlace<G, F> {
    pub(crate) about: About,
    pub(crate) gate: G,
    pub(crate) function: F,
}

impl<T: ?Sized, G, F> Hear<T> for InPlace<G, F>
where
    G: Gate<T>,
    F: Fn(&T) -> Option<Handled> + Send + Sync,
{
    #[inline]
    fn hear(&self, event: &T, emission: &Emission<'_>) -> bool {
        // Read once: it is one load on the path of every call.
        let state = self.about.state();
        if state == State::Ended || !self.gate.passes(event, emission, &self.about) {
            return false;
        }
        if state == State::Once && !claim(&self.about, emission) {
            return false;
        }
        match (self.function)(event) {
            Some(Ok(())) => true,
            Some(Err(failure)) => {
                emission.failed(&self.about, Fault::Failed(failure));
                true
            }
            None => {
                emission.core().detach(self.about.listener().place(), self.about.rank());
                false
            }
        }
    }

    fn about(&self) -> &About {
        &self.about
    }
}

/// A listener whose call is a future.
pub(crate) struct Deferred<G, P, F> {
    pub(crate) about: About,
    pub(crate) gate: G,
    /// Takes what the function wants out of the emission.
    pub(crate) prepare: P,
    pub(crate) function: F,
    pub(crate) runtime: Option<tokio::runtime::Handle>,
}

impl<T: ?Sized, G, P, A, F> Hear<T> for Deferred<G, P, F>
where
    G: Gate<T>,
    P: Fn(&Emission<'_>) -> Handled<A> + Send + Sync,
    F: Fn(A) -> BoxFuture<'static, Handled> + Send + Sync,
{
    fn hear(&self, event: &T, emission: &Emission<'_>) -> bool {
        let state = self.about.state();
        if state == State::Ended || !self.gate.passes(event, emission, &self.about) {
            return false;
        }
        let argument = match (self.prepare)(emission) {
            Ok(argument) => argument,
            Err(failure) => {
                emission.failed(&self.about, Fault::Unreadable(failure));
                return false;
            }
        };
        // Whether it can run is settled before it is claimed: a `once` that could not run has not been called.
        let way = match running::way(emission, self.runtime.as_ref()) {
            Ok(way) => way,
            Err(fault) => {
                emission.failed(&self.about, fault);
                return false;
            }
        };
        if state == State::Once && !claim(&self.about, emission) {
            return false;
        }
        running::start(emission, &self.about, way, (self.function)(argument));
        true
    }

    fn about(&self) -> &About {
        &self.about
    }
}

/// A `once` listener is gone before its call: whoever ends it may call it.
fn claim(about: &About, emission: &Emission<'_>) -> bool {
    let mine = about.end();
    if mine {
        emission.core().detach(about.listener().place(), about.rank());
    }
    mine
}

/// A typed listener in the list of its name: it is given what the envelope holds.
pub(crate) struct Decoding<E> {
    pub(crate) listener: Arc<dyn Hear<E>>,
    /// The schema versions for which there are listeners under this name.
    pub(crate) versions: Arc<[u32]>,
}

impl<E: Event> Hear<Envelope> for Decoding<E> {
    fn hear(&self, envelope: &Envelope, emission: &Emission<'_>) -> bool {
        let about = self.listener.about();
        let version = envelope.schema_version();
        let for_another_type = version != E::INFO.version && self.versions.contains(&version);
        if for_another_type || about.state() == State::Ended {
            return false;
        }
        match emission.decoded::<E>() {
            Ok(event) => self.listener.hear(event, emission),
            Err(failure) => {
                emission.failed(about, Fault::Unreadable(failure.clone()));
                false
            }
        }
    }

    fn about(&self) -> &About {
        self.listener.about()
    }
}

/// A listener to envelopes in the list of a type: it is given the event in an envelope.
pub(crate) struct Enveloped(pub(crate) Arc<dyn Hear<Envelope>>);

impl<E: Event> Hear<E> for Enveloped {
    fn hear(&self, _: &E, emission: &Emission<'_>) -> bool {
        let about = self.0.about();
        if about.state() == State::Ended {
            return false;
        }
        match emission.envelope() {
            Ok(envelope) => self.0.hear(envelope, emission),
            Err(failure) => {
                emission.failed(about, Fault::Unreadable(failure.clone()));
                false
            }
        }
    }

    fn about(&self) -> &About {
        self.0.about()
    }
}
