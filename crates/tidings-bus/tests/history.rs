//! Late listeners are given what was kept and then what comes: each event once, none left out.

mod common;

use std::{
    collections::HashMap,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Cancelled, Diary, Failures, Placed, Sent};
use tidings_bus::{Builder, Bus, Guard, History, Owner, Replay, Verdict};
use tidings_core::{Envelope, ManualClock, On, Timestamp};

events! {
    PlacedTwo = "order.placed" version 2;
}

fn builder(pattern: &str, last: usize) -> Builder {
    Bus::builder().history(pattern, History::last(last)).expect("valid")
}

fn write_down(diary: &Diary) -> impl Fn(&Placed) + Send + Sync + 'static {
    let diary = diary.clone();
    move |placed| diary.write(placed.0)
}

fn late(bus: &Bus, replay: Replay) -> (Diary, Guard) {
    let diary = Diary::default();
    let guard = bus.listen().replay(replay).on(write_down(&diary));
    (diary, guard)
}

fn kept(bus: &Bus, pattern: &str) -> Vec<u64> {
    let all = bus.history(pattern, Replay::all()).expect("valid");
    all.iter()
        .map(|envelope| {
            String::from_utf8_lossy(envelope.payload().expect("written")).parse().expect("a number")
        })
        .collect()
}

#[test]
fn a_late_listener_is_given_the_last_ones_in_order_and_then_those_that_come() {
    let bus = builder("order.*", 4).build();
    for number in 1..=6 {
        bus.emit(&Placed(number));
    }
    let (two, _two) = late(&bus, Replay::last(2));
    let (all, _all) = late(&bus, Replay::all());
    let (none, _none) = late(&bus, Replay::last(0));
    assert_eq!((two.take().as_str(), all.take().as_str(), none.take().as_str()), ("5 6", "3 4 5 6", ""));
    assert_eq!(bus.emit(&Placed(7)), 3);
    assert_eq!((two.take().as_str(), all.take().as_str(), none.take().as_str()), ("7", "7", "7"));
}

#[test]
fn events_since_a_time_are_those_on_the_bus_s_clock() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let bus = builder("**", 100).clock(Arc::new(clock.clone())).build();
    for number in 0..5 {
        bus.emit(&Placed(number));
        clock.advance(Duration::from_secs(1));
    }
    let (since, _guard) = late(&bus, Replay::since(Timestamp::from_millis(2_000)));
    assert_eq!(since.take(), "2 3 4");
    let (since, _guard) = late(&bus, Replay::since(Timestamp::from_millis(2_001)));
    assert_eq!(since.take(), "3 4");
}

#[test]
fn by_default_a_hundred_are_kept_and_without_being_asked_none() {
    let bus = Bus::builder().history("order.placed", History::default()).expect("valid").build();
    for number in 0..150 {
        bus.emit(&Placed(number));
        bus.emit(&Cancelled(number));
    }
    assert_eq!(kept(&bus, "**"), (50..150).collect::<Vec<_>>());
    let bare = Bus::new();
    bare.emit(&Placed(1));
    let (diary, _guard) = late(&bare, Replay::all());
    assert_eq!((bare.emit(&Placed(2)), diary.take().as_str(), kept(&bare, "**").len()), (1, "2", 0));
    assert_eq!(Bus::builder().history("a.**b", History::default()).map(drop).map_err(|e| e.column), Err(3));
}

#[test]
fn of_several_patterns_the_one_said_last_counts() {
    let bus = builder("**", 3).history("order.placed", History::last(1)).expect("valid");
    let bus = bus.history("order.cancelled", History::last(0)).expect("valid").build();
    for number in 0..5 {
        bus.emit(&Placed(number));
        bus.emit(&Cancelled(number));
        bus.emit_envelope(
            &Envelope::build("stock.counted").json(number.to_string()).finish().expect("valid"),
        );
    }
    assert_eq!((kept(&bus, "order.*"), kept(&bus, "stock.*")), (vec![4], vec![2, 3, 4]));
}

