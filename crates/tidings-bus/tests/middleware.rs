//! Middleware changes and cancels events, in its order, however they are emitted; and leaves nothing behind.

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::{Cancelled, Diary, Failures, Placed, Sent};
use tidings_bus::{Bus, Fault, StatsOptions, Verdict};
use tidings_core::{Envelope, Failure, Handled, On, Timestamp};

events! {
    PlacedTwo = "order.placed" version 2;
    PlacedView = "order.placed" version 1;
}

/// Emits in every way there is, one after another; answers what each told.
fn emit_in_every_way(bus: &Bus, number: u64) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let envelope = Envelope::of::<Placed>(Placed(number)).finish().expect("valid");
    vec![
        bus.emit(&Placed(number)),
        bus.emitter().emit(&Placed(number)),
        bus.emit_shared(&Placed(number).into()),
        bus.emit_envelope(&envelope),
        runtime.block_on(async { bus.emit_async(Placed(number)).await.heard }),
        runtime.block_on(async { bus.emit_envelope_async(envelope).await.heard }),
    ]
}

/// A bus on which a typed listener and one to a pattern write down what they are given.
fn listening() -> (Bus, Diary) {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (typed, pattern) = (diary.clone(), diary.clone());
    bus.on(move |placed: &Placed| typed.write(placed.0)).forever();
    bus.any(move |any| pattern.write(any.decode::<Placed>().expect("placed").0)).forever();
    (bus, diary)
}

#[test]
fn what_it_lets_pass_goes_through_as_it_was() {
    let (bus, diary) = listening();
    let _typed = bus.middleware(|_: &Placed| Verdict::Pass);
    let _pattern = bus.middleware_on("order.**", |_| Verdict::Pass).expect("valid");
    assert_eq!(emit_in_every_way(&bus, 7), [2; 6]);
    assert_eq!(diary.take(), ["7"; 12].join(" "));
}

#[test]
fn what_it_changes_is_what_every_kind_of_listener_hears_however_it_was_emitted() {
    let (bus, diary) = listening();
    let typed = bus.middleware(|placed: &Placed| Verdict::Change(Placed(placed.0 + 1)));
    assert_eq!(emit_in_every_way(&bus, 7), [2; 6]);
    assert_eq!(diary.take(), ["8"; 12].join(" "));
    drop(typed);
    let doubled = |any: &Envelope| {
        let number = any.decode::<Placed>().expect("placed").0 * 2;
        Verdict::Change(any.edit().json(number.to_string()).trusted())
    };
    let pattern = bus.middleware_on("*.placed", doubled).expect("valid");
    assert_eq!(emit_in_every_way(&bus, 7), [2; 6]);
    assert_eq!(diary.take(), ["14"; 12].join(" "));
    drop(pattern);
    assert_eq!(emit_in_every_way(&bus, 7), [2; 6]);
    assert_eq!(diary.take(), ["7"; 12].join(" "));
}

#[test]
fn what_it_cancels_nobody_hears_and_the_emitter_is_told_so_and_it_is_counted() {
    for pattern in [false, true] {
        let clock = tidings_core::ManualClock::at(Timestamp::from_millis(0));
        let (bus, diary) =
            (Bus::builder().clock(Arc::new(clock)).stats(StatsOptions::new()).build(), Diary::default());
        let entry = diary.clone();
        bus.on(move |placed: &Placed| entry.write(placed.0)).forever();
        let _guard = if pattern {
            bus.middleware_on("order.*", |_| Verdict::Cancel).expect("valid")
        } else {
            bus.middleware(|_: &Placed| Verdict::Cancel)
        };
        assert_eq!(emit_in_every_way(&bus, 7), [0; 6]);
        assert_eq!(diary.take(), "");
        let info = &bus.middlewares()[0];
        let topic = if pattern { "order.*" } else { "order.placed" };
        assert_eq!((info.topic.as_str(), info.changed, info.cancelled), (topic, 0, 6));
        assert!(info.file.ends_with("middleware.rs") && info.line > 0, "{info:?}");
        let stats = bus.stats().expect("on");
        assert_eq!((stats.topics[0].emitted, stats.topics[0].cancelled, stats.topics[0].heard), (6, 6, 0));
        assert_eq!(stats.listeners.len(), 1, "middleware is no listener");
        let log = bus.emissions("order.*", Timestamp::MIN).expect("valid");
        assert!(log.len() == 6 && log.iter().all(|emitted| emitted.cancelled));
    }
}

