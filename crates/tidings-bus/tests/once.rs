//! A `once` listener is called once: not never, and not twice.

mod common;

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::{Diary, Failures, Placed};
use tidings_bus::Bus;
use tidings_core::{Envelope, Failure, Handled, On};

#[test]
fn it_is_gone_before_its_call() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (inner, entry) = (bus.clone(), diary.clone());
    let guard = bus.once(move |placed: &Placed| {
        assert_eq!(inner.listener_count("order.placed"), 0);
        assert_eq!(inner.emit(&Placed(placed.0 + 1)), 0);
        entry.write(placed.0);
    });
    assert!(guard.is_live());
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Placed(3))), (1, 0));
    assert!(!guard.is_live());
    assert_eq!(diary.take(), "1");
}

#[test]
fn it_fires_once_although_emits_are_isolated_and_it_panics_or_fails() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    fn panics(_: &Placed) {
        panic!("once")
    }
    bus.once(panics).forever();
    bus.once(|_: &Placed| -> Handled { Err(Failure::permanent("once")) }).forever();
    assert_eq!((bus.emit(&Placed(1)), failures.take().len()), (2, 2));
    assert_eq!((bus.emit(&Placed(2)), failures.take().len()), (0, 0));
}

#[test]
fn every_kind_of_listener_can_be_called_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (bus, diary) = (Bus::new(), Diary::default());
    let entries = || diary.clone();
    let (typed, weak, pattern, deferred, deferred_pattern) =
        (entries(), entries(), entries(), entries(), entries());
    let target = Arc::new("weak");
    bus.listen().once().on(move |_: &Placed| typed.write("typed")).forever();
    bus.listen().once().on_weak(&target, move |text, _: &Placed| weak.write(text)).forever();
    bus.listen().once().subscribe("**", move |_| pattern.write("pattern")).expect("valid").forever();
    let on_async = move |_: On<Placed>| {
        let entry = deferred.clone();
        async move { entry.write("async") }
    };
    bus.listen().once().on_async(on_async).forever();
    let subscribe_async = move |_: Envelope| {
        let entry = deferred_pattern.clone();
        async move { entry.write("async-pattern") }
    };
    bus.listen().once().subscribe_async("**", subscribe_async).expect("valid").forever();
    let first = runtime.block_on(async { bus.emit_async(Placed(1)).in_series().await });
    assert_eq!((first.heard, diary.take().as_str()), (5, "typed weak pattern async async-pattern"));
    let second = runtime.block_on(async { bus.emit_async(Placed(2)).await });
    assert_eq!((second.heard, diary.take().as_str(), bus.names().len()), (0, "", 0));
}

#[test]
fn threads_that_emit_at_once_call_it_exactly_once_however_they_emit() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 200;
    let bus = Bus::new();
    let (calls, heard) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let barrier = Barrier::new(THREADS);
    let envelope = Envelope::of::<Placed>(Placed(1)).finish().expect("valid");
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (bus, calls, heard, barrier, envelope) = (&bus, &calls, &heard, &barrier, &envelope);
            scope.spawn(move || {
                let emitter = bus.emitter::<Placed>();
                for round in 0..ROUNDS {
                    if number == 0 {
                        let (by_type, by_pattern) = (calls.clone(), calls.clone());
                        bus.once(move |_: &Placed| {
                            by_type.fetch_add(1, Ordering::Relaxed);
                        })
                        .forever();
                        let pattern = bus.listen().once().subscribe("order.*", move |_| {
                            by_pattern.fetch_add(1, Ordering::Relaxed);
                        });
                        pattern.expect("valid").forever();
                    }
                    barrier.wait();
                    let ran = match (number + round) % 3 {
                        0 => bus.emit(&Placed(1)),
                        1 => emitter.emit(&Placed(1)),
                        _ => bus.emit_envelope(envelope),
                    };
                    heard.fetch_add(ran, Ordering::Relaxed);
                    barrier.wait();
                    assert_eq!(calls.load(Ordering::Relaxed), (round + 1) * 2, "round {round}");
                    barrier.wait();
                }
            });
        }
    });
    assert_eq!(heard.into_inner(), ROUNDS * 2);
}

/// Four threads emit at once, and all find the listener live before one of them claims it: they meet in its condition,
/// which is asked in between. Answers how many listeners ran.
fn emitted_by_four(subscribe: impl FnOnce(&Bus, Box<dyn Fn(&Placed) -> bool + Send + Sync>)) -> usize {
    const THREADS: usize = 4;
    let (bus, together) = (Bus::new(), Barrier::new(THREADS));
    let all_here = move |_: &Placed| {
        together.wait();
        true
    };
    subscribe(&bus, Box::new(all_here));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let emit = || {
        let _entered = runtime.handle().enter();
        bus.emit(&Placed(1))
    };
    let heard = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(emit)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    runtime.block_on(bus.settled());
    heard
}

#[test]
fn of_threads_that_have_all_found_it_live_exactly_one_calls_it() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = || {
        let calls = calls.clone();
        move || {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (in_place, deferred) = (count(), count());
    let heard = emitted_by_four(|bus, all_here| {
        bus.listen().once().when(all_here).on(move |_: &Placed| in_place()).forever();
    });
    assert_eq!((heard, calls.load(Ordering::Relaxed)), (1, 1));
    let heard = emitted_by_four(|bus, all_here| {
        let listener = move |_: On<Placed>| {
            deferred();
            async {}
        };
        bus.listen().once().when(all_here).on_async(listener).forever();
    });
    assert_eq!((heard, calls.load(Ordering::Relaxed)), (1, 2));
}

#[test]
fn one_that_is_ended_while_others_emit_is_called_once_or_not_at_all() {
    let bus = Bus::new();
    for _ in 0..500 {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let guard = bus.once(move |_: &Placed| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let barrier = Barrier::new(2);
        let heard = thread::scope(|scope| {
            let emitting = scope.spawn(|| {
                barrier.wait();
                bus.emit(&Placed(1))
            });
            barrier.wait();
            drop(guard);
            emitting.join().expect("no panic")
        });
        assert_eq!(calls.load(Ordering::Relaxed), heard);
        assert_eq!(bus.listener_count("order.placed"), 0);
        assert_eq!(Arc::strong_count(&calls), 1, "the listener was let go");
    }
}

#[test]
fn an_event_that_does_not_meet_its_condition_or_cannot_be_read_does_not_use_it_up() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let failures = Failures::of(&bus);
    let entry = diary.clone();
    let large = bus.listen().once().when(|placed: &Placed| placed.0 > 10);
    large.on(move |placed: &Placed| entry.write(placed.0)).forever();
    assert_eq!(bus.emit(&Placed(1)), 0);
    let unreadable =
        Envelope::build("order.placed").json(br#""no number""#.as_slice()).finish().expect("valid");
    assert_eq!((bus.emit_envelope(&unreadable), failures.take().len()), (0, 1));
    assert_eq!((bus.emit(&Placed(11)), bus.emit(&Placed(12))), (1, 0));
    assert_eq!(diary.take(), "11");
}
