//! What cannot be an event.

#[tidings::event(name = "order.placed")]
struct Generic<T> {
    order: T,
}

#[tidings::event(name = "order.placed")]
struct Borrowed<'a> {
    order: &'a str,
}

#[tidings::event(name = "order.placed")]
union Union {
    order: u64,
}

#[tidings::event(name = "order.placed")]
fn function() {}

#[tidings::event(name = "order.moved")]
enum MarkedField {
    Sent {
        #[event(key)]
        order: u64,
    },
}

#[tidings::event(name = "order.moved")]
enum MarkedVariant {
    #[event(tag)]
    Sent,
}

fn main() {}
