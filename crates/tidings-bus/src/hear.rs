//! How the different kinds of listeners are called.
//!
//! All of them are [`Hear<T>`] behind one pointer: `T` is the event's type in the list of that type, and `Envelope` in
//! the list of a name. Adapters carry a listener from one kind of list into the other. Nothing here catches panics; the
//! [plan](crate::plan) does, around each call.

use std::sync::Arc;

use tidings_core::{BoxFuture, Envelope, Event, Handled};

use crate::{Fault, about::About, emission::Emission, gate::Gate, running};

/// A listener as a list of `T` calls it.
pub(crate) trait Hear<T: ?Sized>: Send + Sync {
    /// Gives it the event; whether it has ended was asked before. If it does not run, it says so by [`pass_over`](Emission::pass_over): nearly all run, and
    /// what is not answered need not be added up.
    fn hear(&self, event: &T, emission: &Emission<'_>);

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
    fn hear(&self, event: &T, emission: &Emission<'_>) {
        if self.gate.passes(event, emission, &self.about) && self.gate.claim(emission, &self.about) {
            self.call(event, emission);
        } else {
            emission.pass_over();
        }
    }

    fn about(&self) -> &About {
        &self.about
    }
}

impl<G, F> InPlace<G, F> {
    #[inline]
    fn call<T: ?Sized>(&self, event: &T, emission: &Emission<'_>)
    where
        F: Fn(&T) -> Option<Handled>,
    {
        match (self.function)(event) {
            Some(Ok(())) => {}
            Some(Err(failure)) => emission.failed(&self.about, Fault::Failed(failure)),
            None => {
                emission.core().detach(self.about.listener().place(), self.about.rank());
                emission.pass_over();
            }
        }
    }
}

/// A listener whose call is a future.
pub(crate) struct Deferred<G, P, F> {
    pub(crate) about: About,
    pub(crate) gate: G,
    /// Takes what the function wants out of the emission; nothing when it has lost its target.
    pub(crate) prepare: P,
    pub(crate) function: F,
    pub(crate) runtime: Option<tokio::runtime::Handle>,
}

impl<T: ?Sized, G, P, A, F> Hear<T> for Deferred<G, P, F>
where
    G: Gate<T>,
    P: Fn(&Emission<'_>) -> Handled<Option<A>> + Send + Sync,
    F: Fn(A) -> BoxFuture<'static, Handled> + Send + Sync,
{
    fn hear(&self, event: &T, emission: &Emission<'_>) {
        match self.begin(event, emission) {
            Ok(true) => {}
            Ok(false) => emission.pass_over(),
            Err(fault) => {
                emission.pass_over();
                emission.failed(&self.about, fault);
            }
        }
    }

    fn about(&self) -> &About {
        &self.about
    }
}

impl<G, P, F> Deferred<G, P, F> {
    /// Hands its call to whoever runs it; answers whether it was to be called.
    fn begin<T: ?Sized, A>(&self, event: &T, emission: &Emission<'_>) -> Result<bool, Fault>
    where
        G: Gate<T>,
        P: Fn(&Emission<'_>) -> Handled<Option<A>>,
        F: Fn(A) -> BoxFuture<'static, Handled>,
    {
        if !self.gate.passes(event, emission, &self.about) {
            return Ok(false);
        }
        let Some(argument) = (self.prepare)(emission).map_err(Fault::Unreadable)? else {
            emission.core().detach(self.about.listener().place(), self.about.rank());
            return Ok(false);
        };
        // Whether it can run is settled before it is claimed: a `once` that could not run has not been called.
        let way = running::way(emission, self.runtime.as_ref())?;
        if !self.gate.claim(emission, &self.about) {
            return Ok(false);
        }
        running::start(emission, &self.about, way, (self.function)(argument));
        Ok(true)
    }
}

/// A typed listener in the list of its name: it is given what the envelope holds.
pub(crate) struct Decoding<E> {
    pub(crate) listener: Arc<dyn Hear<E>>,
    /// The schema versions for which there are listeners under this name.
    pub(crate) versions: Arc<[u32]>,
}

impl<E: Event> Hear<Envelope> for Decoding<E> {
    fn hear(&self, envelope: &Envelope, emission: &Emission<'_>) {
        let about = self.listener.about();
        let version = envelope.schema_version();
        let for_another_type = version != E::INFO.version && self.versions.contains(&version);
        if for_another_type {
            return emission.pass_over();
        }
        match emission.decoded::<E>() {
            Ok(event) => self.listener.hear(event, emission),
            Err(failure) => emission.unreadable(about, failure),
        }
    }

    fn about(&self) -> &About {
        self.listener.about()
    }
}

/// A listener to envelopes in the list of a type: it is given the event in an envelope.
pub(crate) struct Enveloped(pub(crate) Arc<dyn Hear<Envelope>>);

impl<E: Event> Hear<E> for Enveloped {
    fn hear(&self, _: &E, emission: &Emission<'_>) {
        match emission.envelope() {
            Ok(envelope) => self.0.hear(envelope, emission),
            Err(failure) => emission.unreadable(self.0.about(), failure),
        }
    }

    fn about(&self) -> &About {
        self.0.about()
    }
}
