//! Worker threads: waking, dying, blocking, scaling.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{Gate, Watched, bench, entry, keyed, one_worker, until};
use tidings_core::Priority::Normal;
use tidings_queue::{Cause, Config, Notice, Scaling, Step};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn there_are_as_many_workers_as_the_settings_say_and_each_runs_at_once() {
    let gate = Arc::new(Gate::default());
    let at = gate.clone();
    let bench = bench(Config { workers: 3, ..Config::default() }, move |_: u32, _| {
        at.pass();
        Step::Done
    });
    for item in 0..3 {
        bench.queue.push(entry(item, Normal)).expect("room");
    }
    gate.arrived(3);
    let figures = bench.queue.figures();
    assert_eq!((figures.total(), figures.active(), figures.idle()), (3, 3, 0));
    gate.open(3);
    bench.end();
}

#[test]
fn a_worker_drives_as_many_handlers_at_once_as_it_may_and_no_more() {
    for concurrency in [1, 5] {
        let (gate, begun) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (at, count) = (gate.clone(), begun.clone());
        let bench = bench(Config { concurrency, ..one_worker() }, move |_: u32, _| {
            let at = at.clone();
            count.fetch_add(1, Ordering::SeqCst);
            Step::Waiting(Box::pin(async move {
                at.acquire().await.expect("open").forget();
                Step::Done
            }))
        });
        for item in 0..8 {
            bench.queue.push(entry(item, Normal)).expect("room");
        }
        until("all it may", || bench.queue.figures().workers[0].in_flight == concurrency);
        assert_eq!(begun.load(Ordering::SeqCst), concurrency);
        gate.add_permits(8);
        bench.end();
        assert_eq!(begun.load(Ordering::SeqCst), 8);
    }
}

#[test]
fn a_panic_that_comes_out_costs_the_worker_and_one_item_and_all_else_is_kept() {
    let seen = Arc::new(Watched::<Vec<u32>>::default());
    let saw = seen.clone();
    let config = Config { restart_first: 2 * SECOND, restart_max: 3 * SECOND, ..one_worker() };
    let bench = bench(config, move |item: u32, _| {
        assert!(item < 100, "broken by {item}");
        let saw = saw.clone();
        Step::Waiting(Box::pin(async move {
            assert!(item < 50, "broken later by {item}");
            saw.change(|seen| seen.push(item));
            Step::Done
        }))
    });
    let died = |span: Duration| {
        move |notice: &Notice| match notice {
            Notice::Died { message, restart_after, .. } if *restart_after == span => Some(message.clone()),
            _ => None,
        }
    };
    bench.queue.push(keyed(100, 1)).expect("room");
    assert_eq!(bench.noticed("the death", died(2 * SECOND)), "broken by 100");
    bench.noticed("the loss", |notice| {
        matches!(notice, Notice::Lost { key: Some(1), bytes: 1, .. }).then_some(())
    });
    bench.queue.push(keyed(1, 1)).expect("room");
    bench.queue.push(keyed(50, 2)).expect("room");
    bench.queue.push(keyed(2, 1)).expect("room");
    assert!(bench.queue.figures().workers[0].down);
    bench.clock.advance(2 * SECOND);
    // The second death in a row: twice as long, but no longer than the longest.
    assert_eq!(bench.noticed("another death", died(3 * SECOND)), "broken later by 50");
    bench.clock.advance(3 * SECOND);
    bench.end();
    assert_eq!(seen.change(|seen| seen.clone()), [1, 2]);
    let figures = bench.queue.figures();
    assert_eq!((figures.restarted(), figures.lost, figures.processed), (2, 2, 2));
}

#[test]
fn while_one_worker_is_down_the_others_take_over_its_keys() {
    let seen = Arc::new(AtomicUsize::new(0));
    let saw = seen.clone();
    let bench = bench(Config { workers: 2, ..one_worker() }, move |item: u32, _| {
        assert!(item != 99, "broken");
        saw.fetch_add(1, Ordering::SeqCst);
        Step::Done
    });
    bench.queue.push(keyed(99, 1)).expect("room");
    bench.noticed("the death", |notice| matches!(notice, Notice::Died { .. }).then_some(()));
    for key in 0..50 {
        bench.queue.push(keyed(1, key)).expect("room");
    }
    until("all by the other", || seen.load(Ordering::SeqCst) == 50);
    bench.end();
}