#[test]
fn the_first_is_outermost_and_priority_decides_before_registration_also_between_types_and_patterns() {
    let bus = Bus::new();
    let heard = Arc::new(Mutex::new(String::new()));
    let at_end = heard.clone();
    bus.on(move |sent: &Sent| *at_end.lock().expect("not poisoned") = sent.order.clone()).forever();
    let typed = |text: &'static str| {
        move |sent: &Sent| Verdict::Change(Sent { order: format!("{}{text}", sent.order), secret: 0 })
    };
    let by_envelope = |text: &'static str| {
        move |any: &Envelope| {
            let order = format!("{}{text}", any.decode::<Sent>().expect("sent").order);
            Verdict::Change(any.edit().json(format!(r#"{{"order":"{order}"}}"#)).trusted())
        }
    };
    let _guards = [
        bus.middleware(typed("c")),
        bus.middleware_on("order.**", by_envelope("d")).expect("valid"),
        bus.listen().priority(-1).middleware(typed("f")),
        bus.listen().priority(5).middleware_on("**", by_envelope("a")).expect("valid"),
        bus.middleware(typed("e")),
        bus.listen().first().middleware(typed("b")),
    ];
    let topics: Vec<String> = bus.middlewares().into_iter().map(|info| info.topic).collect();
    assert_eq!(topics, ["**", "order.sent", "order.sent", "order.**", "order.sent", "order.sent"]);
    let take = || std::mem::take(&mut *heard.lock().expect("not poisoned"));
    let sent = Sent { order: "-".into(), secret: 0 };
    assert_eq!((bus.emit(&sent), take().as_str()), (1, "-abcdef"));
    let envelope = Envelope::of::<Sent>(sent).finish().expect("valid");
    assert_eq!((bus.emit_envelope(&envelope), take().as_str()), (1, "-abcdef"));
}

#[test]
fn those_behind_one_that_cancels_are_not_asked() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (one, three) = (diary.clone(), diary.clone());
    let _guards = [
        bus.middleware(move |_: &Placed| {
            one.write("one");
            Verdict::Pass
        }),
        bus.middleware(|placed: &Placed| if placed.0 == 0 { Verdict::Cancel } else { Verdict::Pass }),
        bus.middleware(move |_: &Placed| {
            three.write("three");
            Verdict::Pass
        }),
    ];
    bus.emit(&Placed(0));
    assert_eq!(diary.take(), "one");
    bus.emit(&Placed(1));
    assert_eq!(diary.take(), "one three");
    assert_eq!(bus.emit(&Cancelled(0)), 0);
    assert_eq!(diary.take(), "", "other events are not concerned");
}

#[test]
fn a_changed_event_keeps_the_id_and_metadata_it_had_and_has_its_own_key_tags_and_version() {
    let bus = Bus::new();
    let seen: Arc<Mutex<Vec<Envelope>>> = Arc::default();
    let (outside, inside) = (seen.clone(), seen.clone());
    let _outer = bus.middleware_on("**", move |any| {
        outside.lock().expect("not poisoned").push(any.clone());
        Verdict::Pass
    });
    let _change = bus.middleware(|sent: &Sent| Verdict::Change(Sent { order: "new".into(), ..sent.clone() }));
    bus.any(move |any| inside.lock().expect("not poisoned").push(any.clone())).forever();
    let envelope = Envelope::build("order.sent").schema_version(3).user("mia").id("e-1").key("old");
    let envelope = envelope.json(r#"{"order":"old"}"#.to_owned()).finish().expect("valid");
    bus.emit_envelope(&envelope);
    bus.emit(&Sent { order: "old".into(), secret: 5 });
    let seen = seen.lock().expect("not poisoned");
    for pair in seen.chunks(2) {
        let [before, after] = pair else { panic!("{seen:?}") };
        assert_eq!((before.id(), before.user(), before.time()), (after.id(), after.user(), after.time()));
        assert_eq!(
            (before.key().map(|key| &**key), after.key().map(|key| &**key)),
            (Some("old"), Some("new"))
        );
        assert_eq!((after.schema_version(), &*after.tags()[0]), (3, "order:new"));
    }
    assert_eq!((seen.len(), &**seen[1].id()), (4, "e-1"));
}

#[test]
fn a_type_s_middleware_is_for_its_name_and_version_also_where_another_type_is_emitted() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (one, two, view) = (diary.clone(), diary.clone(), diary.clone());
    bus.on(move |placed: &Placed| one.write(format!("v1:{}", placed.0))).forever();
    bus.on(move |placed: &PlacedTwo| two.write(format!("v2:{}", placed.0))).forever();
    bus.on(move |placed: &PlacedView| view.write(format!("view:{}", placed.0))).forever();
    let _guard = bus.middleware(|placed: &Placed| Verdict::Change(Placed(placed.0 + 100)));
    bus.emit(&Placed(1));
    assert_eq!(diary.take(), "v1:101 view:101");
    bus.emit(&PlacedView(2));
    assert_eq!(diary.take(), "v1:102 view:102", "another view of the same event");
    bus.emit(&PlacedTwo(3));
    assert_eq!(diary.take(), "v2:3", "another version of it");
    let of_version = |version: u32| {
        Envelope::build("order.placed").schema_version(version).json(b"4".as_slice()).finish().expect("valid")
    };
    bus.emit_envelope(&of_version(1));
    assert_eq!(diary.take(), "v1:104 view:104");
    bus.emit_envelope(&of_version(2));
    assert_eq!(diary.take(), "v2:4");
}

