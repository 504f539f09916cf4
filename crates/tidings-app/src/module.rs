//! A module: handlers that belong together, by name.

use std::sync::Arc;

use tidings_core::{Clock, Envelope, Event, EventInfo, Registration, Subscribe, View};
use tidings_flow::{Error, Flow, Operator};

use crate::flows::Begin;

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
    pub(crate) flows: Vec<Begin>,
}

impl Module {
    /// An empty module.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            registrations: Vec::new(),
            publishes: Vec::new(),
            views: Vec::new(),
            flows: Vec::new(),
        }
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

    /// Begins a flow with the application, and gives it every event on the bus that `pattern` selects. It is told the
    /// application's clock, and ends with the application: see [`App::attach`](crate::App::attach).
    ///
    /// ```
    /// use tidings_app::Module;
    /// use tidings_core::Envelope;
    /// use tidings_flow::{Debounce, Debouncing, Flow};
    /// let module = Module::new("search").flow("typing", "search.typed", |clock| {
    ///     let quiet = Debounce::<Envelope>::new(Debouncing::new())?;
    ///     Flow::of(quiet).clock(clock).start(|last| async move { println!("{}", last.name()) })
    /// });
    /// # drop(module);
    /// ```
    #[must_use]
    pub fn flow<O>(
        mut self,
        name: impl Into<String>,
        pattern: &str,
        begin: impl Fn(Arc<dyn Clock>) -> Result<Flow<O>, Error> + Send + Sync + 'static,
    ) -> Self
    where
        O: Operator<Item = Envelope> + Send + 'static,
        O::Out: Send + Sync,
    {
        self.flows.push(Begin::new(name.into(), pattern, begin));
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
