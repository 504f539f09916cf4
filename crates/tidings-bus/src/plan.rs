//! Plans: who is called for an event, in order, as an immutable list.
//!
//! A plan is made when an event is emitted and there is none, and is thrown away when the listeners change, so that
//! registering a hundred thousand listeners copies nothing and emitting takes no lock.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    Fault,
    about::About,
    around::Around,
    emission::Emission,
    hear::Hear,
    sync::{ArcSwapOption, AtomicBool, Loaded, Ordering},
};

/// An immutable list of listeners.
pub(crate) struct Plan<T: ?Sized> {
    outdated: AtomicBool,
    /// Nothing where there is an `around`, which then has them.
    listeners: List<T>,
    around: Option<Box<Around<T>>>,
    /// Whether nobody is called for what relays need not be given.
    only_relays: bool,
}

/// Listeners in order. Most lists have one, and then it lies in the plan: emitting waits for memory once less.
enum List<T: ?Sized> {
    One(Arc<dyn Hear<T>>),
    Many(Box<[Arc<dyn Hear<T>>]>),
}

impl<T: ?Sized> List<T> {
    fn of(listeners: Box<[Arc<dyn Hear<T>>]>) -> Self {
        match <[_; 1]>::try_from(listeners.into_vec()) {
            Ok([only]) => Self::One(only),
            Err(listeners) => Self::Many(listeners.into()),
        }
    }

    #[inline]
    fn as_slice(&self) -> &[Arc<dyn Hear<T>>] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(listeners) => listeners,
        }
    }
}

impl<T: ?Sized> Plan<T> {
    pub(crate) fn new(listeners: Box<[Arc<dyn Hear<T>>]>) -> Self {
        let only_relays = listeners.iter().all(|listener| listener.about().is_relay());
        let listeners = List::of(listeners);
        Self { outdated: AtomicBool::new(false), listeners, around: None, only_relays }
    }

    /// A plan that does more than call listeners.
    pub(crate) fn around(around: Around<T>) -> Self {
        let (listeners, around) = (List::Many(Box::new([]) as Box<[_]>), Some(Box::new(around)));
        Self { outdated: AtomicBool::new(false), listeners, around, only_relays: false }
    }

    /// Whether there is nothing to be done for what went to where relays lead already.
    pub(crate) fn has_only_relays(&self) -> bool {
        self.only_relays
    }

    /// Whether the listeners are still these.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        !self.outdated.load(Ordering::Acquire)
    }

    /// Whether nobody listens, and nothing stands around those who would.
    pub(crate) fn is_empty(&self) -> bool {
        self.listeners.as_slice().is_empty() && self.around.is_none()
    }

    /// Whether it only calls listeners.
    pub(crate) fn is_plain(&self) -> bool {
        self.around.is_none()
    }

    /// Who listens, in order.
    pub(crate) fn abouts(&self) -> impl Iterator<Item = &About> {
        self.all().iter().map(|listener| listener.about())
    }

    /// Says that the listeners have changed. Only under the bus's lock, and before whoever changed them goes on.
    pub(crate) fn outdate(&self) {
        self.outdated.store(true, Ordering::Release);
    }

    /// Calls every listener; answers how many ran. One that panics ran, and stops nobody.
    #[inline(always)]
    pub(crate) fn run(&self, event: &T, emission: &Emission<'_>) -> usize {
        // Most events have one listener, and then a loop is a good part of the whole. It cannot have ended since the plan
        // was taken, but on another thread, and there the call may as well have begun before.
        let List::One(only) = &self.listeners else { return self.run_all(event, emission) };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| only.hear(event, emission))) {
            emission.failed(only.about(), Fault::panicked(payload));
        }
        1 - emission.passed_over()
    }

    #[inline(never)]
    fn run_all(&self, event: &T, emission: &Emission<'_>) -> usize {
        match &self.around {
            None => self.call_all(self.listeners.as_slice(), event, emission),
            Some(around) => around.run(self, event, emission),
        }
    }

    /// Calls every listener, and does nothing else that stands around them.
    pub(crate) fn call(&self, event: &T, emission: &Emission<'_>) -> usize {
        self.call_all(self.all(), event, emission)
    }

    fn all(&self) -> &[Arc<dyn Hear<T>>] {
        self.around.as_ref().map_or(self.listeners.as_slice(), |around| &around.listeners)
    }

    /// Calls each of these listeners, which are those of this plan; answers how many ran.
    #[inline(always)]
    pub(crate) fn call_all(
        &self,
        listeners: &[Arc<dyn Hear<T>>],
        event: &T,
        emission: &Emission<'_>,
    ) -> usize {
        let mut rest = listeners.iter();
        loop {
            // One catch for all calls, not one for each: it goes on behind the listener that panicked. Nothing of ours
            // is left half-changed by that, for an emission only fills cells.
            let caught = catch_unwind(AssertUnwindSafe(|| {
                for listener in rest.by_ref() {
                    // A listener that ends outdates the plans it is in. So most need not be looked at, which would cost
                    // a line of the processor's cache for each; this is always the same one.
                    if self.is_current() || is_live(&**listener) {
                        listener.hear(event, emission);
                    } else {
                        emission.pass_over();
                    }
                }
            }));
            let Err(payload) = caught else {
                return listeners.len() - emission.passed_over();
            };
            let called = listeners.len() - rest.len();
            if let Some(listener) = listeners.get(called.saturating_sub(1)) {
                emission.failed(listener.about(), Fault::panicked(payload));
            }
        }
    }
}

#[cold]
#[inline(never)]
fn is_live<T: ?Sized>(listener: &dyn Hear<T>) -> bool {
    !listener.about().is_ended()
}

/// Something that holds a plan and lives as long as that is used.
pub(crate) trait HasPlan<T: ?Sized>: Send + Sync {
    fn plan(&self) -> &Plan<T>;
}

impl<T: ?Sized> HasPlan<T> for Plan<T> {
    fn plan(&self) -> &Plan<T> {
        self
    }
}

/// The plan as it is now, in whatever holds it.
pub(crate) type Current<T> = Arc<dyn HasPlan<T>>;

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
    pub(crate) fn load(&self) -> Loaded<Plan<T>> {
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
        plan.outdate();
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
