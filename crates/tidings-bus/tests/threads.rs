//! Many threads at once: nothing is missed, nothing is called that has ended, nothing deadlocks.

mod common;

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use common::{Cancelled, Placed};
use tidings_bus::{Bus, Guard};
use tidings_core::Envelope;

const ROUNDS: usize = 300;

fn counter() -> (Arc<AtomicUsize>, impl Fn() + Send + Sync + Clone + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    (count, move || {
        counted.fetch_add(1, Ordering::Relaxed);
    })
}

#[test]
fn a_listener_that_stays_hears_every_event_while_others_come_and_go() {
    let bus = Bus::new();
    let ((typed, on_typed), (pattern, on_pattern)) = (counter(), counter());
    bus.on(move |_: &Placed| on_typed()).forever();
    bus.subscribe("order.*", move |_| on_pattern()).expect("valid").forever();
    let envelope = Envelope::of::<Placed>(Placed(1)).finish().expect("valid");
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for way in 0..2 {
            let (bus, barrier, envelope) = (&bus, &barrier, &envelope);
            scope.spawn(move || {
                let emitter = bus.emitter::<Placed>();
                barrier.wait();
                for round in 0..ROUNDS {
                    let heard = match (way + round) % 3 {
                        0 => bus.emit(&Placed(1)),
                        1 => emitter.emit(&Placed(1)),
                        _ => bus.emit_envelope(envelope),
                    };
                    assert!(heard >= 2);
                }
            });
        }
        for seed in 0..2 {
            let (bus, barrier) = (&bus, &barrier);
            scope.spawn(move || {
                let mut guards: Vec<Guard> = Vec::new();
                barrier.wait();
                for round in 0..ROUNDS {
                    guards.push(match (seed + round) % 5 {
                        0 => bus.on(|_: &Placed| ()),
                        1 => bus.prepend(|_: &Placed| ()),
                        2 => bus.once(|_: &Placed| ()),
                        3 => bus.subscribe("order.placed", |_| ()).expect("valid"),
                        _ => bus.subscribe("**.placed", |_| ()).expect("valid"),
                    });
                    if guards.len() > 10 {
                        guards.swap_remove(round % 10).end();
                    }
                }
            });
        }
    });
    assert_eq!(typed.load(Ordering::Relaxed), 2 * ROUNDS);
    assert_eq!(pattern.load(Ordering::Relaxed), 2 * ROUNDS);
    assert_eq!((bus.listener_count("order.placed"), bus.names().len()), (2, 2));
}

#[test]
fn each_thread_sees_its_own_subscriptions_at_once_and_their_end_too() {
    let bus = Bus::new();
    thread::scope(|scope| {
        for number in 0..4 {
            let bus = &bus;
            scope.spawn(move || {
                let emitter = bus.emitter::<Placed>();
                for round in 0..ROUNDS {
                    let (count, called) = counter();
                    let own = number as u64;
                    let guard = match round % 3 {
                        0 => bus.on(move |placed: &Placed| {
                            if placed.0 == own {
                                called()
                            }
                        }),
                        1 => bus.listen().first().on(move |placed: &Placed| {
                            if placed.0 == own {
                                called()
                            }
                        }),
                        _ => {
                            let of_this = move |any: &Envelope| {
                                if any.decode::<Placed>().expect("placed").0 == own {
                                    called()
                                }
                            };
                            bus.subscribe("order.**", of_this).expect("valid")
                        }
                    };
                    assert!(bus.emit(&Placed(own)) >= 1);
                    assert!(emitter.emit(&Placed(own)) >= 1);
                    assert_eq!(count.load(Ordering::Relaxed), 2);
                    drop(guard);
                    bus.emit(&Placed(own));
                    emitter.emit(&Placed(own));
                    assert_eq!(count.load(Ordering::Relaxed), 2);
                }
            });
        }
    });
    assert_eq!(bus.names(), Vec::<String>::new());
}

#[test]
fn subscribing_ending_and_emitting_inside_listeners_of_many_threads_does_not_deadlock() {
    let bus = Bus::new();
    let inner = bus.clone();
    bus.on(move |placed: &Placed| {
        let typed = inner.on(|_: &Cancelled| ());
        let pattern = inner.subscribe("order.*", |_| ()).expect("valid");
        inner.once(|_: &Cancelled| ()).forever();
        assert!(inner.emit(&Cancelled(placed.0)) >= 2);
        drop(typed);
        assert!(inner.listener_count("order.cancelled") >= 1);
        drop(pattern);
    })
    .forever();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..ROUNDS {
                    assert!(bus.emit(&Placed(number as u64)) >= 1);
                }
            });
        }
    });
    bus.emit(&Cancelled(1));
    assert_eq!(bus.names(), ["order.placed"]);
}

#[test]
fn after_a_guard_has_been_dropped_no_call_begins_on_any_thread() {
    let bus = Bus::new();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    bus.emit(&Placed(1));
                }
            });
        }
        for _ in 0..ROUNDS {
            let (ended, running) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let (told, inside) = (ended.clone(), running.clone());
            let guard = bus.on(move |_: &Placed| {
                inside.fetch_add(1, Ordering::SeqCst);
                assert!(!told.load(Ordering::SeqCst), "called after its end");
                inside.fetch_sub(1, Ordering::SeqCst);
            });
            drop(guard);
            // A call that had begun may still run; the emitter that holds the plan lets go of it when it is through.
            while Arc::strong_count(&ended) > 1 {
                thread::yield_now();
            }
            ended.store(true, Ordering::SeqCst);
            assert_eq!(running.load(Ordering::SeqCst), 0);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_bus_dropped_on_one_thread_while_guards_are_dropped_on_another_is_let_go() {
    for _ in 0..ROUNDS {
        let (bus, captured) = (Bus::new(), Arc::new(()));
        let guards: Vec<Guard> = (0..4)
            .map(|_| {
                let captured = captured.clone();
                bus.on(move |_: &Placed| drop(captured.clone()))
            })
            .collect();
        bus.emit(&Placed(1));
        thread::scope(|scope| {
            scope.spawn(move || drop(guards));
            scope.spawn(move || drop(bus));
        });
        assert_eq!(Arc::strong_count(&captured), 1);
    }
}
