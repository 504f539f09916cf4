//! The bound on entries and bytes, and every way of being full.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{Bench, Gate, Watched, bench, entry, keyed, one_worker, until};
use tidings_core::Priority::{Critical, Low, Normal};
use tidings_queue::{Config, Entry, Queue, Step, Why};

const SECOND: Duration = Duration::from_secs(1);

/// Everything waits at the gate.
fn gated(config: Config) -> (Bench<u32>, Arc<Gate>, Arc<Watched<Vec<u32>>>) {
    let (gate, seen) = (Arc::new(Gate::default()), Arc::new(Watched::<Vec<u32>>::default()));
    let (at, saw) = (gate.clone(), seen.clone());
    let bench = bench(config, move |item: u32, _| {
        at.pass();
        saw.change(|seen| seen.push(item));
        Step::Done
    });
    (bench, gate, seen)
}

fn few(events_max: usize, bytes_max: usize) -> Config {
    Config { events_max, bytes_max, ..one_worker() }
}

#[test]
fn no_more_entries_than_may_be_are_taken_and_one_is_given_back() {
    let (bench, gate, _) = gated(few(3, 1_000));
    for item in 0..3 {
        bench.queue.push(entry(item, Normal)).expect("room");
    }
    let full = bench.queue.push(keyed(7, 8)).expect_err("full");
    assert_eq!((full.why, full.entry), (Why::Events, keyed(7, 8)));
    gate.open(1);
    until("room", || bench.queue.figures().events == 2);
    bench.queue.push(entry(3, Normal)).expect("room again");
    gate.open(10);
    bench.end();
}

#[test]
fn no_more_bytes_than_may_be_are_taken() {
    let (bench, gate, _) = gated(few(100, 10));
    let sized = |bytes| Entry { bytes, ..entry(1, Normal) };
    bench.queue.push(sized(6)).expect("room");
    assert_eq!(bench.queue.push(sized(5)).expect_err("full").why, Why::Bytes);
    assert_eq!(bench.queue.push(sized(11)).expect_err("too large").why, Why::Bytes);
    bench.queue.push(sized(4)).expect("room");
    assert_eq!((bench.queue.figures().bytes, bench.queue.figures().utilisation), (10, 1.0));
    gate.open(10);
    bench.end();
}

#[test]
fn bounds_are_changed_while_it_runs() {
    let (bench, gate, _) = gated(few(1, 10));
    bench.queue.push(entry(0, Normal)).expect("room");
    bench.queue.push(entry(1, Normal)).expect_err("full");
    bench.queue.set(Config { events_max: 2, ..bench.queue.config() }).expect("it means something");
    bench.queue.push(entry(1, Normal)).expect("room");
    bench
        .queue
        .set(Config { bytes_max: 1, events_max: 9, ..bench.queue.config() })
        .expect("it means something");
    assert_eq!(bench.queue.push(entry(2, Normal)).expect_err("full").why, Why::Bytes);
    assert!(bench.queue.set(Config { events_max: 0, ..bench.queue.config() }).is_err());
    gate.open(10);
    bench.end();
}

#[test]
fn who_waits_for_room_gets_it_in_order_and_before_who_does_not() {
    let (bench, gate, seen) = gated(few(1, 1_000));
    bench.queue.push(entry(0, Normal)).expect("room");
    let mut waiting = Vec::new();
    for item in 1..=3 {
        let queue = bench.queue.clone();
        waiting
            .push(bench.runtime.spawn(async move { queue.push_waiting(entry(item, Normal), SECOND).await }));
        until("one more in line", || bench.clock.sleepers() == 1 + item as usize);
    }
    gate.open(1);
    for task in waiting {
        assert_eq!(bench.queue.push(entry(9, Normal)).expect_err("others are first").why, Why::Events);
        bench.runtime.block_on(task).expect("no panic").expect("room in time");
        gate.open(1);
    }
    bench.end();
    assert_eq!(seen.change(|seen| seen.clone()), [0, 1, 2, 3]);
}

