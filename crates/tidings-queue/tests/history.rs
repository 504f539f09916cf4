//! Random histories: whatever publishers, failures, waiting handlers, dying workers and scaling do, nothing is lost or
//! doubled, and every key runs one at a time in order. A failure prints the seed; `TIDINGS_SEED` repeats it.

mod common;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{bench, until};
use tidings_core::Priority;
use tidings_queue::{Config, Entry, Notice, Order, Step};

const EVENTS: usize = 3_000;
const KEYS: usize = 24;

/// Small, seeded, good enough to stir.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

struct Item {
    number: usize,
    key: Option<usize>,
    attempts: usize,
    fate: usize,
}

#[derive(Default)]
struct Seen {
    ends: HashMap<usize, usize>,
    orders: HashMap<usize, Vec<usize>>,
    faults: Vec<String>,
}

/// What a handler does at its end: counts it, or wants it again.
fn finish(item: Item, seen: &Mutex<Seen>, busy: &[AtomicBool]) -> Step<Item> {
    let mut item = item;
    item.attempts += 1;
    if let Some(key) = item.key {
        busy[key].store(false, Ordering::SeqCst);
    }
    if item.fate.is_multiple_of(7) && item.attempts < 3 {
        let after = Duration::from_micros((item.fate % 3) as u64 * 400);
        return Step::Again { item, after };
    }
    let mut seen = seen.lock().expect("no panic under it");
    *seen.ends.entry(item.number).or_default() += 1;
    if let Some(key) = item.key {
        seen.orders.entry(key).or_default().push(item.number);
    }
    Step::Done
}

