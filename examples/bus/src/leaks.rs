//! Which listeners were forgotten, and where were they registered?
//!
//! Screens open and close. One kind of screen keeps its subscriptions with an owner that ends with it; the other kind says
//! `forever` and forgets them. The watch warns before it hurts, with file and line, and the report shows what grows.
//!
//! `cargo run -p bus --bin bus-leaks`

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tidings::{
    ManualClock, Timestamp,
    bus::{Bus, LeakSuspected, LeakWatch, Owner},
};

/// An order was placed.
#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    order: u64,
}

/// A price has changed.
#[tidings::event(name = "price.changed")]
struct PriceChanged {
    cents: u64,
}

/// A screen as it should be: its subscription ends with it.
struct Orders(Owner);

impl Orders {
    fn open(bus: &Bus) -> Self {
        let screen = Self(Owner::new());
        bus.on(|placed: &OrderPlaced| assert!(placed.order > 0)).owned_by(&screen.0);
        screen
    }
}

/// A screen with a mistake: every one that was ever open goes on listening.
struct Prices;

impl Prices {
    fn open(bus: &Bus) -> Self {
        bus.on(|changed: &PriceChanged| assert!(changed.cents > 0)).forever();
        Self
    }
}

fn main() -> Result<()> {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let watch = LeakWatch::limit(10).sample_every(Duration::from_secs(60));
    let bus = Bus::builder().clock(Arc::new(clock.clone())).leak_watch(watch).build();
    bus.on(|leak: &LeakSuspected| {
        println!("{:?}: {} has {} listeners of {}", leak.level, leak.topic, leak.listeners, leak.limit);
        for origin in &leak.origins {
            println!("  {} from {}:{}", origin.listeners, origin.file, origin.line);
        }
    })
    .forever();

    for _ in 0..12 {
        let screens = (Orders::open(&bus), Prices::open(&bus));
        bus.emit(&OrderPlaced { order: 1 });
        bus.emit(&PriceChanged { cents: 300 });
        clock.advance(Duration::from_secs(600));
        drop(screens);
    }

    println!("after two hours");
    for leak in bus.leaks().topics {
        let growth = leak.growth_per_hour.map_or("unknown".into(), |growth| format!("{growth:+.0} an hour"));
        println!("  {}: {} listeners, {growth}", leak.topic, leak.listeners);
    }
    println!("removed: {}", bus.remove("price.changed"));
    println!("listeners of price.changed: {}", bus.listener_count("price.changed"));
    Ok(())
}