#[test]
fn a_bounded_number_of_topics_is_kept_and_the_quietest_makes_room() {
    let bus = builder("**", 10).history_topics_max(3).build();
    let emit = |topic: &str, number: u64| {
        bus.emit_envelope(&Envelope::build(topic).json(number.to_string()).finish().expect("valid"))
    };
    for (number, topic) in (0..).zip(["a", "b", "c", "a", "d", "e", "a"]) {
        emit(topic, number);
    }
    assert_eq!(kept(&bus, "**"), [0, 3, 4, 5, 6]);
    for number in 100..5_000 {
        emit(&format!("name-{number}"), number);
    }
    assert_eq!(kept(&bus, "**"), [4_997, 4_998, 4_999]);
    let none = builder("**", 10).history_topics_max(0).build();
    assert_eq!((none.emit(&Placed(1)), kept(&none, "**").len()), (0, 0));
}

#[test]
fn every_way_of_emitting_is_kept_and_every_kind_of_late_listener_is_given_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _entered = runtime.enter();
    let bus = builder("order.*", 100).build();
    bus.emit(&Placed(1));
    bus.emitter().emit(&Placed(2));
    bus.emit_shared(&Placed(3).into());
    bus.emit_envelope(&Envelope::of::<Placed>(Placed(4)).finish().expect("valid"));
    runtime.block_on(async { bus.emit_async(Placed(5)).await });
    let diary = Diary::default();
    let entry = || diary.clone();
    let (pattern, any, weak, deferred) = (entry(), entry(), entry(), entry());
    let number = |any: &Envelope| any.decode::<Placed>().expect("placed").0;
    let _pattern =
        bus.listen().replay(Replay::last(1)).subscribe("order.**", move |any| pattern.write(number(any)));
    assert_eq!(diary.take(), "5");
    let _any = bus.listen().replay(Replay::all()).any(move |event| any.write(number(event)));
    assert_eq!(diary.take(), "1 2 3 4 5");
    let target = Arc::new(());
    let _weak =
        bus.listen().replay(Replay::all()).on_weak(&target, move |(), placed: &Placed| weak.write(placed.0));
    assert_eq!(diary.take(), "1 2 3 4 5");
    let on_async = move |placed: On<Placed>| {
        let entry = deferred.clone();
        async move { entry.write(placed.0) }
    };
    let _deferred = bus.listen().replay(Replay::last(3)).on_async(on_async);
    runtime.block_on(bus.settled());
    assert_eq!(diary.take(), "3 4 5");
}

#[test]
fn events_of_several_topics_are_given_in_the_order_in_which_they_were_emitted() {
    let bus = builder("**", 2).build();
    for number in 0..4 {
        bus.emit(&Placed(number * 2));
        bus.emit(&Cancelled(number * 2 + 1));
    }
    assert_eq!(kept(&bus, "order.*"), [4, 5, 6, 7]);
}

#[test]
fn conditions_once_and_failures_hold_for_earlier_events_as_for_those_that_come() {
    let bus = builder("**", 100).build();
    let failures = Failures::of(&bus);
    for number in 1..=5 {
        bus.emit(&Placed(number));
    }
    let diary = Diary::default();
    let even = bus.listen().replay(Replay::all()).when(|placed: &Placed| placed.0.is_multiple_of(2)).once();
    let guard = even.on(write_down(&diary));
    assert_eq!((diary.take().as_str(), guard.is_live(), bus.emit(&Placed(6))), ("2", false, 0));
    let entry = diary.clone();
    let odd_fails = move |placed: &Placed| {
        assert!(placed.0.is_multiple_of(2), "odd");
        entry.write(placed.0);
    };
    bus.listen().replay(Replay::all()).on(odd_fails).forever();
    assert_eq!((diary.take().as_str(), failures.take().len()), ("2 4 6", 3));
}

