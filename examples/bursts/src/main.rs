//! How do I turn a burst of events into a few calls?
//!
//! A shop sells in bursts. Its warehouse wants orders in batches, its screen a total now and then, and its books the
//! sum of each minute: three flows listen to one bus. The clock is driven, so that what is printed is always the same;
//! a program of yours leaves `.clock(…)` out and gets the machine's.
//!
//! ```text
//!                ┌──▶ Batch: 3 orders, or 1 s ─────────▶ warehouse, which is busy at first
//!  bus.emit ─────┼──▶ Throttle: 1 a second, the latest ─▶ screen
//!                └──▶ Window: a minute of event time ────▶ books
//! ```
//! `cargo run -p bursts`

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tidings::{
    Clock, Failure, Handled, ManualClock, Policy, Retry, Timestamp,
    bus::Bus,
    event,
    flow::{
        Batch, Batched, Batching, Figures, Flow, Operator, Throttle, Throttling, Window, Windowed, Windowing,
        aggregate::{count, sum},
        map,
    },
};

/// An order was placed.
#[event(name = "order.placed")]
#[derive(Clone)]
struct OrderPlaced {
    #[event(key)]
    order: u32,
    cents: u64,
    second: i64,
}

/// Takes orders in batches; the first time it is called, it is busy.
async fn warehouse(orders: Arc<Batched<OrderPlaced>>, busy: Arc<AtomicBool>) -> Handled {
    let numbers: Vec<u32> = orders.iter().map(|placed| placed.order).collect();
    if busy.swap(false, Ordering::Relaxed) {
        println!("  warehouse: busy, cannot take {numbers:?}");
        return Err(Failure::transient("busy"));
    }
    println!("  warehouse: takes {numbers:?} ({:?})", orders.cause);
    Ok(())
}

async fn screen(placed: Arc<OrderPlaced>) {
    println!("  screen:    order {} for {} cents", placed.order, placed.cents);
}

type Minute = Windowed<OrderPlaced, (u64, i128)>;

async fn books(minute: Arc<Option<String>>) {
    if let Some(text) = &*minute {
        println!("  books:     {text}");
    }
}

fn entry(minute: Minute) -> Option<String> {
    let minute = minute.summary()?;
    let (orders, cents) = minute.value;
    Some(format!("the minute from {} had {orders} orders for {cents} cents", minute.span.from))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let bus = Bus::builder().clock(shared.clone()).build();

    let busy = Arc::new(AtomicBool::new(true));
    let retry = Policy::new().retry(Retry::constant(Duration::from_millis(200)).jitter(0.0));
    let orders = Flow::of(Batch::new(Batching::new().items(3))?)
        .clock(shared.clone())
        .policy(retry)
        .start(move |orders| warehouse(orders, busy.clone()))?;

    let totals = Flow::of(Throttle::new(Throttling::new().latest())?).clock(shared.clone()).start(screen)?;

    let time = |placed: &OrderPlaced| Timestamp::from_millis(placed.second * 1_000);
    let sums = (count(), sum(|placed: &OrderPlaced| placed.cents));
    let minutes = Window::new(Windowing::tumbling(Duration::from_secs(60)), sums, time)?;
    let minutes = Flow::of(minutes.then(map(entry))).clock(shared).start(books)?;

    // A flow ends with its owner, not with the guards of its listeners.
    bus.on(orders.listener()).forever();
    bus.on(totals.listener()).forever();
    bus.on(minutes.listener()).forever();

    // So many orders, then so long a pause.
    let (mut order, mut millis) = (0, 0);
    for (burst, pause) in [(5, 300), (2, 900), (1, 58_800), (2, 100)] {
        println!("{millis:>6} ms: {burst} placed");
        for _ in 0..burst {
            order += 1;
            bus.emit(&OrderPlaced { order, cents: u64::from(order) * 100, second: millis / 1_000 });
        }
        millis += pause;
        pass(&clock, Duration::from_millis(pause.unsigned_abs())).await;
    }

    println!("{millis:>6} ms: closing");
    let within = Duration::from_secs(10);
    told("warehouse", orders.close(within).await.figures);
    told("screen", totals.close(within).await.figures);
    told("books", minutes.close(within).await.figures);
    Ok(())
}

fn told(who: &str, figures: Figures) {
    println!(
        "{who}: {} orders in {} calls, {} of them again",
        figures.taken,
        figures.done + figures.retried,
        figures.retried
    );
}

/// Lets time pass in small steps, and everybody do what is due at each.
async fn pass(clock: &ManualClock, span: Duration) {
    let step = Duration::from_millis(100);
    let mut left = span;
    loop {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if left.is_zero() {
            return;
        }
        clock.advance(step.min(left));
        left = left.saturating_sub(step);
    }
}
