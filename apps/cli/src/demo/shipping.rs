//! Shipping: sends what is paid.
//!
//! It hears of payments and says that a parcel left. Its view only counts, so it never reads: `add` is carried out by
//! the store, and parcels of the same item do not get into each other's way.

use tidings::{Cx, Handled, Module, On, OrFail, Subscribe, View};

use super::events::{ParcelShipped, PaymentCharged};
use super::shop::killed_on_purpose;

/// What has been sent, one document an item.
pub const PARCELS: View = View::new("parcels");

/// The module.
pub fn shipping() -> Module {
    let ship = ship.durable("shipping").policy(killed_on_purpose());
    Module::new("shipping").on(ship).publishes::<ParcelShipped>().view(PARCELS)
}

async fn ship(charged: On<PaymentCharged>, cx: Cx) -> Handled {
    let (order, line) = (charged.order, charged.line.clone());
    let units = i64::try_from(line.quantity).permanent()?;
    let parcels = cx.view(PARCELS);
    parcels.add(&line.item, "parcels", 1);
    parcels.add(&line.item, "units", units);
    cx.publish(ParcelShipped { order, line });
    Ok(())
}
