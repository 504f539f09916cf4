//! What does an emission cost, and what does each thing asked of it add?
//!
//! Prints answers that hold on any machine and in any build, yes or no, and to the side (on standard error) the figures
//! of this one. Compare those only in a release build.
//!
//! `cargo run --release -p bus --bin bus-overhead`

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::Result;
use tidings::bus::Bus;

/// How many emissions are timed together.
const BATCH: u32 = 1_000;

/// How often that is repeated; the fastest counts, since everything that disturbs only adds.
const ROUNDS: u32 = 200;

/// Something was counted.
#[tidings::event(name = "thing.counted")]
struct Counted {
    amount: u64,
}

/// Nanoseconds a call of `work`.
fn nanoseconds(what: &str, mut work: impl FnMut()) -> f64 {
    let mut batch = || {
        let begun = Instant::now();
        (0..BATCH).for_each(|_| work());
        begun.elapsed().as_nanos() as f64 / f64::from(BATCH)
    };
    let fastest = (0..ROUNDS).map(|_| batch()).fold(f64::INFINITY, f64::min);
    eprintln!("{what}: {fastest:.1} ns");
    fastest
}

fn say(what: &str, holds: bool) {
    println!("{what}: {}", if holds { "yes" } else { "no" });
}

/// A bus with this many listeners, which count.
fn with_listeners(listeners: usize) -> Bus {
    let (bus, total) = (Bus::new(), Arc::new(AtomicU64::new(0)));
    for _ in 0..listeners {
        let total = total.clone();
        bus.on(move |counted: &Counted| {
            total.fetch_add(counted.amount, Ordering::Relaxed);
        })
        .forever();
    }
    bus
}

fn main() -> Result<()> {
    let event = Counted { amount: 1 };
    let emitting = |what: &str, bus: &Bus| {
        nanoseconds(what, || {
            black_box(black_box(bus).emit(&event));
        })
    };
    let nobody = emitting("nobody listens", &with_listeners(0));
    let one = emitting("one listener", &with_listeners(1));
    let hundred = emitting("a hundred listeners", &with_listeners(100));

    let mixed = with_listeners(1);
    let others = mixed.namespace("other")?;
    others.on(|_: &Counted| ()).forever();
    mixed.subscribe("nothing.like.it.*", |_| ())?.forever();
    let unconcerned = emitting("one listener, and others to other names", &mixed);

    let patterned = with_listeners(1);
    patterned.subscribe("thing.*", |_| ())?.forever();
    let by_pattern = emitting("one listener, and one to a pattern", &patterned);

    say("an emission that nobody hears costs under 2 microseconds", nobody < 2_000.0);
    say("one listener costs under 2 microseconds", one < 2_000.0);
    say("a hundred listeners cost less than a hundred times one", hundred < 100.0 * one);
    say("listeners to other names cost nothing like a listener more", unconcerned < 2.0 * one);
    say("a listener to a pattern costs more, for it needs an envelope", by_pattern > one);
    Ok(())
}