#[test]
fn who_waits_longer_than_the_deadline_gets_the_entry_back_and_lets_others_by() {
    let (bench, gate, _) = gated(few(1, 1_000));
    bench.queue.push(entry(0, Normal)).expect("room");
    let queue = bench.queue.clone();
    let waits = bench.runtime.spawn(async move { queue.push_waiting(entry(1, Normal), 5 * SECOND).await });
    until("in line", || bench.clock.sleepers() == 2);
    bench.clock.advance(5 * SECOND);
    let full = bench.runtime.block_on(waits).expect("no panic").expect_err("no room in time");
    assert_eq!((full.why, full.entry.item), (Why::Events, 1));
    gate.open(1);
    until("room", || bench.queue.figures().events == 0);
    bench.queue.push(entry(2, Normal)).expect("nobody waits");
    gate.open(1);
    bench.end();
}

#[test]
fn who_stops_waiting_leaves_no_room_taken() {
    let (bench, gate, _) = gated(few(1, 1_000));
    bench.queue.push(entry(0, Normal)).expect("room");
    let queue = bench.queue.clone();
    let waits = bench.runtime.spawn(async move { queue.push_waiting(entry(1, Normal), SECOND).await });
    until("in line", || bench.clock.sleepers() == 2);
    waits.abort();
    assert!(bench.runtime.block_on(waits).is_err());
    gate.open(1);
    until("room", || bench.queue.push(entry(2, Normal)).is_ok());
    gate.open(1);
    bench.end();
}

#[test]
fn an_entry_larger_than_the_budget_does_not_wait_for_ever() {
    let (bench, _, _) = gated(few(1, 10));
    let push = bench.queue.push_waiting(Entry { bytes: 11, ..entry(1, Normal) }, 3_600 * SECOND);
    assert_eq!(bench.runtime.block_on(push).expect_err("never").why, Why::Bytes);
    bench.end();
}

#[test]
fn the_oldest_of_the_lowest_that_wait_is_dropped_and_never_what_runs() {
    let (bench, gate, seen) = gated(few(4, 1_000));
    bench.queue.push(entry(0, Low)).expect("room");
    gate.arrived(1);
    for (item, priority) in [(1, Normal), (2, Low), (3, Low)] {
        bench.queue.push(entry(item, priority)).expect("room");
    }
    for (item, dropped) in [(4, 2), (5, 3), (6, 1), (7, 4)] {
        assert_eq!(bench.queue.push_dropping_oldest(entry(item, Critical)).expect("room is made"), [dropped]);
    }
    assert_eq!(bench.queue.figures().dropped, 4);
    gate.open(100);
    bench.end();
    assert_eq!(seen.change(|seen| seen.clone()), [0, 5, 6, 7]);
}

#[test]
fn as_many_are_dropped_as_the_bytes_take_and_none_if_that_is_not_enough() {
    let (bench, gate, seen) = gated(few(10, 10));
    let sized = |item, bytes| Entry { bytes, ..keyed(item, 1) };
    bench.queue.push(sized(0, 4)).expect("room");
    gate.arrived(1);
    for item in 1..=3 {
        bench.queue.push(sized(item, 2)).expect("room");
    }
    assert_eq!(bench.queue.push_dropping_oldest(sized(4, 7)).expect_err("the first runs").why, Why::Bytes);
    assert_eq!(bench.queue.push_dropping_oldest(sized(5, 4)).expect("room is made"), [1, 2]);
    assert_eq!(bench.queue.figures().dropped, 2);
    gate.open(100);
    bench.end();
    assert_eq!(seen.change(|seen| seen.clone()), [0, 3, 5]);
}

#[test]
fn followers_of_a_key_that_runs_are_dropped_before_higher_ones() {
    let (bench, gate, _) = gated(few(3, 1_000));
    bench.queue.push(Entry { priority: Low, ..keyed(0, 1) }).expect("room");
    gate.arrived(1);
    bench.queue.push(Entry { priority: Low, ..keyed(1, 1) }).expect("room");
    bench.queue.push(entry(2, Critical)).expect("room");
    assert_eq!(bench.queue.push_dropping_oldest(entry(3, Critical)).expect("room is made"), [1]);
    gate.open(100);
    bench.end();
}

