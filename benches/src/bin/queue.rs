//! What does a queue with three priorities cost?
//!
//! One thread publishes and one handles, each on a processor of its own; every id is seen once and every priority in
//! its order, or the round does not count. Latency is measured at a fixed offered rate of 100,000 a second.
//!
//! `--quick` has few and short rounds: to see that it works. `--ours` runs nothing but our side of the rates, over and over,
//! for a profiler to look at.

use std::{
    hint::spin_loop,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tidings_benches::{
    busy::{hand_off, pin, processor_share},
    harness::{Job, Unit, at_least, at_most},
    queues::{self, Ends, Gate, Item, Publish, Seen, Small, ours},
};
use tidings_core::{Priority, SystemClock};
use tidings_queue::{Config, Entry, Queue};

/// How long our worker looks before it sleeps, where it spins.
const SPIN: Duration = Duration::from_micros(50);

/// Between two publications at the fixed rate.
const PACE: Duration = Duration::from_micros(10);

/// How large the rounds are.
#[derive(Clone, Copy)]
struct Sizes {
    rounds: usize,
    events: u64,
    paced: u64,
    queued: usize,
    idle: Duration,
    probed: bool,
}

const FULL: Sizes = Sizes {
    rounds: 15,
    events: 1_000_000,
    paced: 20_000,
    queued: 200_000,
    idle: Duration::from_secs(3),
    probed: true,
};

const QUICK: Sizes = Sizes {
    rounds: 2,
    events: 20_000,
    paced: 500,
    queued: 20_000,
    idle: Duration::from_millis(100),
    probed: false,
};

fn waited(seen: &Seen, of: u64) {
    while seen.count() < of {
        spin_loop();
    }
}

/// A round of somebody else's queue: events a second.
fn rate(open: fn() -> Ends, events: u64) -> Result<f64> {
    let ((mut publish, mut consume), seen) = (open(), Seen::new(events, false));
    let nanos = thread::scope(|scope| {
        let seen = &seen;
        scope.spawn(move || {
            pin(1);
            seen.serve();
            consume.serve(events, seen);
        });
        flood(&mut *publish, seen, events)
    });
    seen.check(events)?;
    Ok(events as f64 / nanos * 1e9)
}

/// Publishes all, at the three priorities in turn, and waits until they were seen; answers the nanoseconds.
fn flood(publish: &mut dyn Publish, seen: &Seen, events: u64) -> f64 {
    pin(0);
    seen.served();
    let begun = Instant::now();
    for id in 0..events {
        publish.send((id % 3) as usize, Small::new(id, 0));
    }
    waited(seen, events);
    begun.elapsed().as_nanos() as f64
}

fn our_rate(spin: Duration, future: bool, events: u64) -> Result<f64> {
    let seen = Arc::new(Seen::new(events, false));
    let mut queue = ours(spin, seen.clone(), future)?;
    let nanos = flood(&mut queue, &seen, events);
    seen.check(events)?;
    Ok(events as f64 / nanos * 1e9)
}

/// What is told of a round at the fixed rate.
#[derive(Clone, Copy)]
enum Told {
    Wait(f64),
    Cost,
}

/// Publishes at the fixed rate; answers nanoseconds.
fn pace(publish: &mut dyn Publish, seen: &Seen, events: u64, told: Told) -> f64 {
    pin(0);
    seen.served();
    let (begun, mut cost) = (Instant::now(), Duration::ZERO);
    for id in 0..events {
        let due = PACE * id as u32;
        while begun.elapsed() < due {
            spin_loop();
        }
        let small = Small::new(id, seen.now());
        let at = Instant::now();
        publish.send((id % 3) as usize, small);
        cost += at.elapsed();
    }
    waited(seen, events);
    match told {
        Told::Wait(part) => seen.wait(part),
        Told::Cost => cost.as_nanos() as f64 / events as f64,
    }
}

fn paced(open: fn() -> Ends, events: u64, told: Told) -> Result<f64> {
    let ((mut publish, mut consume), seen) = (open(), Seen::new(events, true));
    let nanos = thread::scope(|scope| {
        let seen = &seen;
        scope.spawn(move || {
            pin(1);
            seen.serve();
            consume.serve(events, seen);
        });
        pace(&mut *publish, seen, events, told)
    });
    seen.check(events)?;
    Ok(nanos)
}

fn our_pace(spin: Duration, events: u64, told: Told) -> Result<f64> {
    let seen = Arc::new(Seen::new(events, true));
    let mut queue = ours(spin, seen.clone(), false)?;
    let nanos = pace(&mut queue, &seen, events, told);
    seen.check(events)?;
    Ok(nanos)
}

fn rates(job: &mut Job, sizes: Sizes) -> Result<()> {
    let events = sizes.events;
    let mut table = job.table("three priorities, 64 B, one thread to one", Unit::rate("events/s"));
    if sizes.probed {
        // Where others keep both processors busy, this alone takes minutes.
        table = table.probe("hand-off, ns", f64::INFINITY, || Ok(hand_off()));
    }
    table
        .reference("a lock around three deques", || rate(queues::deques, events))
        .peer("tidings", || our_rate(SPIN, false, events))
        .goal(at_least(1.3))
        .goal(at_least(2.0).of("crossbeam, select!"))
        .peer("tidings, sleeping", || our_rate(Duration::ZERO, false, events))
        .peer("crossbeam, polled", || rate(queues::crossbeam_polled, events))
        .peer("crossbeam, select!", || rate(queues::crossbeam_selected, events))
        .peer("kanal, polled", || rate(queues::kanal, events))
        .peer("flume, polled", || rate(queues::flume, events))
        .peer("tokio mpsc, select!", || rate(queues::tokio_mpsc, events))
        .peer("rtrb rings, polled", || rate(queues::rings, events))
        .note("the limit: for one publisher and one worker only, and it never sleeps")
        .peer("disruptor", || rate(queues::disruptor, events))
        .note("no priorities, and it never sleeps")
        .run()
}

fn latencies(job: &mut Job, sizes: Sizes) -> Result<()> {
    let events = sizes.paced;
    for (name, told, limit) in [
        ("wait at 100,000 a second, p50", Told::Wait(0.5), at_most(2.0)),
        ("wait at 100,000 a second, p99", Told::Wait(0.99), at_most(2.0)),
        ("cost of a publication at 100,000 a second", Told::Cost, at_most(150.0).absolute()),
    ] {
        job.table(name, Unit::time("ns"))
            .reference("rtrb rings, polled", || paced(queues::rings, events, told))
            .peer("tidings, spinning", || our_pace(SPIN, events, told))
            .goal(limit)
            .peer("tidings, sleeping", || our_pace(Duration::ZERO, events, told))
            .goal(at_most(1.0).of("tokio mpsc, select!"))
            .peer("tokio mpsc, select!", || paced(queues::tokio_mpsc, events, told))
            .peer("crossbeam, select!", || paced(queues::crossbeam_selected, events, told))
            .peer("kanal, polled", || paced(queues::kanal, events, told))
            .peer("flume, polled", || paced(queues::flume, events, told))
            .peer("std sync_channel", || paced(queues::std_mpsc, events, told))
            .note("no priorities")
            .run()?;
    }
    Ok(())
}

/// A task an event, on a runtime with one worker.
fn spawned(events: u64) -> Result<f64> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).on_thread_start(|| pin(1)).build()?;
    let seen = Arc::new(Seen::new(events, false));
    pin(0);
    let there = seen.clone();
    runtime.spawn(async move { there.serve() });
    seen.served();
    let begun = Instant::now();
    for id in 0..events {
        let seen = seen.clone();
        runtime.spawn(async move { seen.see(&Small::new(id, 0)) });
    }
    waited(&seen, events);
    let nanos = begun.elapsed().as_nanos() as f64;
    ensure!(seen.count() == events, "{} of {events} seen", seen.count());
    Ok(events as f64 / nanos * 1e9)
}