#[test]
fn a_handler_that_holds_its_worker_is_reported_and_stalls_nobody_else() {
    let (gate, seen) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let (at, saw) = (gate.clone(), seen.clone());
    let config = Config { workers: 2, events_max: 100, blocked_after: 4 * SECOND, ..Config::default() };
    let bench = bench(config, move |item: u32, _| {
        if item == 0 {
            at.pass();
        } else {
            saw.fetch_add(1, Ordering::SeqCst);
        }
        Step::Done
    });
    bench.queue.push(keyed(0, 7)).expect("room");
    gate.arrived(1);
    for key in 0..50 {
        bench.queue.push(keyed(1, key)).expect("room");
    }
    for look in 0..3 {
        // At the third look it is once or one and a half times as long, as the keeper began before or after it.
        assert!(look == 2 || !bench.queue.figures().workers.iter().any(|worker| worker.blocked));
        until("the keeper", || bench.clock.sleepers() == 1 && bench.clock.next_wake() == Some(2 * SECOND));
        bench.clock.advance(2 * SECOND);
    }
    let worker = bench.noticed("the report", |notice| match notice {
        Notice::Blocked { worker, span } if *span >= 4 * SECOND => Some(*worker),
        _ => None,
    });
    // All but what has the same key.
    until("the others", || seen.load(Ordering::SeqCst) == 49);
    assert!(bench.queue.figures().workers[worker].blocked);
    gate.open(1);
    until("the last", || seen.load(Ordering::SeqCst) == 50);
    until("that it goes on", || {
        bench.clock.advance(2 * SECOND);
        bench.act.notices.change(|notices| notices.contains(&Notice::Unblocked { worker }))
    });
    bench.end();
}

#[test]
fn the_keeper_sleeps_while_all_workers_do() {
    let gate = Arc::new(Gate::default());
    let at = gate.clone();
    let config = Config { workers: 2, blocked_after: 4 * SECOND, ..one_worker() };
    let bench = bench(config, move |_: u32, _| {
        at.pass();
        Step::Done
    });
    // Nobody sleeps on the clock, and it stays so without anybody moving it.
    let dozes = || {
        let mut quiet = 0;
        until("the keeper to sleep", || {
            if bench.clock.sleepers() > 0 {
                bench.clock.advance(2 * SECOND);
                quiet = 0;
            }
            quiet += 1;
            quiet == 200_000
        });
    };
    let blocked = |count: usize| {
        until("the keeper", || {
            bench.clock.advance(2 * SECOND);
            bench.queue.figures().workers.iter().filter(|worker| worker.blocked).count() == count
        });
    };
    let mut arrived = 0;
    for workers in [2, 3, 1] {
        bench.queue.scale(workers).expect("that many");
        dozes();
        for _ in 0..workers {
            bench.queue.push(entry(0, Normal)).expect("room");
        }
        arrived += workers;
        gate.arrived(arrived);
        blocked(workers);
        gate.open(workers);
        until("nothing to do", || bench.queue.figures().events == 0);
        blocked(0);
    }
    dozes();
    bench.end();
}

#[test]
fn an_idle_worker_takes_over_what_waits_behind_a_busy_one() {
    let (gate, seen) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let (at, saw) = (gate.clone(), seen.clone());
    let bench = bench(Config { workers: 2, events_max: 100, ..Config::default() }, move |item: u32, _| {
        if item == 0 {
            at.pass();
        } else {
            saw.fetch_add(1, Ordering::SeqCst);
        }
        Step::Done
    });
    bench.queue.push(entry(0, Normal)).expect("room");
    gate.arrived(1);
    for _ in 0..50 {
        bench.queue.push(entry(1, Normal)).expect("room");
    }
    // No time passes here: nobody is reported.
    bench.queue.push(entry(1, Normal)).expect("room");
    until("nearly all", || seen.load(Ordering::SeqCst) >= 50);
    gate.open(1);
    bench.end();
}

