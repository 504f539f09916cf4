//! The words of the shop: everything its four modules know of each other.
//!
//! ```text
//!   order.placed ──▶ stock.reserved ──▶ payment.charged ──▶ parcel.shipped ──▶ order.completed
//!        │                  └─────────▶ payment.declined ─▶ stock.released ──▶ order.cancelled
//!        └─────────▶ stock.ran_short ────────────────────────────────────────▶ order.cancelled
//! ```
//! An event carries what its readers need, so that no module has to ask another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an order is about; it travels with the order's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What is bought, such as `mug-red`.
    pub item: String,
    /// How many of it.
    pub quantity: u64,
    /// What one of it costs.
    pub price_cents: u64,
}

/// Why an order came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There was not enough of it.
    OutOfStock,
    /// The customer's bank said no.
    PaymentFailed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfStock => "out_of_stock",
            Self::PaymentFailed => "payment_failed",
        })
    }
}

/// The shop opened: the first event of a demo's store, by which it is known again.
#[tidings::event(name = "shop.opened")]
pub struct ShopOpened {
    /// How many orders will be placed.
    pub orders: u64,
    /// What all chance is drawn from.
    pub seed: u64,
}

/// Goods arrived.
#[tidings::event(name = "stock.received")]
pub struct StockReceived {
    /// What.
    #[event(key)]
    pub item: String,
    /// How many.
    pub quantity: u64,
}

/// A customer ordered something.
#[tidings::event(name = "order.placed")]
pub struct OrderPlaced {
    /// Its number.
    #[event(key)]
    pub order: u64,
    /// Who ordered.
    #[event(tag)]
    pub customer: u64,
    /// What.
    pub line: Line,
}

/// The goods of an order were put aside.
#[tidings::event(name = "stock.reserved")]
pub struct StockReserved {
    /// The order's number.
    #[event(key)]
    pub order: u64,
    /// Who will pay.
    pub customer: u64,
    /// What was put aside.
    pub line: Line,
}

/// There was not enough for an order.
#[tidings::event(name = "stock.ran_short")]
pub struct StockRanShort {
    /// The order's number.
    #[event(key)]
    pub order: u64,
    /// How many were left.
    pub left: u64,
}

/// Goods that had been put aside went back onto their shelf.
#[tidings::event(name = "stock.released")]
pub struct StockReleased {
    /// The order's number.
    #[event(key)]
    pub order: u64,
    /// What went back.
    pub line: Line,
}

/// An order was paid.
#[tidings::event(name = "payment.charged")]
pub struct PaymentCharged {
    /// The order's number.
    #[event(key)]
    pub order: u64,
    /// How much.
    pub cents: u64,
    /// For what.
    pub line: Line,
}

/// The customer's bank said no.
#[tidings::event(name = "payment.declined")]
pub struct PaymentDeclined {
    /// The order's number.
    #[event(key)]
    pub order: u64,
    /// How much was asked for.
    pub cents: u64,
    /// For what.
    pub line: Line,
}

/// A parcel left the house.
#[tidings::event(name = "parcel.shipped")]
pub struct ParcelShipped {
    /// The order's number.
    #[event(key)]
    pub order: u64,
    /// What is in it.
    pub line: Line,
}

/// An order came to a good end.
#[tidings::event(name = "order.completed")]
pub struct OrderCompleted {
    /// Its number.
    #[event(key)]
    pub order: u64,
}

/// An order came to nothing.
#[tidings::event(name = "order.cancelled")]
pub struct OrderCancelled {
    /// Its number.
    #[event(key)]
    pub order: u64,
    /// Why.
    pub reason: Reason,
}
