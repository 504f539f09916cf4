//! What changes when a handler moves from the bus to workers to a durable subscription?
//!
//! One word where it is registered, and what is promised. The handler stays as it is: here it ships orders, fails once
//! with the second, and is in the middle of the fourth when its process ends. What is promised is what is seen then.
//!
//! ```text
//!  on(ship)                  bus        a task of the publisher's process
//!  on(ship.buffered())       buffered   a bounded queue and worker threads
//!  on(ship.durable("ship"))  durable    the log and a checkpoint
//! ```
//! `cargo run -p same-handler`

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Result;
use tidings::prelude::*;
use tokio::sync::Notify;

/// An order was placed.
#[event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    customer: String,
    order: u32,
}

/// Whether the van is stuck, so that whoever ships never comes back.
static STUCK: AtomicBool = AtomicBool::new(false);
/// Told when it is.
static HANGS: Notify = Notify::const_new();

/// The handler. It does not know where it runs.
async fn ship(placed: On<OrderPlaced>, cx: Cx) -> Handled {
    println!("    ships order {}, attempt {}", placed.order, cx.attempt());
    if placed.order == 2 && cx.attempt() == 1 {
        return Err(Failure::again(Duration::from_millis(1), "no label"));
    }
    if STUCK.load(Ordering::SeqCst) {
        HANGS.notify_one();
        std::future::pending::<()>().await;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Place {
    Bus,
    Buffered,
    Durable,
}

impl Place {
    /// The one word.
    fn module(self) -> Module {
        let module = Module::new("shop");
        match self {
            Self::Bus => module.on(ship),
            Self::Buffered => module.on(ship.buffered()),
            Self::Durable => module.on(ship.durable("ship")),
        }
    }

    fn promise(self) -> &'static str {
        match self {
            Self::Bus => {
                "at most once, after the event is durable: retried while the process lives; no bound but that of the \
                 bus, no order"
            }
            Self::Buffered => {
                "at most once, after the event is durable: bounded, in order by key, retried while the process lives; \
                 the receipt tells how it ended"
            }
            Self::Durable => {
                "at least once, and once in effect: in order by key, retried over restarts; what the handler writes \
                 and publishes is committed with its checkpoint"
            }
        }
    }
}

async fn start(place: Place, folder: &Path) -> Result<App> {
    let url = format!("sqlite:{}", folder.join("shop.db").display());
    let builder = App::builder().store(url).drain(Duration::from_millis(100));
    let app = builder.module(place.module()).build().await?;
    app.start().await?;
    Ok(app)
}

async fn show(place: Place) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let app = start(place, folder.path()).await?;
    for order in 1..=3 {
        let receipt = app.publish(OrderPlaced { customer: "ada".into(), order }).await?;
        // Only one of the three has anything to do here.
        app.bus().settled().await;
        let handled = receipt.handled().await;
        let settled = receipt.settled().await?;
        let learns = match (handled.first(), settled.first()) {
            (Some(outcome), _) => format!("{:?} after {} attempts", outcome.ended, outcome.attempts),
            (None, Some((_, settled))) => format!("settled: {settled:?}"),
            (None, None) => "that the event is durable".into(),
        };
        println!("  order {order}: the publisher learns {learns}");
    }

    println!("  the process ends in the middle of order 4");
    STUCK.store(true, Ordering::SeqCst);
    app.publish(OrderPlaced { customer: "ada".into(), order: 4 }).await?;
    HANGS.notified().await;
    println!("  left: {}", app.shutdown().await);

    STUCK.store(false, Ordering::SeqCst);
    println!("  the next process starts, and");
    let app = start(place, folder.path()).await?;
    app.settled().await?;
    app.bus().settled().await;
    println!("  left: {}", app.shutdown().await);
    println!("  promised: {}", place.promise());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    for (title, place) in [
        ("on(ship)", Place::Bus),
        ("on(ship.buffered())", Place::Buffered),
        (r#"on(ship.durable("ship"))"#, Place::Durable),
    ] {
        println!("{title}");
        show(place).await?;
    }
    Ok(())
}