#[test]
fn a_late_listener_of_one_version_is_given_the_events_of_that_version() {
    let bus = builder("**", 100).build();
    bus.emit(&Placed(1));
    bus.emit(&PlacedTwo(2));
    let (one, _one) = late(&bus, Replay::all());
    assert_eq!(one.take(), "1 2", "where nobody listens to the other version, all are for this one");
    bus.on(|_: &PlacedTwo| ()).forever();
    let (one, _one) = late(&bus, Replay::all());
    assert_eq!(one.take(), "1");
}

#[test]
fn what_middleware_has_made_of_an_event_is_kept_and_what_it_cancelled_is_not() {
    let bus = builder("**", 100).build();
    let _guard = bus.middleware(|placed: &Placed| match placed.0 {
        0 => Verdict::Cancel,
        number => Verdict::Change(Placed(number * 10)),
    });
    for number in [0, 1, 2] {
        bus.emit(&Placed(number));
    }
    let (diary, _late) = late(&bus, Replay::all());
    assert_eq!((diary.take().as_str(), kept(&bus, "**")), ("10 20", vec![10, 20]));
}

#[test]
fn a_listener_that_emits_while_it_is_given_earlier_events_is_given_those_afterwards_and_once() {
    let (bus, diary) = (builder("**", 100).build(), Diary::default());
    bus.emit(&Placed(1));
    bus.emit(&Placed(2));
    let (inner, entry) = (bus.clone(), diary.clone());
    let answers = move |placed: &Placed| {
        entry.write(placed.0);
        if placed.0 < 10 {
            assert_eq!(inner.emit(&Placed(placed.0 + 10)), 1);
        }
    };
    bus.listen().replay(Replay::all()).on(answers).forever();
    assert_eq!(diary.take(), "1 2 11 12");
}

#[test]
fn one_that_joins_inside_an_emission_is_given_that_event_once() {
    let (bus, diary) = (builder("**", 100).build(), Diary::default());
    let (inner, entry, owner) = (bus.clone(), diary.clone(), Arc::new(Owner::new()));
    bus.on(move |placed: &Placed| {
        if placed.0 == 1 {
            inner.listen().replay(Replay::all()).on(write_down(&entry)).owned_by(&owner);
        }
    })
    .forever();
    assert_eq!((bus.emit(&Placed(1)), diary.take().as_str()), (1, "1"));
    assert_eq!((bus.emit(&Placed(2)), diary.take().as_str()), (2, "2"));
}

#[test]
fn one_that_joins_after_an_emission_has_begun_and_before_its_event_is_kept_is_given_that_event_once() {
    for way in 0..3 {
        let (bus, diary) = (builder("**", 100).build(), Diary::default());
        let (inner, entry, owner) = (bus.clone(), diary.clone(), Arc::new(Owner::new()));
        let joins = move |placed: &Placed| {
            if placed.0 == 1 {
                inner.listen().replay(Replay::all()).on(write_down(&entry)).owned_by(&owner);
            }
            Verdict::Pass
        };
        bus.middleware(joins).forever();
        let emitter = bus.emitter::<Placed>();
        let emit = |number: u64| match way {
            0 => bus.emit(&Placed(number)),
            1 => emitter.emit(&Placed(number)),
            _ => bus.emit_envelope(&Envelope::of::<Placed>(Placed(number)).finish().expect("valid")),
        };
        emit(0);
        assert_eq!((emit(1), diary.take().as_str()), (1, "0 1"), "way {way}");
        assert_eq!((emit(2), diary.take().as_str()), (1, "2"), "way {way}");
    }
}

#[test]
fn one_that_is_removed_while_it_is_given_earlier_events_is_given_no_more() {
    let (bus, diary) = (builder("**", 100).build(), Diary::default());
    for number in 1..=5 {
        bus.emit(&Placed(number));
    }
    let (inner, entry) = (bus.clone(), diary.clone());
    let removes = move |placed: &Placed| {
        entry.write(placed.0);
        if placed.0 == 2 {
            assert_eq!(inner.remove_all(), 1);
        }
    };
    let guard = bus.listen().replay(Replay::all()).on(removes);
    assert_eq!((diary.take().as_str(), guard.is_live()), ("1 2", false));
}

