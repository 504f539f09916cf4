//! What a type must say to be an event.

use serde::{Serialize, de::DeserializeOwned};

use crate::Text;

/// A fact, named in the past tense.
///
/// Written with `#[tidings::event(name = "order.placed")]`, which adds serde and a `Debug` that redacts, or with
/// `#[derive(Event)]` alone. The name is written by the author and never comes from the Rust type, so that renaming a
/// type never renames what is on disk.
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name and contract of the event.
    const INFO: &'static EventInfo;

    /// The key: events with the same key are delivered in order. `None` promises no order.
    fn key(&self) -> Option<Text> {
        None
    }

    /// Tags, as `field:value`, by which events can be asked for in reads and append conditions.
    fn tags(&self) -> Vec<Text> {
        Vec::new()
    }
}

/// What is known of an event type without having an event: enough to list, explain and lint it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventInfo {
    /// The dotted name, such as `order.placed`.
    pub name: &'static str,
    /// The schema version, from 1.
    pub version: u32,
    /// The fields, in order of declaration.
    pub fields: &'static [Field],
}

/// One field of an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Field {
    /// The name as it is serialised.
    pub name: &'static str,
    /// Whether it is the key.
    pub key: bool,
    /// Whether it is a tag.
    pub tag: bool,
    /// Whether it must never reach a log, a span, an error text or a listing.
    pub redact: bool,
}
