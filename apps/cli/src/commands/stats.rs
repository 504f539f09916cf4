//! `tidings stats`: figures about a store.

use std::{collections::BTreeMap, io::Write as _, process::ExitCode};

use serde_json::json;
use tidings::{LetterFilter, store::AnyStore};

use super::{
    dead::{failed, letters},
    subscriptions::{self, Subscription},
};
use crate::{
    global::Global,
    output::{
        self,
        number::{bytes, count, span},
        table::{Column, Rows, facts},
    },
};

/// Names of events in the table.
const NAMES: usize = 20;

/// Show figures about the store and its subscriptions
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub async fn run(_: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let stats = store.stats().await?;
    let subscriptions = subscriptions::all(&store).await?;
    let dead = dead_letters(&store, &subscriptions).await?;
    let dead_letters: u64 = dead.values().sum();
    let info = store.info();
    let mut out = output::out();
    if global.json {
        let map = |pairs: &[(String, u64)]| pairs.iter().cloned().collect::<BTreeMap<_, _>>();
        let all = json!({
            "store": info.url,
            "engine": info.engine,
            "durable": info.durable,
            "events": stats.events,
            "streams": stats.streams,
            "head": stats.head,
            "bytes": stats.bytes,
            "dead_letters": dead_letters,
            "dead_letters_by_handler": dead,
            "names": map(&stats.names),
            "documents": map(&stats.documents),
            "due": map(&stats.due),
            "subscriptions": subscriptions,
        });
        output::json_line(&mut out, &all)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let documents: u64 = stats.documents.iter().map(|(_, many)| many).sum();
    let due: u64 = stats.due.iter().map(|(_, many)| many).sum();
    let lines = [
        ("store", info.url),
        ("engine", format!("{}, {}", info.engine, durability(info.durable))),
        ("events", count(stats.events)),
        ("streams", count(stats.streams)),
        ("head", count(stats.head)),
        ("documents", count(documents)),
        ("due later", count(due)),
        ("dead letters", count(dead_letters)),
        ("on disk", bytes(stats.bytes)),
    ];
    facts(&mut out, lines)?;
    if !stats.names.is_empty() {
        writeln!(out)?;
        let mut rows = Rows::new([Column::Text("event"), Column::Number("events")]);
        for (name, many) in stats.names.iter().take(NAMES) {
            rows.push([name.as_str(), &count(*many)]);
        }
        rows.print(&mut out)?;
        if stats.names.len() > NAMES {
            writeln!(out, "… and {} more; --json shows all", stats.names.len() - NAMES)?;
        }
    }
    if !subscriptions.is_empty() {
        writeln!(out)?;
        table(&subscriptions).print(&mut out)?;
    }
    let mut rows = Rows::new([Column::Text("handler in memory"), Column::Number("dead letters")]);
    for (handler, many) in &dead {
        if !subscriptions.iter().any(|one| one.name == *handler) {
            rows.push([handler.as_str(), &count(*many)]);
        }
    }
    if rows.len() > 0 {
        writeln!(out)?;
        rows.print(&mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// How many dead letters each handler has that has any: durable subscriptions, and those on the bus and in pools.
async fn dead_letters(
    store: &AnyStore,
    subscriptions: &[Subscription],
) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut dead: BTreeMap<String, u64> =
        subscriptions.iter().map(|one| (one.name.clone(), one.dead_letters)).collect();
    let letters = letters(store);
    for handler in letters.handlers().await.map_err(failed)? {
        if !dead.contains_key(&*handler) {
            let many = letters.count(&LetterFilter::handler(handler.clone())).await.map_err(failed)?;
            dead.insert(handler.to_string(), many);
        }
    }
    dead.retain(|_, many| *many > 0);
    Ok(dead)
}

/// Whether an append survives a crash, in words.
pub fn durability(durable: bool) -> &'static str {
    if durable { "an append that has returned survives a crash" } else { "nothing survives the process" }
}

/// Subscriptions as a table.
pub fn table(subscriptions: &[Subscription]) -> Rows {
    let mut rows = Rows::new([
        Column::Text("subscription"),
        Column::Text("state"),
        Column::Number("watermark"),
        Column::Number("lag"),
        Column::Number("behind"),
        Column::Number("waiting"),
        Column::Number("parked"),
        Column::Number("dead letters"),
    ]);
    for one in subscriptions {
        rows.push([
            one.name.clone(),
            one.state().to_owned(),
            count(one.watermark),
            count(one.lag),
            span(one.lag_time()),
            count(one.waiting),
            count(one.parked),
            count(one.dead_letters),
        ]);
    }
    rows
}
