//! The fastest way to emit.

use std::{cell::Cell, fmt, sync::Arc};

use tidings_core::Event;

use crate::{
    Bus, EmitAsync,
    core::Core,
    emission::{Emission, Shared},
    plan::{Plan, Slot},
};

/// Emits events of one type without looking anything up: a handle for hot paths.
///
/// It keeps the list of listeners it last saw, and asks for a new one when that is outdated. Therefore it is `Send` but
/// not `Sync`: give each thread a clone; what is shared between threads uses [`Bus::emit`]. And therefore a listener
/// that has ended, though it is never called again, is dropped (with what it captured) only when this handle is next
/// used or dropped.
///
/// ```
/// use tidings_bus::{Bus, example::OrderPlaced};
/// let bus = Bus::new();
/// let emitter = bus.emitter::<OrderPlaced>();
/// let placed = OrderPlaced { order: "4711".into(), total_cents: 300 };
/// assert_eq!(emitter.emit(&placed), 0);
/// let guard = bus.on(|_: &OrderPlaced| ());
/// assert_eq!(emitter.emit(&placed), 1);
/// # drop(guard);
/// ```
pub struct Emitter<E: Event> {
    core: Arc<Core>,
    slot: Arc<Slot<E>>,
    kept: Cell<Option<Arc<Plan<E>>>>,
}

impl<E: Event> Emitter<E> {
    pub(crate) fn new(bus: &Bus) -> Self {
        let core = bus.core().clone();
        let slot = core.slot::<E>();
        Self { core, slot, kept: Cell::new(None) }
    }

    /// As [`Bus::emit`].
    #[inline]
    pub fn emit(&self, event: &E) -> usize {
        self.run(event, &Emission::new(&self.core, event))
    }

    /// As [`Bus::emit_shared`].
    #[inline]
    pub fn emit_shared(&self, event: &Arc<E>) -> usize {
        self.run(event, &Emission::new(&self.core, &Shared(event)))
    }

    /// As [`Bus::emit_async`].
    pub fn emit_async(&self, event: E) -> EmitAsync {
        EmitAsync::event(self.core.clone(), Arc::new(event))
    }

    #[inline]
    fn run(&self, event: &E, emission: &Emission<'_>) -> usize {
        // It is taken, not borrowed: a listener may emit with this handle, and then finds none and asks for one.
        let plan = match self.kept.take() {
            Some(plan) if plan.is_current() => plan,
            outdated => self.renewed(outdated),
        };
        let heard = plan.run(event, emission);
        if let Some(nested) = self.kept.replace(Some(plan)) {
            discard(nested);
        }
        heard
    }

    #[cold]
    #[inline(never)]
    fn renewed(&self, outdated: Option<Arc<Plan<E>>>) -> Arc<Plan<E>> {
        drop(outdated);
        self.slot.load_full().unwrap_or_else(|| self.core.plan::<E>())
    }
}

/// Apart, because what it takes to drop a plan would stand in the way of every emission.
#[cold]
#[inline(never)]
fn discard<E: Event>(plan: Arc<Plan<E>>) {
    drop(plan);
}

impl<E: Event> Clone for Emitter<E> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), slot: self.slot.clone(), kept: Cell::new(None) }
    }
}

impl<E: Event> fmt::Debug for Emitter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Emitter({})", E::INFO.name)
    }
}
