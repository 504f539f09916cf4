//! Priority decides before the order of registration, also while listeners come, go and emit.

mod common;

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::{Cancelled, Diary, Placed};
use tidings_bus::Bus;
use tidings_core::{Envelope, On};

#[test]
fn higher_priorities_go_first_and_registration_order_decides_within_one() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let on = |priority: i32, entry: &'static str| {
        let diary = diary.clone();
        bus.listen().priority(priority).on(move |_: &Placed| diary.write(entry)).forever();
    };
    on(0, "zero-a");
    on(-5, "minus");
    on(10, "ten-a");
    on(i32::MIN, "least");
    on(0, "zero-b");
    on(i32::MAX, "most");
    on(10, "ten-b");
    assert_eq!(bus.emit(&Placed(1)), 7);
    assert_eq!(diary.take(), "most ten-a ten-b zero-a zero-b minus least");
}

#[test]
fn prepending_goes_before_its_own_priority_and_never_before_a_higher_one() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = |entry: &'static str| {
        let diary = diary.clone();
        move |_: &Placed| diary.write(entry)
    };
    bus.listen().priority(5).on(entry("five")).forever();
    bus.on(entry("zero")).forever();
    bus.prepend(entry("front-of-zero")).forever();
    bus.listen().first().priority(5).on(entry("front-of-five")).forever();
    bus.emit(&Placed(1));
    assert_eq!(diary.take(), "front-of-five five front-of-zero zero");
}

#[tokio::test]
async fn types_patterns_any_and_asynchronous_listeners_stand_in_one_order_however_it_is_emitted() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = |entry: &'static str| {
        let diary = diary.clone();
        move || diary.write(entry)
    };
    let (any, typed, pattern, late) = (entry("any"), entry("typed"), entry("pattern"), entry("late"));
    let (deferred, deferred_any) = (entry("async"), entry("async-any"));
    bus.listen().priority(1).any(move |_| any()).forever();
    bus.listen().priority(2).on(move |_: &Placed| typed()).forever();
    bus.listen().priority(3).subscribe("order.*", move |_| pattern()).expect("valid").forever();
    bus.any(move |_| late()).forever();
    let on_async = move |_: On<Placed>| {
        deferred();
        async {}
    };
    bus.listen().priority(-1).on_async(on_async).forever();
    let any_async = move |_: Envelope| {
        deferred_any();
        async {}
    };
    bus.listen().priority(7).any_async(any_async).forever();
    let in_place = "pattern typed any late";
    let all = format!("{in_place} async-any async");
    let envelope = Envelope::of::<Placed>(Placed(1)).finish().expect("valid");
    let report = bus.emit_async(Placed(1)).in_series().await;
    assert_eq!(
        (report.heard, diary.take()),
        (6, all.clone()),
        "what is asynchronous runs behind, in its order"
    );
    let report = bus.emit_envelope_async(envelope.clone()).in_series().await;
    assert_eq!((report.heard, diary.take()), (6, all));
    for way in 0..3 {
        let heard = match way {
            0 => bus.emit(&Placed(1)),
            1 => bus.emitter().emit(&Placed(1)),
            _ => bus.emit_envelope(&envelope),
        };
        let said = diary.take();
        assert_eq!((heard, said.as_str()), (6, in_place), "way {way}");
        bus.settled().await;
        diary.take();
    }
}

#[test]
fn an_any_listener_is_a_listener_to_all_names_that_is_counted_named_and_removed_as_such() {
    let bus = Bus::new();
    let first = bus.any(|_| ());
    bus.any_async(|_| async {}).forever();
    assert_eq!((bus.names(), bus.listener_count("stock.counted")), (vec!["**".to_owned()], 2));
    first.end();
    assert_eq!((bus.remove("**"), bus.names().len()), (1, 0));
}

#[test]
fn counts_names_and_removal_do_not_depend_on_priority() {
    let bus = Bus::new();
    let guards: Vec<_> = (-2..=2).map(|p| bus.listen().priority(p).on(|_: &Placed| ())).collect();
    bus.listen().priority(9).subscribe("order.*", |_| ()).expect("valid").forever();
    bus.listen().priority(-9).once().on(|_: &Placed| ()).forever();
    assert_eq!((bus.listener_count("order.placed"), bus.names().len()), (7, 2));
    assert_eq!(bus.emit(&Placed(1)), 7);
    assert_eq!((bus.listener_count("order.placed"), bus.emit(&Placed(2))), (6, 6));
    drop(guards);
    assert_eq!((bus.remove("order.*"), bus.emit(&Placed(3)), bus.remove_all()), (1, 0, 0));
}

#[test]
fn a_once_of_the_highest_priority_is_gone_inside_its_own_call_and_one_behind_it_fires_once() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (inner, entry) = (bus.clone(), diary.clone());
    let nested = move |placed: &Placed| {
        entry.write(format!("first-{}", placed.0));
        assert_eq!(inner.emit(&Placed(placed.0 + 1)), 2);
    };
    bus.listen().priority(9).once().on(nested).forever();
    let entry = diary.clone();
    bus.listen().once().on(move |placed: &Placed| entry.write(format!("once-{}", placed.0))).forever();
    let entry = diary.clone();
    bus.on(move |placed: &Placed| entry.write(format!("each-{}", placed.0))).forever();
    assert_eq!(bus.emit(&Placed(1)), 2, "the nested emission has used up the second one");
    assert_eq!(diary.take(), "first-1 once-2 each-2 each-1");
    assert_eq!(bus.listener_count("order.placed"), 1);
}

#[test]
fn listeners_of_every_priority_that_come_and_go_on_many_threads_are_called_in_order_and_all_let_go() {
    const THREADS: usize = 4;
    let (bus, barrier, calls) = (Bus::new(), Barrier::new(THREADS), Arc::new(AtomicUsize::new(0)));
    let high = calls.clone();
    bus.listen()
        .priority(100)
        .on(move |_: &Placed| {
            high.fetch_add(1, Ordering::Relaxed);
        })
        .forever();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (bus, barrier) = (&bus, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..200 {
                    let (diary, own) = (Diary::default(), (number * 1_000 + round) as u64);
                    let on = |priority: i32, entry: &'static str| {
                        let diary = diary.clone();
                        bus.listen()
                            .priority(priority)
                            .when(move |c: &Cancelled| c.0 == own)
                            .on(move |_: &Cancelled| diary.write(entry))
                    };
                    let guards = [on(1, "one"), on(3, "three"), on(2, "two")];
                    assert_eq!(bus.emit(&Cancelled(own)), 3);
                    assert_eq!(diary.take(), "three two one");
                    assert!(bus.emit(&Placed(own)) >= 1);
                    drop(guards);
                    assert_eq!(bus.emit(&Cancelled(own)), 0);
                }
            });
        }
    });
    assert_eq!(calls.load(Ordering::Relaxed), THREADS * 200);
    assert_eq!(bus.names(), ["order.placed"]);
}
