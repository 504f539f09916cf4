//! What does an event cost on its way through a buffered handler?
//!
//! The full path: an envelope with a fresh body is published to an application, waits in a bounded queue with priorities
//! and order by key, is handed to its handler on a worker thread under the default policy, and its receipt is told.
//! A round counts when as many events were handled as published, each once. Peers do less: what each leaves out is said
//! beside it.
//!
//! Two jobs run it, one for each allocator: most of what is left is memory that one thread allocates and another frees.
//!
//! `--quick` has few and short rounds: to see that it works. `--ours` runs nothing but our side of the second table, over
//! and over, for a profiler to look at; a number behind it is for how many microseconds the handler is busy.

use std::{
    hint::{black_box, spin_loop},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::harness::{Job, Unit, at_least};
use anyhow::{Context as _, Result, ensure};
use apalis::prelude::{
    Data, MemorySink, MemoryStorage, MemoryStorageError, RandomId, RetryPolicy, Task, TaskBuilder, TaskId,
    WorkerBuilder, WorkerBuilderExt as _,
};
use futures_util::{SinkExt as _, StreamExt as _};
use kameo::{
    Actor,
    actor::{ActorRef, Spawn},
    message::{Context, Message},
};
use tidings::{
    App, Build as _, Envelope, Module, Policy, Priority, Subscribe as _, Text,
    buffered::{Config, Overflow, PoolConfig, QueueConfig},
};

/// How many events may wait, here and in every peer.
const WAITING: usize = 65_536;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The size of a body.
    pub bytes: usize,
    /// How many publish at once.
    pub publishers: usize,
    /// How many handle at once.
    pub workers: usize,
    /// How long a handler is busy.
    pub busy: Duration,
    /// Whether we measure waits and processing.
    pub timings: bool,
}

#[derive(Debug, Clone)]
struct Handled(Arc<AtomicU64>, Duration);

impl Handled {
    fn new(busy: Duration) -> Self {
        Self(Arc::default(), busy)
    }