#[test]
fn one_for_envelopes_can_raise_the_version_so_that_the_newer_type_hears_it() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (one, two) = (diary.clone(), diary.clone());
    bus.on(move |placed: &Placed| one.write(format!("v1:{}", placed.0))).forever();
    bus.on(move |placed: &PlacedTwo| two.write(format!("v2:{}", placed.0))).forever();
    let raise = |any: &Envelope| Verdict::Change(any.edit().schema_version(2).trusted());
    let _guard = bus.middleware_on("order.placed", raise).expect("valid");
    let old = Envelope::build("order.placed").json(b"4".as_slice()).finish().expect("valid");
    assert_eq!((bus.emit_envelope(&old), diary.take().as_str()), (1, "v2:4"));
}

#[test]
fn one_that_panics_cannot_read_the_event_or_renames_it_cancels_and_the_error_channel_is_told() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    bus.any(|_| ()).forever();
    let rename = |any: &Envelope| {
        Verdict::Change(Envelope::build("order.renamed").payload(any.form(), Vec::new()).trusted())
    };
    let guard = bus.middleware_on("order.placed", rename).expect("valid");
    assert_eq!((bus.emit(&Placed(1)), failures.take().len()), (0, 1));
    drop(guard);
    fn panics(_: &Placed) -> Verdict<Placed> {
        panic!("broken")
    }
    let guard = bus.middleware(panics);
    assert_eq!(bus.emit(&Placed(1)), 0);
    let told = failures.take();
    assert!(matches!(told[0].fault(), Fault::Panicked(message) if &**message == "broken"));
    assert_eq!((told[0].listener().topic(), told.len()), ("order.placed", 1));
    drop(guard);
    let _guard = bus.middleware(|_: &Placed| Verdict::Pass);
    let unreadable = Envelope::build("order.placed").json(br#""text""#.as_slice()).finish().expect("valid");
    assert_eq!(bus.emit_envelope(&unreadable), 0);
    assert!(matches!(failures.take()[0].fault(), Fault::Unreadable(_)));
    let into_nonsense = |any: &Envelope| Verdict::Change(any.edit().json(b"{}".as_slice()).trusted());
    let _nonsense = bus.middleware_on("order.*", into_nonsense).expect("valid");
    assert_eq!((bus.emit(&Placed(1)), failures.take().len()), (0, 1));
    assert_eq!(bus.middlewares().iter().map(|info| info.cancelled).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test]
async fn an_awaited_emission_waits_for_and_is_told_of_what_becomes_of_a_changed_event() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let _failures = Failures::of(&bus);
    let entry = diary.clone();
    let listener = move |placed: On<Placed>| {
        let entry = entry.clone();
        async move {
            tokio::task::yield_now().await;
            entry.write(placed.0);
            Err::<(), _>(Failure::transient("later"))
        }
    };
    bus.on_async(listener).forever();
    bus.on(|_: &Placed| -> Handled { Err(Failure::transient("now")) }).forever();
    let _guard = bus.middleware(|placed: &Placed| Verdict::Change(Placed(placed.0 + 1)));
    let report = bus.emit_async(Placed(1)).await;
    assert_eq!((report.heard, report.failed.len(), diary.take().as_str()), (2, 2, "2"));
}