fn dispatch(job: &mut Job, sizes: Sizes) -> Result<()> {
    let events = sizes.events;
    job.table("asynchronous handlers that are ready", Unit::rate("events/s"))
        .reference("tokio spawn, a task an event", || spawned(events))
        .note("nothing bounds how many wait")
        .peer("tidings", || our_rate(SPIN, true, events))
        .goal(at_least(2.0))
        .run()
}

fn resident() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = text.split(' ').nth(1).context("no second number")?.parse()?;
    Ok(pages * 4_096.0)
}

/// Bytes of memory for each event that waits, without the 256 of its body.
fn bytes_each(queued: usize) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = Arc::new(Gate::default());
    let config = Config { workers: 1, events_max: queued + 1, bytes_max: 1 << 38, ..Config::default() };
    let queue = Queue::start(config, work.clone(), Arc::new(SystemClock), runtime.handle().clone())?;
    let before = resident()?;
    for turn in 0..queued {
        let item: Item = Box::new([turn as u8; 256]);
        let pushed = queue.push(Entry { item, key: None, priority: Priority::Normal, bytes: 256 });
        ensure!(pushed.is_ok(), "no room for one that has to wait");
    }
    let after = resident()?;
    work.0.store(true, std::sync::atomic::Ordering::Release);
    let left = runtime.block_on(queue.drained(Duration::from_secs(60)));
    ensure!(left.is_empty(), "{} were left", left.waiting.len());
    Ok((after - before) / queued as f64 - 256.0)
}

/// The same in a process of its own, whose memory nobody has used yet.
fn apart(queued: usize) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?).args(["--memory", &queued.to_string()]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Two threads that look every ten milliseconds.
fn polling(span: Duration) -> Result<f64> {
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Acquire) {
                    thread::park_timeout(Duration::from_millis(10));
                }
            });
        }
        let share = processor_share(span);
        stop.store(true, std::sync::atomic::Ordering::Release);
        share
    })
}

fn costs(job: &mut Job, sizes: Sizes) -> Result<()> {
    job.table("memory of a queued event beside its body of 256 B", Unit::size("B"))
        .reference("tidings", || apart(sizes.queued))
        .goal(at_most(96.0).absolute())
        .note("resident memory, of a process of its own: what the allocator keeps counts too")
        .run()?;
    job.table("two idle workers", Unit::time("% of a processor"))
        .reference("looking every 10 ms", || Ok(polling(sizes.idle)? * 100.0))
        .peer("tidings", || Ok(queues::idle_cost(sizes.idle)? * 100.0))
        .goal(at_most(0.02).absolute())
        .run()
}

fn main() -> Result<()> {
    if let Some(queued) = std::env::args().skip_while(|argument| argument != "--memory").nth(1) {
        println!("{}", bytes_each(queued.parse()?)?);
        return Ok(());
    }
    let sizes = if std::env::args().any(|argument| argument == "--quick") { QUICK } else { FULL };
    if std::env::args().any(|argument| argument == "--ours") {
        for spin in [SPIN, Duration::ZERO] {
            for _ in 0..sizes.rounds {
                println!("{spin:?}: {:.0} events/s", our_rate(spin, false, sizes.events)?);
            }
        }
        return Ok(());
    }
    let mut job = Job::new(env!("CARGO_BIN_NAME")).rounds(sizes.rounds);
    costs(&mut job, sizes)?;
    rates(&mut job, sizes)?;
    latencies(&mut job, sizes)?;
    dispatch(&mut job, sizes)
}
