//! The proof: whether stock, money and orders balance, from the log and the views alone.
//!
//! It runs in a process of its own, which opens the store for reading and has never seen the shop at work. Whatever a
//! check finds wrong, it names.

mod checks;
mod ledger;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tidings::{
    Mode, Position, Text, open_store,
    store::{AnyStore, Read},
};

use self::ledger::Ledger;
use super::home::Home;

/// The most faults a check lists.
const FAULTS_MAX: usize = 5;

/// What the prover found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The process that made it.
    pub process: u32,
    /// Orders placed.
    pub orders: u64,
    /// How many ended how; `unfinished` are those that did not.
    pub outcomes: BTreeMap<String, u64>,
    /// Events in the log.
    pub events: u64,
    /// Commits by which they got there, with their views.
    pub commits: u64,
    /// From the first order placed to the last event, by the log's own times.
    pub seconds: f64,
    /// From placed to ended, by the log's own times.
    pub latency: Latency,
    /// The checks.
    pub checks: Vec<Check>,
}

/// How long orders took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// One thing that has to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What it is about, in a word.
    pub name: String,
    /// What holds.
    pub says: String,
    /// What does not; the first few.
    pub faults: Vec<String>,
    /// How many do not.
    pub faults_all: u64,
}

impl Check {
    fn new(name: &str, says: String, mut faults: Vec<String>) -> Self {
        let faults_all = faults.len() as u64;
        faults.truncate(FAULTS_MAX);
        Self { name: name.into(), says, faults, faults_all }
    }
}

impl Proof {
    /// Whether everything holds.
    pub fn is_balanced(&self) -> bool {
        self.checks.iter().all(|check| check.faults.is_empty())
    }
}

/// Reads the store and checks everything.
///
/// # Errors
/// When it cannot be read, or is not a demo's.
pub async fn prove(home: &Home) -> Result<Proof> {
    let store = open_store(&home.url, Mode::ReadOnly).await.with_context(|| home.url.clone())?;
    ensure!(home.customers(&store).await?.is_some(), "{} is empty", home.url);
    let progress = progress(&store).await?;
    let mut ledger = Ledger::default();
    let mut unsettled = checks::Unsettled::new(&progress);
    let mut from = 0;
    loop {
        let page = store.read(&Read::after(from).limit(4_000).all_tenants()).await?;
        for event in &page.events {
            ledger.take(event);
            unsettled.look_at(event);
        }
        from = page.next;
        if page.end {
            break;
        }
    }
    let views = checks::Views::read(&store).await?;
    let stats = store.stats().await?;
    let checks = vec![
        checks::log(&ledger),
        checks::orders(&ledger, &views),
        checks::chains(&ledger),
        checks::stock(&ledger, &views),
        checks::money(&ledger, &views),
        checks::pending(&stats, unsettled),
        checks::dead(&stats),
        checks::file(&store).await?,
    ];
    store.close().await?;
    Ok(proof(ledger, &progress, checks))
}

/// How far each subscription has come: everything up to a position, and some above it.
type Progress = Vec<(Text, Position, Vec<Position>, u64)>;

async fn progress(store: &AnyStore) -> Result<Progress> {
    let all = store.checkpoints().await?;
    Ok(all.into_iter().map(|(name, at)| (name, at.watermark, at.settled, at.revision)).collect())
}

fn proof(mut ledger: Ledger, progress: &Progress, checks: Vec<Check>) -> Proof {
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for order in ledger.orders.values() {
        *outcomes.entry(order.outcome().unwrap_or("unfinished").into()).or_default() += 1;
    }
    ledger.latencies.sort_unstable();
    let at = |share: f64| {
        let last = ledger.latencies.len().checked_sub(1)?;
        Some(ledger.latencies[(last as f64 * share) as usize].as_micros() as f64 / 1e3)
    };
    let latency = |share| at(share).unwrap_or(0.0);
    let took = ledger.last.zip(ledger.first).map_or(Duration::ZERO, |(last, first)| last.since(first));
    Proof {
        process: std::process::id(),
        orders: ledger.orders.len() as u64,
        outcomes,
        events: ledger.events,
        // A subscription's revision grows by one with each of its commits.
        commits: ledger.roots + progress.iter().map(|(_, _, _, revision)| revision).sum::<u64>(),
        seconds: took.as_secs_f64(),
        latency: Latency { p50: latency(0.5), p99: latency(0.99), max: latency(1.0) },
        checks,
    }
}
