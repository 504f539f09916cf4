//! Who is called, in which order, and what emitting answers.

mod common;

use common::{Cancelled, Diary, Placed};
use tidings_bus::Bus;

#[test]
fn listeners_are_called_in_the_order_of_registration_also_between_types_and_patterns() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = |text: &'static str| {
        let diary = diary.clone();
        move || diary.write(text)
    };
    let (one, two, three, four) = (entry("one"), entry("two"), entry("three"), entry("four"));
    bus.on(move |_: &Placed| one()).forever();
    bus.subscribe("order.*", move |_| two()).expect("valid").forever();
    bus.on(move |_: &Placed| three()).forever();
    bus.subscribe("order.placed", move |_| four()).expect("valid").forever();
    assert_eq!(bus.emit(&Placed(1)), 4);
    assert_eq!(diary.take(), "one two three four");
}

#[test]
fn prepended_listeners_go_first_the_latest_before_all() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = |text: &'static str| {
        let diary = diary.clone();
        move |_: &Placed| diary.write(text)
    };
    bus.on(entry("third")).forever();
    bus.prepend(entry("second")).forever();
    let at_first = entry("first");
    bus.listen()
        .first()
        .subscribe("**", move |any| at_first(&any.decode().expect("placed")))
        .expect("valid")
        .forever();
    bus.emit(&Placed(1));
    assert_eq!(diary.take(), "first second third");
}

#[test]
fn emitting_tells_how_many_listeners_ran_and_reaches_no_other_type() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (one, two) = (diary.clone(), diary.clone());
    bus.on(move |placed: &Placed| one.write(placed.0)).forever();
    bus.on(move |placed: &Placed| two.write(placed.0 * 2)).forever();
    assert_eq!(bus.emit(&Cancelled(1)), 0);
    assert_eq!(bus.emit(&Placed(7)), 2);
    assert_eq!(diary.take(), "7 14");
}

#[test]
fn the_same_function_registered_twice_is_called_twice() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let write = {
        let diary = diary.clone();
        move |placed: &Placed| diary.write(placed.0)
    };
    bus.on(write.clone()).forever();
    let second = bus.on(write);
    assert_eq!(bus.emit(&Placed(1)), 2);
    second.end();
    assert_eq!(bus.emit(&Placed(2)), 1);
    assert_eq!(diary.take(), "1 1 2");
}

#[test]
fn a_listener_that_is_added_while_an_event_is_emitted_hears_the_next_one() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (inner, entry) = (bus.clone(), diary.clone());
    bus.on(move |placed: &Placed| {
        let (late, entry_late) = (inner.clone(), entry.clone());
        entry.write("old");
        late.on(move |_: &Placed| entry_late.write("new")).forever();
        let pattern = entry.clone();
        late.subscribe("**", move |_| pattern.write("pattern")).expect("valid").forever();
        assert!(placed.0 > 0);
    })
    .forever();
    assert_eq!(bus.emit(&Placed(1)), 1);
    assert_eq!(diary.take(), "old");
    assert_eq!(bus.emit(&Placed(2)), 3);
    assert_eq!(diary.take(), "old new pattern");
}

#[test]
fn a_listener_that_is_ended_while_an_event_is_emitted_is_not_called_any_more() {
    for way in ["by type", "by handle", "by name"] {
        let (bus, diary) = (Bus::new(), Diary::default());
        let entry = diary.clone();
        let guards = std::sync::Mutex::new(Vec::new());
        let guards = std::sync::Arc::new(guards);
        let ends = guards.clone();
        bus.on(move |_: &Placed| ends.lock().expect("not poisoned").clear()).forever();
        let late = bus.on(move |_: &Placed| entry.write("too late"));
        let entry = diary.clone();
        let pattern = bus.subscribe("order.*", move |_| entry.write("too late")).expect("valid");
        guards.lock().expect("not poisoned").extend([late, pattern]);
        let envelope = tidings_core::Envelope::of::<Placed>(Placed(1)).finish().expect("valid");
        let heard = match way {
            "by type" => bus.emit(&Placed(1)),
            "by handle" => bus.emitter().emit(&Placed(1)),
            _ => bus.emit_envelope(&envelope),
        };
        assert_eq!((heard, diary.take().as_str()), (1, ""), "{way}");
    }
}

#[test]
fn emitting_inside_a_listener_is_emitting_like_any_other() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (inner, entry) = (bus.clone(), diary.clone());
    bus.on(move |placed: &Placed| {
        entry.write(format!("placed-{}", placed.0));
        if placed.0 < 3 {
            assert_eq!(inner.emit(&Placed(placed.0 + 1)), 1);
            assert_eq!(inner.emit(&Cancelled(placed.0)), 1);
        }
    })
    .forever();
    let entry = diary.clone();
    bus.on(move |cancelled: &Cancelled| entry.write(format!("cancelled-{}", cancelled.0))).forever();
    bus.emit(&Placed(1));
    assert_eq!(diary.take(), "placed-1 placed-2 placed-3 cancelled-2 cancelled-1");
}

#[test]
fn a_handle_emits_to_whoever_listens_now() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let emitter = bus.emitter::<Placed>();
    assert_eq!(emitter.emit(&Placed(0)), 0);
    let entry = diary.clone();
    let first = bus.on(move |placed: &Placed| entry.write(placed.0));
    assert_eq!(emitter.emit(&Placed(1)), 1);
    let entry = diary.clone();
    bus.subscribe("order.**", move |any| entry.write(any.name())).expect("valid").forever();
    assert_eq!(emitter.emit(&Placed(2)), 2);
    assert_eq!(emitter.emit(&Placed(3)), 2);
    drop(first);
    assert_eq!(emitter.clone().emit(&Placed(4)), 1);
    assert_eq!(emitter.emit(&Placed(5)), 1);
    assert_eq!(diary.take(), "1 2 order.placed 3 order.placed order.placed order.placed");
}