#[test]
fn it_may_have_conditions_and_be_for_one_event() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = diary.clone();
    bus.on(move |placed: &Placed| entry.write(placed.0)).forever();
    let _large = bus.listen().when(|placed: &Placed| placed.0 > 10).middleware(|_| Verdict::Cancel);
    let once = bus.listen().once().middleware(|placed: &Placed| Verdict::Change(Placed(placed.0 + 1)));
    assert!(once.is_live());
    for number in [1, 2, 11, 3] {
        bus.emit(&Placed(number));
    }
    assert_eq!((diary.take().as_str(), once.is_live(), bus.middlewares().len()), ("2 2 3", false, 1));
}

#[test]
fn it_may_emit_add_and_end_middleware_and_listeners_while_it_is_asked() {
    let (bus, calls) = (Bus::new(), Arc::new(AtomicUsize::new(0)));
    let (inner, counted) = (bus.clone(), calls.clone());
    bus.middleware(move |placed: &Placed| {
        counted.fetch_add(1, Ordering::Relaxed);
        let guard = inner.middleware(|_: &Placed| Verdict::Cancel);
        let listener = inner.on(|_: &Cancelled| ());
        assert!(inner.emit(&Cancelled(placed.0)) >= 1);
        if placed.0 < 3 {
            assert_eq!(inner.emit(&Placed(placed.0 + 1)), 0, "the new one cancels, after this one was asked");
        }
        drop((guard, listener));
        Verdict::Pass
    })
    .forever();
    bus.on(|_: &Placed| ()).forever();
    assert_eq!((bus.emit(&Placed(3)), bus.middlewares().len()), (1, 1));
    assert_eq!((bus.emit(&Placed(1)), calls.load(Ordering::Relaxed)), (1, 4));
}

#[test]
fn after_its_guard_was_dropped_it_is_let_go_and_emitting_is_what_it_was() {
    let bus = Bus::new();
    let (captured, emitter) = (Arc::new(()), bus.emitter::<Placed>());
    let inside = captured.clone();
    let guard = bus.middleware(move |_: &Placed| {
        let _kept = &inside;
        Verdict::Cancel
    });
    bus.on(|_: &Placed| ()).forever();
    assert_eq!((emitter.emit(&Placed(1)), bus.emit(&Placed(1)), bus.remove_all()), (0, 0, 1));
    bus.on(|_: &Placed| ()).forever();
    assert_eq!(bus.emit(&Placed(1)), 0, "removing all listeners removes no middleware");
    guard.end();
    assert_eq!((emitter.emit(&Placed(1)), bus.emit(&Placed(1))), (1, 1));
    assert_eq!((Arc::strong_count(&captured), bus.middlewares().len()), (1, 0));
}

#[test]
fn middleware_that_comes_and_goes_on_many_threads_is_asked_whole_or_not_at_all() {
    let (bus, wrong) = (Bus::new(), Arc::new(AtomicUsize::new(0)));
    let odd = wrong.clone();
    bus.on(move |placed: &Placed| {
        odd.fetch_add((placed.0 % 2) as usize, Ordering::Relaxed);
    })
    .forever();
    let _odd = bus.listen().priority(9).middleware(|placed: &Placed| Verdict::Change(Placed(placed.0 | 1)));
    let _even =
        bus.listen().priority(-9).middleware(|placed: &Placed| Verdict::Change(Placed(placed.0 & !1)));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let emitter = bus.emitter::<Placed>();
                for number in 0..500 {
                    assert_eq!((bus.emit(&Placed(number)), emitter.emit(&Placed(number))), (1, 1));
                }
            });
            scope.spawn(|| {
                for _ in 0..200 {
                    let add = bus.middleware(|placed: &Placed| Verdict::Change(Placed(placed.0 + 2)));
                    let pass = bus.middleware_on("**", |_| Verdict::Pass).expect("valid");
                    drop((add, pass));
                }
            });
        }
    });
    assert_eq!((wrong.load(Ordering::Relaxed), bus.middlewares().len()), (0, 2));
}
