//! Modules: what belongs together on a bus, and comes and goes as a whole while it runs.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use tidings_core::{Failure, Handled, Text};

use crate::{Bus, Fault, Owner, registry::Registry};

/// What belongs together on a bus, by name: subscriptions, a state, and what is to be done at the end.
///
/// An application's module says before the start which handlers belong together; one on a bus is the same idea while
/// the bus runs. It is registered with [`Bus::modules`] and ends when it is unregistered, or with the bus. It owns the
/// subscriptions that are given to it, and no others: [`owned_by`](crate::Guard::owned_by) takes it as an owner.
///
/// It is a cheap handle, which keeps neither the bus nor the module's subscriptions alive. A state, or something to be
/// done at the end, that holds a handle to the bus does keep it alive, until the module is unregistered.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
/// use tidings_bus::{Bus, example::OrderPlaced};
/// let bus = Bus::new();
/// let totals = bus.modules().register("totals", |module| {
///     let total = Arc::new(AtomicU64::new(0));
///     let add = total.clone();
///     bus.on(move |placed: &OrderPlaced| drop(add.fetch_add(placed.total_cents, Ordering::Relaxed)))
///         .owned_by(module);
///     Ok(total)
/// })?;
/// bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
/// let total = totals.state::<Arc<AtomicU64>>().expect("this is its state");
/// assert_eq!(total.load(Ordering::Relaxed), 300);
/// assert!(bus.modules().unregister("totals"));
/// assert_eq!(bus.emit(&OrderPlaced { order: "4712".into(), total_cents: 300 }), 0);
/// # Ok::<(), tidings_bus::ModuleError>(())
/// ```
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    name: Text,
    owner: Owner,
    state: OnceLock<Arc<dyn Any + Send + Sync>>,
    shutdown: Mutex<Vec<Shutdown>>,
}

type Shutdown = Box<dyn FnOnce() + Send>;

/// Why a module was not registered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// There is a module with this name, or one is being set up or cleaned up.
    #[error("there is a module called {0:?} already")]
    Taken(Text),
    /// It could not be set up. What it had subscribed to has ended again.
    #[error("the module cannot be set up")]
    Setup(#[source] SetupFailure),
}

/// What a module's set-up returned, as a cause of [`ModuleError::Setup`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SetupFailure(pub Failure);

/// The modules of a bus.
#[derive(Debug, Clone, Copy)]
pub struct Modules<'a>(&'a Bus);

impl Bus {
    /// The modules of this bus.
    pub fn modules(&self) -> Modules<'_> {
        Modules(self)
    }
}

impl Modules<'_> {
    /// Registers a module under a name that no other has. `setup` gives it its subscriptions and returns its state, `()`
    /// if it has none.
    ///
    /// The module is seen by others when `setup` has succeeded. If it fails or panics, everything it had given the
    /// module is ended and the name is free again.
    ///
    /// # Errors
    /// The name is taken, or `setup` failed.
    pub fn register<S: Send + Sync + 'static>(
        &self,
        name: impl Into<Text>,
        setup: impl FnOnce(&Module) -> Handled<S>,
    ) -> Result<Module, ModuleError> {
        let module = Module(Arc::new(Inner {
            name: name.into(),
            owner: Owner::new(),
            state: OnceLock::new(),
            shutdown: Mutex::default(),
        }));
        let place = self.registry().enter(&module)?;
        let state = setup(&module).map_err(|failure| ModuleError::Setup(SetupFailure(failure)))?;
        // It is set here only.
        let _ = module.0.state.set(Arc::new(state));
        place.set_up();
        Ok(module)
    }

    /// The module of that name.
    pub fn get(&self, name: &str) -> Option<Module> {
        self.registry().get(name)
    }

    /// The names of all modules, in the order in which they were registered.
    pub fn names(&self) -> Vec<Text> {
        self.registry().names()
    }

    /// Ends a module: first its subscriptions, then what it wanted to be done at its end. Answers whether there was one.
    ///
    /// It may be called anywhere, also in a listener of the module itself. What the module is given meanwhile ends at
    /// once; other subscriptions stay. Asynchronous calls that have begun go on: [`Bus::settled`] waits for them. The
    /// name is free when this returns.
    pub fn unregister(&self, name: &str) -> bool {
        self.registry().leave(name)
    }

    fn registry(&self) -> &Registry {
        &self.0.core().modules
    }
}

impl Module {
    /// The name it is registered under.
    pub fn name(&self) -> &Text {
        &self.0.name
    }

    /// The state that its set-up returned, if it is of this type; none while it is being set up.
    pub fn state<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        self.0.state.get()?.clone().downcast().ok()
    }

    /// How many subscriptions it has that have not ended by themselves.
    pub fn count(&self) -> usize {
        self.0.owner.count()
    }

    /// Wants something to be done at the end, when its subscriptions have ended: once, the latest wanted first. If it
    /// panics, that is logged and the rest is done.
    pub fn on_shutdown(&self, shutdown: impl FnOnce() + Send + 'static) {
        self.0.shutdown.lock().push(Box::new(shutdown));
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Ends it. The registry decides that this happens once.
    pub(crate) fn end(&self) {
        self.0.owner.end();
        loop {
            // Taken out first: it may want more to be done, and does so without the lock.
            let Some(shutdown) = self.0.shutdown.lock().pop() else { return };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(shutdown)) {
                let (module, fault) = (self.name(), Fault::panicked(payload));
                tracing::error!(%module, %fault, "a module's shutdown failed");
            }
        }
    }
}

impl AsRef<Owner> for Module {
    fn as_ref(&self) -> &Owner {
        &self.0.owner
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("name", self.name()).field("subscriptions", &self.count()).finish()
    }
}
