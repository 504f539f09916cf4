//! What does it cost to make batches and windows of events?
//!
//! The references are what a person would write by hand who needs neither an age nor lateness: a vector that is taken
//! when it is full, and a map of sums that is added up in the end. A figure is how many events a second go through on
//! one thread; each round checks that every event came out once.

use std::{
    collections::HashMap,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, stream};
use tidings_benches::harness::{Job, Unit, at_least, per_second};
use tidings_core::{SystemClock, Timestamp};
use tidings_flow::{
    Batch, Batched, Batching, Flow, Operator, Through, Window, Windowed, Windowing, aggregate::sum,
};

/// How many events a round has. A round is a few milliseconds, so that there can be many of them.
const EVENTS: u64 = 100_000;

/// How many rounds there are.
const ROUNDS: usize = 51;

/// How many items a batch has.
const BATCH: usize = 100;

/// How many keys there are.
const KEYS: u64 = 100;

/// A window's size and, where windows slide, how long after one the next begins, in microseconds.
const SIZE: i64 = 1_000_000;
const EVERY: i64 = SIZE / 10;

/// How many windows overlap where they slide.
const OVERLAP: i64 = SIZE / EVERY;

/// An event as small as can be, so that what is measured is not copying.
#[derive(Debug, Clone, Copy)]
struct Sale {
    shop: u64,
    micros: i64,
    cents: u64,
}

/// Ten seconds of sales, in order of time, in shops that take turns in no order.
fn sales() -> Vec<Sale> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..EVENTS)
        .map(|n| Sale { shop: next() % KEYS, micros: n as i64 * 100, cents: next() % 10_000 })
        .collect()
}

fn total(sales: &[Sale]) -> u64 {
    sales.iter().map(|sale| sale.cents).sum()
}

/// One round: `all` sends the events through, and answers what came out at the other end.
fn round(sales: &[Sale], times: u64, mut all: impl FnMut(&[Sale]) -> u64) -> Result<f64> {
    let mut out = 0;
    let rounds = per_second(1, |_| out = all(black_box(sales)));
    ensure!(out == total(sales) * times, "{out} cents came out, not {} times {}", times, total(sales));
    Ok(rounds * sales.len() as f64)
}

fn handle(batch: &[Sale]) -> u64 {
    black_box(batch).iter().map(|sale| sale.cents).sum()
}

fn batches(job: &mut Job, sales: &[Sale]) -> Result<()> {
    let batching = || Batching::new().items(BATCH);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut operator = Batch::new(batching())?;
    let clock = Arc::new(SystemClock);
    let handled = Arc::new(AtomicU64::new(0));
    let flow = {
        let handled = handled.clone();
        let consumer = move |batch: Arc<Batched<Sale>>| {
            handled.fetch_add(handle(&batch), Ordering::Relaxed);
            std::future::ready(())
        };
        let _entered = runtime.enter();
        Flow::of(Batch::new(batching())?).start(consumer)?
    };
    job.table(format!("batches of {BATCH}"), Unit::rate("events/s"))
        .reference("Vec::push and mem::take", || {
            round(sales, 1, |sales| {
                let (mut open, mut out) = (Vec::new(), 0);
                for sale in sales {
                    open.push(*sale);
                    if open.len() == BATCH {
                        out += handle(&std::mem::take(&mut open));
                    }
                }
                out + handle(&open)
            })
        })
        .peer("tidings, operator", || {
            round(sales, 1, |sales| {
                let (mut out, now) = (0, Timestamp::from_millis(0));
                for sale in sales {
                    operator.push(*sale, now, &mut |batch| out += handle(&batch));
                }
                operator.flush(now, &mut |batch| out += handle(&batch));
                out
            })
        })
        .goal(at_least(0.2))
        .note("the time is given, not read")
        .peer("tidings, stream", || {
            round(sales, 1, |sales| {
                let batches = stream::iter(sales.iter().copied()).batched(batching(), clock.clone());
                let Ok(batches) = batches else { return 0 };
                runtime.block_on(batches.fold(0, async |out, batch| out + handle(&batch)))
            })
        })
        .note("reads the clock for each event")
        .peer("tidings, flow", || {
            round(sales, 1, |sales| {
                handled.store(0, Ordering::Relaxed);
                let mut refused = 0;
                runtime.block_on(async {
                    for batch in sales.chunks(BATCH) {
                        for sale in batch {
                            refused += u64::from(flow.push(*sale).is_err());
                        }
                        tokio::task::yield_now().await;
                    }
                    flow.flush();
                    while flow.waiting() > 0 {
                        tokio::task::yield_now().await;
                    }
                });
                handled.load(Ordering::Relaxed) + refused
            })
        })
        .note("reads the clock and takes a lock for each event, and calls an asynchronous consumer for each batch")
        .run()
}

