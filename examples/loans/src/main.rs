//! Which loan applications waited longest, and what became of them?
//!
//! 262,200 real events of 13,087 applications at a Dutch bank come in as CloudEvents, one a line, and a durable handler
//! keeps two views of them: how often what happened, and how each application stands. Kill it whenever you like and start
//! it again: it goes on, and the totals are the same.
//!
//! ```text
//!   loans.ndjson.gz ──ingest──▶ store ──keep──▶ activities, applications ──report──▶ tables or JSON
//! ```
//! `cargo run --release -p loans` · read `views` first: it is the application; the rest brings data in and shows it.

mod ingest;
mod report;
mod views;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use clap::Parser;
use tidings::{App, Build, durable};

/// The public event log this example is about.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/loans.ndjson.gz");

/// Ingest a log of loan applications and show what became of them.
#[derive(Debug, Parser)]
struct Args {
    /// CloudEvents in JSON lines, gzipped [default: the public log, where it is there]
    file: Option<PathBuf>,
    /// Keep the store here, such as sqlite:loans.db; a temporary one without it
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let store = args.store.unwrap_or_else(|| format!("sqlite:{}", folder.path().join("loans.db").display()));
    let file = args.file.unwrap_or_else(|| PathBuf::from(FILE));

    // Larger commits than usual: an application has several events in each, and its document is written once.
    let settings = durable::Config { batch: 4_000, ..durable::Config::default() };
    let app =
        App::builder().name("loans").store(store).durable(settings).module(views::loans()).build().await?;

    let begun = Instant::now();
    let (there, new) = ingest::ingest(&app, &file).await.with_context(|| format!("{}", file.display()))?;
    said("ingested", new, there, begun);

    let begun = Instant::now();
    let handled = || async { anyhow::Ok(app.status().await?.iter().map(|one| one.handled).sum::<u64>()) };
    app.start().await?;
    app.settled().await?;
    said("handled", handled().await?, 0, begun);

    let report = report::Report::of(&app).await?;
    app.shutdown().await;
    report.print(args.json)
}

fn said(what: &str, events: u64, there: u64, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    let rate = events as f64 / seconds.max(1e-6);
    let before = if there > 0 { format!(", {there} were there already") } else { String::new() };
    eprintln!("{what} {events} events in {seconds:.2} s, {rate:.0}/s{before}");
}
