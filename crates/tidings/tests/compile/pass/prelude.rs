//! The macros under the names the prelude gives them: as attribute, as derive, and as both in one module.

use tidings::prelude::*;

#[event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: u64,
}

#[derive(Debug, serde::Serialize, serde::Deserialize, Event)]
#[event(name = "order.paid")]
struct OrderPaid {
    #[event(key)]
    order: u64,
}

fn main() {
    assert_eq!(OrderPlaced { order: 1 }.key(), OrderPaid { order: 1 }.key());
}
