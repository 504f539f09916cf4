//! The events of the examples in this crate's documentation, written out as the derive macro would.

use serde::{Deserialize, Serialize};
use tidings_core::{Event, EventInfo, Field, Text};

use crate::Question;

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

    fn key(&self) -> Option<Text> {
        Some(Text::from(&self.order))
    }
}

/// The price of something was asked; it is answered in cents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceAsked {
    /// Of what.
    pub item: String,
}

impl Event for PriceAsked {
    const INFO: &'static EventInfo = &EventInfo {
        name: "price.asked",
        version: 1,
        fields: &[Field { name: "item", key: false, tag: false, redact: false }],
    };
}

impl Question for PriceAsked {
    type Answer = u64;
    type Error = NoPrice;
}

/// Why there is no price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NoPrice {
    /// Nobody sells that.
    #[error("nobody sells that")]
    UnknownItem,
}
