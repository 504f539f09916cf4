//! Events decoded from an envelope, each type once.

use std::{
    any::{Any, TypeId},
    cell::OnceCell,
    sync::Arc,
};

use tidings_core::{Envelope, Event, Failure, Handled};

/// Events decoded from one envelope: one place for each type that listens, nearly always a single one.
#[derive(Default)]
pub(crate) struct Decoded {
    first: OnceCell<(TypeId, Handled<Arc<dyn Any + Send + Sync>>)>,
    others: OnceCell<Box<Self>>,
}

impl Decoded {
    /// Spares decoding what is there.
    pub(crate) fn put<E: Event>(&self, event: Arc<E>) {
        // Where something is already, it was decoded from the same.
        let _ = self.first.set((TypeId::of::<E>(), Ok(event)));
    }

    pub(crate) fn get<E: Event>(&self, envelope: &Envelope) -> Result<&Arc<dyn Any + Send + Sync>, &Failure> {
        let mut place = self;
        loop {
            let (id, event) = place.first.get_or_init(|| {
                (TypeId::of::<E>(), envelope.decode::<E>().map(|event| event as Arc<dyn Any + Send + Sync>))
            });
            if *id == TypeId::of::<E>() {
                return event.as_ref();
            }
            place = place.others.get_or_init(Box::default);
        }
    }
}
