//! Faults that event systems of this kind have had, on a bus with everything switched on: they must not come back.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Alarmed, Cancelled, Diary, Failures, Placed};
use tidings_bus::{Bus, History, LeakSuspected, LeakWatch, ListenerSlowed, Replay, StatsOptions, Verdict};
use tidings_core::{Envelope, Failure, Handled, ManualClock, Timestamp};

/// Warns of everything, measures everything, keeps everything, and shows everything to middleware.
fn everything_on() -> Bus {
    let stats = StatsOptions::new().slow(Duration::ZERO, Duration::ZERO).log_max(8);
    let builder = Bus::builder().leak_watch(LeakWatch::limit(0)).stats(stats);
    let bus = builder.history("**", History::last(3)).expect("valid").build();
    bus.middleware_on("**", |_| Verdict::Pass).expect("valid").forever();
    bus.middleware(|placed: &Placed| Verdict::Change(placed.clone())).forever();
    bus
}

fn counter() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    (count.clone(), count)
}

#[test]
fn notices_that_cause_notices_do_not_fill_the_stack_however_often_is_emitted() {
    // A small stack, so that a depth that grows with the number of emissions is found.
    let small = thread::Builder::new().stack_size(256 * 1024);
    let run = || {
        let bus = everything_on();
        let (count, counted) = counter();
        let inner = bus.clone();
        bus.on(move |_: &ListenerSlowed| {
            counted.fetch_add(1, Ordering::Relaxed);
            inner.on(|_: &Cancelled| ()).forever();
            inner.emit(&Cancelled(1));
        })
        .forever();
        let inner = bus.clone();
        bus.on(move |leak: &LeakSuspected| {
            if leak.topic.len() < 100 {
                inner.subscribe(&format!("{}.x", leak.topic), |_| ()).expect("valid").forever();
            }
            inner.emit(&Cancelled(1));
        })
        .forever();
        bus.any(|_| ()).forever();
        bus.on(|_: &Placed| ()).forever();
        for number in 0..5_000 {
            bus.emit(&Placed(number));
        }
        count.load(Ordering::Relaxed)
    };
    let notices = small.spawn(run).expect("a thread").join().expect("no overflow");
    assert!((1..100).contains(&notices), "{notices}");
}

#[test]
fn once_fires_once_although_every_emission_is_isolated_measured_kept_and_changed() {
    let (bus, failures) = (everything_on(), Diary::default());
    let entry = failures.clone();
    bus.errors(move |failed| entry.write(failed.event())).forever();
    let (count, counted) = counter();
    let panics = move |_: &Placed| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert!(counted.load(Ordering::Relaxed) > 1_000, "always");
    };
    bus.once(panics).forever();
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Placed(2))), (1, 0));
    let envelope = Envelope::of::<Placed>(Placed(3)).finish().expect("valid");
    assert_eq!((bus.emit_envelope(&envelope), count.load(Ordering::Relaxed)), (0, 1));
    assert_eq!(failures.take(), "order.placed");
    let (count, counted) = counter();
    let late = bus.listen().once().replay(Replay::all()).on(move |_: &Placed| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!((bus.emit(&Placed(4)), count.load(Ordering::Relaxed), late.is_live()), (0, 1, false));
}

#[test]
fn an_error_listener_that_fails_and_emits_what_fails_is_called_once_a_failure() {
    let bus = everything_on();
    let (count, counted) = counter();
    let inner = bus.clone();
    bus.errors(move |_| -> Handled {
        counted.fetch_add(1, Ordering::Relaxed);
        inner.emit(&Alarmed(1));
        Err(Failure::permanent("deaf"))
    })
    .forever();
    bus.on(|_: &Alarmed| -> Handled { Err(Failure::permanent("broken")) }).forever();
    bus.middleware(|alarmed: &Alarmed| Verdict::Change(Alarmed(10 / (alarmed.0 - 1)))).forever();
    bus.on(|_: &Placed| -> Handled { Err(Failure::permanent("no")) }).forever();
    for _ in 0..3 {
        bus.emit(&Placed(1));
    }
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

#[test]
fn an_emission_that_is_measured_kept_and_changed_delivers_once_and_is_counted_once() {
    let (bus, diary) = (everything_on(), Diary::default());
    let failures = Failures::of(&bus);
    let (typed, pattern, any) = (diary.clone(), diary.clone(), diary.clone());
    bus.on(move |placed: &Placed| typed.write(format!("typed-{}", placed.0))).forever();
    bus.subscribe("order.*", move |_| pattern.write("pattern")).expect("valid").forever();
    bus.listen().priority(-1).subscribe("order.**", move |_| any.write("any")).expect("valid").forever();
    for number in 0..10 {
        assert_eq!(bus.emit(&Placed(number)), 3);
        assert_eq!(diary.take(), format!("typed-{number} pattern any"));
    }
    let stats = bus.stats().expect("on");
    let placed = stats.topics.iter().find(|topic| topic.name == "order.placed").expect("emitted");
    assert_eq!((placed.emitted, placed.heard, placed.cancelled, placed.subscribers), (10, 30, 0, 3));
    assert_eq!(bus.history("order.placed", Replay::all()).expect("valid").len(), 3);
    assert_eq!(bus.middlewares().iter().map(|info| info.changed).collect::<Vec<_>>(), [0, 10]);
    assert_eq!(failures.take().len(), 0);
}

#[test]
fn nothing_that_is_measured_or_logged_is_kept_for_ever() {
    // On a clock that stands still nobody is slow: a warning would have to be written down.
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let bus = Bus::builder().clock(clock).stats(StatsOptions::new().log_max(8).on_clock()).build();
    bus.on(|_: &Placed| ()).forever();
    bus.on(|_: &Placed| ()).forever();
    let emit = |times: u64| (0..times).for_each(|number| assert_eq!(bus.emit(&Placed(number)), 2));
    emit(20);
    let allocated = allocation_counter::measure(|| emit(10_000));
    assert_eq!((allocated.count_total, allocated.bytes_current), (0, 0));
    // Listeners that come and go leave nothing but their sums.
    let come_and_go = || {
        for number in 0..200 {
            let guard = bus.on(|_: &Cancelled| ());
            bus.emit(&Cancelled(number));
            drop(guard);
        }
    };
    come_and_go();
    assert_eq!(allocation_counter::measure(come_and_go).bytes_current, 0);
    assert_eq!(bus.stats().map(|stats| (stats.listeners.len(), stats.ended_calls)), Some((2, 400)));
    assert_eq!(bus.emissions("**", Timestamp::MIN).expect("valid").len(), 8);
}

#[test]
fn everything_that_is_watched_is_forgotten_when_it_is_gone() {
    let bus = everything_on();
    let come_and_go = || {
        for number in 0..100 {
            let guards = [
                bus.subscribe(&format!("order.n{number}"), |_| ()).expect("valid"),
                bus.middleware(|_: &Cancelled| Verdict::Cancel),
                bus.listen().replay(Replay::all()).on(|_: &Placed| ()),
            ];
            bus.emit(&Placed(number));
            bus.emit(&Cancelled(number));
            drop(guards);
        }
        bus.reset_stats();
    };
    come_and_go();
    come_and_go();
    let left = allocation_counter::measure(come_and_go).bytes_current;
    assert!(left.abs() < 4_096, "{left} bytes");
    assert_eq!((bus.names().len(), bus.leaks().topics.len(), bus.middlewares().len()), (0, 0, 2));
}
