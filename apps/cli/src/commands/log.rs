//! `tidings log`: events of the log or of a stream.

use std::{io::Write as _, process::ExitCode};

use tidings::{
    Pattern, Text,
    store::{AnyStore, Read, Tenants},
};

use super::reading::{Walk, Which, status};
use crate::{
    global::Global,
    output::{self, event::Printer, redact::Redactions},
};

/// Rows of a table, unless another number is asked for.
pub const ROWS: u64 = 20;

/// Show events of the log
///
/// Prints a table of the first 20, or as many as asked for. With `--json` it prints all that are wanted, one CloudEvent a
/// line with its `position` and `streamversion`. Fields which an application has declared as redacted are not shown.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only events whose name matches: `*` is one segment, `**` any number
    pub pattern: Option<Pattern>,

    /// Only events after this position; of a stream, after this version; backward, before it
    #[arg(long, value_name = "POSITION")]
    pub after: Option<u64>,

    /// At most this many [default: 20 in a table, all with --json]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    /// The newest first
    #[arg(long)]
    pub backward: bool,

    /// Only events of this stream
    #[arg(long, value_name = "NAME")]
    pub stream: Option<Text>,

    #[command(flatten)]
    pub which: Which,

    /// Show payloads in the table
    #[arg(long)]
    pub data: bool,
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    show(&args, &store, global).await
}

/// Prints what `args` ask for.
pub async fn show(args: &Args, store: &AnyStore, global: &Global) -> anyhow::Result<ExitCode> {
    let tenants = match &args.stream {
        // A stream belongs to one tenant.
        Some(_) => args
            .which
            .tenant
            .clone()
            .map_or_else(Tenants::default, |tenant| Tenants::One(tidings::Tenant(tenant))),
        None => args.which.tenants(),
    };
    let mut read = Read { tenants, stream: args.stream.clone(), ..Read::after(0) };
    if args.backward {
        read = read.backward();
    }
    read.from = args.after.unwrap_or(read.from);
    read.filter = args.which.filter(args.pattern.as_ref());
    let redactions = Redactions::of(store).await?;
    let mut printer = Printer::new(output::out(), redactions, global.json, args.which.by, args.data);
    let limit = args.limit.or((!global.json).then_some(ROWS));
    let mut walk = Walk::new(store, read, limit);
    let mut many = 0;
    while let Some(events) = walk.page().await? {
        many += events.len();
        for event in &events {
            printer.event(event)?;
        }
    }
    let (mut out, unwritable) = printer.finish()?;
    if !global.json {
        match walk.rest() {
            Some(from) => writeln!(out, "… there may be more: --after {from}")?,
            None if many == 0 => writeln!(out, "no events")?,
            None => {}
        }
        out.flush()?;
    }
    Ok(status(unwritable))
}
