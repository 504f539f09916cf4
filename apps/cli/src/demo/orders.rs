//! Orders: what became of each order.
//!
//! It opens an order's document when the order is placed and closes it when others say how it ended.

use serde::{Deserialize, Serialize};
use tidings::{Cx, Envelope, Event, Failure, Handled, Module, Subscribe, View};

use super::events::{
    Line, OrderCancelled, OrderCompleted, OrderPlaced, ParcelShipped, Reason, StockRanShort, StockReleased,
};
use super::shop::killed_on_purpose;

/// The orders, one document each, to be listed by how they stand.
pub const ORDERS: View = View::new("orders").indexed(&["status"]);

/// An order as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// `open`, `shipped`, `out_of_stock` or `payment_failed`.
    pub status: String,
    /// Who ordered.
    pub customer: u64,
    /// What.
    pub line: Line,
}

/// The module.
pub fn orders() -> Module {
    // One subscription for all, so that an order's events come in their order: it is opened before it is closed.
    let follow = follow
        .topic(OrderPlaced::INFO.name)
        .topic(ParcelShipped::INFO.name)
        .topic(StockRanShort::INFO.name)
        .topic(StockReleased::INFO.name)
        .durable("orders")
        .policy(killed_on_purpose());
    Module::new("orders").on(follow).publishes::<OrderCompleted>().publishes::<OrderCancelled>().view(ORDERS)
}

async fn follow(event: Envelope, cx: Cx) -> Handled {
    match &**event.name() {
        "order.placed" => open(&*event.decode()?, &cx),
        "parcel.shipped" => complete(event.decode::<ParcelShipped>()?.order, &cx),
        "stock.ran_short" => cancel(event.decode::<StockRanShort>()?.order, Reason::OutOfStock, &cx),
        "stock.released" => cancel(event.decode::<StockReleased>()?.order, Reason::PaymentFailed, &cx),
        other => Err(Failure::permanent(format!("orders has nothing to do with {other}"))),
    }
}

fn open(placed: &OrderPlaced, cx: &Cx) -> Handled {
    let order = Order { status: "open".into(), customer: placed.customer, line: placed.line.clone() };
    cx.view(ORDERS).put(&placed.order.to_string(), order);
    Ok(())
}

fn complete(order: u64, cx: &Cx) -> Handled {
    close(order, "shipped", cx)?;
    cx.publish(OrderCompleted { order });
    Ok(())
}

fn cancel(order: u64, reason: Reason, cx: &Cx) -> Handled {
    close(order, &reason.to_string(), cx)?;
    cx.publish(OrderCancelled { order, reason });
    Ok(())
}

fn close(order: u64, status: &str, cx: &Cx) -> Handled {
    cx.view(ORDERS).merge(&order.to_string(), &serde_json::json!({ "status": status }))
}
