//! Trying again: those listeners that failed, and no others.

mod common;

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Diary, Failures, Placed};
use tidings_bus::{Bus, Fault, History, Verdict};
use tidings_core::{Envelope, Event, EventInfo, Failure, Handled, ManualClock, On, Retry, Timestamp};

/// A listener that fails so many times, and then does not.
fn fails(
    times: usize,
    diary: &Diary,
    name: &'static str,
) -> impl Fn() -> Handled + Send + Sync + Clone + 'static {
    let (diary, left) = (diary.clone(), Arc::new(Mutex::new(times)));
    move || {
        let mut left = left.lock().expect("no panic while counting");
        diary.write(format!("{name}{}", if *left > 0 { "!" } else { "" }));
        let failing = *left > 0;
        *left = left.saturating_sub(1);
        if failing { Err(Failure::transient(name)) } else { Ok(()) }
    }
}

fn async_fails(
    times: usize,
    diary: &Diary,
    name: &'static str,
) -> impl Fn(On<Placed>) -> std::future::Ready<Handled> + Send + Sync + 'static {
    let call = fails(times, diary, name);
    move |_| std::future::ready(call())
}

#[tokio::test]
async fn a_retry_does_not_call_the_listeners_again_that_had_succeeded() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let failures = Failures::of(&bus);
    bus.on_async(async_fails(0, &diary, "fine")).forever();
    bus.on_async(async_fails(2, &diary, "twice")).forever();
    let in_place = fails(1, &diary, "placed");
    bus.on(move |_: &Placed| in_place()).forever();
    let by_pattern = fails(1, &diary, "pattern");
    bus.subscribe("order.*", move |_: &Envelope| by_pattern()).expect("valid").forever();
    let fine = diary.clone();
    bus.subscribe("**", move |_| fine.write("all")).expect("valid").forever();
    let report = bus.emit_async(Placed(1)).in_series().retry([Duration::ZERO; 5]).await;
    assert_eq!(diary.take(), "placed! pattern! all fine twice! placed pattern twice! twice");
    assert_eq!((report.heard, report.failed.len()), (5, 0));
    assert_eq!(failures.take().len(), 4, "the error channel is told of each time");
}

#[tokio::test]
async fn what_is_left_after_the_last_wait_is_in_the_report_and_what_cannot_be_helped_is_called_once() {
    let (bus, diary) = (Bus::new(), Diary::default());
    Failures::of(&bus);
    bus.on_async(async_fails(9, &diary, "always")).forever();
    let entry = diary.clone();
    bus.on(move |_: &Placed| -> Handled {
        entry.write("wrong");
        Err(Failure::permanent("wrong"))
    })
    .forever();
    let entry = diary.clone();
    bus.once(move |_: &Placed| -> Handled {
        entry.write("once");
        Err(Failure::transient("it is gone now"))
    })
    .forever();
    let report = bus.emit_async(Placed(1)).retry([Duration::ZERO; 2]).await;
    assert_eq!(diary.take(), "wrong once always! always! always!");
    let mut left: Vec<String> = report.failed.iter().map(|failed| failed.fault().to_string()).collect();
    left.sort();
    assert_eq!((report.heard, left), (3, ["always", "it is gone now", "wrong"].map(String::from).to_vec()));
}

#[tokio::test]
async fn the_waits_are_those_it_was_told_by_the_clock_of_the_bus() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let (bus, diary) = (Bus::builder().clock(clock.clone()).build(), Diary::default());
    Failures::of(&bus);
    bus.on_async(async_fails(9, &diary, "busy")).forever();
    let retry = Retry::table([1, 2].map(Duration::from_secs)).jitter(0.0);
    let waits = (1..).map_while(move |attempt| retry.wait_after(attempt, 0.5));
    let emission = tokio::spawn(async move { bus.emit_async(Placed(1)).retry(waits).await });
    let mut calls = 0;
    for wait in [1_000, 2_000] {
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        calls += diary.take().split(' ').count();
        clock.advance(Duration::from_millis(wait - 1));
        tokio::task::yield_now().await;
        assert_eq!(diary.take(), "", "the wait is not over");
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(emission.await.expect("no panic").failed.len(), 1);
    assert_eq!(calls + diary.take().split(' ').count(), 3);
}

