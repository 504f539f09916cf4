//! What does it cost to look? The full path of a buffered handler, with nothing measured, with timings, and with a span
//! around every call that is written out to nowhere.
//!
//! `--quick` has few and short rounds: to see that it works.

use std::{io, time::Duration};

use anyhow::{Context as _, Result};
use tracing_subscriber::{
    filter::LevelFilter,
    fmt,
    layer::SubscriberExt as _,
    reload::{self, Handle},
    util::SubscriberInitExt as _,
};

use crate::{
    buffered::{Case, ours},
    harness::{Job, Unit, at_least},
};

/// Runs the job called `name`.
///
/// # Errors
/// A round that does not count, or results that cannot be written.
pub fn run(name: &'static str) -> Result<()> {
    let quick = std::env::args().any(|word| word == "--quick");
    let (rounds, events) = if quick { (2, 20_000) } else { (15, 200_000) };
    let (level, spans) = reload::Layer::new(LevelFilter::OFF);
    tracing_subscriber::registry()
        .with(fmt::layer().with_ansi(false).with_writer(io::sink))
        .with(level)
        .init();
    let off = Case { bytes: 256, publishers: 1, workers: 1, busy: Duration::ZERO, timings: false };
    let on = Case { timings: true, ..off };
    let mut job = Job::new(name).rounds(rounds);
    job.table("256 B, 1 to 1, a handler of 0 µs", Unit::rate("events/s"))
        .reference("counts only", || ours(off, events))
        .note("timings off, nobody wants spans")
        .peer("timings", || ours(on, events))
        .goal(at_least(0.95))
        .note("as it is by default: percentiles of waits and of processing; nobody wants spans")
        .peer("timings and spans", || spanned(&spans, || ours(on, events)))
        .goal(at_least(0.6))
        .note("a span around every call, and what it logs written as text to nowhere")
        .run()
}

fn spanned<S>(spans: &Handle<LevelFilter, S>, round: impl FnOnce() -> Result<f64>) -> Result<f64> {
    spans.reload(LevelFilter::DEBUG).context("the subscriber is gone")?;
    let rate = round();
    spans.reload(LevelFilter::OFF).context("the subscriber is gone")?;
    rate
}