#[test]
fn scaling_up_and_down_loses_nothing_and_keeps_the_order_of_keys() {
    let seen = Arc::new(Watched::<Vec<Vec<u32>>>::default());
    seen.change(|seen| seen.resize(20, Vec::new()));
    let saw = seen.clone();
    let bench = bench(Config { workers: 1, ..Config::default() }, move |(key, number): (u64, u32), _| {
        saw.change(|seen| seen[key as usize].push(number));
        Step::Done
    });
    for number in 0..200 {
        for key in 0..20 {
            bench.queue.push(keyed((key, number), key)).expect("room");
        }
        bench.queue.scale(1 + (number as usize * 7) % 5).expect("threads");
    }
    assert!(bench.queue.scale(0).is_err() && bench.queue.scale(21).is_err());
    bench.end();
    let expected: Vec<u32> = (0..200).collect();
    assert!(seen.change(|seen| seen.iter().all(|numbers| *numbers == expected)));
}

#[test]
fn a_worker_that_is_too_many_finishes_what_it_drives_and_ends() {
    let (send, receive) = tokio::sync::oneshot::channel::<()>();
    let receive = std::sync::Mutex::new(Some(receive));
    let bench = bench(Config { workers: 2, ..one_worker() }, move |_: u32, turn| {
        assert_eq!(turn.worker(), turn.key().map_or(0, |key| key as usize));
        let receive = receive.lock().expect("lock").take();
        Step::Waiting(Box::pin(async move {
            if let Some(receive) = receive {
                let _ = receive.await;
            }
            Step::Done
        }))
    });
    // Of two keys that belong to the second worker.
    bench.queue.push(keyed(0, 1)).expect("room");
    until("it is driven", || bench.queue.figures().workers[1].in_flight == 1);
    bench.queue.scale(1).expect("fewer");
    let _ = send.send(());
    bench.noticed("the end", |notice| (*notice == Notice::Ended { worker: 1 }).then_some(()));
    let scaled = Notice::Scaled { from: 2, to: 1, cause: Cause::Asked };
    bench.noticed("the change", |notice| (*notice == scaled).then_some(()));
    bench.end();
}

/// Moves the clock by one look of the keeper, when it is there to see it.
fn look(bench: &common::Bench<u32>) {
    until("the keeper", || bench.clock.sleepers() == 1 && bench.clock.next_wake() == Some(SECOND));
    bench.clock.advance(SECOND);
}

#[test]
fn automatic_scaling_follows_the_load_after_it_has_held_within_its_bounds() {
    let (gate, stop) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let at = gate.clone();
    let scaling = Scaling { min: 1, max: 2, up: 0.8, down: 0.2, interval: SECOND, hold: 2 };
    let config = Config { scaling: Some(scaling), blocked_after: 3_600 * SECOND, ..one_worker() };
    let bench = bench(config, move |_: u32, _| {
        if !stop.load(Ordering::SeqCst) {
            at.pass();
        }
        Step::Done
    });
    let total = |want: usize| until("the number of workers", || bench.queue.figures().total() == want);
    bench.queue.push(entry(0, Normal)).expect("room");
    gate.arrived(1);
    look(&bench);
    until("a look", || bench.clock.sleepers() == 1);
    assert_eq!(bench.queue.figures().total(), 1, "once is not enough");
    look(&bench);
    total(2);
    bench.noticed("why", |notice| {
        (*notice == Notice::Scaled { from: 1, to: 2, cause: Cause::Busy }).then_some(())
    });
    // Both busy: it goes no higher.
    bench.queue.push(entry(1, Normal)).expect("room");
    gate.arrived(2);
    for _ in 0..3 {
        look(&bench);
    }
    until("a look", || bench.clock.sleepers() == 1);
    assert_eq!(bench.queue.figures().total(), 2);
    gate.open(2);
    until("nothing to do", || bench.queue.figures().active() == 0 && bench.queue.figures().events == 0);
    for _ in 0..4 {
        look(&bench);
    }
    total(1);
    bench.noticed("why", |notice| {
        (*notice == Notice::Scaled { from: 2, to: 1, cause: Cause::Idle }).then_some(())
    });
    for _ in 0..3 {
        look(&bench);
    }
    until("a look", || bench.clock.sleepers() == 1);
    assert_eq!(bench.queue.figures().total(), 1, "no lower than the lowest");
    bench.end();
}

