//! Asynchronous listeners: what they are given, who waits for them, and what becomes of their failures.

mod common;

use std::{
    future::{IntoFuture, pending},
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Diary, Failures, Placed, Sent};
use tidings_bus::{Bus, Fault};
use tidings_core::{Envelope, Failure, Handled, IntoHandled, ManualClock, On, Timestamp};
use tokio::sync::{Barrier, oneshot};

#[tokio::test]
async fn awaiting_an_emission_waits_for_every_asynchronous_listener() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (first, second, third) = (diary.clone(), diary.clone(), diary.clone());
    bus.on_async(move |placed: On<Placed>| {
        let diary = first.clone();
        async move {
            tokio::task::yield_now().await;
            diary.write(format!("async-{}", placed.0));
        }
    })
    .forever();
    bus.subscribe_async("order.*", move |any: Envelope| {
        let diary = second.clone();
        async move { diary.write(any.name()) }
    })
    .expect("valid")
    .forever();
    bus.on(move |placed: &Placed| third.write(format!("in-place-{}", placed.0))).forever();
    let emission = bus.emit_async(Placed(1));
    assert_eq!(diary.take(), "", "nothing happens before it is awaited");
    let report = emission.await;
    assert_eq!((report.heard, report.failed.len()), (3, 0));
    assert_eq!(diary.take(), "in-place-1 order.placed async-1");
    assert_eq!(bus.emit_shared_async(Arc::new(Placed(2))).await.heard, 3);
    assert_eq!(diary.take(), "in-place-2 order.placed async-2");
    let envelope = Envelope::of::<Placed>(Placed(3)).finish().expect("valid");
    assert_eq!(bus.emit_envelope_async(envelope).await.heard, 3);
    assert_eq!(diary.take(), "in-place-3 order.placed async-3");
    assert_eq!(bus.emitter::<Placed>().emit_async(Placed(4)).await.heard, 3);
    assert_eq!(diary.take(), "in-place-4 order.placed async-4");
}

#[tokio::test]
async fn in_parallel_listeners_can_wait_for_each_other() {
    let (bus, together) = (Bus::new(), Arc::new(Barrier::new(2)));
    for _ in 0..2 {
        let together = together.clone();
        bus.on_async(move |_: On<Placed>| {
            let together = together.clone();
            async move {
                together.wait().await;
            }
        })
        .forever();
    }
    assert_eq!(bus.emit_async(Placed(1)).await.heard, 2);
}

#[tokio::test]
async fn in_series_each_begins_when_the_one_before_has_ended() {
    let (bus, diary) = (Bus::new(), Diary::default());
    for name in ["one", "two", "three"] {
        let diary = diary.clone();
        let listener = move |_: On<Placed>| {
            diary.write(format!("{name}-called"));
            let diary = diary.clone();
            async move {
                diary.write(format!("{name}-begins"));
                tokio::task::yield_now().await;
                diary.write(format!("{name}-ends"));
            }
        };
        match name {
            "three" => bus.listen().first().on_async(listener).forever(),
            _ => bus.on_async(listener).forever(),
        }
    }
    bus.emit_async(Placed(1)).in_series().await;
    let expected = ["three", "one", "two"].map(|name| format!("{name}-called {name}-begins {name}-ends"));
    assert_eq!(diary.take(), expected.join(" "));
}

#[tokio::test]
async fn failures_are_in_the_report_and_in_the_error_channel_and_stop_no_other() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let failures = Failures::of(&bus);
    async fn fails(_: On<Placed>) -> Handled {
        Err(Failure::transient("try later"))
    }
    async fn panics(_: On<Placed>) {
        tokio::task::yield_now().await;
        panic!("half-way")
    }
    fn panics_at_once(_: On<Placed>) -> std::future::Ready<()> {
        panic!("at once")
    }
    bus.on(|_: &Placed| -> Handled { Err(Failure::permanent("in place")) }).forever();
    bus.on_async(fails).forever();
    bus.on_async(panics).forever();
    bus.on_async(panics_at_once).forever();
    let entry = diary.clone();
    bus.on_async(move |_: On<Placed>| {
        let entry = entry.clone();
        async move { entry.write("fine") }
    })
    .forever();
    for in_series in [false, true] {
        let emission = bus.emit_async(Placed(1));
        let report = if in_series { emission.in_series().await } else { emission.await };
        let texts = |failed: &[tidings_bus::ListenerFailed]| {
            let mut texts: Vec<String> = failed.iter().map(|failed| failed.fault().to_string()).collect();
            texts.sort();
            texts
        };
        let expected = ["in place", "it panicked: at once", "it panicked: half-way", "try later"];
        assert_eq!((report.heard, diary.take().as_str()), (5, "fine"));
        assert_eq!(texts(&report.failed), expected);
        assert_eq!(texts(&failures.take()), expected);
        assert!(report.failed.iter().all(|failed| failed.id() == report.failed[0].id()));
    }
}