fn history(seed: u64) {
    println!("seed {seed}");
    let mut dice = Dice(seed | 1);
    let (seen, lost) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicUsize::new(0)));
    let busy: Arc<Vec<AtomicBool>> = Arc::new((0..KEYS).map(|_| AtomicBool::new(false)).collect());
    let order = if dice.roll(2) == 0 { Order::Strict } else { Order::default() };
    let config = Config {
        workers: 1 + dice.roll(4),
        events_max: [10, 200, 4_000][dice.roll(3)],
        order,
        ageing: Duration::from_millis(1 + dice.roll(20) as u64),
        spin: Duration::from_micros([0, 20][dice.roll(2)]),
        concurrency: 1 + dice.roll(16),
        restart_first: Duration::from_millis(1),
        restart_max: Duration::from_millis(2),
        blocked_after: Duration::from_millis(1),
        ..Config::default()
    };
    let (saw, runs, gone) = (seen.clone(), busy.clone(), lost.clone());
    let bench = bench(config, move |item: Item, _| {
        if let Some(key) = item.key
            && runs[key].swap(true, Ordering::SeqCst)
        {
            saw.lock().expect("no panic under it").faults.push(format!("two of key {key} at once"));
        }
        if item.fate.is_multiple_of(211) {
            if let Some(key) = item.key {
                runs[key].store(false, Ordering::SeqCst);
            }
            gone.fetch_add(1, Ordering::SeqCst);
            panic!("as the dice fell");
        }
        if item.fate.is_multiple_of(5) {
            let (saw, runs) = (saw.clone(), runs.clone());
            return Step::Waiting(Box::pin(async move {
                for _ in 0..item.fate % 4 {
                    tokio::task::yield_now().await;
                }
                finish(item, &saw, &runs)
            }));
        }
        finish(item, &saw, &runs)
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (queue, stop, clock) = (&bench.queue, &stop, &bench.clock);
        let mut scaler = dice.clone();
        scope.spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                clock.advance(Duration::from_micros(200));
                if scaler.roll(4) == 0 {
                    queue.scale(1 + scaler.roll(6)).expect("threads");
                }
                std::thread::yield_now();
            }
        });
        let publishers: Vec<_> = (0..3)
            .map(|publisher| {
                let mut dice = Dice(dice.0 ^ (publisher as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                // A key belongs to one publisher, so that its order is known.
                scope.spawn(move || {
                    for number in (publisher..EVENTS).step_by(3) {
                        let key = (dice.roll(3) > 0).then(|| dice.roll(KEYS / 3) * 3 + publisher);
                        let priority = [Priority::Low, Priority::Normal, Priority::Critical][dice.roll(3)];
                        let item = Item { number, key, attempts: 0, fate: dice.roll(100_000) };
                        let mut next = Entry { item, key: key.map(|key| key as u64), priority, bytes: 64 };
                        while let Err(full) = queue.push(next) {
                            next = full.entry;
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for publisher in publishers {
            publisher.join().expect("no panic");
        }
        until("all to end", || queue.figures().events == 0);
        stop.store(true, Ordering::SeqCst);
    });
    bench.end();
    let seen = seen.lock().expect("no panic under it");
    let lost = lost.load(Ordering::SeqCst);
    assert_eq!(seen.faults, Vec::<String>::new(), "seed {seed}");
    assert_eq!(seen.ends.len() + lost, EVENTS, "seed {seed}: lost");
    assert!(seen.ends.values().all(|count| *count == 1), "seed {seed}: doubled");
    for (key, order) in &seen.orders {
        assert!(order.is_sorted(), "seed {seed}: key {key} out of order: {order:?}");
    }
    let told = bench
        .act
        .notices
        .change(|notices| notices.iter().filter(|notice| matches!(notice, Notice::Lost { .. })).count());
    assert_eq!((told, bench.queue.figures().lost), (lost, lost as u64), "seed {seed}: each loss is told");
}

#[test]
fn nothing_is_lost_or_doubled_and_keys_keep_their_order_whatever_happens() {
    if let Some(seed) = std::env::var("TIDINGS_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return history(seed);
    }
    let fresh =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos()
            as u64;
    for seed in [1, 2, 3, 4, fresh] {
        history(seed);
    }
}

#[test]
fn under_saturation_priorities_get_their_weights_within_five_percent() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let gate = Arc::new(common::Gate::default());
    let (saw, at) = (seen.clone(), gate.clone());
    let config =
        Config { workers: 1, events_max: 10_000, ageing: Duration::from_secs(3_600), ..Config::default() };
    let bench = bench(config, move |first: bool, turn| {
        if first {
            at.pass();
        } else {
            saw.lock().expect("no panic under it").push(turn.priority());
        }
        Step::Done
    });
    let push = |item, priority, key| {
        bench.queue.push(Entry { item, key, priority, bytes: 1 }).expect("room");
    };
    push(true, Priority::Normal, None);
    gate.arrived(1);
    for turn in 0..3_000_u64 {
        for (at, priority) in [Priority::Low, Priority::Normal, Priority::Critical].into_iter().enumerate() {
            push(false, priority, turn.is_multiple_of(2).then_some(turn * 3 + at as u64));
        }
    }
    gate.open(1);
    bench.end();
    let seen = seen.lock().expect("no panic under it");
    // As long as all three wait.
    for window in seen[..4_800].chunks(600) {
        for (priority, share) in
            [(Priority::Critical, 300.0), (Priority::Normal, 200.0), (Priority::Low, 100.0)]
        {
            let count = window.iter().filter(|seen| **seen == priority).count() as f64;
            assert!((count - share).abs() <= share * 0.05, "{priority:?}: {count} of 600");
        }
    }
}

/// How many entries each of several workers handles in step with the others.
const IN_STEP: usize = 1_200;

#[test]
fn under_saturation_priorities_get_their_weights_over_several_workers_too() {
    const WORKERS: usize = 3;
    let seen = Arc::new(Mutex::new(HashMap::<std::thread::ThreadId, Vec<Priority>>::new()));
    let gate = Arc::new(common::Gate::default());
    let (saw, at) = (seen.clone(), gate.clone());
    // One entry each at a time: so none of them runs out of entries, and takes over another's, before all have had many.
    let step = Arc::new(std::sync::Barrier::new(WORKERS));
    let config = Config {
        workers: WORKERS,
        events_max: 10_000,
        ageing: Duration::from_secs(3_600),
        ..Config::default()
    };
    let bench = bench(config, move |first: bool, turn| {
        if first {
            at.pass();
            return Step::Done;
        }
        let handled = {
            let mut all = saw.lock().expect("no panic under it");
            let mine = all.entry(std::thread::current().id()).or_default();
            mine.push(turn.priority());
            mine.len()
        };
        if handled <= IN_STEP {
            step.wait();
        }
        Step::Done
    });
    let push = |item, priority, key| {
        bench.queue.push(Entry { item, key, priority, bytes: 1 }).expect("room");
    };
    for worker in 1..=WORKERS {
        // Each of them stands at the gate before there is anything to choose from.
        push(true, Priority::Normal, None);
        gate.arrived(worker);
    }
    for turn in 0..3_000_u64 {
        for (at, priority) in [Priority::Low, Priority::Normal, Priority::Critical].into_iter().enumerate() {
            push(false, priority, turn.is_multiple_of(2).then_some(turn * 3 + at as u64));
        }
    }
    gate.open(WORKERS);
    bench.end();
    let seen = seen.lock().expect("no panic under it");
    assert_eq!((seen.len(), seen.values().map(Vec::len).sum::<usize>()), (WORKERS, 9_000));
    let shares = [(Priority::Critical, 3.0), (Priority::Normal, 2.0), (Priority::Low, 1.0)];
    let is_fair = |handled: &[Priority]| {
        for (priority, weight) in shares {
            let share = handled.len() as f64 * weight / 6.0;
            let count = handled.iter().filter(|seen| **seen == priority).count() as f64;
            assert!((count - share).abs() <= share * 0.05, "{priority:?}: {count} of {}", handled.len());
        }
    };
    let in_step: Vec<&[Priority]> = seen.values().map(|handled| &handled[..IN_STEP]).collect();
    in_step.iter().flat_map(|handled| handled.chunks(600)).for_each(is_fair);
    is_fair(&in_step.concat());
}
