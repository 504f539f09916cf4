//! Names that are no topics.

#[tidings::event(name = "")]
struct Empty;

#[tidings::event(name = "order..placed")]
struct EmptySegment;

#[tidings::event(name = "order.*")]
struct Pattern;

#[tidings::event(name = "order placed")]
struct WhiteSpace;

#[tidings::event(name = 5)]
struct Number;

#[derive(tidings::Event)]
#[event(name = ".placed")]
struct Bare;

fn main() {}