#[tokio::test]
async fn emitting_hands_them_to_the_runtime_and_settling_waits_for_them() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (release, released) = oneshot::channel::<()>();
    let (released, entry) = (Mutex::new(Some(released)), diary.clone());
    bus.on_async(move |placed: On<Placed>| {
        let (released, entry) = (released.lock().expect("not poisoned").take(), entry.clone());
        async move {
            released.expect("emitted once").await.expect("released");
            entry.write(placed.0);
        }
    })
    .forever();
    assert_eq!((bus.emit(&Placed(1)), diary.take().as_str()), (1, ""));
    let settled = tokio::spawn({
        let bus = bus.clone();
        async move { bus.settled().await }
    });
    tokio::task::yield_now().await;
    assert!(!settled.is_finished());
    release.send(()).expect("waited for");
    settled.await.expect("no panic");
    assert_eq!(diary.take(), "1");
    bus.settled().await;
}

#[tokio::test]
async fn a_borrowed_event_is_written_for_them_and_a_shared_one_is_shared() {
    let bus = Bus::new();
    let (events, ids): (Arc<Mutex<Vec<On<Sent>>>>, _) = (Arc::default(), Diary::default());
    let (seen, entry) = (events.clone(), ids.clone());
    bus.subscribe("order.sent", move |any| entry.write(any.id())).expect("valid").forever();
    bus.on_async(move |sent: On<Sent>| {
        let seen = seen.clone();
        async move { seen.lock().expect("not poisoned").push(sent) }
    })
    .forever();
    let sent = Arc::new(Sent { order: "4711".into(), secret: 7 });
    bus.emit(&*sent);
    bus.settled().await;
    bus.emit_shared(&sent);
    bus.settled().await;
    let events = std::mem::take(&mut *events.lock().expect("not poisoned"));
    let [written, shared] = events.as_slice() else { panic!("{} events", events.len()) };
    assert_eq!((written.order.as_str(), written.secret), ("4711", 0), "JSON does not carry the secret");
    assert!(Arc::ptr_eq(&shared.shared(), &sent));
    let given = [written, shared].map(|sent| sent.envelope().id().to_string());
    assert_eq!(given.join(" "), ids.take(), "they are given the envelope that the others see");
}

