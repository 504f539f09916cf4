//! Keys and tags of types that cannot be written as text.

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct OrderId(u64);

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: OrderId,
}

#[tidings::event(name = "order.paid")]
struct OrderPaid {
    #[event(tag)]
    order: Option<OrderId>,
}

fn main() {}
