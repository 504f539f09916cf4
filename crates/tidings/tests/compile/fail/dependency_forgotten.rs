//! A handler with a dependency that was not given.

use tidings::{Cx, Handled, On, Subscribe};

#[tidings::event(name = "order.placed")]
struct OrderPlaced;

#[derive(Clone)]
struct Mailer;

async fn send(_: Mailer, _: On<OrderPlaced>, _: Cx) -> Handled {
    Ok(())
}

fn register<Shape>(_: impl Subscribe<Shape>) {}

fn main() {
    register(send);
}
