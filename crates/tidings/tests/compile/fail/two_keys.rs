//! Two fields marked as key.

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: u64,
    #[event(key)]
    customer: u64,
}

#[derive(tidings::Event)]
#[event(name = "order.paid")]
struct OrderPaid(#[event(key)] u64, #[event(tag, key)] u64);

fn main() {}
