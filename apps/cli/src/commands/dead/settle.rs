//! `tidings dead edit`, `replay`, `discard` and `purge`.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::Context as _;
use serde_json::json;
use tidings::{Decided, Letters, Mode, Text};

use super::{Wanted, entry, failed, letters, must_exist};
use crate::{
    global::Global,
    output::{
        self,
        ask::confirmed,
        number::{count, counted},
    },
};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["entries", "all", "reason", "name", "key", "destination", "since", "until"])))]
pub struct Selection {
    /// The handler
    handler: String,

    /// The entries, or positions of their events in the log
    #[arg(value_name = "ENTRY",
        conflicts_with_all = ["all", "reason", "name", "key", "destination", "since", "until"])]
    entries: Vec<String>,

    /// All of them
    #[arg(long, conflicts_with_all = ["reason", "name", "key", "destination", "since", "until"])]
    all: bool,

    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    selection: Selection,

    /// At most so many a second
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
}

#[derive(Debug, clap::Args)]
pub struct Discard {
    #[command(flatten)]
    selection: Selection,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub struct Purge {
    /// The handler; without it, all of them
    handler: Option<String>,

    #[command(flatten)]
    wanted: Wanted,

    /// Those given up longer ago than this, such as `720h`
    #[arg(long, value_name = "SPAN", value_parser = tidings::span::parse)]
    older_than: Duration,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// The payload before is kept with who replaced it, and when.
#[derive(Debug, clap::Args)]
pub struct Edit {
    /// The handler
    handler: String,

    /// The entry, or the position of its event in the log
    entry: String,

    /// The new payload: JSON; `-` reads it from standard input
    #[arg(long, value_name = "JSON")]
    data: String,

    /// Who edits it
    #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true)]
    by: String,
}

pub async fn replay(replay: Replay, global: &Global) -> anyhow::Result<ExitCode> {
    let Selection { handler, entries, wanted, .. } = &replay.selection;
    let store = global.open(Mode::Existing).await?;
    let letters = letters(&store);
    must_exist(&letters, handler).await?;
    let decided = match entries.is_empty() {
        true => letters.replay_all(&wanted.filter(Some(handler)), replay.rate).await.map_err(failed)?,
        false => letters.replay(handler, self::entries(entries), replay.rate).await.map_err(failed)?,
    };
    global.close(store).await?;
    let done = |many| format!("{} handed back to the failed handler", counted(many, "dead letter"));
    report(Some(handler), "replay", &decided, &done, global)
}

pub async fn discard(discard: Discard, global: &Global) -> anyhow::Result<ExitCode> {
    let Selection { handler, entries, wanted, .. } = &discard.selection;
    let store = global.open(Mode::Existing).await?;
    let letters = letters(&store);
    must_exist(&letters, handler).await?;
    let filter = wanted.filter(Some(handler));
    let many = match entries.len() as u64 {
        0 => letters.count(&filter).await.map_err(failed)?,
        many => many,
    };
    if !is_meant(many, &format!("the dead letters of {handler}"), discard.yes)? {
        return Ok(ExitCode::FAILURE);
    }
    let decided = match entries.is_empty() {
        true => letters.discard_all(&filter).await.map_err(failed)?,
        false => letters.discard(handler, self::entries(entries)).await.map_err(failed)?,
    };
    global.close(store).await?;
    report(Some(handler), "discard", &decided, &discarded, global)
}

pub async fn purge(purge: Purge, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.open(Mode::Existing).await?;
    let letters = letters(&store);
    if let Some(handler) = &purge.handler {
        must_exist(&letters, handler).await?;
    }
    let filter = purge.wanted.filter(purge.handler.as_deref());
    let many = old(&letters, &filter, purge.older_than).await?;
    if !is_meant(many, "the dead letters", purge.yes)? {
        return Ok(ExitCode::FAILURE);
    }
    let decided = letters.purge(&filter, purge.older_than).await.map_err(failed)?;
    global.close(store).await?;
    report(purge.handler.as_deref(), "purge", &decided, &discarded, global)
}

/// How many a purge would forget now.
async fn old(letters: &Letters, filter: &tidings::LetterFilter, age: Duration) -> anyhow::Result<u64> {
    letters.count(&letters.older(filter, age)).await.map_err(failed)
}

pub async fn edit(edit: Edit, global: &Global) -> anyhow::Result<ExitCode> {
    let Edit { handler, entry: said, data, by } = edit;
    let data = match &*data {
        "-" => std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?,
        _ => data,
    };
    let store = global.open(Mode::Existing).await?;
    let letters = letters(&store);
    must_exist(&letters, &handler).await?;
    let decided = letters.edit(&handler, &entry(&said), data, by).await.map_err(failed)?;
    global.close(store).await?;
    report(Some(&handler), "edit", &decided, &|_| format!("the dead letter {said} was edited"), global)
}

fn entries(said: &[String]) -> Vec<Text> {
    said.iter().map(|one| entry(one)).collect()
}

fn discarded(many: u64) -> String {
    format!("{} discarded", counted(many, "dead letter"))
}

fn is_meant(many: u64, of: &str, yes: bool) -> anyhow::Result<bool> {
    if many == 0 || confirmed(&format!("Discard {} of {of} for ever?", count(many)), yes)? {
        return Ok(true);
    }
    output::remark("nothing was done");
    Ok(false)
}

fn report(
    handler: Option<&str>,
    verb: &str,
    decided: &Decided,
    done: &dyn Fn(u64) -> String,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let mut out = output::out();
    if global.json {
        let Decided { done, refused, waiting } = decided;
        let object = json!({
            "handler": handler, "verb": verb, "done": done, "refused": refused, "waiting": waiting,
        });
        output::json_line(&mut out, &object)?;
    } else {
        if decided.done > 0 {
            writeln!(out, "{}", done(decided.done))?;
        } else if !decided.waiting {
            writeln!(out, "nothing was done")?;
        }
        if decided.waiting {
            let what = "the process that runs the subscription has not answered yet";
            writeln!(out, "({what}; the request stays and will be carried out)")?;
        }
        for why in &decided.refused {
            output::remark(format_args!("refused: {why}"));
        }
    }
    out.flush()?;
    let well = decided.refused.is_empty() && !decided.waiting;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
