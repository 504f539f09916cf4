//! Inventory: what is on the shelves, and for whom it is put aside.
//!
//! It hears of goods, orders and refused payments, and says whether there is enough. It does not know who pays, or how.

use serde::{Deserialize, Serialize};
use tidings::{Cx, Envelope, Event, Failure, Handled, Module, Subscribe, View};

use super::events::{
    OrderPlaced, PaymentDeclined, StockRanShort, StockReceived, StockReleased, StockReserved,
};
use super::shop::killed_on_purpose;

/// The shelves, one document an item.
pub const SHELVES: View = View::new("shelves");

/// A shelf; every number only grows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shelf {
    /// What has arrived.
    pub received: u64,
    /// What has been put aside.
    pub reserved: u64,
    /// What of that has come back.
    pub released: u64,
}

impl Shelf {
    /// How many can still be sold.
    pub fn free(&self) -> u64 {
        (self.received + self.released).saturating_sub(self.reserved)
    }
}

/// The module.
pub fn inventory() -> Module {
    // One subscription for all three, because all three change shelves: two would make each other's reads stale.
    let shelves = keep_shelves
        .topic(StockReceived::INFO.name)
        .topic(OrderPlaced::INFO.name)
        .topic(PaymentDeclined::INFO.name)
        .durable("inventory")
        .policy(killed_on_purpose());
    Module::new("inventory")
        .on(shelves)
        .publishes::<StockReserved>()
        .publishes::<StockRanShort>()
        .publishes::<StockReleased>()
        .view(SHELVES)
}

async fn keep_shelves(event: Envelope, cx: Cx) -> Handled {
    match &**event.name() {
        "stock.received" => receive(&*event.decode()?, &cx).await,
        "order.placed" => reserve(&*event.decode()?, &cx).await,
        "payment.declined" => release(&*event.decode()?, &cx).await,
        other => Err(Failure::permanent(format!("inventory has nothing to do with {other}"))),
    }
}

async fn receive(goods: &StockReceived, cx: &Cx) -> Handled {
    cx.view(SHELVES).update(&goods.item, |shelf: &mut Shelf| shelf.received += goods.quantity).await
}

/// Puts goods aside. That the shelf was read is a condition of the commit: had it changed in between, this would run
/// again, so nothing is ever sold twice.
async fn reserve(placed: &OrderPlaced, cx: &Cx) -> Handled {
    let (order, line) = (placed.order, placed.line.clone());
    let shelf = cx.view(SHELVES).get::<Shelf>(&line.item).await?;
    let mut shelf = shelf.map(|shelf| Shelf::clone(&shelf)).unwrap_or_default();
    if shelf.free() < line.quantity {
        cx.publish(StockRanShort { order, left: shelf.free() });
        return Ok(());
    }
    shelf.reserved += line.quantity;
    cx.view(SHELVES).put(&line.item, shelf);
    cx.publish(StockReserved { order, customer: placed.customer, line });
    Ok(())
}

/// Undoes a reservation, because the order will not be paid.
async fn release(declined: &PaymentDeclined, cx: &Cx) -> Handled {
    let line = declined.line.clone();
    cx.view(SHELVES).update(&line.item, |shelf: &mut Shelf| shelf.released += line.quantity).await?;
    cx.publish(StockReleased { order: declined.order, line });
    Ok(())
}
