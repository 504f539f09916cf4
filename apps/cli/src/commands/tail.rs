//! `tidings tail`: events as they are recorded, also by other processes.

use std::{process::ExitCode, str::FromStr};

use tidings::{
    Pattern, Position,
    store::{AnyStore, Read, Recorded},
};

use super::reading::{Walk, Which, status};
use crate::{
    global::Global,
    output::{self, event::Printer, redact::Redactions},
};

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the next event.
    Now,
    /// With the first event after this position.
    After(Position),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "now" => Ok(Self::Now),
            "beginning" => Ok(Self::After(0)),
            _ => text
                .parse()
                .map(Self::After)
                .map_err(|_| "it must be `now`, `beginning` or a position".to_owned()),
        }
    }
}

/// Follow the log while others write it
///
/// Prints one line an event until it is interrupted, or as many as asked for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only events whose name matches: `*` is one segment, `**` any number
    #[arg(default_value = "**")]
    pub pattern: Pattern,

    /// Where to begin: `now`, `beginning`, or after a position
    #[arg(long, default_value = "now", value_name = "WHERE")]
    pub from: From,

    /// Show the last N events there are already, first
    #[arg(short = 'n', long, default_value_t = 0, value_name = "N", conflicts_with = "from")]
    pub last: usize,

    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    #[command(flatten)]
    pub which: Which,

    /// Show payloads too
    #[arg(long)]
    pub data: bool,
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let mut beats = store.beats();
    let head = store.head().await?;
    let read = Read { tenants: args.which.tenants(), ..Read::after(0) }
        .filter(args.which.filter(Some(&args.pattern)));
    let redactions = Redactions::of(&store).await?;
    let mut printer = Printer::new(output::out(), redactions, global.json, args.which.by, args.data);
    let mut left = args.limit.unwrap_or(u64::MAX);

    let interrupted = tidings::signals();
    tokio::pin!(interrupted);
    for event in last(&store, &read, head, args.last).await? {
        if left > 0 {
            printer.live(&event)?;
            left -= 1;
        }
    }
    let mut from = match args.from {
        From::Now => head,
        From::After(position) => position,
    };
    while left > 0 {
        beats.borrow_and_update();
        let mut walk = Walk::new(&store, read.clone().from(from), Some(left));
        // Between two pages it can be interrupted.
        loop {
            let page = tokio::select! {
                () = &mut interrupted => return Ok(status(printer.finish()?.1)),
                page = walk.page() => page?,
            };
            let Some(events) = page else { break };
            left -= events.len() as u64;
            for event in &events {
                printer.live(event)?;
            }
        }
        from = walk.place();
        if left == 0 {
            break;
        }
        tokio::select! {
            () = &mut interrupted => break,
            changed = beats.changed() => if changed.is_err() { break },
        }
    }
    Ok(status(printer.finish()?.1))
}

/// The last `many` events up to `head`, oldest first.
async fn last(store: &AnyStore, read: &Read, head: Position, many: usize) -> anyhow::Result<Vec<Recorded>> {
    let mut last = Vec::new();
    let read = read.clone().backward().from(head.saturating_add(1));
    let mut walk = Walk::new(store, read, Some(many as u64));
    while let Some(events) = walk.page().await? {
        last.extend(events);
    }
    last.reverse();
    Ok(last)
}
