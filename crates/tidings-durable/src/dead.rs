//! Where dead letters are kept in a store: documents, a namespace a handler.

pub use tidings_core::DeadLetter;
use tidings_core::Text;

/// Where the dead letters of a handler are kept: of a durable subscription by its name.
pub fn dead_namespace(handler: &str) -> Text {
    Text::from(format!("{DEAD_PREFIX}{handler}"))
}

/// Namespaces of dead letters begin with this; it is also the queue of those that are due to be replayed.
pub const DEAD_PREFIX: &str = "$dead/";

/// Where handlers that have, or had, dead letters and are no durable subscriptions are noted, one document each.
pub const DEAD_HANDLERS: &str = "$dead-handlers";

/// The top-level fields of a dead letter it can be listed by.
pub const DEAD_FIELDS: [&str; 4] = ["destination", "key", "name", "reason"];
