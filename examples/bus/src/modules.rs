//! How do the parts of a program talk over one bus without knowing each other, and how does one leave while it runs?
//!
//! Two shops, each in a namespace of its own, use the same events. Prices are answered by a module, orders are counted by
//! another; both are registered by name and taken out again.
//!
//! ```text
//!   main ──request──▶ eu.price.asked ──▶ module "prices" ──reply──▶ main
//!        ──emit─────▶ eu.order.placed ─▶ module "ledger"      ┐
//!        ──emit─────▶ us.order.placed ─▶ module "ledger"      ┴─ eu.** and us.** ─▶ the log
//! ```
//! `cargo run -p bus --bin bus-modules`

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};
use tidings::bus::{Bus, Module, ModuleError, Namespace, Question, RequestError};

/// An order was placed.
#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    item: String,
    cents: u64,
}

/// The price of something was asked; it is answered in cents.
#[tidings::event(name = "price.asked")]
struct PriceAsked {
    item: String,
}

impl Question for PriceAsked {
    type Answer = u64;
    type Error = NoPrice;
}

/// Why there is no price.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum NoPrice {
    UnknownItem,
}

/// What the ledger keeps: the turnover in cents.
#[derive(Default)]
struct Turnover(AtomicU64);

/// Answers what things cost in one shop.
fn prices(shop: &Namespace) -> Result<Module, ModuleError> {
    shop.bus().modules().register("prices", |module| {
        let price = |asked: &PriceAsked| match asked.item.as_str() {
            "tea" => Ok(450),
            "cup" => Ok(1_200),
            _ => Err(NoPrice::UnknownItem),
        };
        shop.respond(price).owned_by(module);
        module.on_shutdown(|| println!("prices: closed"));
        Ok(())
    })
}

/// Adds up what is ordered in all shops.
fn ledger(shops: &[Namespace]) -> Result<Module, ModuleError> {
    let turnover = Arc::new(Turnover::default());
    let [first, ..] = shops else { unreachable!("there are two shops") };
    first.bus().modules().register("ledger", |module| {
        for shop in shops {
            let turnover = turnover.clone();
            shop.on(move |placed: &OrderPlaced| {
                turnover.0.fetch_add(placed.cents, Ordering::Relaxed);
            })
            .owned_by(module);
        }
        Ok(turnover.clone())
    })
}

/// Asks for the price, and orders where there is one.
async fn order(shop: &Namespace, item: &str) {
    match shop.request(PriceAsked { item: item.into() }).await {
        Ok(cents) => {
            let heard = shop.emit(&OrderPlaced { item: item.into(), cents });
            println!("{item} in {}: {cents} cents, heard by {heard}", shop.prefix());
        }
        Err(RequestError::Refused(NoPrice::UnknownItem)) => println!("{item} in {}: not sold", shop.prefix()),
        Err(RequestError::Unheard) => println!("{item} in {}: nobody knows prices here", shop.prefix()),
        Err(error) => println!("{item} in {}: {error}", shop.prefix()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let bus = Bus::new();
    let (eu, us) = (bus.namespace("eu")?, bus.namespace("us")?);
    for shop in [&eu, &us] {
        shop.subscribe("order.*", |any| println!("log: {}", any.name()))?.forever();
    }

    let module = ledger(&[eu.clone(), us.clone()])?;
    prices(&eu)?;
    println!("modules: {}", bus.modules().names().join(", "));
    match prices(&us) {
        Err(ModuleError::Taken(name)) => println!("refused: there is a module called {name} already"),
        other => println!("unexpected: {other:?}"),
    }

    order(&eu, "tea").await;
    order(&eu, "sea").await;
    order(&us, "tea").await;
    println!("emitted in us: heard by {}", us.emit(&OrderPlaced { item: "cup".into(), cents: 1_200 }));
    let turnover = module.state::<Arc<Turnover>>().context("the ledger keeps it")?;
    println!("turnover: {} cents", turnover.0.load(Ordering::Relaxed));

    bus.modules().unregister("prices");
    order(&eu, "tea").await;
    println!("removed from us: {} subscriptions", us.remove_all());
    println!("still there: {}", bus.names().join(", "));
    Ok(())
}
