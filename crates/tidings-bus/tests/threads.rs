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
use tidings_bus::{
    Bus, Guard, History, LeakSuspected, LeakWatch, ListenerSlowed, Owner, Plugin, Replay, StatsOptions,
    Verdict,
};
use tidings_core::{Envelope, Handled, Timestamp};

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

/// A plugin with a listener and a middleware.
struct Bundle(String);

impl Plugin for Bundle {
    fn name(&self) -> &str {
        &self.0
    }

    fn install(&self, bus: &Bus, owner: &Owner) -> Handled {
        bus.listen().priority(3).any(|_| ()).owned_by(owner);
        bus.middleware(|placed: &Placed| Verdict::Change(Placed(placed.0))).owned_by(owner);
        Ok(())
    }
}

/// Everything at once on one bus, from many threads, inside listeners, and while what they captured is dropped.
#[test]
fn with_everything_switched_on_a_listener_that_stays_hears_every_event_and_nothing_deadlocks_or_stays_behind()
{
    /// Uses the bus when it is dropped.
    struct Uses(Bus);
    impl Drop for Uses {
        fn drop(&mut self) {
            self.0.emit(&Cancelled(0));
            self.0.on(|_: &Cancelled| ()).end();
        }
    }
    let stats = StatsOptions::new().listeners_max(5).topics_max(2).log_max(20);
    let bus = Bus::builder().leak_watch(LeakWatch::limit(3)).stats(stats).history_topics_max(2);
    let bus = bus.history("**", History::last(5)).expect("valid").build();
    let ((typed, on_typed), (pattern, on_pattern)) = (counter(), counter());
    bus.listen().priority(7).on(move |_: &Placed| on_typed()).forever();
    bus.listen().priority(-7).subscribe("order.placed", move |_| on_pattern()).expect("valid").forever();
    let inner = bus.clone();
    let notices = bus.on(move |_: &LeakSuspected| drop(inner.on(|_: &Cancelled| ())));
    let inner = bus.clone();
    let slow = bus.on(move |_: &ListenerSlowed| drop(inner.stats()));
    let barrier = Barrier::new(6);
    thread::scope(|scope| {
        for way in 0..2 {
            let (bus, barrier) = (&bus, &barrier);
            scope.spawn(move || {
                let emitter = bus.emitter::<Placed>();
                let envelope = Envelope::of::<Placed>(Placed(1)).finish().expect("valid");
                barrier.wait();
                for round in 0..ROUNDS {
                    let heard = match (way + round) % 4 {
                        0 => bus.emit(&Placed(1)),
                        1 => emitter.emit(&Placed(1)),
                        2 => bus.emit_shared(&Placed(1).into()),
                        _ => bus.emit_envelope(&envelope),
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
                    let (inner, uses) = (bus.clone(), Uses(bus.clone()));
                    guards.push(match (seed + round) % 7 {
                        0 => bus
                            .listen()
                            .priority(round as i32 % 3)
                            .on(move |_: &Placed| drop(inner.once(|_: &Cancelled| ()))),
                        1 => bus.on(move |_: &Placed| assert!(uses.0.listener_count("order.placed") > 0)),
                        2 => bus.listen().replay(Replay::all()).on(|_: &Placed| ()),
                        3 => bus.listen().replay(Replay::last(2)).any(move |any| drop((any.clone(), &uses))),
                        4 => bus.middleware(|placed: &Placed| Verdict::Change(Placed(placed.0))),
                        5 => bus
                            .middleware_on("order.*", move |_| {
                                inner.emit(&Sink(1));
                                Verdict::Pass
                            })
                            .expect("valid"),
                        _ => bus.once(|_: &Placed| ()),
                    });
                    if guards.len() > 6 {
                        guards.swap_remove(round % 6).end();
                    }
                }
            });
        }
        scope.spawn(|| {
            barrier.wait();
            for round in 0..ROUNDS {
                let name = format!("bundle-{}", round % 3);
                bus.install(Bundle(name.clone())).expect("free");
                assert!(bus.uninstall(&name));
            }
        });
        scope.spawn(|| {
            barrier.wait();
            for round in 0..ROUNDS {
                let (stats, leaks) = (bus.stats().expect("on"), bus.leaks());
                assert!(stats.topics.len() <= 2 && stats.listeners.len() <= 5 && leaks.others == 0);
                assert!(bus.emissions("order.*", Timestamp::MIN).expect("valid").len() <= 20);
                assert!(bus.history("**", Replay::all()).expect("valid").len() <= 10);
                if round % 50 == 0 {
                    bus.reset_stats();
                }
            }
        });
    });
    assert_eq!((typed.load(Ordering::Relaxed), pattern.load(Ordering::Relaxed)), (2 * ROUNDS, 2 * ROUNDS));
    drop((notices, slow));
    assert_eq!((bus.names(), bus.middlewares().len()), (vec!["order.placed".to_owned()], 0));
    assert_eq!((bus.plugins().len(), bus.emit(&Placed(1))), (0, 2));
}

events! {
    Sink = "sink.filled" version 1;
}
