//! Emitting: the ways an event gets onto a [`Bus`].

use std::sync::Arc;

use tidings_core::{Envelope, Event};

use crate::{
    Bus, EmitAsync, Emitter,
    emission::{Emission, Given, Shared},
};

impl Bus {
    /// Gives the event to everyone who listens to its type, its name or a pattern its name matches; answers how many
    /// ran.
    ///
    /// Listeners in place run before this returns, in their order; asynchronous ones are handed to a runtime. Those
    /// that are added meanwhile are not called, those that are ended meanwhile neither. Nothing is allocated or cloned
    /// unless a listener needs more than a reference: those to patterns and asynchronous ones share one copy of the
    /// event, made by writing it as JSON, since it is not this function's to share. [`emit_shared`](Self::emit_shared)
    /// spares that.
    #[inline]
    pub fn emit<E: Event>(&self, event: &E) -> usize {
        self.core().emit(event, &Emission::new(self.core(), event))
    }

    /// The same for an event that is shared: listeners that need it for longer share it too.
    #[inline]
    pub fn emit_shared<E: Event>(&self, event: &Arc<E>) -> usize {
        self.core().emit(&**event, &Emission::new(self.core(), &Shared(event)))
    }

    /// Gives what is in an envelope to everyone who listens to its name or to a pattern that it matches. For typed
    /// listeners it is decoded, once for each type. Where types of several schema versions listen to a name, those of
    /// the envelope's version are called; where none has that version, all are.
    pub fn emit_envelope(&self, envelope: &Envelope) -> usize {
        self.core().emit_envelope(envelope, &Emission::new(self.core(), &Given::new(envelope)))
    }

    /// The same for an event that went to where [relays](crate::Listen::relay) lead already: they are not called, also not
    /// for what middleware makes of it.
    ///
    /// ```
    /// use tidings_bus::Bus;
    /// use tidings_core::Envelope;
    /// let bus = Bus::new();
    /// bus.listen().relay().subscribe("order.*", |placed| println!("handed on: {}", placed.id()))?.forever();
    /// let placed = Envelope::build("order.placed").finish()?;
    /// assert_eq!(bus.emit_relayed(&placed), 0);
    /// bus.subscribe("order.*", |_| ())?.forever();
    /// assert_eq!(bus.emit_relayed(&placed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn emit_relayed(&self, envelope: &Envelope) -> usize {
        self.core().emit_relayed(envelope)
    }

    /// Emits and waits for the asynchronous listeners, which run at the same time, or one after another
    /// [in series](EmitAsync::in_series).
    pub fn emit_async<E: Event>(&self, event: E) -> EmitAsync {
        self.emit_shared_async(Arc::new(event))
    }

    /// The same for an event that is shared.
    pub fn emit_shared_async<E: Event>(&self, event: Arc<E>) -> EmitAsync {
        EmitAsync::event(self.core().clone(), event)
    }

    /// The same for what is in an envelope.
    pub fn emit_envelope_async(&self, envelope: Envelope) -> EmitAsync {
        EmitAsync::envelope(self.core().clone(), envelope)
    }

    /// A handle that emits events of one type without looking anything up.
    pub fn emitter<E: Event>(&self) -> Emitter<E> {
        Emitter::new(self)
    }

    /// Waits until no asynchronous listener runs any more that was started by [`emit`](Self::emit) or its like.
    pub async fn settled(&self) {
        self.core().in_flight.settled().await;
    }
}