fn batches_by_key(job: &mut Job, sales: &[Sale]) -> Result<()> {
    let mut operator = Batch::by(Batching::new().items(BATCH), |sale: &Sale| sale.shop)?;
    job.table(format!("batches of {BATCH} by key, {KEYS} keys in no order"), Unit::rate("events/s"))
        .reference("HashMap of vectors", || {
            round(sales, 1, |sales| {
                let (mut open, mut out): (HashMap<u64, Vec<Sale>>, _) = (HashMap::new(), 0);
                for sale in sales {
                    let batch = open.entry(sale.shop).or_default();
                    batch.push(*sale);
                    if batch.len() == BATCH {
                        out += handle(&std::mem::take(batch));
                    }
                }
                out + open.values().map(|batch| handle(batch)).sum::<u64>()
            })
        })
        .peer("tidings, operator", || {
            round(sales, 1, |sales| {
                let (mut out, now) = (0, Timestamp::from_millis(0));
                for sale in sales {
                    operator.push(*sale, now, &mut |batch| out += handle(&batch));
                }
                operator.flush(now, &mut |batch| out += handle(&batch));
                out
            })
        })
        .goal(at_least(0.33))
        .run()
}

/// All events through windows of this kind, and the sum of what was told.
fn windowed(settings: &Windowing, sales: &[Sale]) -> u64 {
    let time = |sale: &Sale| Timestamp::from_micros(sale.micros);
    let windows = Window::by(settings.clone(), sum(|sale: &Sale| sale.cents), time, |sale| sale.shop);
    let Ok(mut windows) = windows else { return 0 };
    let (mut out, now) = (0, Timestamp::from_millis(0));
    let mut add = |one: Windowed<Sale, i128, u64>| out += one.summary().map_or(0, |one| one.value as u64);
    for sale in sales {
        windows.push(*sale, now, &mut add);
    }
    windows.flush(now, &mut add);
    out
}

fn windows(job: &mut Job, sales: &[Sale]) -> Result<()> {
    let span = |micros: i64| Duration::from_micros(micros.unsigned_abs());
    let tumbling = Windowing::tumbling(span(SIZE));
    job.table(format!("tumbling windows of a second, sums of {KEYS} keys"), Unit::rate("events/s"))
        .reference("HashMap fold", || {
            round(sales, 1, |sales| {
                let mut sums: HashMap<(u64, i64), u64> = HashMap::new();
                for sale in sales {
                    *sums.entry((sale.shop, sale.micros / SIZE)).or_default() += sale.cents;
                }
                black_box(&sums).values().sum()
            })
        })
        .note("keeps every window to the end")
        .peer("tidings", || round(sales, 1, |sales| windowed(&tumbling, sales)))
        .goal(at_least(0.2))
        .run()?;

    let sliding = Windowing::sliding(span(SIZE), span(EVERY));
    job.table(format!("sliding windows, {OVERLAP} overlap, sums of {KEYS} keys"), Unit::rate("events/s"))
        .reference("HashMap fold into each window", || {
            round(sales, OVERLAP.unsigned_abs(), |sales| {
                let mut sums: HashMap<(u64, i64), u64> = HashMap::new();
                for sale in sales {
                    let last = sale.micros / EVERY;
                    for window in last - OVERLAP + 1..=last {
                        *sums.entry((sale.shop, window)).or_default() += sale.cents;
                    }
                }
                black_box(&sums).values().sum()
            })
        })
        .note("keeps every window to the end")
        .peer("tidings", || round(sales, OVERLAP.unsigned_abs(), |sales| windowed(&sliding, sales)))
        .goal(at_least(1.0))
        .run()
}

fn main() -> Result<()> {
    let mut job = Job::new(env!("CARGO_BIN_NAME")).rounds(ROUNDS);
    let sales = sales();
    batches(&mut job, &sales)?;
    batches_by_key(&mut job, &sales)?;
    windows(&mut job, &sales)
}
