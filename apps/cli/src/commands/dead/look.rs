//! `tidings dead list`, `show`, `count` and `export`.

use std::{io::Write as _, process::ExitCode};

use serde_json::{json, value::RawValue};
use tidings::{Envelope, Failure, cloudevents, durable::DeadLetter};

use super::{Wanted, entry, failed, letters, must_exist, shown};
use crate::{
    commands::log::ROWS,
    global::Global,
    output::{
        self,
        number::{count as number, counted},
        redact::Redactions,
        table::{self, Column, Rows, cut},
    },
};

/// Letters a page.
const PAGE: usize = 1_000;

#[derive(Debug, clap::Args)]
pub struct List {
    /// The handler; without it, all of them
    handler: Option<String>,

    #[command(flatten)]
    wanted: Wanted,

    /// Only those after this entry, or position
    #[arg(long, value_name = "ENTRY")]
    after: Option<String>,

    /// At most this many a handler [default: 20 in a table, all with --json]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub struct Show {
    /// The handler
    handler: String,
    /// The entry, or the position of its event in the log
    entry: String,
}

#[derive(Debug, clap::Args)]
pub struct Count {
    /// The handler; without it, all of them
    handler: Option<String>,

    #[command(flatten)]
    wanted: Wanted,
}

/// Payloads are written as they are, also fields that other commands do not show.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The handler; without it, all of them
    handler: Option<String>,

    #[command(flatten)]
    wanted: Wanted,
}

