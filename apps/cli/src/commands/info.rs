//! `tidings info`: what the store's engine promises and how it is set up.

use std::{collections::BTreeMap, io::Write as _, process::ExitCode};

use serde_json::json;

use super::stats::durability;
use crate::{
    global::Global,
    output::{self, number::count, table::facts},
};

/// Show what the store's engine promises and how it is set up
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub async fn run(_: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let (info, head) = (store.info(), store.head().await?);
    let mut out = output::out();
    if global.json {
        let settings: BTreeMap<_, _> = info.settings.iter().cloned().collect();
        let all = json!({
            "engine": info.engine,
            "url": info.url,
            "durable": info.durable,
            "head": head,
            "settings": settings,
            "version": env!("CARGO_PKG_VERSION"),
        });
        output::json_line(&mut out, &all)?;
    } else {
        let mut lines = vec![
            ("store", info.url.clone()),
            ("engine", info.engine.clone()),
            ("durability", durability(info.durable).to_owned()),
            ("head", count(head)),
        ];
        lines.extend(info.settings.iter().map(|(name, value)| (name.as_str(), value.clone())));
        facts(&mut out, lines)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
