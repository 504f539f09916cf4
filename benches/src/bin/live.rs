//! From an append to a live durable handler: how long, at a thousand events a second that do not wait for each other.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tidings::{App, Build as _, Cx, Handled, Module, On, Subscribe as _, WithDependency as _};
use tidings_benches::{
    disk::{ALLOCATOR, Disk, micros, percentile},
    harness::Unit,
    workload::{OrderChanged, scramble},
};

/// Time between two events.
const PACE: Duration = Duration::from_millis(1);

/// Events at the beginning that do not count.
const WARMING: usize = 500;

/// What each event has to pass, in order.
const STEPS: [&str; 3] = ["sent", "acknowledged, durable", "handled"];

fn main() -> Result<()> {
    let disk = Disk::begin()?;
    let mut job = disk.job(env!("CARGO_BIN_NAME"));
    let subject =
        |part: &str| disk.subject(&format!("1,000 events a second, from the intended time: {part}"));
    let (half, tail) = (subject("p50"), subject("p99"));
    let table = job
        .table(disk.subject("1,000 events a second, offered"), Unit::rate("events/s"))
        .peer("tidings", || round(&disk, &half, &tail))
        .note(format!(
            "events are sent when their time has come, whether or not earlier ones are done (open loop); each is handled \
             once; {ALLOCATOR}"
        ));
    disk.probed(table).run()?;
    for subject in [&half, &tail] {
        let [sent, acknowledged, handled] = STEPS.map(|step| disk.noted(subject, step));
        job.table(subject.as_str(), Unit::time("µs"))
            .peer("sent", sent)
            .note("how late the sender itself is")
            .reference("acknowledged, durable", acknowledged)
            .peer("handled", handled)
            .note("when a live durable handler is called; its own effects are committed after that")
            .run()?;
    }
    Ok(())
}

/// When an event was where, in nanoseconds after the beginning; 0 while it was not.
#[derive(Default)]
struct Passed {
    steps: [AtomicU64; 3],
    times: AtomicU64,
}

struct Watch {
    begun: OnceLock<Instant>,
    events: Vec<Passed>,
}

impl Watch {
    fn pass(&self, number: usize, step: usize) {
        let Some((event, begun)) = self.events.get(number).zip(self.begun.get()) else { return };
        if let Some(at) = event.steps.get(step) {
            at.store(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
        if step == 2 {
            event.times.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn handle(watch: Arc<Watch>, changed: On<OrderChanged>, _: Cx) -> Handled {
    watch.pass(changed.cents as usize, 2);
    Ok(())
}

fn event(number: usize) -> OrderChanged {
    OrderChanged {
        order: format!("{:08}", scramble(number as u64) % 1_000),
        customer: format!("c{:05}", number % 1_000),
        cents: number as u64,
        things: 1,
        note: "leave at the door, ring twice, neighbour please".into(),
    }
}

fn round(disk: &Disk, half: &str, tail: &str) -> Result<f64> {
    let folder = disk.fresh()?;
    let events = disk.pick(6_000, 1_000);
    let watch =
        Arc::new(Watch { begun: OnceLock::new(), events: (0..events).map(|_| Passed::default()).collect() });
    let module = Module::new("live").on(handle.with(watch.clone()).durable("live"));
    let url = format!("sqlite:{}", folder.path().join("events.db").display());
    let app: App = disk.runtime().block_on(async {
        let app = App::builder().store(url).module(module).build().await?;
        app.start().await?;
        // It has its lease and is live once it has handled something.
        app.publish(OrderChanged { cents: u64::MAX, ..event(0) }).await?;
        app.settled().await?;
        anyhow::Ok(app)
    })?;
    let begun = *watch.begun.get_or_init(Instant::now);
    let mut publishing = Vec::with_capacity(events);
    for number in 0..events {
        let due = begun + PACE * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        watch.pass(number, 0);
        let (app, watch, event) = (app.clone(), watch.clone(), event(number));
        publishing.push(disk.runtime().spawn(async move {
            app.publish(event).await?;
            watch.pass(number, 1);
            anyhow::Ok(())
        }));
    }
    let offered = events as f64 / begun.elapsed().as_secs_f64();
    disk.runtime().block_on(async {
        for one in publishing {
            one.await??;
        }
        app.settled().await?;
        let left = app.shutdown().await;
        ensure!(left.is_clean(), "{left}");
        Ok(())
    })?;
    for (step, name) in STEPS.iter().enumerate() {
        let mut waits = Vec::with_capacity(events);
        for (number, event) in watch.events.iter().enumerate().skip(WARMING.min(events / 2)) {
            ensure!(event.times.load(Ordering::Relaxed) == 1, "event {number} was not handled once");
            let at = event.steps.get(step).context("there are three")?.load(Ordering::Relaxed);
            let intended = PACE * number as u32;
            waits.push(micros(Duration::from_nanos(at).saturating_sub(intended)));
        }
        disk.note(half, name, percentile(&waits, 0.50));
        disk.note(tail, name, percentile(&waits, 0.99));
    }
    Ok(offered)
}
