//! What a middleware makes of an event: the event in the plan's form, and the [`Fact`] that is emitted from there on.

use std::{cell::OnceCell, sync::Arc};

use tidings_core::{Envelope, Event, Failure, Handled, Kind};

use crate::{
    core::Core,
    decoded::Decoded,
    emission::{Fact, Shared},
};

/// What takes an event's place.
pub(crate) trait Replacement<T: ?Sized>: Fact {
    fn event(&self) -> &T;
}

/// An event in place of one that was perhaps put into an envelope already: then its metadata stays.
pub(super) struct NewEvent<E> {
    event: Arc<E>,
    instead_of: Option<Envelope>,
    envelope: OnceCell<Envelope>,
}

impl<E> NewEvent<E> {
    pub(super) fn new(event: E, instead_of: Option<Envelope>) -> Self {
        Self { event: Arc::new(event), instead_of, envelope: OnceCell::new() }
    }
}

impl<E: Event> Fact for NewEvent<E> {
    fn contract(&self) -> (&str, u32) {
        (E::INFO.name, E::INFO.version)
    }

    fn envelope(&self, core: &Core) -> Handled<Envelope> {
        if let Some(envelope) = self.envelope.get() {
            return Ok(envelope.clone());
        }
        let envelope = match &self.instead_of {
            Some(earlier) => rewritten(earlier, &*self.event)?,
            None => Shared(&self.event).envelope(core)?,
        };
        Ok(self.envelope.get_or_init(|| envelope).clone())
    }
}

impl<E: Event> Replacement<E> for NewEvent<E> {
    fn event(&self) -> &E {
        &self.event
    }
}

/// An envelope in place of an envelope.
pub(super) struct NewEnvelope {
    pub(super) envelope: Envelope,
    pub(super) decoded: Decoded,
}

impl Fact for NewEnvelope {
    fn contract(&self) -> (&str, u32) {
        (self.envelope.name(), self.envelope.schema_version())
    }

    fn envelope(&self, _: &Core) -> Handled<Envelope> {
        Ok(self.envelope.clone())
    }

    fn given(&self) -> Option<(&Envelope, &Decoded)> {
        Some((&self.envelope, &self.decoded))
    }
}

impl Replacement<Envelope> for NewEnvelope {
    fn event(&self) -> &Envelope {
        &self.envelope
    }
}

/// An envelope in place of an event.
pub(super) struct FromEnvelope<E> {
    pub(super) event: Arc<E>,
    pub(super) envelope: Envelope,
    pub(super) decoded: Decoded,
}

impl<E: Event> Fact for FromEnvelope<E> {
    fn contract(&self) -> (&str, u32) {
        (self.envelope.name(), self.envelope.schema_version())
    }

    fn envelope(&self, _: &Core) -> Handled<Envelope> {
        Ok(self.envelope.clone())
    }

    fn given(&self) -> Option<(&Envelope, &Decoded)> {
        Some((&self.envelope, &self.decoded))
    }
}

impl<E: Event> Replacement<E> for FromEnvelope<E> {
    fn event(&self) -> &E {
        &self.event
    }
}

/// An envelope with other content, its key and tags included, and the metadata it had.
pub(super) fn rewritten<E: Event>(envelope: &Envelope, event: &E) -> Handled<Envelope> {
    let json = serde_json::to_vec(event).map_err(|error| Failure::of(Kind::Permanent, error))?;
    let mut builder = envelope.edit().schema_version(E::INFO.version).tags(event.tags()).json(json);
    if let Some(key) = event.key() {
        builder = builder.key(key);
    }
    builder.finish().map_err(|error| Failure::of(Kind::Permanent, error))
}