#[test]
fn an_event_that_cannot_be_written_is_heard_and_not_kept() {
    #[derive(serde::Deserialize)]
    struct Unwritable;
    impl serde::Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not to be written"))
        }
    }
    impl tidings_core::Event for Unwritable {
        const INFO: &'static tidings_core::EventInfo =
            &tidings_core::EventInfo { name: "thing.kept", version: 1, fields: &[] };
    }
    let bus = builder("**", 100).build();
    bus.on(|_: &Unwritable| ()).forever();
    assert_eq!((bus.emit(&Unwritable), kept(&bus, "**").len()), (1, 0));
}

#[test]
fn events_without_a_history_are_not_put_into_envelopes() {
    struct Bomb;
    impl serde::Serialize for Bomb {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("written although nobody asked")
        }
    }
    impl<'de> serde::Deserialize<'de> for Bomb {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    impl tidings_core::Event for Bomb {
        const INFO: &'static tidings_core::EventInfo =
            &tidings_core::EventInfo { name: "bomb.armed", version: 1, fields: &[] };
    }
    let bus = builder("order.**", 100).build();
    let failures = Failures::of(&bus);
    bus.on(|_: &Bomb| ()).forever();
    assert_eq!((bus.emit(&Bomb), failures.take().len()), (1, 0));
}

