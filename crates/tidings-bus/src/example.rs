//! The events of the examples in this crate's documentation, written out as the derive macro would.

use serde::{Deserialize, Serialize};
use tidings_core::{Event, EventInfo, Field};

/// An order was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// Which one.
    pub order: String,
    /// For how much.
    pub total_cents: u64,
}

impl Event for OrderPlaced {
    const INFO: &'static EventInfo = &EventInfo {
        name: "order.placed",
        version: 1,
        fields: &[
            Field { name: "order", key: true, tag: false, redact: false },
            Field { name: "total_cents", key: false, tag: false, redact: false },
        ],
    };

    fn key(&self) -> Option<String> {
        Some(self.order.clone())
    }
}
