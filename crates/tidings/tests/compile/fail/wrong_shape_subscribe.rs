//! Functions that are no handlers, given to what takes handlers.

use tidings::{Cx, Handled, On, Subscribe};

#[tidings::event(name = "order.placed")]
struct OrderPlaced;

fn register<Shape>(_: impl Subscribe<Shape>) {}

async fn by_value(_: OrderPlaced, _: Cx) -> Handled {
    Ok(())
}

async fn returns_nothing(_: On<OrderPlaced>, _: Cx) {}

fn three(_: &OrderPlaced, _: u8, _: u8) {}

fn main() {
    register(by_value);
    register(returns_nothing);
    register(three);
    register("no function");
}