#[test]
fn a_handle_can_be_used_inside_what_it_calls() {
    thread_local! {
        static EMITTER: std::cell::OnceCell<tidings_bus::Emitter<Placed>> = const { std::cell::OnceCell::new() };
    }
    let (bus, diary) = (Bus::new(), Diary::default());
    let (entry, inner) = (diary.clone(), bus.clone());
    bus.on(move |placed: &Placed| {
        entry.write(placed.0);
        if placed.0 == 1 {
            let late = entry.clone();
            inner.on(move |placed: &Placed| late.write(format!("late-{}", placed.0))).forever();
            EMITTER.with(|emitter| assert_eq!(emitter.get().expect("set").emit(&Placed(2)), 2));
        }
    })
    .forever();
    EMITTER.with(|emitter| {
        let emitter = emitter.get_or_init(|| bus.emitter());
        assert_eq!(emitter.emit(&Placed(1)), 1);
        assert_eq!(emitter.emit(&Placed(3)), 2);
    });
    assert_eq!(diary.take(), "1 2 late-2 3 late-3");
}

#[test]
fn an_emit_that_is_watched_in_every_way_delivers_once_to_each() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = |text: &'static str| {
        let diary = diary.clone();
        move || diary.write(text)
    };
    let (typed, exact, star, stars, all) =
        (entry("typed"), entry("exact"), entry("star"), entry("stars"), entry("all"));
    let failed = entry("failed");
    bus.errors(move |_| failed()).forever();
    bus.on(move |_: &Placed| typed()).forever();
    bus.subscribe("order.placed", move |_| exact()).expect("valid").forever();
    bus.subscribe("order.*", move |_| star()).expect("valid").forever();
    bus.subscribe("order.**.placed.**", move |_| stars()).expect("valid").forever();
    bus.subscribe("**", move |_| all()).expect("valid").forever();
    let expected = "typed exact star stars all";
    assert_eq!((bus.emit(&Placed(1)), diary.take().as_str()), (5, expected));
    assert_eq!((bus.emitter().emit(&Placed(1)), diary.take().as_str()), (5, expected));
    assert_eq!((bus.emit_shared(&Placed(1).into()), diary.take().as_str()), (5, expected));
    let envelope = tidings_core::Envelope::of::<Placed>(Placed(1)).finish().expect("valid");
    assert_eq!((bus.emit_envelope(&envelope), diary.take().as_str()), (5, expected));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let report = runtime.block_on(async { bus.emit_async(Placed(1)).await });
    assert_eq!((report.heard, diary.take().as_str()), (5, expected));
}

#[test]
fn counts_and_names_tell_what_is_listened_to() {
    let bus = Bus::new();
    assert_eq!(bus.names(), Vec::<String>::new());
    let typed = bus.on(|_: &Placed| ());
    let pattern = bus.subscribe("order.*", |_| ()).expect("valid");
    let exact = bus.subscribe("order.placed", |_| ()).expect("valid");
    let again = bus.subscribe("order.*", |_| ()).expect("valid");
    let asynchronous = bus.on_async(|_: tidings_core::On<Placed>| async {});
    assert_eq!(bus.names(), ["order.*", "order.placed"]);
    assert_eq!((bus.listener_count("order.placed"), bus.listener_count("order.sent")), (5, 2));
    assert_eq!(bus.listener_count("stock.counted"), 0);
    drop((typed, exact, asynchronous));
    assert_eq!((bus.names(), bus.listener_count("order.placed")), (vec!["order.*".to_owned()], 2));
    drop((pattern, again));
    assert_eq!((bus.names(), bus.listener_count("order.placed")), (Vec::new(), 0));
}

#[test]
fn everything_under_one_name_or_pattern_can_be_removed_and_everything_at_all() {
    let (bus, failures) = (Bus::new(), Diary::default());
    let entry = failures.clone();
    bus.errors(move |failed| entry.write(failed.event())).forever();
    let guards = [
        bus.on(|_: &Placed| ()),
        bus.subscribe("order.placed", |_| ()).expect("valid"),
        bus.subscribe("order.*", |_| ()).expect("valid"),
        bus.subscribe("order.*", |_| ()).expect("valid"),
        bus.on(|_: &Cancelled| ()),
    ];
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Cancelled(1))), (4, 3));
    assert_eq!(bus.remove("order.placed"), 2);
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Cancelled(1))), (2, 3));
    assert_eq!(bus.remove("order.*"), 2);
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Cancelled(1))), (0, 1));
    assert_eq!((bus.remove("order.*"), bus.remove("no pattern, is it?")), (0, 0));
    assert!(guards[4].is_live() && !guards.iter().take(4).any(tidings_bus::Guard::is_live));
    bus.subscribe("**", |_| ()).expect("valid").forever();
    assert_eq!(bus.remove_all(), 2);
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Cancelled(1))), (0, 0));
    bus.on(|placed: &Placed| assert_eq!(placed.0, 0)).forever();
    assert_eq!((bus.emit(&Placed(1)), failures.take().as_str()), (1, "order.placed"));
}