pub async fn list(list: List, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let letters = letters(&store);
    let handlers = match &list.handler {
        Some(name) => {
            must_exist(&letters, name).await?;
            vec![name.as_str().into()]
        }
        None => letters.handlers().await.map_err(failed)?,
    };
    let limit = list.limit.unwrap_or(if global.json { u64::MAX } else { ROWS });
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut out = output::out();
    let mut any = false;
    for handler in &handlers {
        let filter = list.wanted.filter(Some(handler));
        let (mut many, mut after) = (0, list.after.as_deref().map(entry));
        loop {
            let page = letters
                .page(handler, &filter, after.as_deref(), PAGE.min(limit - many))
                .await
                .map_err(failed)?;
            let mut rows = rows();
            for letter in &page.letters {
                if global.json {
                    output::json_line(&mut out, letter)?;
                } else {
                    rows.push(cells(letter));
                }
            }
            rows.print(&mut out)?;
            many += page.letters.len();
            after = page.next;
            if after.is_none() || many >= limit {
                break;
            }
        }
        any |= many > 0;
        if let Some(after) = after.filter(|_| !global.json) {
            writeln!(out, "… there may be more: `tidings dead list {handler} --after {after}`")?;
        }
    }
    if !any && !global.json {
        writeln!(out, "no dead letters")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn rows() -> Rows {
    Rows::new([
        Column::Text("handler"),
        Column::Text("entry"),
        Column::Text("event"),
        Column::Text("key"),
        Column::Text("reason"),
        Column::Number("attempts"),
        Column::Text("given up"),
        Column::Text("error"),
    ])
}

fn cells(letter: &DeadLetter) -> [String; 8] {
    [
        letter.handler.to_string(),
        shown(letter),
        letter.name.to_string(),
        letter.key.as_deref().unwrap_or_default().to_owned(),
        letter.reason.to_string(),
        number(letter.attempts.into()),
        letter.last_at.to_string(),
        cut(&letter.error).into_owned(),
    ]
}

pub async fn count(count: Count, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let letters = letters(&store);
    let handlers = match &count.handler {
        Some(name) => {
            must_exist(&letters, name).await?;
            vec![name.as_str().into()]
        }
        None => letters.handlers().await.map_err(failed)?,
    };
    let mut out = output::out();
    let mut rows = Rows::new([Column::Text("handler"), Column::Number("dead letters")]);
    let mut total = 0;
    for handler in &handlers {
        let many = letters.count(&count.wanted.filter(Some(handler))).await.map_err(failed)?;
        total += many;
        if global.json {
            output::json_line(&mut out, &json!({"handler": &**handler, "dead_letters": many}))?;
        } else {
            rows.push([handler.to_string(), number(many)]);
        }
    }
    rows.print(&mut out)?;
    if !global.json {
        writeln!(out, "{} in all", counted(total, "dead letter"))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub async fn export(export: Export, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let letters = letters(&store);
    if let Some(handler) = &export.handler {
        must_exist(&letters, handler).await?;
    }
    let mut out = output::out();
    let line = |line: &str| {
        writeln!(out, "{line}").map_err(|error| Failure::permanent(format!("cannot write: {error}")))
    };
    let many =
        letters.export(&export.wanted.filter(export.handler.as_deref()), line).await.map_err(failed)?;
    out.flush()?;
    output::remark(format_args!("{} exported", counted(many, "dead letter")));
    Ok(ExitCode::SUCCESS)
}

pub async fn show(show: Show, global: &Global) -> anyhow::Result<ExitCode> {
    let Show { handler, entry: said } = show;
    let store = global.reading().await?;
    let letters = letters(&store);
    must_exist(&letters, &handler).await?;
    let Some((letter, event)) = letters.get(&handler, &entry(&said)).await.map_err(failed)? else {
        anyhow::bail!("{handler} has no dead letter {said}");
    };
    let redactions = Redactions::of(&store).await?;
    let event = event.map(|event| redactions.apply(event));
    let letter = letter.listed();
    let mut out = output::out();
    if global.json {
        let event = event.map(|event| cloudevents::write(&event, None)).transpose()?;
        let event =
            event.map(|json| String::from_utf8(json).map(RawValue::from_string)).transpose()?.transpose()?;
        output::json_line(&mut out, &json!({"letter": letter, "event": event}))?;
    } else {
        about(&letter, &mut out)?;
        writeln!(out, "\nthe event, as a replay would handle it:")?;
        match &event {
            Some(event) => table::facts(&mut out, facts(event))?,
            None => writeln!(out, "it is not in the log any more")?,
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn about(letter: &DeadLetter, out: &mut output::Out) -> anyhow::Result<()> {
    let mut lines = vec![
        ("handler", letter.handler.to_string()),
        ("entry", letter.entry.to_string()),
        ("destination", letter.destination.to_string()),
        ("reason", letter.reason.to_string()),
        ("error", letter.error.clone()),
        ("attempts", number(letter.attempts.into())),
        ("replays", number(letter.replays.into())),
        ("first tried", letter.first_at.to_string()),
        ("given up", letter.last_at.to_string()),
    ];
    if letter.position > 0 {
        lines.push(("position", letter.position.to_string()));
    }
    if let Some(key) = &letter.key {
        lines.push((if letter.position > 0 { "parked key" } else { "key" }, key.to_string()));
    }
    if let Some(due) = letter.due {
        lines.push(("replayed at", due.to_string()));
    }
    for (name, value) in [("correlation", &letter.correlation), ("trace", &letter.trace_parent)] {
        lines.extend(value.as_ref().map(|value| (name, value.to_string())));
    }
    if !letter.path.is_empty() {
        lines.push(("path", letter.path.join(" → ")));
    }
    lines.extend(letter.history.iter().map(|one| ("failed", format!("{} {}", one.at, one.error))));
    lines.extend(letter.edits.iter().map(|edit| ("edited", format!("{} by {}", edit.at, edit.by))));
    Ok(table::facts(out, lines)?)
}

fn facts(event: &Envelope) -> Vec<(&'static str, String)> {
    let payload = event.payload().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    vec![
        ("name", event.name().to_string()),
        ("id", event.id().to_string()),
        ("source", event.source().to_string()),
        ("data", payload.unwrap_or_default()),
    ]
}
