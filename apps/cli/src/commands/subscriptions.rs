//! How the durable subscriptions of a store are doing, as the store alone tells it.

use std::time::Duration;

use serde::Serialize;
use tidings::{
    Clock as _, DocumentKey, Pattern, Position, SystemClock, Tenant, Timestamp,
    durable::{Described, SUBSCRIPTIONS, dead_namespace},
    store::{AnyStore, Document, DocumentQuery, Filter, Read},
};

/// Rows of blocked keys that are looked at; a subscription with more is in trouble anyway.
const ROWS_MAX: usize = 4_000;

/// A subscription, as it stands in the store.
#[derive(Debug, Serialize)]
pub struct Subscription {
    /// Its name.
    pub name: String,
    /// What it selects.
    pub patterns: Vec<Pattern>,
    /// Everything up to here is settled.
    pub watermark: Position,
    /// How many positions of the log come after the watermark.
    pub lag: u64,
    /// How long the oldest event it selects after its watermark has been in the store.
    pub lag_seconds: f64,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// The process that runs it now.
    pub run_by: Option<String>,
    /// Keys that wait for another attempt, or whose followers are being handled.
    pub waiting: u64,
    /// Keys a dead letter stands before.
    pub parked: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Whether events of a key are handled in order.
    pub ordered: bool,
    /// The Rust function behind it.
    pub function: String,
    /// When it was created.
    pub created: Timestamp,
}

impl Subscription {
    /// What it is doing, in a word.
    pub fn state(&self) -> &'static str {
        match (self.paused, &self.run_by) {
            (true, _) => "paused",
            (false, Some(_)) => "running",
            (false, None) => "not running",
        }
    }

    /// How far behind it is in time.
    pub fn lag_time(&self) -> Duration {
        Duration::try_from_secs_f64(self.lag_seconds).unwrap_or_default()
    }
}

/// All of them, in order of their names.
pub async fn all(store: &AnyStore) -> anyhow::Result<Vec<Subscription>> {
    let head = store.head().await?;
    let mut all = Vec::new();
    for described in described(store).await? {
        all.push(one(store, described, head).await?);
    }
    Ok(all)
}

/// What their authors wrote, in order of their names.
pub async fn described(store: &AnyStore) -> anyhow::Result<Vec<Described>> {
    let documents = documents(store, SUBSCRIPTIONS, usize::MAX).await?;
    Ok(documents.iter().filter_map(|document| serde_json::from_slice(&document.value).ok()).collect())
}

/// That there is a subscription of this name; the error names those there are.
pub async fn must_exist(store: &AnyStore, name: &str) -> anyhow::Result<()> {
    if store.document(&Tenant::default(), &DocumentKey::new(SUBSCRIPTIONS, name)).await?.is_some() {
        return Ok(());
    }
    let names: Vec<_> = described(store).await?.into_iter().map(|one| one.name.to_string()).collect();
    let names = if names.is_empty() { "there are none".to_owned() } else { names.join(", ") };
    anyhow::bail!("there is no subscription {name:?} in this store; subscriptions: {names}")
}

async fn one(store: &AnyStore, described: Described, head: Position) -> anyhow::Result<Subscription> {
    let name = described.name.as_ref();
    let watermark = store.checkpoint(name).await?.watermark;
    // The rows are the business of the subscription that keeps them; here only their kinds are counted.
    let rows = documents(store, &format!("$blocked/{name}"), ROWS_MAX).await?;
    let is_parked = |row: &Document| {
        let row: Option<serde_json::Value> = serde_json::from_slice(&row.value).ok();
        row.is_some_and(|row| row.pointer("/state/parked").is_some())
    };
    let parked = rows.iter().filter(|row| is_parked(row)).count() as u64;
    let dead_letters = store.count_documents(&DocumentQuery::all(dead_namespace(name))).await?;
    let next = Read::after(watermark).filter(Filter::names(described.patterns.clone())).limit(1);
    let oldest = store.read(&next).await?.events.into_iter().next();
    let now = SystemClock.now();
    Ok(Subscription {
        watermark,
        lag: head.saturating_sub(watermark),
        lag_seconds: oldest.map_or(0.0, |event| now.since(event.recorded).as_secs_f64()),
        paused: described.paused,
        run_by: store.holder(&format!("subscription/{name}")).await?.map(|owner| owner.to_string()),
        waiting: rows.len() as u64 - parked,
        parked,
        dead_letters,
        ordered: described.ordered,
        created: described.created,
        name: described.name.to_string(),
        function: described.function,
        patterns: described.patterns,
    })
}

async fn documents(store: &AnyStore, namespace: &str, limit: usize) -> anyhow::Result<Vec<Document>> {
    let mut query = DocumentQuery::all(namespace);
    let mut all = Vec::new();
    loop {
        let page = store.documents(&query).await?;
        let full = page.len() == query.limit;
        query.after = page.last().map(|document| document.key.id.clone());
        all.extend(page);
        if !full || all.len() >= limit {
            return Ok(all);
        }
    }
}
