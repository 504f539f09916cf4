//! Who runs asynchronous listeners that nobody awaits, and that none is lost without a word.

mod common;

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use common::{Diary, Failures, Placed};
use tidings_bus::{Bus, Fault};
use tidings_core::{BoxFuture, On};

#[test]
fn without_a_runtime_the_error_channel_is_told_and_nothing_is_used_up() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let failures = Failures::of(&bus);
    let (every, once) = (diary.clone(), diary.clone());
    let listener = |diary: Diary| {
        move |_: On<Placed>| {
            let diary = diary.clone();
            async move { diary.write("ran") }
        }
    };
    bus.on_async(listener(every)).forever();
    bus.listen().once().on_async(listener(once)).forever();
    assert_eq!(bus.emit(&Placed(1)), 0);
    let told = failures.take();
    assert!(
        told.len() == 2 && told.iter().all(|failed| matches!(failed.fault(), Fault::NoRuntime)),
        "{told:?}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let heard = runtime.block_on(async {
        let heard = bus.emit(&Placed(2));
        bus.settled().await;
        heard
    });
    assert_eq!((heard, diary.take().as_str(), failures.take().len()), (2, "ran ran", 0));
}

#[test]
fn an_awaited_emission_needs_no_runtime() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = diary.clone();
    bus.on_async(move |_: On<Placed>| {
        let entry = entry.clone();
        async move { entry.write("ran") }
    })
    .forever();
    let emission = IntoFuture::into_future(bus.emit_async(Placed(1)));
    let report = futures_util::FutureExt::now_or_never(emission).expect("nothing waits");
    assert_eq!((report.heard, diary.take().as_str()), (1, "ran"));
}

#[test]
fn a_listener_registered_in_a_runtime_is_run_there_when_the_emitter_has_none() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let (bus, (told, hear)) = (Bus::new(), std::sync::mpsc::channel());
    runtime.block_on(async {
        bus.on_async(move |_: On<Placed>| {
            let told = told.clone();
            async move { told.send(tokio::runtime::Handle::current().id()).expect("waited for") }
        })
        .forever();
    });
    assert_eq!(bus.emit(&Placed(1)), 1);
    assert_eq!(hear.recv().expect("it ran"), runtime.handle().id());
}

#[test]
fn a_spawner_of_ones_own_runs_them() {
    let tasks: Arc<Mutex<Vec<BoxFuture<'static, ()>>>> = Arc::default();
    let (inside, diary) = (tasks.clone(), Diary::default());
    let bus = Bus::builder().spawner(move |task| inside.lock().expect("not poisoned").push(task)).build();
    let entry = diary.clone();
    bus.on_async(move |_: On<Placed>| {
        let entry = entry.clone();
        async move { entry.write("ran") }
    })
    .forever();
    assert_eq!((bus.emit(&Placed(1)), diary.take().as_str()), (1, ""));
    let task = tasks.lock().expect("not poisoned").pop().expect("spawned");
    futures_util::FutureExt::now_or_never(task).expect("nothing waits");
    assert_eq!(diary.take(), "ran");
}

#[test]
fn more_calls_than_may_be_in_flight_are_not_begun_and_told_of() {
    let tasks: Arc<Mutex<Vec<BoxFuture<'static, ()>>>> = Arc::default();
    let inside = tasks.clone();
    let spawner = move |task| inside.lock().expect("not poisoned").push(task);
    let bus = Bus::builder().spawner(spawner).in_flight_max(2).build();
    let failures = Failures::of(&bus);
    bus.on_async(|_: On<Placed>| async {}).forever();
    let heard = [1, 2, 3].map(|number| bus.emit(&Placed(number)));
    assert_eq!(heard, [1, 1, 0]);
    let told = failures.take();
    assert!(
        matches!(told.as_slice(), [failed] if matches!(failed.fault(), Fault::TooManyInFlight(2))),
        "{told:?}"
    );
    let task = tasks.lock().expect("not poisoned").pop().expect("spawned");
    futures_util::FutureExt::now_or_never(task).expect("nothing waits");
    assert_eq!((bus.emit(&Placed(4)), bus.emit(&Placed(5)), failures.take().len()), (1, 0, 1));
}

#[test]
fn a_call_whose_task_is_dropped_or_whose_spawner_fails_is_told_of() {
    let drops = Bus::builder().spawner(drop).build();
    let panics = Bus::builder().spawner(|_| panic!("no threads left")).build();
    for bus in [drops, panics] {
        let failures = Failures::of(&bus);
        bus.on_async(|_: On<Placed>| async {}).forever();
        assert_eq!(bus.emit(&Placed(1)), 1);
        let told = failures.take();
        assert!(matches!(told.as_slice(), [failed] if matches!(failed.fault(), Fault::Dropped)), "{told:?}");
        futures_util::FutureExt::now_or_never(bus.settled()).expect("nothing is in flight");
    }
}

#[test]
fn a_runtime_that_stops_tells_of_the_calls_it_had() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        bus.on_async(|_: On<Placed>| pending::<()>()).forever();
        assert_eq!(bus.emit(&Placed(1)), 1);
        tokio::task::yield_now().await;
    });
    assert_eq!(failures.take().len(), 0);
    drop(runtime);
    let told = failures.take();
    assert!(matches!(told.as_slice(), [failed] if matches!(failed.fault(), Fault::Dropped)), "{told:?}");
}

#[tokio::test]
async fn an_emission_that_is_given_up_drops_what_it_had_begun_and_tells() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    bus.on_async(|_: On<Placed>| pending::<()>()).forever();
    let emission = IntoFuture::into_future(bus.emit_async(Placed(1)));
    assert!(futures_util::FutureExt::now_or_never(emission).is_none());
    let told = failures.take();
    assert!(matches!(told.as_slice(), [failed] if matches!(failed.fault(), Fault::Dropped)), "{told:?}");
}

#[test]
fn an_error_listener_whose_own_calls_are_dropped_does_not_recurse() {
    let bus = Bus::builder().spawner(drop).build();
    let (inner, calls) = (bus.clone(), Diary::default());
    let entry = calls.clone();
    bus.errors(move |_| {
        entry.write("told");
        inner.emit(&Placed(2));
    })
    .forever();
    bus.on_async(|_: On<Placed>| async {}).forever();
    bus.emit(&Placed(1));
    assert_eq!(calls.take(), "told");
}

#[tokio::test]
async fn ending_a_subscription_does_not_end_a_call_that_was_begun() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = diary.clone();
    let guard = bus.on_async(move |_: On<Placed>| {
        let entry = entry.clone();
        async move { entry.write("ran") }
    });
    assert_eq!(bus.emit(&Placed(1)), 1);
    drop(guard);
    bus.settled().await;
    assert_eq!((bus.emit(&Placed(2)), diary.take().as_str()), (0, "ran"));
}
