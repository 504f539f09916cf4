//! A derive of what the attribute brings already.

#[tidings::event(name = "order.placed")]
#[derive(Clone, Debug)]
struct WithDebug;

#[tidings::event(name = "order.placed")]
#[derive(serde::Serialize)]
struct WithSerialize;

fn main() {}
