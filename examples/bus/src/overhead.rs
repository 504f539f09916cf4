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

/// How often that is repeated for a figure; the fastest counts, since everything that disturbs only adds.
const ROUNDS: u32 = 20;

/// Something was counted.
#[tidings::event(name = "thing.counted")]
struct Counted {
    amount: u64,
}

/// How often an answer is sought before it is no. What disturbs can make an answer wrong for a while, not for so long.
const ATTEMPTS: u32 = 50;

/// Nanoseconds an emission on each of these buses. They take turns, so that what disturbs disturbs all of them.
fn nanoseconds<const N: usize>(buses: [&Bus; N], event: &Counted) -> [f64; N] {
    let batch = |bus: &Bus| {
        let begun = Instant::now();
        for _ in 0..BATCH {
            black_box(black_box(bus).emit(event));
        }
        begun.elapsed().as_nanos() as f64 / f64::from(BATCH)
    };
    let mut fastest = [f64::INFINITY; N];
    for _ in 0..ROUNDS {
        for (fastest, bus) in fastest.iter_mut().zip(buses) {
            *fastest = fastest.min(batch(bus));
        }
    }
    fastest
}

/// Says whether something holds of the figures, which are taken again if it does not.
fn say<const N: usize>(what: &str, mut figures: impl FnMut() -> [f64; N], holds: impl Fn([f64; N]) -> bool) {
    let answer = (0..ATTEMPTS).any(|_| {
        let figures = figures();
        eprintln!("{what}: {figures:.1?} ns");
        holds(figures)
    });
    println!("{what}: {}", if answer { "yes" } else { "no" });
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
    let (nobody, one, hundred) = (with_listeners(0), with_listeners(1), with_listeners(100));
    let mixed = with_listeners(1);
    let others = mixed.namespace("other")?;
    others.on(|_: &Counted| ()).forever();
    mixed.subscribe("nothing.like.it.*", |_| ())?.forever();
    let patterned = with_listeners(1);
    patterned.subscribe("thing.*", |_| ())?.forever();

    let event = &event;
    let one_of = |bus| move || nanoseconds([bus], event);
    let first = &one;
    let two_of = |bus| move || nanoseconds([first, bus], event);
    say("an emission that nobody hears costs under 2 microseconds", one_of(&nobody), |[cost]| cost < 2_000.0);
    say("one listener costs under 2 microseconds", one_of(&one), |[cost]| cost < 2_000.0);
    say("a hundred listeners cost less than a hundred times one", two_of(&hundred), |[one, hundred]| {
        hundred < 100.0 * one
    });
    say("listeners to other names cost nothing like a listener more", two_of(&mixed), |[one, mixed]| {
        mixed < 2.0 * one
    });
    say(
        "a listener to a pattern costs more, for it needs an envelope",
        two_of(&patterned),
        |[one, patterned]| patterned > one,
    );
    Ok(())
}
