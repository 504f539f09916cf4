//! `tidings ingest`: events from CloudEvents lines into a store.
//!
//! ```text
//!  file ─▶ source ─▶ lines ─▶ parse ──batches──▶ write ──commits──▶ store
//!         (a thread of its own)                 (several in flight, in order)
//! ```
//! Everything is bounded: a line, a batch, the batches that wait and the commits in flight.

mod careful;
mod lines;
mod parse;
mod rejects;
mod relay;
mod source;
mod write;

use std::{
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde_json::json;
use tidings::{Mode, store::AnyStore};
use tokio::sync::mpsc;

use self::{
    parse::{Message, Parsing, Shared, StreamBy},
    rejects::Rejects,
    source::Source,
    write::Writing,
};
use crate::{
    global::Global,
    output::{
        self,
        number::{count, counted, rate, span},
        progress::{Unit, bar},
    },
};

/// Batches that are parsed and wait to be written.
const WAITING: usize = 2;

/// Add events from CloudEvents lines to the store
///
/// Reads one CloudEvent a line, plain or compressed by gzip or zstd, and makes the store if there is none. An event is known
/// by its source and id: a second run adds nothing, and one that was cut short is finished by running it again. Lines that
/// cannot be added go to a file of their own, as JSON with line number, reason, field and the line; the status is 1 then.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file; `-` is standard input
    file: PathBuf,

    /// Put each event into the stream `{category}-{subject}`, with the subject as its key
    ///
    /// The category is the first segment of the event's name. Without this an event's own stream and key are kept.
    #[arg(long, value_name = "WHAT", value_enum)]
    stream_by: Option<StreamBy>,

    /// Events in one commit
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=9_000))]
    batch: u64,

    /// Where rejected lines go [default: FILE.rejects]
    #[arg(long, value_name = "PATH")]
    rejects: Option<PathBuf>,
}

/// What has become of the lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Lines that are not empty.
    pub read: u64,
    /// Events that were added.
    pub added: u64,
    /// Events that were there already.
    pub known: u64,
    /// Lines that were not added.
    pub rejected: u64,
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.file)?;
    let rejects = Rejects::new(args.rejects.clone().unwrap_or_else(|| rejects::beside(&args.file)));
    let store = global.open(Mode::Create).await?;
    let begun = Instant::now();
    let mut writing = Writing::new(&store, rejects);
    let ended = feed(&args, source, &mut writing, &store).await;
    let (totals, rejects) = (writing.totals, writing.into_rejects());
    let stopped = matches!(ended, Ok(End::Stopped));
    // What was done is told also when the rest failed.
    tell(&totals, begun.elapsed(), &rejects, stopped, global)?;
    rejects.finish()?;
    ended?;
    global.close(store).await?;
    Ok(if stopped || totals.rejected > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How reading ended.
enum End {
    Whole,
    Stopped,
}

async fn feed(
    args: &Args,
    source: Source,
    writing: &mut Writing<'_>,
    store: &AnyStore,
) -> anyhow::Result<End> {
    let what = if source.is_live { "standard input".to_owned() } else { args.file.display().to_string() };
    let bar = bar("ingesting", source.bytes, Unit::Bytes);
    let (read, begun) = (source.read.clone(), Instant::now());
    let shared = Arc::new(Shared::default());
    let (send, mut batches) = mpsc::channel(WAITING);
    let parsing = Parsing {
        by: args.stream_by,
        batch: usize::try_from(args.batch)?,
        is_live: source.is_live,
        shared: shared.clone(),
        send,
    };
    // It may be waiting for standard input when the process ends, so nobody waits for it.
    std::thread::Builder::new().name("tidings-parse".into()).spawn(move || parsing.run(source.from))?;

    let interrupted = tidings::signals();
    tokio::pin!(interrupted);
    let (mut stopping, mut ended) = (false, None);
    while writing.in_flight() || (!stopping && ended.is_none()) {
        tokio::select! {
            biased;
            () = &mut interrupted, if !stopping => {
                shared.stop.store(true, Ordering::Relaxed);
                stopping = true;
            }
            answer = writing.answer(), if writing.in_flight() => {
                let settled = writing.settled(answer).await;
                shared.busy.store(writing.in_flight(), Ordering::Release);
                settled?;
                show(&bar, &read, writing.totals.read, begun);
            }
            message = batches.recv(), if !stopping && ended.is_none() && writing.has_room() => match message {
                Some(Message::Batch(batch)) => {
                    writing.submit(*batch).await?;
                    shared.busy.store(writing.in_flight(), Ordering::Release);
                }
                Some(Message::End(end)) => ended = Some(end),
                None => ended = Some(Err(std::io::Error::other("the reading thread has ended early"))),
            },
        }
    }
    bar.finish_and_clear();
    relay::sweep(store, writing.run()).await?;
    match ended {
        None => Ok(End::Stopped),
        Some(end) => end.map(|()| End::Whole).with_context(|| format!("cannot read {what} to its end")),
    }
}

fn show(bar: &ProgressBar, read: &source::Count, events: u64, begun: Instant) {
    bar.set_position(read.load(Ordering::Relaxed));
    bar.set_message(format!(
        "{} events, {} a second",
        count(events),
        count(rate(events, begun.elapsed()) as u64)
    ));
}

fn tell(
    totals: &Totals,
    time: Duration,
    rejects: &Rejects,
    stopped: bool,
    global: &Global,
) -> anyhow::Result<()> {
    let mut out = output::out();
    let a_second = rate(totals.read, time);
    if global.json {
        let object = json!({
            "read": totals.read,
            "added": totals.added,
            "known": totals.known,
            "rejected": totals.rejected,
            "rejects": rejects.written(),
            "stopped": stopped,
            "seconds": time.as_secs_f64(),
            "events_per_second": a_second.round(),
        });
        output::json_line(&mut out, &object)?;
    } else {
        let Totals { read, added, known, rejected } = *totals;
        let (added, known, rejected) = (count(added), count(known), count(rejected));
        let speed = format!("{} a second", count(a_second as u64));
        writeln!(out, "{} read in {}, {speed}", counted(read, "event"), span(time))?;
        writeln!(out, "{added} added, {known} known already, {rejected} rejected")?;
        if let Some(path) = rejects.written() {
            writeln!(out, "rejected lines are in {}", path.display())?;
        }
        if stopped {
            writeln!(out, "stopped before the end; run it again to go on")?;
        }
    }
    Ok(out.flush()?)
}