#[tokio::test]
async fn no_more_run_at_the_same_time_than_was_said() {
    let (bus, running, most) = (Bus::new(), Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    for _ in 0..5 {
        let (running, most) = (running.clone(), most.clone());
        bus.on_async(move |_: On<Placed>| {
            let (running, most) = (running.clone(), most.clone());
            async move {
                {
                    let (mut running, mut most) =
                        (running.lock().expect("whole"), most.lock().expect("whole"));
                    *running += 1;
                    *most = (*most).max(*running);
                }
                tokio::task::yield_now().await;
                *running.lock().expect("whole") -= 1;
            }
        })
        .forever();
    }
    for (said, meant) in [(2, 2), (0, 1), (9, 5)] {
        *most.lock().expect("whole") = 0;
        assert_eq!(bus.emit_async(Placed(1)).at_most(said).await.heard, 5);
        assert_eq!(*most.lock().expect("whole"), meant);
    }
}

#[tokio::test]
async fn a_report_is_a_failure_that_says_whether_trying_again_can_help() {
    async fn busy(_: On<Placed>) -> Handled {
        Err(Failure::transient("busy"))
    }
    async fn wrong(_: On<Placed>) -> Handled {
        Err(Failure::permanent("wrong"))
    }
    let bus = Bus::new();
    Failures::of(&bus);
    assert!(bus.emit_async(Placed(1)).await.into_handled().is_ok());
    bus.on_async(wrong).forever();
    let failure = bus.emit_async(Placed(1)).await.into_handled().expect_err("one failed");
    assert!(failure.is_permanent() && failure.to_string().contains("wrong"));
    bus.on_async(busy).forever();
    let failure = bus.emit_async(Placed(1)).await.into_handled().expect_err("two failed");
    assert!(!failure.is_permanent(), "it helps one of them");
    assert!(failure.to_string().ends_with("and 1 more"));
}

#[tokio::test]
async fn a_listener_can_end_with_an_emission_and_its_failures_are_its_own() {
    async fn wrong(_: On<Sent>) -> Handled {
        Err(Failure::permanent("wrong"))
    }
    let bus = Bus::new();
    bus.on_async(wrong).forever();
    let inner = bus.clone();
    bus.on_async(move |placed: On<Placed>| {
        let bus = inner.clone();
        async move { bus.emit_async(Sent { order: placed.0.to_string(), secret: 0 }).await }
    })
    .forever();
    let report = bus.emit_async(Placed(1)).await;
    assert_eq!(report.failed.len(), 1);
    assert_eq!(&**report.failed[0].event(), "order.placed");
}

#[tokio::test]
async fn what_has_not_ended_when_its_time_is_up_is_dropped_and_reported_with_what_failed_before() {
    for in_series in [false, true] {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let bus = Bus::builder().clock(Arc::new(clock.clone())).build();
        let failures = Failures::of(&bus);
        let kept = Arc::new(());
        let inside = kept.clone();
        bus.on_async(async |_: On<Placed>| Handled::Err(Failure::permanent("no"))).forever();
        bus.on_async(move |_: On<Placed>| {
            let inside = inside.clone();
            async move {
                pending::<()>().await;
                drop(inside);
            }
        })
        .forever();
        bus.on_async(async |_: On<Placed>| Handled::Err(Failure::permanent("neither"))).forever();
        let span = Duration::from_secs(3);
        let emission = bus.emit_async(Placed(1)).within(span);
        let mut emission = if in_series { emission.in_series() } else { emission }.into_future();
        assert!(futures_util::poll!(&mut emission).is_pending());
        clock.advance(Duration::from_millis(2_999));
        assert!(futures_util::poll!(&mut emission).is_pending());
        assert_eq!(Arc::strong_count(&kept), 3);
        clock.advance(Duration::from_millis(1));
        let report = emission.await;
        assert_eq!(Arc::strong_count(&kept), 2, "the call is over");
        let dropped = report.failed.iter().filter(|failed| matches!(failed.fault(), Fault::Dropped)).count();
        // In series the third never began.
        assert_eq!((report.heard, report.failed.len(), dropped), (3, 3, if in_series { 2 } else { 1 }));
        assert_eq!(failures.take().len(), 3, "the error channel was told the same");
    }
}

#[tokio::test]
async fn an_emission_that_ends_in_time_reports_as_one_without_limit() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let bus = Bus::builder().clock(Arc::new(clock.clone())).build();
    bus.on_async(async |_: On<Placed>| Handled::Err(Failure::permanent("no"))).forever();
    let report = bus.emit_async(Placed(1)).within(Duration::from_secs(3)).await;
    assert_eq!((report.heard, report.failed.len(), clock.sleepers()), (1, 1, 0));
}

#[tokio::test]
async fn an_asynchronous_listener_for_a_target_ends_with_it_and_keeps_it_during_a_call() {
    let (bus, target) = (Bus::new(), Arc::new(7));
    let (begun, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (inside, after) = (begun.clone(), go_on.clone());
    bus.on_weak_async(&target, move |target: Arc<u64>, placed: On<Placed>| {
        let (inside, after) = (inside.clone(), after.clone());
        async move {
            inside.wait().await;
            after.wait().await;
            assert_eq!((*target, placed.0), (7, 1));
        }
    })
    .forever();
    assert_eq!((bus.emit(&Placed(1)), bus.listener_count("order.placed")), (1, 1));
    begun.wait().await;
    let watch = Arc::downgrade(&target);
    drop(target);
    assert!(watch.upgrade().is_some(), "the call keeps it");
    go_on.wait().await;
    bus.settled().await;
    assert!(watch.upgrade().is_none());
    assert_eq!((bus.emit(&Placed(1)), bus.names()), (0, Vec::<String>::new()));
}