#[test]
fn figures_tell_what_waits_how_long_it_waited_and_what_it_took() {
    let gate = Arc::new(Gate::default());
    let at = gate.clone();
    let bench = bench(one_worker(), move |_: u32, _| {
        at.pass();
        Step::Done
    });
    bench.queue.push(entry(0, Normal)).expect("room");
    gate.arrived(1);
    for priority in
        [tidings_core::Priority::Low, tidings_core::Priority::Low, tidings_core::Priority::Critical]
    {
        bench.queue.push(entry(1, priority)).expect("room");
    }
    let figures = bench.queue.figures();
    assert_eq!((figures.events, figures.bytes, figures.utilisation), (4, 4, 0.04));
    assert_eq!((figures.critical, figures.normal, figures.low), (1, 0, 2));
    assert_eq!((figures.active(), figures.idle(), figures.workers[0].waiting), (1, 0, 3));
    bench.clock.advance(10 * SECOND);
    gate.open(4);
    bench.end();
    let figures = bench.queue.figures();
    assert_eq!((figures.processed, figures.workers[0].processed, figures.events), (4, 4, 0));
    assert!(figures.wait.p99 >= 10 * SECOND && figures.wait.p99 <= 11 * SECOND, "{:?}", figures.wait);
    assert!(figures.processing.p50 > Duration::ZERO && figures.processing.mean > Duration::ZERO);
}

#[test]
fn where_timings_are_not_wanted_there_are_counts_and_no_percentiles() {
    let config = Config { timings: false, ..one_worker() };
    let bench =
        bench(
            config.clone(),
            move |waits: bool, _| {
                if waits { Step::Waiting(Box::pin(async { Step::Done })) } else { Step::Done }
            },
        );
    let push = |waits| {
        bench.queue.push(entry(waits, Normal)).expect("room");
        until("it was done", || bench.queue.figures().events == 0);
    };
    [false, true].into_iter().for_each(push);
    let figures = bench.queue.figures();
    assert_eq!(
        (figures.processed, figures.wait.mean, figures.processing.mean),
        (2, Duration::ZERO, Duration::ZERO)
    );
    bench.queue.set(Config { timings: true, ..config }).expect("a good setting");
    [false, true].into_iter().for_each(push);
    until("it is measured", || bench.queue.figures().processing.mean > Duration::ZERO);
    bench.end();
}

#[test]
fn the_timer_of_an_entry_that_runs_again_is_the_clock() {
    let again = AtomicBool::new(false);
    let bench = bench(one_worker(), move |item: u32, _| {
        if again.swap(true, Ordering::SeqCst) { Step::Done } else { Step::Again { item, after: 30 * SECOND } }
    });
    bench.queue.push(entry(0, Normal)).expect("room");
    until("a delay", || bench.queue.figures().delayed == 1);
    bench.clock.advance(29 * SECOND);
    assert_eq!(bench.queue.figures().processed, 0);
    bench.clock.advance(SECOND);
    until("the second time", || bench.queue.figures().processed == 1);
    bench.end();
}

#[test]
fn a_worker_keeps_looking_for_as_long_as_the_settings_say_before_it_sleeps() {
    for (spin, sleeps) in [(SECOND, false), (Duration::ZERO, true)] {
        let begun = std::time::Instant::now();
        let bench = bench(Config { spin, ..one_worker() }, |_: u32, _| Step::Done);
        until("it sleeps", || bench.queue.figures().workers[0].asleep);
        assert_eq!(begun.elapsed() < SECOND, sleeps);
        bench.end();
    }
}
