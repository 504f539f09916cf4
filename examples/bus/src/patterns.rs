//! Who hears what: by type, by pattern, by content, once, late, as a stream, or as the next one?
//!
//! One small story is told several times, each time with listeners of another kind, and each time it is printed who
//! heard what.
//!
//! `cargo run -p bus --bin bus-patterns`

use std::time::Duration;

use anyhow::Result;
use tidings::{
    Envelope,
    bus::{Bus, Filter, History, Overflow, Replay},
};

/// An order was placed.
#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: String,
    cents: u64,
}

/// A line was added to an order.
#[tidings::event(name = "order.line.added")]
struct LineAdded {
    #[event(key)]
    order: String,
}

/// Something was sent.
#[tidings::event(name = "parcel.sent")]
struct ParcelSent {
    order: String,
}

/// What happens each time.
fn tell_story(bus: &Bus) {
    bus.emit(&OrderPlaced { order: "1".into(), cents: 300 });
    bus.emit(&LineAdded { order: "1".into() });
    bus.emit(&OrderPlaced { order: "2".into(), cents: 5_000 });
    bus.emit(&ParcelSent { order: "1".into() });
}

/// What is shown of an envelope.
fn shown(any: &Envelope) -> String {
    format!("{} {}", any.name(), any.key().map_or("-", |key| key))
}

fn by_pattern() -> Result<()> {
    for pattern in ["order.placed", "order.*", "order.**", "*.sent", "**.added", "**"] {
        let bus = Bus::new();
        println!("{pattern}");
        bus.subscribe(pattern, |any| println!("  {}", shown(any)))?.forever();
        tell_story(&bus);
    }
    if let Err(error) = Bus::new().subscribe("order.pla*", |_| ()) {
        println!("{error}");
    }
    Ok(())
}

fn by_type_and_content() -> Result<()> {
    let bus = Bus::new();
    println!("by type, and by content");
    bus.on(|placed: &OrderPlaced| println!("  typed: {}", placed.order)).forever();
    bus.once(|placed: &OrderPlaced| println!("  once: {}", placed.order)).forever();
    let large = |placed: &OrderPlaced| placed.cents > 1_000;
    bus.listen().when(large).on(|placed: &OrderPlaced| println!("  large: {}", placed.order)).forever();
    // A filter is data: it could stand in a file.
    let second = Filter::Is { field: "key".into(), value: "2".into() };
    bus.listen().filter(second).subscribe("order.**", |any| println!("  filter: {}", shown(any)))?.forever();
    tell_story(&bus);
    Ok(())
}

async fn as_a_stream() -> Result<()> {
    let bus = Bus::new();
    println!("a stream with room for two");
    let mut latest = bus.stream_of("**", 2)?;
    let mut earliest = bus.stream_of("**", 2)?.overflow(Overflow::DropNewest);
    tell_story(&bus);
    drop(bus);
    println!("  lost: {} and {}", latest.lost(), earliest.lost());
    while let Some(any) = latest.next().await {
        println!("  latest: {}", shown(&any));
    }
    while let Some(any) = earliest.next().await {
        println!("  earliest: {}", shown(&any));
    }
    Ok(())
}

async fn as_the_next_one() -> Result<()> {
    let bus = Bus::new();
    println!("the next one");
    let sent = bus.next::<ParcelSent>().within(Duration::from_secs(5));
    let lost = bus.next_of("parcel.lost")?.within(Duration::from_millis(1));
    // It listens already: what is emitted before it is awaited is not missed.
    tell_story(&bus);
    println!("  sent: {}", sent.await?.order);
    if let Err(error) = lost.await {
        println!("  lost: {error}");
    }
    println!("  listeners left: {}", bus.names().len());
    Ok(())
}

/// The key of an event.
fn key(any: &Envelope) -> &str {
    any.key().map_or("-", |key| key)
}

/// Who comes when the story has been told hears the end of it from the history, and what comes after that live.
fn too_late() -> Result<()> {
    println!("too late, with a history of two orders and no lines");
    let bus = Bus::builder().history("order.*", History::last(2))?.build();
    tell_story(&bus);
    let late = |who: &'static str| move |any: &Envelope| println!("  {who}: {} {}", any.name(), key(any));
    bus.listen().replay(Replay::last(1)).subscribe("**", late("the last one"))?.forever();
    bus.listen().replay(Replay::all()).subscribe("order.**", late("all there are"))?.forever();
    println!("  now live");
    bus.emit(&OrderPlaced { order: "3".into(), cents: 100 });
    let kept = bus.history("**", Replay::all())?;
    println!("  kept: {}", kept.iter().map(key).collect::<Vec<_>>().join(", "));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    by_pattern()?;
    by_type_and_content()?;
    too_late()?;
    as_a_stream().await?;
    as_the_next_one().await
}
