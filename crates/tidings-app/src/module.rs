//! A module: handlers that belong together, by name.

use tidings_core::{Event, EventInfo, Registration, Subscribe, View};

/// Handlers that belong together. Modules know each other's events, and nothing else of each other.
///
/// ```
/// use tidings_app::Module;
/// use tidings_core::{Cx, Envelope, Handled, Subscribe, View};
/// const ORDERS: View = View::new("orders");
/// async fn audit(any: Envelope, cx: Cx) -> Handled { Ok(()) }
/// let orders = Module::new("orders").on(audit.topic("order.**").durable("audit")).view(ORDERS);
/// assert_eq!(orders.name(), "orders");
/// ```
#[derive(Clone)]
pub struct Module {
    pub(crate) name: String,
    pub(crate) registrations: Vec<Registration>,
    pub(crate) publishes: Vec<&'static EventInfo>,
    pub(crate) views: Vec<View>,
}

impl Module {
    /// An empty module.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), registrations: Vec::new(), publishes: Vec::new(), views: Vec::new() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Registers a handler: on the bus, unless it says `.durable("…")`.
    #[must_use]
    pub fn on<Shape>(mut self, handler: impl Subscribe<Shape>) -> Self {
        self.registrations.push(handler.registration());
        self
    }

    /// Declares an event the module publishes, so that it is listed and linted.
    #[must_use]
    pub fn publishes<E: Event>(mut self) -> Self {
        self.publishes.push(E::INFO);
        self
    }

    /// Declares a view the module keeps, so that it is listed.
    #[must_use]
    pub fn view(mut self, view: View) -> Self {
        self.views.push(view);
        self
    }
}
