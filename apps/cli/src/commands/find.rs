//! `tidings find`: one event by its id, and the chain it belongs to.

use std::{io::Write as _, process::ExitCode};

use serde_json::value::RawValue;
use tidings::{
    Tenant, Text, cloudevents,
    store::{AnyStore, Read, Recorded},
};

use super::reading::Walk;
use crate::{
    global::Global,
    output::{
        self,
        event::{By, Printer, facts, place},
        progress::{Unit, bar},
        redact::Redactions,
        table,
    },
};

/// Events of a chain that are shown.
const CHAIN_MAX: usize = 1_000;

/// Show the event with an id
///
/// An id is unique together with its source. With `--source` the event is found at once; without it, or with `--chain`,
/// the whole log is read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The event's id
    pub id: Text,

    /// The event's source
    #[arg(long)]
    pub source: Option<Text>,

    /// Only events of this tenant
    #[arg(long, requires = "source")]
    pub tenant: Option<Text>,

    /// Show also what led to it and what came of it: all events of the same correlation
    #[arg(long)]
    pub chain: bool,
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let found = match &args.source {
        Some(source) => {
            let tenant = args.tenant.clone().map_or_else(Tenant::default, Tenant);
            store.find(&tenant, source, &args.id).await?.into_iter().collect()
        }
        None => search(&store, |event| *event.envelope.id() == args.id).await?,
    };
    if found.is_empty() {
        let of = args.source.map(|source| format!(" of source {source:?}")).unwrap_or_default();
        anyhow::bail!("there is no event with id {:?}{of} in {}", args.id, global.url());
    }
    let redactions = Redactions::of(&store).await?;
    let mut out = output::out();
    for event in &found {
        let event = redactions.shown(event);
        if global.json {
            let json = cloudevents::write(&event.envelope, Some(&place(&event)))?;
            output::json_line(&mut out, &RawValue::from_string(String::from_utf8(json)?)?)?;
        } else {
            table::facts(&mut out, facts(&event))?;
        }
    }
    if args.chain {
        let chain = chain(&store, &found).await?;
        if !global.json {
            writeln!(out, "\nthe chain it belongs to:")?;
        }
        let mut printer = Printer::new(&mut out, redactions, global.json, By::Recorded, false);
        // What was printed alone is a part of the picture, but not of a list.
        for event in
            chain.iter().filter(|event| !global.json || found.iter().all(|f| f.position != event.position))
        {
            printer.event(event)?;
        }
        printer.finish()?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Events of the same correlations, in order.
async fn chain(store: &AnyStore, found: &[Recorded]) -> anyhow::Result<Vec<Recorded>> {
    // The first event of a chain has no correlation: its id is that of the others.
    let roots: Vec<&Text> =
        found.iter().map(|event| event.envelope.correlation().unwrap_or(event.envelope.id())).collect();
    search(store, |event| {
        roots.contains(&event.envelope.id())
            || event.envelope.correlation().is_some_and(|correlation| roots.contains(&correlation))
    })
    .await
}

/// Looks at every event.
async fn search(store: &AnyStore, wanted: impl Fn(&Recorded) -> bool) -> anyhow::Result<Vec<Recorded>> {
    let bar = bar("searching", Some(store.head().await?), Unit::Things);
    let mut found = Vec::new();
    let mut walk = Walk::new(store, Read::after(0).all_tenants(), None);
    while let Some(events) = walk.page().await? {
        found.extend(events.into_iter().filter(&wanted));
        bar.set_position(walk.place());
        if found.len() >= CHAIN_MAX {
            output::remark(format_args!("only the first {CHAIN_MAX} are shown"));
            found.truncate(CHAIN_MAX);
            break;
        }
    }
    bar.finish_and_clear();
    Ok(found)
}
