//! `tidings lint`: advice on the events of a store.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::Write as _,
    process::ExitCode,
};

use tidings::{
    Model, Pattern, lint,
    store::{AnyStore, Filter, Read},
};

use crate::{
    global::Global,
    output::{
        self,
        number::counted,
        redact::models,
        table::{Column, Rows},
    },
};

/// Names that are only in the log and are looked at.
const NAMES_MAX: usize = 10_000;

/// Fields by name, with whether they are protected.
type Fields = Vec<(String, bool)>;

/// Give advice on the names and fields of events
///
/// Looks at the events that applications have declared, and at the others that are in the log. Advice only: the status is 0.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub async fn run(_: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let mut events = declared(&models(&store).await?);
    for (name, _) in store.stats().await?.names.into_iter().take(NAMES_MAX) {
        if let Entry::Vacant(free) = events.entry(name) {
            let fields = observed(&store, free.key()).await?;
            free.insert(fields);
        }
    }
    let mut out = output::out();
    let mut rows = Rows::new([Column::Text("event"), Column::Text("field"), Column::Text("advice")]);
    for (name, fields) in &events {
        let fields: Vec<(&str, bool)> = fields.iter().map(|(field, safe)| (field.as_str(), *safe)).collect();
        for advice in lint::check(name, &fields) {
            if global.json {
                output::json_line(&mut out, &advice)?;
            } else {
                rows.push([
                    advice.event.as_str(),
                    advice.field.as_deref().unwrap_or_default(),
                    &advice.advice,
                ]);
            }
        }
    }
    if !global.json {
        rows.print(&mut out)?;
        let (advice, events) = (rows.len() as u64, counted(events.len() as u64, "event"));
        writeln!(
            out,
            "{} on {events}",
            if advice == 0 { "nothing to say".into() } else { counted(advice, "remark") }
        )?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Events of the models, with the fields of all their versions.
fn declared(models: &[Model]) -> BTreeMap<String, Fields> {
    let mut events: BTreeMap<String, Fields> = BTreeMap::new();
    for event in models.iter().flat_map(|model| &model.events) {
        let fields = events.entry(event.name.clone()).or_default();
        for field in &event.fields {
            if !fields.contains(field) {
                fields.push(field.clone());
            }
        }
    }
    events
}

/// The fields of the newest event of this name, none of which anybody has declared as protected.
async fn observed(store: &AnyStore, name: &str) -> anyhow::Result<Fields> {
    let newest = Read::newest().all_tenants().filter(Filter::names([Pattern::parse(name)?])).limit(1);
    let page = store.read(&newest).await?;
    let payload = page.events.first().and_then(|event| event.envelope.payload().ok());
    let object: Option<serde_json::Map<String, serde_json::Value>> =
        payload.and_then(|payload| serde_json::from_slice(payload).ok());
    Ok(object.into_iter().flat_map(|object| object.into_iter().map(|(field, _)| (field, false))).collect())
}
