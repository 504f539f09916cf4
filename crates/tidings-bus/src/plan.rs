//! Plans: who is called for an event, in order, as an immutable list.
//!
//! A plan is made when an event is emitted and there is none, and is thrown away when the listeners change, so that
//! registering a hundred thousand listeners copies nothing and emitting takes no lock.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::{ArcSwapOption, Guard};

use crate::{Fault, emission::Emission, hear::Hear};

/// An immutable list of listeners.
pub(crate) struct Plan<T: ?Sized> {
    outdated: AtomicBool,
    listeners: Box<[Arc<dyn Hear<T>>]>,
}

impl<T: ?Sized> Plan<T> {
    pub(crate) fn new(listeners: Box<[Arc<dyn Hear<T>>]>) -> Self {
        Self { outdated: AtomicBool::new(false), listeners }
    }

    /// Whether the listeners are still these. For those who keep a plan.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        !self.outdated.load(Ordering::Acquire)
    }

    /// Calls every listener; answers how many ran. One that panics ran, and stops nobody.
    #[inline]
    pub(crate) fn run(&self, event: &T, emission: &Emission<'_>) -> usize {
        let mut heard = 0;
        for listener in &self.listeners {
            // Nothing of ours is left half-changed by a panic in a listener: an emission only fills cells.
            match catch_unwind(AssertUnwindSafe(|| listener.hear(event, emission))) {
                Ok(ran) => heard += usize::from(ran),
                Err(payload) => {
                    emission.failed(listener.about(), Fault::panicked(payload));
                    heard += 1;
                }
            }
        }
        heard
    }
}

/// Where the plan of one event type stands. There is one of these a type and bus, and it never goes away.
pub(crate) struct Slot<T: ?Sized> {
    plan: ArcSwapOption<Plan<T>>,
}

impl<T: ?Sized> Slot<T> {
    pub(crate) fn new() -> Self {
        Self { plan: ArcSwapOption::empty() }
    }

    /// The plan, if there is one.
    #[inline]
    pub(crate) fn load(&self) -> Guard<Option<Arc<Plan<T>>>> {
        self.plan.load()
    }

    /// The plan, if there is one, to keep.
    pub(crate) fn load_full(&self) -> Option<Arc<Plan<T>>> {
        self.plan.load_full()
    }

    /// Puts a plan into an empty slot. Only under the bus's lock.
    pub(crate) fn fill(&self, plan: Arc<Plan<T>>) {
        self.plan.store(Some(plan));
    }
}

/// Something that holds a plan and can be told to forget it.
pub(crate) trait Forget: Send + Sync {
    /// Empties it. Only under the bus's lock. What it answers is to be dropped after the lock has been released, for
    /// it may be the last to hold a listener, whose captured values may do anything when they are dropped.
    fn forget(&self) -> Option<Box<dyn Held>>;
}

impl<T: ?Sized + 'static> Forget for Slot<T> {
    fn forget(&self) -> Option<Box<dyn Held>> {
        let plan = self.plan.swap(None)?;
        plan.outdated.store(true, Ordering::Release);
        Some(Box::new(plan))
    }
}

/// Anything that is only kept to be dropped later.
pub(crate) trait Held: Send + Sync {}

impl<T: ?Sized + Send + Sync> Held for T {}

/// What is taken out under the bus's lock, to be dropped after it.
#[derive(Default)]
pub(crate) struct Waste(Vec<Box<dyn Held>>);

impl Waste {
    pub(crate) fn put(&mut self, held: Box<dyn Held>) {
        self.0.push(held);
    }

    pub(crate) fn forget(&mut self, slot: &dyn Forget) {
        self.0.extend(slot.forget());
    }
}
