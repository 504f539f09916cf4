//! Events without a name.

#[tidings::event]
struct NoOptions;

#[tidings::event(version = 2)]
struct NoName;

#[derive(tidings::Event)]
struct Bare;

fn main() {}
