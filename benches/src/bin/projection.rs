//! A view of counters by customer: how fast a durable subscription catches up, and what it costs those who append.

use std::{
    collections::HashMap,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tidings::{App, Build as _, Cx, Handled, Mode, Module, On, Subscribe as _, View};
use tidings_benches::{
    disk::{ALLOCATOR, Disk},
    harness::{Measure, Unit, at_least},
    peers::{Log as _, Ours},
    workload::{OrderChanged, Sample, samples, sequence},
};

const TOTALS: View = View::new("totals");
const LAG: &str = "16 appenders: time until the view has all, after the last append";

/// What is kept of a customer.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Totals {
    events: u64,
    cents: u64,
}

async fn count(changed: On<OrderChanged>, cx: Cx) -> Handled {
    let cents = changed.cents;
    let add = |totals: &mut Totals| {
        totals.events += 1;
        totals.cents += cents;
    };
    cx.view(TOTALS).update(&changed.customer, add).await
}

fn main() -> Result<()> {
    let disk = Disk::begin()?;
    let mut job = disk.job(env!("CARGO_BIN_NAME"));
    let total = disk.pick(500_000, 20_000);
    let events = sequence(total, total / 100)?;
    let filled = disk.fresh()?;
    disk.runtime().block_on(async {
        let ours = Ours::open(filled.path())?;
        for batch in events.chunks(5_000) {
            ours.append(batch.to_vec()).await?;
        }
        ours.close().await
    })?;
    let expected = in_memory(&events)?;
    let table = job
        .table(disk.subject("catching up over 500,000 events"), Unit::rate("events/s"))
        .reference("in memory", || {
            let begun = Instant::now();
            let totals = black_box(in_memory(&events)?);
            let seconds = begun.elapsed().as_secs_f64();
            ensure!(totals == expected, "differs from itself");
            Ok(events.len() as f64 / seconds)
        })
        .guarantee("durable", "no")
        .note("JSON from a vector decoded into the type and folded into a hash map, one thread")
        .peer("tidings", || catch_up(&disk, filled.path(), &expected))
        .guarantee("durable", "yes, each event counted exactly once")
        .goal(at_least(0.33))
        .note(format!(
            "from start until everything is settled and in the store, a durable handler that updates one document an \
             event, at most 1,000 deliveries a commit, ordered by key; every total compared afterwards; {ALLOCATOR}"
        ));
    disk.probed(table).run()?;
    drop(events);
    inline(&disk, &mut job)
}

fn in_memory(events: &[Arc<Sample>]) -> Result<HashMap<String, Totals>> {
    let mut all: HashMap<String, Totals> = HashMap::new();
    for sample in events {
        let event: OrderChanged = serde_json::from_slice(&sample.payload)?;
        let totals = match all.get_mut(&event.customer) {
            Some(totals) => totals,
            None => all.entry(event.customer).or_default(),
        };
        totals.events += 1;
        totals.cents += event.cents;
    }
    Ok(all)
}

fn projecting() -> Module {
    Module::new("reports").on(count.topic("order.*").durable("totals")).view(TOTALS)
}

async fn app(folder: &Path, module: Module) -> Result<App> {
    let store =
        tidings::open_store(&format!("sqlite:{}", folder.join("events.db").display()), Mode::Create).await?;
    Ok(App::builder().name("bench").open_store(store).module(module).build().await?)
}

async fn same(app: &App, expected: &HashMap<String, Totals>) -> Result<()> {
    let found: HashMap<String, Totals> = app
        .view(TOTALS)?
        .list::<Totals>("")
        .await?
        .into_iter()
        .map(|(customer, totals)| (customer.to_string(), totals))
        .collect();
    ensure!(found == *expected, "the view's {} totals are not those of the events", found.len());
    Ok(())
}

fn catch_up(disk: &Disk, filled: &Path, expected: &HashMap<String, Totals>) -> Result<f64> {
    let folder = disk.fresh()?;
    std::fs::copy(filled.join("events.db"), folder.path().join("events.db"))?;
    std::process::Command::new("sync").status()?;
    disk.runtime().block_on(async {
        let app = app(folder.path(), projecting()).await?;
        let begun = Instant::now();
        app.start().await?;
        app.settled().await?;
        let seconds = begun.elapsed().as_secs_f64();
        same(&app, expected).await?;
        let left = app.shutdown().await;
        ensure!(left.is_clean(), "{left}");
        let events: u64 = expected.values().map(|totals| totals.events).sum();
        Ok(events as f64 / seconds)
    })
}

/// Appending while the view is kept, against appending alone.
fn inline(disk: &Disk, job: &mut tidings_benches::harness::Job) -> Result<()> {
    let events = samples(disk.pick(160_000, 4_000), 10_000, 16)?;
    let table = job
        .table(disk.subject("16 appenders"), Unit::rate("events/s"))
        .reference("tidings, no subscription", || append(disk, &events, Module::new("nothing")))
        .note("App::publish_envelope, each awaited")
        .peer("tidings, with the view kept", || append(disk, &events, projecting()))
        .goal(at_least(0.9))
        .note("the same while the handler runs; the rate is that of the appends, how far the view is behind is below");
    disk.probed(table).run()?;
    let mut lag = disk.noted(LAG, "tidings");
    job.table(disk.subject(LAG), Unit::time("ms")).peer("tidings", move || lag.measure()).run()
}

fn append(disk: &Disk, parts: &[Vec<Arc<Sample>>], module: Module) -> Result<f64> {
    let folder = disk.fresh()?;
    let span = Duration::from_secs_f64(disk.pick(2.0, 0.1));
    let is_kept = module.name() == projecting().name();
    disk.runtime().block_on(async {
        let app = app(folder.path(), module).await?;
        app.start().await?;
        let own = parts.to_vec();
        let begun = Instant::now();
        let appenders: Vec<_> = own
            .into_iter()
            .map(|events| {
                let app = app.clone();
                tokio::spawn(async move {
                    let mut done = 0;
                    for sample in &events {
                        if begun.elapsed() > span {
                            break;
                        }
                        app.publish_envelope(sample.envelope.edit()).await?;
                        done += 1;
                    }
                    anyhow::Ok(done)
                })
            })
            .collect();
        let mut done = Vec::new();
        for appender in appenders {
            done.push(appender.await??);
        }
        let appended: usize = done.iter().sum();
        let rate = appended as f64 / begun.elapsed().as_secs_f64();
        let last = Instant::now();
        app.settled().await?;
        if is_kept {
            disk.note(LAG, "tidings", last.elapsed().as_secs_f64() * 1e3);
            let acknowledged: Vec<Arc<Sample>> = parts
                .iter()
                .zip(&done)
                .flat_map(|(events, done)| events.iter().take(*done))
                .cloned()
                .collect();
            same(&app, &in_memory(&acknowledged)?).await?;
        }
        if let Some(store) = app.store() {
            let events = store.stats().await?.events;
            ensure!(events == appended as u64, "{events} are there, {appended} were acknowledged");
        }
        app.shutdown().await;
        Ok(rate)
    })
}
