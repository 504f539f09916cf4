//! What must hold however the steps of several threads follow each other.
//!
//! Shuttle runs the threads one step at a time, in an order that it draws, thousands of times; a failure prints the
//! order, to be repeated. What listeners see is written down and judged outside of them, for the bus catches panics.

mod common;

use std::sync::Arc;

use common::Placed;
use shuttle::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};
use tidings_bus::{Bus, Emitter, Guard};
use tidings_core::Envelope;

/// How many orders are drawn for each test.
const ORDERS: usize = 1_500;

/// Draws some orders evenly and some in which a thread is held up at a few chosen steps.
fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), ORDERS);
    shuttle::check_pct(test, ORDERS, 3);
}

fn envelope() -> Envelope {
    Envelope::of::<Placed>(Placed(1)).finish().expect("valid")
}

/// The ways an event gets onto a bus, each with its own path to the listeners.
#[derive(Debug, Clone, Copy)]
enum Way {
    Type,
    Handle,
    Name,
}

const WAYS: [Way; 3] = [Way::Type, Way::Handle, Way::Name];

/// Something of a thread's own to emit with.
struct Voice {
    bus: Bus,
    emitter: Emitter<Placed>,
    envelope: Envelope,
}

impl Voice {
    fn of(bus: &Bus) -> Self {
        Self { bus: bus.clone(), emitter: bus.emitter(), envelope: envelope() }
    }

    fn emit(&self, way: Way) -> usize {
        match way {
            Way::Type => self.bus.emit(&Placed(1)),
            Way::Handle => self.emitter.emit(&Placed(1)),
            Way::Name => self.bus.emit_envelope(&self.envelope),
        }
    }
}

/// How a listener may be registered.
fn listen(bus: &Bus, kind: usize, call: impl Fn() + Send + Sync + 'static) -> Guard {
    match kind {
        0 => bus.on(move |_: &Placed| call()),
        1 => bus.subscribe("order.placed", move |_| call()).expect("valid"),
        _ => bus.subscribe("order.*", move |_| call()).expect("valid"),
    }
}

/// Runs a test for each way to emit and each kind of listener.
fn check_all(test: impl Fn(Way, usize) + Send + Sync + Copy + 'static) {
    for way in WAYS {
        for kind in 0..3 {
            shuttle::check_random(move || test(way, kind), ORDERS / 3);
            shuttle::check_pct(move || test(way, kind), ORDERS / 3, 3);
        }
    }
}

#[test]
fn a_listener_that_has_ended_before_an_emission_began_is_not_called() {
    check_all(|way, kind| {
        let (bus, ended, late) =
            (Bus::new(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let begun_after_the_end = Arc::new(AtomicBool::new(false));
        let (seen, told) = (begun_after_the_end.clone(), late.clone());
        let guard = listen(&bus, kind, move || {
            if seen.load(Ordering::SeqCst) {
                told.store(true, Ordering::SeqCst);
            }
        });
        let voice = Voice::of(&bus);
        let remover = {
            let ended = ended.clone();
            thread::spawn(move || {
                drop(guard);
                ended.store(true, Ordering::SeqCst);
            })
        };
        for _ in 0..3 {
            let has_ended = ended.load(Ordering::SeqCst);
            begun_after_the_end.store(has_ended, Ordering::SeqCst);
            let heard = voice.emit(way);
            assert!(heard == 0 || !has_ended);
        }
        remover.join().expect("no panic");
        assert_eq!(voice.emit(way), 0);
        assert!(!late.load(Ordering::SeqCst));
    });
}

#[test]
fn a_listener_that_was_added_before_an_emission_began_is_called() {
    check_all(|way, kind| {
        let (bus, added) = (Bus::new(), Arc::new(AtomicBool::new(false)));
        let voice = Voice::of(&bus);
        let adder = {
            let (bus, added) = (bus.clone(), added.clone());
            thread::spawn(move || {
                listen(&bus, kind, || ()).forever();
                added.store(true, Ordering::SeqCst);
            })
        };
        for _ in 0..3 {
            let was_added = added.load(Ordering::SeqCst);
            let heard = voice.emit(way);
            assert!(heard == 1 || !was_added);
        }
        adder.join().expect("no panic");
        assert_eq!(voice.emit(way), 1);
    });
}

#[test]
fn a_once_listener_is_called_once_whoever_emits_at_the_same_time() {
    check(|| {
        let (bus, calls) = (Bus::new(), Arc::new(AtomicUsize::new(0)));
        let counted = calls.clone();
        // Not `Bus::once`, whose function can be taken only once, which would hide a listener that is called twice.
        let count = move |_: &Placed| {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        bus.listen().once().on(count).forever();
        let threads = WAYS.map(|way| {
            let voice = Voice::of(&bus);
            thread::spawn(move || voice.emit(way))
        });
        let heard: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!((heard, calls.load(Ordering::SeqCst), bus.listener_count("order.placed")), (1, 1, 0));
    });
}

#[test]
fn nothing_is_lost_while_threads_add_remove_and_emit() {
    check(|| {
        let bus = Bus::new();
        let threads = [0, 1].map(|thread| {
            let (bus, voice) = (bus.clone(), Voice::of(&bus));
            thread::spawn(move || {
                let guards: Vec<Guard> = (0..3).map(|kind| listen(&bus, kind, || ())).collect();
                voice.emit(WAYS[thread]);
                drop(guards);
                listen(&bus, 2, || ()).forever();
                voice.emit(WAYS[thread + 1]);
            })
        });
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(bus.listener_count("order.placed"), 2);
        assert!(WAYS.iter().all(|way| Voice::of(&bus).emit(*way) == 2));
    });
}

#[test]
fn a_listener_that_ends_itself_and_adds_another_while_others_emit_leaves_exactly_that() {
    check(|| {
        let (bus, own) = (Bus::new(), Arc::new(std::sync::Mutex::new(None::<Guard>)));
        let (inside, weak) = (own.clone(), bus.clone());
        let guard = bus.on(move |_: &Placed| {
            let taken = inside.lock().expect("not poisoned").take();
            if taken.is_some() {
                drop(taken);
                weak.subscribe("order.**", |_| ()).expect("valid").forever();
            }
        });
        *own.lock().expect("not poisoned") = Some(guard);
        let threads = [Way::Type, Way::Name].map(|way| {
            let voice = Voice::of(&bus);
            thread::spawn(move || voice.emit(way))
        });
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(bus.names(), ["order.**"]);
        assert!(WAYS.iter().all(|way| Voice::of(&bus).emit(*way) == 1));
    });
}

#[test]
fn what_an_ended_listener_has_captured_is_let_go_when_nobody_emits_any_more() {
    check(|| {
        let (bus, captured) = (Bus::new(), Arc::new(()));
        let kept = captured.clone();
        let guard = listen(&bus, 0, move || drop(kept.clone()));
        let emitting = {
            let voice = Voice::of(&bus);
            thread::spawn(move || voice.emit(Way::Type) + voice.emit(Way::Name))
        };
        let ending = thread::spawn(move || drop(guard));
        ending.join().expect("no panic");
        emitting.join().expect("no panic");
        assert_eq!(Arc::strong_count(&captured), 1);
        let (guard, kept) = (listen(&bus, 2, || ()), captured.clone());
        bus.on(move |_: &Placed| drop(kept.clone())).forever();
        let voice = Voice::of(&bus);
        let emitting = thread::spawn(move || voice.emit(Way::Name));
        drop(bus);
        drop(guard);
        emitting.join().expect("no panic");
        assert_eq!(Arc::strong_count(&captured), 1, "the bus went with its last handle");
    });
}
