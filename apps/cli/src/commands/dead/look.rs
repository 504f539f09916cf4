//! `tidings dead list` and `show`.

use std::{io::Write as _, process::ExitCode};

use serde_json::value::RawValue;
use tidings::{
    DocumentKey, Position, Tenant, cloudevents,
    durable::{DeadLetter, dead_namespace},
    store::{AnyStore, Read, Recorded},
};

use super::{Last, Wanted, letters::Letters};
use crate::{
    commands::{log::ROWS, subscriptions},
    global::Global,
    output::{
        self,
        event::{facts, place},
        number::count,
        redact::Redactions,
        table::{self, Column, Rows, cut},
    },
};

#[derive(Debug, clap::Args)]
pub struct List {
    /// The subscription; without it, all of them
    subscription: Option<String>,

    #[command(flatten)]
    wanted: Wanted,

    /// Only those after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: Position,

    /// At most this many a subscription [default: 20 in a table, all with --json]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub struct Show {
    /// The subscription
    subscription: String,
    /// The position of the event in the log
    position: Position,
}

pub async fn list(list: List, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let subscriptions = match &list.subscription {
        Some(name) => {
            subscriptions::must_exist(&store, name).await?;
            vec![name.clone()]
        }
        None => {
            let all = subscriptions::described(&store).await?;
            all.into_iter().map(|one| one.name.to_string()).collect()
        }
    };
    let limit = list.limit.unwrap_or(if global.json { u64::MAX } else { ROWS });
    let mut out = output::out();
    let mut shown = 0;
    for name in &subscriptions {
        let mut letters = Letters::of(&store, name, &list.wanted, list.after);
        let (many, last) = print(&mut letters, limit, &mut out, global.json).await?;
        shown += many;
        if let Some(last) = last.filter(|_| !global.json) {
            writeln!(out, "… there may be more: `tidings dead list {name} --after {last}`")?;
        }
    }
    if shown == 0 && !global.json {
        writeln!(out, "no dead letters")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints up to `limit` letters; answers how many there were, and the last position if there are more.
async fn print(
    letters: &mut Letters<'_>,
    limit: u64,
    out: &mut output::Out,
    json: bool,
) -> anyhow::Result<(u64, Last)> {
    let (mut many, mut last) = (0, None);
    while let Some(page) = letters.page().await? {
        let mut rows = rows();
        let left = usize::try_from(limit - many).unwrap_or(usize::MAX);
        for letter in page.iter().take(left) {
            if json {
                output::json_line(out, letter)?;
            } else {
                rows.push(cells(letter));
            }
            many += 1;
            last = Some(letter.position);
        }
        rows.print(out)?;
        if many == limit {
            return Ok((many, last.filter(|_| page.len() >= left)));
        }
    }
    Ok((many, None))
}

fn rows() -> Rows {
    Rows::new([
        Column::Text("subscription"),
        Column::Number("position"),
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
        letter.subscription.clone(),
        letter.position.to_string(),
        letter.name.to_string(),
        letter.key.as_deref().unwrap_or_default().to_owned(),
        letter.reason.to_string(),
        count(letter.attempts.into()),
        letter.last_at.to_string(),
        cut(&letter.error).into_owned(),
    ]
}

pub async fn show(show: Show, global: &Global) -> anyhow::Result<ExitCode> {
    let Show { subscription, position } = show;
    let store = global.reading().await?;
    subscriptions::must_exist(&store, &subscription).await?;
    let key = DocumentKey::new(dead_namespace(&subscription), DeadLetter::document_id(position));
    let Some(document) = store.document(&Tenant::default(), &key).await? else {
        anyhow::bail!("{subscription} has no dead letter at position {position}");
    };
    let letter: DeadLetter = serde_json::from_slice(&document.value)?;
    let redactions = Redactions::of(&store).await?;
    let event = event(&store, position).await?.map(|event| redactions.shown(&event));
    let mut out = output::out();
    if global.json {
        let event =
            event.map(|event| cloudevents::write(&event.envelope, Some(&place(&event)))).transpose()?;
        let event =
            event.map(|json| String::from_utf8(json).map(RawValue::from_string)).transpose()?.transpose()?;
        output::json_line(&mut out, &serde_json::json!({"letter": letter, "event": event}))?;
    } else {
        about(&letter, &mut out)?;
        writeln!(out, "\nthe event:")?;
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
        ("subscription", letter.subscription.clone()),
        ("reason", letter.reason.to_string()),
        ("error", letter.error.clone()),
        ("attempts", count(letter.attempts.into())),
        ("first tried", letter.first_at.to_string()),
        ("given up", letter.last_at.to_string()),
    ];
    if let Some(key) = &letter.key {
        lines.push(("parked key", key.to_string()));
    }
    if !letter.path.is_empty() {
        lines.push(("path", letter.path.join(" → ")));
    }
    Ok(table::facts(out, lines)?)
}

/// The event at a position.
async fn event(store: &AnyStore, position: Position) -> anyhow::Result<Option<Recorded>> {
    let page = store.read(&Read::after(position.saturating_sub(1)).all_tenants().limit(1)).await?;
    Ok(page.events.into_iter().find(|event| event.position == position))
}