    fn handle(&self, body: &[u8]) {
        black_box(body);
        if !self.1.is_zero() {
            let begun = Instant::now();
            while begun.elapsed() < self.1 {
                spin_loop();
            }
        }
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn body(bytes: usize, id: u64) -> Vec<u8> {
    let mut body = vec![b'x'; bytes];
    body[..8].copy_from_slice(&id.to_le_bytes());
    body
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn rate(events: u64, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64()
}

/// All of it: priorities, keys, receipts, policy, figures. Answers how many events a second.
///
/// # Errors
/// Not every event was handled once.
pub fn ours(case: Case, events: u64) -> Result<f64> {
    let handled = Handled::new(case.busy);
    let counting = handled.clone();
    let handler = move |event: &Envelope| {
        counting.handle(event.payload().expect("it is bytes"));
    };
    let mut shared =
        PoolConfig { overflow: Overflow::Wait(Duration::from_secs(60)), ..PoolConfig::default() };
    shared.queue = QueueConfig {
        workers: case.workers,
        events_max: WAITING,
        bytes_max: 1 << 30,
        timings: case.timings,
        ..shared.queue
    };
    let config = Config { shared, ..Config::default() };
    runtime()?.block_on(async {
        let module = Module::new("bench").on(handler.topic("order.placed").buffered().policy(Policy::new()));
        let app = App::builder().module(module).buffered(config).build().await?;
        app.start().await?;
        let begun = Instant::now();
        let each = events / case.publishers as u64;
        let publishing = (0..case.publishers as u64).map(|publisher| {
            let app = app.clone();
            tokio::spawn(async move {
                let mut last = None;
                for id in 0..each {
                    let key = KEYS[(id % 64) as usize];
                    let priority = [Priority::Critical, Priority::Normal, Priority::Low][(id % 3) as usize];
                    let event =
                        Envelope::build(ORDER_PLACED).key(key).json(body(case.bytes, publisher * each + id));
                    last = Some(app.publish_envelope(event).priority(priority).await?);
                }
                anyhow::Ok(last)
            })
        });
        let publishing: Vec<_> = publishing.collect();
        for publisher in publishing {
            if let Some(receipt) = publisher.await?? {
                receipt.handled().await;
            }
        }
        app.settled().await?;
        let took = begun.elapsed();
        let figures = app.buffered().figures().remove(0);
        ensure!(
            figures.handled == events && handled.count() == events,
            "{} handled of {events}",
            handled.count()
        );
        app.shutdown().await;
        Ok(rate(events, took))
    })
}

const ORDER_PLACED: Text = Text::known("order.placed");

static KEYS: [&str; 64] = {
    let mut keys = [""; 64];
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    let mut at = 0;
    while at < 64 {
        keys[at] = all.split_at(at).1.split_at(1).0;
        at += 1;
    }
    keys
};

/// What a person writes by hand: a bounded channel, a task, three attempts.
fn tokio_worker(case: Case, events: u64) -> Result<f64> {
    let handled = Handled::new(case.busy);
    runtime()?.block_on(async {
        let mut senders = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..case.workers {
            let (sender, mut inbox) = tokio::sync::mpsc::channel::<Vec<u8>>(WAITING / case.workers);
            senders.push(sender);
            let handled = handled.clone();
            workers.push(tokio::spawn(async move {
                while let Some(event) = inbox.recv().await {
                    for attempt in 1..=4 {
                        let done: Result<(), ()> = async {
                            handled.handle(&event);
                            Ok(())
                        }
                        .await;
                        if done.is_ok() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_secs(1 << (attempt - 1))).await;
                    }
                }
            }));
        }
        let begun = Instant::now();
        let each = events / case.publishers as u64;
        let publishers = (0..case.publishers).map(|_| {
            let senders = senders.clone();
            tokio::spawn(async move {
                for id in 0..each {
                    let to = &senders[id as usize % senders.len()];
                    to.send(body(case.bytes, id))
                        .await
                        .map_err(|_| anyhow::anyhow!("the worker has ended"))?;
                }
                anyhow::Ok(())
            })
        });
        let publishers: Vec<_> = publishers.collect();
        for publisher in publishers {
            publisher.await??;
        }
        drop(senders);
        for worker in workers {
            worker.await?;
        }
        let took = begun.elapsed();
        ensure!(handled.count() == events, "{} handled of {events}", handled.count());
        Ok(rate(events, took))
    })
}

/// A thread behind a bounded channel: as little as there can be.
fn channel(case: Case, events: u64) -> Result<f64> {
    let handled = Handled::new(case.busy);
    let (sender, inbox) = crossbeam_channel::bounded::<Vec<u8>>(WAITING);
    let workers: Vec<_> = (0..case.workers)
        .map(|_| {
            let (inbox, handled) = (inbox.clone(), handled.clone());
            std::thread::spawn(move || inbox.iter().for_each(|event| handled.handle(&event)))
        })
        .collect();
    let begun = Instant::now();
    let each = events / case.publishers as u64;
    std::thread::scope(|scope| {
        for _ in 0..case.publishers {
            scope.spawn(|| (0..each).all(|id| sender.send(body(case.bytes, id)).is_ok()));
        }
    });
    drop(sender);
    for worker in workers {
        worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
    }
    let took = begun.elapsed();
    ensure!(handled.count() == events, "{} handled of {events}", handled.count());
    Ok(rate(events, took))
}

#[derive(Actor)]
struct Clerk(Handled);

struct Placed(Vec<u8>);

impl Message<Placed> for Clerk {
    type Reply = ();

    async fn handle(&mut self, event: Placed, _: &mut Context<Self, Self::Reply>) {
        self.0.handle(&event.0);
    }
}

/// Actors with bounded mailboxes: no priorities, no receipts, no policy.
fn kameo(case: Case, events: u64) -> Result<f64> {
    let handled = Handled::new(case.busy);
    runtime()?.block_on(async {
        let mailbox = || kameo::mailbox::bounded(WAITING / case.workers);
        let clerks: Vec<ActorRef<Clerk>> =
            (0..case.workers).map(|_| Clerk::spawn_with_mailbox(Clerk(handled.clone()), mailbox())).collect();
        let begun = Instant::now();
        let each = events / case.publishers as u64;
        let publishers = (0..case.publishers).map(|_| {
            let clerks = clerks.clone();
            tokio::spawn(async move {
                for id in 0..each {
                    let to = &clerks[id as usize % clerks.len()];
                    to.tell(Placed(body(case.bytes, id)))
                        .await
                        .map_err(|error| anyhow::anyhow!("{error}"))?;
                }
                anyhow::Ok(())
            })
        });
        let publishers: Vec<_> = publishers.collect();
        for publisher in publishers {
            publisher.await??;
        }
        for clerk in clerks {
            clerk.stop_gracefully().await?;
            clerk.wait_for_shutdown().await;
        }
        let took = begun.elapsed();
        ensure!(handled.count() == events, "{} handled of {events}", handled.count());
        Ok(rate(events, took))
    })
}

async fn clerk(event: Vec<u8>, handled: Data<Handled>) {
    handled.handle(&event);
}

/// Jobs in memory, with retries. What is published goes straight into the channel that the storage reads, with a bound as
/// all have here: in the storage's own way in, two threads that meet may both wait for ever.
fn apalis(case: Case, events: u64) -> Result<f64> {
    let handled = Handled::new(case.busy);
    runtime()?.block_on(async {
        let (mut senders, mut workers, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for worker in 0..case.workers {
            let (sender, receiver) = futures_channel::mpsc::channel::<Task<Vec<u8>>>(WAITING / case.workers);
            let (unused, end) = futures_channel::mpsc::unbounded::<Task<Vec<u8>>>();
            let unused = Box::new(unused.sink_map_err(MemoryStorageError::from));
            let sink = MemorySink::new(Arc::new(futures_util::lock::Mutex::new(unused)));
            let worker = WorkerBuilder::new(format!("worker-{worker}"))
                .backend(MemoryStorage::new_with(sink, receiver.boxed()))
                .retry(RetryPolicy::retries(3))
                .data(handled.clone())
                .build(clerk);
            senders.push(sender);
            // Its worker ends when nobody could hear what it says.
            ends.push(end);
            workers.push(tokio::spawn(worker.run()));
        }
        let begun = Instant::now();
        let each = events / case.publishers as u64;
        let publishers = (0..case.publishers).map(|_| {
            let mut senders = senders.clone();
            tokio::spawn(async move {
                let many = senders.len();
                for id in 0..each {
                    let task = TaskBuilder::new(body(case.bytes, id))
                        .task_id(TaskId::from_string(RandomId::default()));
                    senders[id as usize % many].send(task.build()).await?;
                }
                anyhow::Ok(())
            })
        });
        let publishers: Vec<_> = publishers.collect();
        for publisher in publishers {
            publisher.await??;
        }
        let all = async {
            while handled.count() < events {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all)
            .await
            .context("the workers do not come to an end")?;
        let took = begun.elapsed();
        workers.iter().for_each(tokio::task::JoinHandle::abort);
        Ok(rate(events, took))
    })
}

/// Messages to a worker thread of Node.
fn node(case: Case, events: u64) -> Result<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/node/worker.mjs");
    let run = std::process::Command::new("node")
        .args([script, &events.to_string(), &case.bytes.to_string()])
        .output();
    let out = run.context("`node` cannot be started")?;
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).context("not an answer")?;
    ensure!(answer["handled"] == events, "{answer}");
    Ok(rate(events, Duration::from_nanos(answer["nanos"].as_u64().context("no time")?)))
}

fn profiled(rounds: usize, events: u64) -> Result<()> {
    let micros = std::env::args().skip_while(|word| word != "--ours").nth(1).map(|word| word.parse());
    let busy = Duration::from_micros(micros.transpose()?.unwrap_or(0));
    let case = Case { bytes: 256, publishers: 1, workers: 1, busy, timings: true };
    for _ in 0..rounds {
        println!("{:.0} events/s", ours(case, events)?);
    }
    Ok(())
}

/// Runs the job called `name`, with this allocator on all sides.
///
/// # Errors
/// A round that does not count, or results that cannot be written.
pub fn run(name: &'static str, allocator: &str) -> Result<()> {
    let quick = std::env::args().any(|word| word == "--quick");
    let (rounds, events) = if quick { (2, 20_000) } else { (15, 300_000) };
    if std::env::args().any(|word| word == "--ours") {
        return profiled(rounds, events);
    }
    let mut job = Job::new(name).rounds(rounds);
    let case = |bytes, publishers, workers, micros| Case {
        bytes,
        publishers,
        workers,
        busy: Duration::from_micros(micros),
        timings: true,
    };
    for case in [
        case(64, 1, 1, 0),
        case(256, 1, 1, 0),
        case(1_024, 1, 1, 0),
        case(256, 2, 2, 0),
        case(256, 1, 1, 2),
        case(256, 2, 2, 2),
    ] {
        let Case { bytes, publishers, workers, busy, .. } = case;
        let events = if busy.is_zero() { events } else { events / 4 };
        let name = format!("{bytes} B, {publishers} to {workers}, handlers of {} µs", busy.as_micros());
        let mut table = job
            .table(name, Unit::rate("events/s"))
            .reference("kameo tell", move || kameo(case, events))
            .note("actors with bounded mailboxes: no priorities, no order by key, no receipts, no policy")
            .peer("tidings", move || ours(case, events))
            .goal(at_least(1.2))
            .note(format!("App::publish_envelope: three priorities, 64 keys, receipts, the default policy, figures; {allocator} on all sides"))
            .peer("tokio worker", move || tokio_worker(case, events))
            .note("a bounded channel, a task, retries by hand: nothing else")
            .peer("apalis", move || apalis(case, events.min(100_000)))
            .note("jobs in memory with retries: no order by key, no receipts")
            .peer("crossbeam channel", move || channel(case, events))
            .note("a bounded channel and a thread: what can be reached at most by one shared queue");
        if publishers == 1 && workers == 1 && busy.is_zero() {
            table = table
                .peer("Node postMessage", move || node(case, events.min(100_000)))
                .note("a worker thread that counts; nothing else");
        }
        table.run()?;
    }
    Ok(())
}
