//! Marks that are none, twice there, or say too much.

#[tidings::event(name = "order.placed")]
struct Unknown {
    #[event(keyy)]
    order: u64,
    #[event(personal)]
    email: String,
}

#[tidings::event(name = "order.placed")]
struct Valued {
    #[event(key = "order")]
    order: u64,
    #[event(tag("customer"))]
    customer: u64,
}

#[tidings::event(name = "order.placed")]
struct Twice {
    #[event(tag)]
    #[event(tag)]
    order: u64,
}

#[tidings::event(name = "order.placed")]
struct Nothing {
    #[event]
    order: u64,
}

fn main() {}
