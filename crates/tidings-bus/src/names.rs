//! Typed listeners, by the name of their event.
//!
//! Several types may share a name: two versions of a contract side by side, or two modules that each declare the part
//! of an event they need. A type in Rust is only a view; the name is the event.

use std::{any::Any, sync::Arc};

use tidings_core::{Envelope, Event};

use crate::{
    about::About,
    few::Few,
    hear::{Decoding, Hear},
    plan::{Forget, Waste},
    rank::Rank,
};

/// A typed listener whose type has been forgotten.
pub(crate) trait Member: Send + Sync {
    fn about(&self) -> &About;

    /// The schema version its type stands for.
    fn version(&self) -> u32;

    /// The `Arc<dyn Hear<E>>` it is.
    fn typed(&self) -> &dyn Any;

    /// As a listener to envelopes, where there are listeners for these versions.
    fn enveloped(&self, versions: &Arc<[u32]>) -> Arc<dyn Hear<Envelope>>;
}

/// A listener to events of type `E`.
pub(crate) struct Typed<E>(pub(crate) Arc<dyn Hear<E>>);

impl<E: Event> Member for Typed<E> {
    fn about(&self) -> &About {
        self.0.about()
    }

    fn version(&self) -> u32 {
        E::INFO.version
    }

    fn typed(&self) -> &dyn Any {
        &self.0
    }

    fn enveloped(&self, versions: &Arc<[u32]>) -> Arc<dyn Hear<Envelope>> {
        Arc::new(Decoding { listener: self.0.clone(), versions: versions.clone() })
    }
}

/// Everything under one name.
#[derive(Default)]
pub(crate) struct Named {
    members: Few<Rank, Arc<dyn Member>>,
    /// Of the types with this name that were ever emitted or listened to.
    slots: Vec<Arc<dyn Forget>>,
    /// At how many members to look for those that have lost their target; twice what was left the last time, so that
    /// looking costs each member a constant.
    sweep_at: usize,
}

/// Below this many members nobody looks for lost ones: they cost less than looking.
const SWEEP_AT_LEAST: usize = 16;

impl Named {
    pub(crate) fn add_slot(&mut self, slot: Arc<dyn Forget>) {
        self.slots.push(slot);
    }

    pub(crate) fn insert(&mut self, member: Arc<dyn Member>, waste: &mut Waste) {
        if self.members.len() >= self.sweep_at.max(SWEEP_AT_LEAST) {
            self.sweep(waste);
        }
        self.members.entry(member.about().rank(), || member);
    }

    fn sweep(&mut self, waste: &mut Waste) {
        let orphans = self.members.iter().filter(|(_, member)| member.about().is_orphaned());
        for rank in orphans.map(|(rank, _)| *rank).collect::<Vec<_>>() {
            if let Some(orphan) = self.members.remove(&rank) {
                orphan.about().end();
                waste.put(Box::new(orphan));
            }
        }
        self.sweep_at = self.members.len() * 2;
    }

    pub(crate) fn remove(&mut self, rank: Rank) -> Option<Arc<dyn Member>> {
        self.members.remove(&rank)
    }

    /// Whether nothing is known under the name.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.slots.is_empty()
    }

    pub(crate) fn get(&self, rank: Rank) -> Option<&Arc<dyn Member>> {
        self.members.get(&rank)
    }

    pub(crate) fn take_members(&mut self) -> impl Iterator<Item = Arc<dyn Member>> {
        std::mem::take(&mut self.members).into_values()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<dyn Member>> {
        self.members.iter().map(|(_, member)| member)
    }

    /// How many members there are, also of those that have lost their target.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// How many members would be called.
    pub(crate) fn count(&self) -> usize {
        self.members().filter(|member| member.about().is_live()).count()
    }

    /// Throws away the plans of the types of this name.
    pub(crate) fn forget(&self, waste: &mut Waste) {
        for slot in &self.slots {
            waste.forget(&**slot);
        }
    }

    /// The schema versions for which there are listeners.
    pub(crate) fn versions(&self) -> Arc<[u32]> {
        let mut versions: Vec<u32> = self.members().map(|member| member.version()).collect();
        versions.sort_unstable();
        versions.dedup();
        versions.into()
    }
}
