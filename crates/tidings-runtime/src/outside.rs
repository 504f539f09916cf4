//! What a call of a handler reaches outside the memory of the process: documents, the store, the bus.
//!
//! The runtime knows neither store nor bus; the application gives it this.

use std::sync::Arc;

use tidings_core::{BoxFuture, Effects, Envelope, Failure, GivenUp, Handled, Subscriber, Text};

/// What became of what a handler asked for.
#[derive(Debug, Clone)]
pub enum Carried {
    /// It is done: durable, where there is a store.
    Done,
    /// A document it had read was changed meanwhile; nothing was done, and the handler runs again on fresh reads.
    Conflict,
    /// It could not be done.
    Failed(Failure),
    /// It is refused for what it asks, and nothing of it was done: of several together, some by themselves may be.
    Refused(Failure),
}

/// What the application does for handlers.
pub trait Outside: Send + Sync + 'static {
    /// For whom a handler of this name is called, with the documents of this tenant.
    fn subscriber(&self, name: &Text, tenant: Option<&Text>) -> Arc<Subscriber>;

    /// Does what a handler asked for while it handled `cause`, all or nothing. Not called when it asked for nothing.
    fn carry_out(&self, cause: &Envelope, effects: Effects) -> BoxFuture<'static, Carried>;

    /// Keeps a delivery that was given up.
    fn keep(&self, given_up: GivenUp) -> BoxFuture<'static, Handled>;
}
