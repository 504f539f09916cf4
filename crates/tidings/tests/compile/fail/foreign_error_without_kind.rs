//! `?` on a foreign error, without saying whether trying again can help.

use tidings::{Cx, Handled, On};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    total: String,
}

async fn bill(placed: On<OrderPlaced>, _: Cx) -> Handled {
    let _cents: u64 = placed.total.parse::<u64>()?;
    Ok(())
}

fn main() {
    let _ = bill;
}
