//! A handler of a type that is no event.

use tidings::{Cx, Handled, On, Subscribe};

struct NotAnEvent;

async fn handle(_: On<NotAnEvent>, _: Cx) -> Handled {
    Ok(())
}

fn register<Shape>(_: impl Subscribe<Shape>) {}

fn main() {
    register(handle);
}
