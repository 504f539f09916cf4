//! The error channel cannot feed itself.

mod common;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use common::{Alarmed, Cancelled, Diary, Placed};
use tidings_bus::{Bus, Guard};
use tidings_core::{Failure, Handled, On};

fn panics(_: &Placed) {
    panic!("no more boxes")
}

#[test]
fn an_error_listener_that_fails_does_not_recurse_and_stops_no_other() {
    let (bus, calls) = (Bus::new(), Arc::new(AtomicUsize::new(0)));
    let (first, second) = (calls.clone(), calls.clone());
    bus.errors(move |failed| {
        first.fetch_add(1, Ordering::Relaxed);
        assert_eq!(&**failed.id(), "impossible");
    })
    .forever();
    bus.errors(move |_| -> Handled {
        second.fetch_add(100, Ordering::Relaxed);
        Err(Failure::permanent("the error listener fails too"))
    })
    .forever();
    bus.on(panics).forever();
    assert_eq!((bus.emit(&Placed(1)), calls.load(Ordering::Relaxed)), (1, 101));
}

#[test]
fn an_error_listener_that_emits_what_fails_again_does_not_recurse() {
    let (bus, calls, other) = (Bus::new(), Arc::new(AtomicUsize::new(0)), Bus::new());
    let (inner, counted, second_bus) = (bus.clone(), calls.clone(), other.clone());
    bus.errors(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert_eq!(inner.emit(&Alarmed(1)), 1);
        second_bus.emit(&Alarmed(2));
    })
    .forever();
    bus.on(|alarmed: &Alarmed| assert_eq!(alarmed.0, 0)).forever();
    // Also not by way of another bus, whose own error channel does work.
    let (back, others) = (bus.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = others.clone();
    other
        .errors(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            back.emit(&Alarmed(3));
        })
        .forever();
    other.on(|alarmed: &Alarmed| assert_eq!(alarmed.0, 0)).forever();
    bus.on(panics).forever();
    bus.emit(&Placed(1));
    assert_eq!((calls.load(Ordering::Relaxed), others.load(Ordering::Relaxed)), (1, 1));
    bus.emit(&Placed(2));
    assert_eq!((calls.load(Ordering::Relaxed), others.load(Ordering::Relaxed)), (2, 2));
}

#[tokio::test]
async fn an_error_listener_that_starts_asynchronous_failures_does_not_recurse() {
    let (bus, calls) = (Bus::new(), Arc::new(AtomicUsize::new(0)));
    let (inner, counted) = (bus.clone(), calls.clone());
    bus.errors(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert_eq!(inner.emit(&Alarmed(1)), 1);
    })
    .forever();
    let (inner, runs) = (bus.clone(), Arc::new(AtomicUsize::new(0)));
    let ran = runs.clone();
    bus.on_async(move |_: On<Alarmed>| {
        let (bus, ran) = (inner.clone(), ran.clone());
        async move {
            tokio::task::yield_now().await;
            ran.fetch_add(1, Ordering::Relaxed);
            assert_eq!(bus.emit(&Cancelled(1)), 1);
            Err::<(), _>(Failure::transient("the alarm is broken"))
        }
    })
    .forever();
    bus.on(|cancelled: &Cancelled| assert_eq!(cancelled.0, 0)).forever();
    bus.on(panics).forever();
    bus.emit(&Placed(1));
    bus.settled().await;
    assert_eq!((calls.load(Ordering::Relaxed), runs.load(Ordering::Relaxed)), (1, 1));
    bus.emit(&Cancelled(1));
    bus.settled().await;
    assert_eq!(calls.load(Ordering::Relaxed), 2, "outside of a report the same failure is told");
}

#[test]
fn an_error_listener_can_end_itself_and_others_while_it_is_told() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let guards: Arc<Mutex<Vec<Guard>>> = Arc::default();
    let (inside, first, second) = (guards.clone(), diary.clone(), diary.clone());
    let one = bus.errors(move |_| {
        first.write("one");
        inside.lock().expect("not poisoned").clear();
    });
    let two = bus.errors(move |_| second.write("two"));
    guards.lock().expect("not poisoned").extend([one, two]);
    bus.on(panics).forever();
    bus.emit(&Placed(1));
    bus.emit(&Placed(2));
    assert_eq!(diary.take(), "one");
}