#[test]
fn a_handler_may_exceed_the_bound_by_a_tenth() {
    let (bench, gate, _) = gated(few(10, 1_000));
    for item in 0..10 {
        bench.queue.push(entry(item, Normal)).expect("room");
    }
    bench.queue.push_over(entry(10, Normal)).expect("a tenth more");
    assert_eq!(bench.queue.push_over(entry(11, Normal)).expect_err("that is all").why, Why::Events);
    gate.open(100);
    bench.end();
}

#[test]
fn once_closed_only_handlers_push_and_all_is_worked_off() {
    let (bench, gate, seen) = gated(few(10, 1_000));
    bench.queue.push(entry(0, Normal)).expect("room");
    let queue = bench.queue.clone();
    bench.queue.close();
    assert_eq!(bench.queue.push(entry(1, Normal)).expect_err("closed").why, Why::Closed);
    assert_eq!(bench.queue.push_dropping_oldest(entry(1, Normal)).expect_err("closed").why, Why::Closed);
    let waits = bench.queue.push_waiting(entry(1, Normal), SECOND);
    assert_eq!(bench.runtime.block_on(waits).expect_err("closed").why, Why::Closed);
    queue.push_over(entry(2, Normal)).expect("from inside");
    gate.open(100);
    bench.end();
    assert_eq!(seen.change(|seen| seen.clone()), [0, 2]);
    assert_eq!(queue.push_over(entry(3, Normal)).expect_err("ended").why, Why::Closed);
}

#[test]
fn closing_tells_who_waits_for_room() {
    let (bench, gate, _) = gated(few(1, 1_000));
    bench.queue.push(entry(0, Normal)).expect("room");
    let queue = bench.queue.clone();
    let waits = bench.runtime.spawn(async move { queue.push_waiting(entry(1, Normal), SECOND).await });
    until("in line", || bench.clock.sleepers() == 2);
    bench.queue.close();
    assert_eq!(bench.runtime.block_on(waits).expect("no panic").expect_err("closed").why, Why::Closed);
    gate.open(1);
    bench.end();
}

#[test]
fn what_is_not_worked_off_by_the_deadline_is_handed_back_in_order() {
    let (bench, gate, _) = gated(few(10, 1_000));
    bench.queue.push(keyed(0, 1)).expect("room");
    gate.arrived(1);
    for item in 1..4 {
        bench.queue.push(keyed(item, 1)).expect("room");
    }
    let queue = bench.queue.clone();
    let drained = bench.runtime.spawn(async move { queue.drained(SECOND).await });
    until("the deadline and the keeper", || bench.clock.sleepers() == 2);
    bench.clock.advance(SECOND);
    until("the grace", || {
        bench.clock.next_wake() == Some(Duration::from_millis(100)) || drained.is_finished()
    });
    bench.clock.advance(SECOND);
    let left = bench.runtime.block_on(drained).expect("no panic");
    let items: Vec<_> = left.waiting.iter().map(|entry| (entry.item, entry.key)).collect();
    assert_eq!((items, left.running), (vec![(1, Some(1)), (2, Some(1)), (3, Some(1))], 1));
    gate.open(1);
}

#[test]
fn many_publishers_and_workers_lose_nothing_and_double_nothing_at_a_small_bound() {
    let seen: Arc<Vec<AtomicU64>> = Arc::new((0..4_000).map(|_| AtomicU64::new(0)).collect());
    let saw = seen.clone();
    let most = Arc::new(AtomicU64::new(0));
    let bench = bench(Config { workers: 3, events_max: 8, ..Config::default() }, move |item: usize, _| {
        saw[item].fetch_add(1, Ordering::SeqCst);
        Step::Done
    });
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let (queue, most) = (&bench.queue, &most);
            scope.spawn(move || {
                for item in publisher * 1_000..(publisher + 1) * 1_000 {
                    push(queue, item);
                    most.fetch_max(queue.figures().events as u64, Ordering::SeqCst);
                }
            });
        }
    });
    bench.end();
    assert!(seen.iter().all(|count| count.load(Ordering::SeqCst) == 1));
    assert!(most.load(Ordering::SeqCst) <= 8);
}

fn push(queue: &Queue<common::Act<usize>>, item: usize) {
    let mut next = keyed(item, item as u64 % 5);
    while let Err(full) = queue.push(next) {
        next = full.entry;
        std::thread::yield_now();
    }
}
