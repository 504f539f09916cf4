//! Options that are none, or have values that are none.

#[tidings::event(name = "order.placed", version = 0)]
struct VersionZero;

#[tidings::event(name = "order.placed", version = "2")]
struct VersionText;

#[tidings::event(name = "order.placed", version = 4294967296)]
struct VersionTooLarge;

#[tidings::event(name = "order.placed", name = "order.paid")]
struct TwoNames;

#[tidings::event(name = "order.placed", verison = 2)]
struct Misspelt;

#[tidings::event(name = "order.placed", key)]
struct MarkAsOption;

#[tidings::event("order.placed")]
struct NoOptionName;

#[tidings::event(name = "order.placed")]
#[event(version = 2)]
struct InTwoPlaces;

fn main() {}
