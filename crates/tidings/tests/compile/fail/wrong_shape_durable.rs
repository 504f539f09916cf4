//! A function that is no handler, put behind a durable subscription.

use tidings::{Handled, On, Subscribe};

#[tidings::event(name = "order.placed")]
struct OrderPlaced;

async fn without_context(_: On<OrderPlaced>) -> Handled {
    Ok(())
}

fn main() {
    let _ = without_context.durable("billing");
}