#[test]
fn what_falls_out_of_a_history_may_use_the_bus_when_it_is_dropped() {
    struct Uses(Bus);
    impl Drop for Uses {
        fn drop(&mut self) {
            self.0.emit(&Cancelled(1));
            let (_, guard) = late(&self.0, Replay::all());
            guard.end();
        }
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Held {
        #[serde(skip)]
        _uses: Option<Arc<Uses>>,
    }
    impl tidings_core::Event for Held {
        const INFO: &'static tidings_core::EventInfo =
            &tidings_core::EventInfo { name: "thing.held", version: 1, fields: &[] };
    }
    let bus = builder("**", 1).history_topics_max(2).build();
    let held = || Arc::new(Held { _uses: Some(Arc::new(Uses(bus.clone()))) });
    for _ in 0..3 {
        bus.emit_shared(&held());
    }
    bus.emit(&Placed(1));
    bus.emit(&Sent { order: "1".into(), secret: 0 });
    assert_eq!(bus.history("**", Replay::all()).expect("valid").len(), 2);
}

/// Threads emit, others join late; every late listener must have been given a row of events without gap or duplicate.
#[test]
fn with_many_threads_each_late_listener_is_given_every_event_once_and_each_thread_s_in_order() {
    const EMITTERS: u64 = 3;
    const EVENTS: u64 = 400;
    let bus = builder("**", usize::MAX).build();
    let (barrier, running) = (Barrier::new(EMITTERS as usize + 2), AtomicBool::new(true));
    let heard: Mutex<Vec<Arc<Mutex<Vec<u64>>>>> = Mutex::default();
    thread::scope(|scope| {
        let emitters: Vec<_> = (0..EMITTERS)
            .map(|thread| {
                let (bus, barrier) = (&bus, &barrier);
                scope.spawn(move || {
                    let emitter = bus.emitter::<Placed>();
                    barrier.wait();
                    for number in 0..EVENTS {
                        let placed = Placed(thread * EVENTS + number);
                        match number % 3 {
                            0 => bus.emit(&placed),
                            1 => emitter.emit(&placed),
                            _ => bus.emit_envelope(&Envelope::of::<Placed>(placed).finish().expect("valid")),
                        };
                    }
                })
            })
            .collect();
        for by_pattern in [false, true] {
            let (bus, barrier, running, heard) = (&bus, &barrier, &running, &heard);
            scope.spawn(move || {
                barrier.wait();
                while running.load(Ordering::Relaxed) {
                    let list: Arc<Mutex<Vec<u64>>> = Arc::default();
                    let all = list.clone();
                    let note = move |number: u64| all.lock().expect("not poisoned").push(number);
                    let listen = bus.listen().replay(Replay::all());
                    if by_pattern {
                        let number = |any: &Envelope| any.decode::<Placed>().expect("placed").0;
                        let pattern = listen.subscribe("order.*", move |any| note(number(any)));
                        pattern.expect("valid").forever();
                    } else {
                        bus.listen()
                            .replay(Replay::all())
                            .on(move |placed: &Placed| note(placed.0))
                            .forever();
                    }
                    heard.lock().expect("not poisoned").push(list);
                    if heard.lock().expect("not poisoned").len() >= 24 {
                        return;
                    }
                }
            });
        }
        for emitter in emitters {
            emitter.join().expect("no panic");
        }
        running.store(false, Ordering::Relaxed);
    });
    for list in heard.into_inner().expect("not poisoned") {
        let mut list = list.lock().expect("not poisoned").clone();
        let mut next: HashMap<u64, u64> = HashMap::new();
        for number in &list {
            let place = next.entry(number / EVENTS).or_default();
            assert_eq!(number % EVENTS, *place, "of thread {}", number / EVENTS);
            *place += 1;
        }
        list.sort_unstable();
        assert_eq!(list, (0..EMITTERS * EVENTS).collect::<Vec<_>>());
    }
}

#[test]
fn threads_that_emit_new_topics_while_others_join_lose_none() {
    let bus = builder("**", 10).history_topics_max(10_000).build();
    let count = Arc::new(AtomicUsize::new(0));
    let (joined, counted) = (Barrier::new(3), count.clone());
    thread::scope(|scope| {
        for thread in 0..2 {
            let (bus, joined) = (&bus, &joined);
            scope.spawn(move || {
                for number in 0..1_000 {
                    if number == 500 {
                        joined.wait();
                    }
                    let name = format!("order.{thread}-{number}");
                    bus.emit_envelope(&Envelope::build(name).finish().expect("valid"));
                }
            });
        }
        joined.wait();
        let counts = move |_: &Envelope| {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        bus.listen().replay(Replay::all()).any(counts).forever();
    });
    assert_eq!(count.load(Ordering::Relaxed), 2_000);
}

#[test]
fn emitters_wait_for_room_when_too_much_waits_for_a_slow_late_listener_and_nothing_is_lost() {
    let (bus, count) = (builder("**", 1).build(), Arc::new(AtomicUsize::new(0)));
    bus.emit(&Placed(0));
    let (begun, go, counted) = (Arc::new(Barrier::new(2)), Arc::new(AtomicBool::new(false)), count.clone());
    let (at_first, may_go) = (begun.clone(), go.clone());
    let emitted = Arc::new(AtomicUsize::new(0));
    let total = tidings_bus::HISTORY_WAITING_MAX + 500;
    thread::scope(|scope| {
        let (bus, so_far) = (&bus, emitted.clone());
        scope.spawn(move || {
            begun.wait();
            for number in 1..=total {
                bus.emit(&Placed(number as u64));
                so_far.fetch_add(1, Ordering::SeqCst);
            }
        });
        scope.spawn(move || {
            let slow = move |placed: &Placed| {
                if placed.0 == 0 {
                    at_first.wait();
                    while !may_go.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                }
                assert_eq!(counted.fetch_add(1, Ordering::SeqCst), placed.0 as usize, "in order");
            };
            bus.listen().replay(Replay::all()).on(slow).forever();
        });
        while emitted.load(Ordering::SeqCst) < tidings_bus::HISTORY_WAITING_MAX {
            thread::yield_now();
        }
        assert_eq!(emitted.load(Ordering::SeqCst), tidings_bus::HISTORY_WAITING_MAX, "one more waits");
        go.store(true, Ordering::SeqCst);
    });
    assert_eq!((emitted.load(Ordering::SeqCst), count.load(Ordering::SeqCst)), (total, total + 1));
}