#[tokio::test]
async fn each_time_has_as_long_as_was_said() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    bus.on_async(async |_: On<Placed>| pending::<()>().await).forever();
    let report = bus.emit_async(Placed(1)).within(Duration::from_millis(1)).retry([Duration::ZERO]).await;
    assert!(matches!(report.failed[0].fault(), Fault::Dropped));
    assert_eq!((report.heard, report.failed.len(), failures.take().len()), (1, 1, 2));
}

#[tokio::test]
async fn middleware_and_history_see_the_event_once_and_the_listener_the_same_as_before() {
    let bus = Bus::builder().history("order.*", History::last(10)).expect("valid").build();
    let diary = Diary::default();
    Failures::of(&bus);
    let asked = diary.clone();
    bus.middleware(move |placed: &Placed| {
        asked.write("asked");
        Verdict::Change(Placed(placed.0 * 10))
    })
    .forever();
    let (entry, call) = (diary.clone(), fails(1, &diary, "call"));
    bus.on(move |placed: &Placed| {
        entry.write(placed.0);
        call()
    })
    .forever();
    bus.emit_async(Placed(7)).retry([Duration::ZERO]).await;
    assert_eq!(diary.take(), "asked 70 call! 70 call");
    let late = diary.clone();
    bus.listen()
        .replay(tidings_bus::Replay::last(10))
        .on(move |placed: &Placed| late.write(placed.0))
        .forever();
    assert_eq!(diary.take(), "70", "it was kept once");
}

#[tokio::test]
async fn failures_of_another_bus_and_of_listeners_that_have_ended_stay_as_they_are() {
    let (bus, other, diary) = (Bus::new(), Bus::new(), Diary::default());
    let told = Failures::of(&bus);
    Failures::of(&other);
    let guards = [&bus, &other].map(|bus| bus.on_async(async_fails(9, &diary, "called")));
    let failed = bus.emit_async(Placed(1)).await.failed;
    diary.take();
    assert_eq!(other.emit_again(failed.clone()).await.failed.len(), 1);
    assert_eq!(diary.take(), "", "nobody there has failed");
    assert_eq!(bus.emit_again(failed.clone()).await.heard, 1);
    assert_eq!((diary.take().as_str(), told.take().len()), ("called!", 2));
    drop(guards);
    let report = bus.emit_again(failed).await;
    assert_eq!((report.heard, report.failed.len(), diary.take().as_str()), (0, 1, ""));
    assert_eq!(told.take().len(), 0, "nothing new has failed");
}

/// What cannot be written as JSON.
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it cannot be written"))
    }
}

impl<'de> serde::Deserialize<'de> for Unwritable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

impl Event for Unwritable {
    const INFO: &'static EventInfo = &EventInfo { name: "thing.hidden", version: 1, fields: &[] };
}

#[tokio::test]
async fn who_failed_with_an_event_that_was_lent_and_cannot_be_written_is_not_given_an_empty_one() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let failures = Failures::of(&bus);
    let call = fails(9, &diary, "called");
    bus.on(move |_: &Unwritable| call()).forever();
    assert_eq!(bus.emit(&Unwritable), 1);
    let report = bus.emit_again(failures.take()).await;
    assert_eq!((report.heard, report.failed.len(), diary.take().as_str()), (0, 1, "called!"));
    let report = bus.emit_async(Unwritable).retry([Duration::ZERO]).await;
    assert_eq!(
        (report.failed.len(), diary.take().as_str()),
        (1, "called! called!"),
        "a shared one is itself"
    );
}
