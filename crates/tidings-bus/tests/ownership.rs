//! When a subscription ends, and what is let go then.

mod common;

use std::sync::{Arc, Mutex};

use common::{Cancelled, Diary, Placed};
use tidings_bus::{Bus, Guard, Owner};
use tidings_core::{Envelope, On};

#[test]
fn a_subscription_ends_when_its_guard_is_dropped_and_not_before() {
    let bus = Bus::new();
    let guard = bus.on(|_: &Placed| ());
    assert!(guard.is_live());
    assert_eq!(bus.emit(&Placed(1)), 1);
    drop(guard);
    assert_eq!(bus.emit(&Placed(1)), 0);
    bus.on(|_: &Placed| ()).forever();
    assert_eq!(bus.emit(&Placed(1)), 1);
}

#[test]
fn what_an_ended_listener_has_captured_is_let_go_at_once() {
    let bus = Bus::new();
    let envelope = Envelope::of::<Placed>(Placed(1)).finish().expect("valid");
    let captured = Arc::new(());
    let keep = || {
        let captured = captured.clone();
        move || drop(captured.clone())
    };
    let (typed, exact, wild, deferred) = (keep(), keep(), keep(), keep());
    let guards = [
        bus.on(move |_: &Placed| typed()),
        bus.subscribe("order.placed", move |_| exact()).expect("valid"),
        bus.subscribe("order.*", move |_| wild()).expect("valid"),
        bus.on_async(move |_: On<Placed>| {
            deferred();
            async {}
        }),
    ];
    // Every plan is made now, and holds them.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let heard = runtime.block_on(async {
        let heard = (bus.emit(&Placed(1)), bus.emit_envelope(&envelope));
        bus.settled().await;
        heard
    });
    assert_eq!((heard, Arc::strong_count(&captured)), ((4, 4), 5));
    for (ended, guard) in guards.into_iter().enumerate() {
        drop(guard);
        assert_eq!(Arc::strong_count(&captured), 4 - ended);
    }
}

#[test]
fn a_handle_lets_go_of_ended_listeners_when_it_is_next_used() {
    let (bus, captured) = (Bus::new(), Arc::new(()));
    let (emitter, kept) = (bus.emitter::<Placed>(), captured.clone());
    let guard = bus.on(move |_: &Placed| drop(kept.clone()));
    assert_eq!(emitter.emit(&Placed(1)), 1);
    drop(guard);
    assert_eq!(emitter.emit(&Placed(1)), 0);
    assert_eq!(Arc::strong_count(&captured), 1);
}

#[test]
fn a_listener_can_drop_its_own_guard() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let own: Arc<Mutex<Option<Guard>>> = Arc::default();
    let (inside, entry) = (own.clone(), diary.clone());
    let guard = bus.on(move |placed: &Placed| {
        let guard = inside.lock().expect("not poisoned").take();
        drop(guard);
        entry.write(placed.0);
    });
    *own.lock().expect("not poisoned") = Some(guard);
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Placed(2))), (1, 0));
    assert_eq!((diary.take().as_str(), Arc::strong_count(&own)), ("1", 1));
}

#[test]
fn a_listener_may_own_others_which_end_with_it_however_it_is_taken_out() {
    type TakeOut = fn(&Bus, Guard);
    let ways: [(&str, TakeOut); 4] = [
        ("guard", |_, guard| drop(guard)),
        ("remove", |bus, _guard| assert_eq!(bus.remove("order.placed"), 1)),
        ("remove pattern", |bus, _guard| assert_eq!(bus.remove("order.*"), 1)),
        ("remove all", |bus, _guard| assert_eq!(bus.remove_all(), 2)),
    ];
    // With a plan that holds the listener too, and without one: either may be the last to let it go.
    for ((name, take_out), emitted) in ways.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let bus = Bus::new();
        let inner = bus.on(|_: &Cancelled| ());
        let keep = Arc::new(Mutex::new(Some(inner)));
        let outer = if name == "remove pattern" {
            bus.subscribe("order.*", move |_| drop(keep.clone())).expect("valid")
        } else {
            bus.on(move |_: &Placed| drop(keep.clone()))
        };
        if emitted {
            bus.emit(&Placed(1));
        }
        take_out(&bus, outer);
        assert_eq!(bus.names(), Vec::<String>::new(), "{name}, emitted: {emitted}");
    }
}

#[test]
fn a_guard_may_outlive_its_bus() {
    let bus = Bus::new();
    let guards = [bus.on(|_: &Placed| ()), bus.subscribe("**", |_| ()).expect("valid"), bus.errors(|_| ())];
    assert!(guards.iter().all(Guard::is_live));
    drop(bus);
    assert!(!guards.iter().any(Guard::is_live));
    drop(guards);
}

#[test]
fn a_bus_may_be_dropped_inside_its_own_listener() {
    let (bus, diary) = (Arc::new(Mutex::new(Some(Bus::new()))), Diary::default());
    let (inside, entry) = (bus.clone(), diary.clone());
    let guard = {
        let on = bus.lock().expect("not poisoned");
        on.as_ref().expect("there").on(move |_: &Placed| {
            let own = inside.lock().expect("not poisoned").take();
            drop(own);
            entry.write("called");
        })
    };
    let emitting = bus.lock().expect("not poisoned").clone().expect("there");
    assert_eq!(emitting.emit(&Placed(1)), 1);
    drop(emitting);
    assert!(!guard.is_live());
    assert_eq!(diary.take(), "called");
}

#[test]
fn subscriptions_end_with_their_owner_and_others_stay() {
    let (bus, other) = (Bus::new(), Bus::new());
    let owner = Owner::new();
    bus.on(|_: &Placed| ()).owned_by(&owner);
    bus.subscribe("order.**", |_| ()).expect("valid").owned_by(&owner);
    other.on(|_: &Placed| ()).owned_by(&owner);
    bus.on(|_: &Placed| ()).forever();
    assert_eq!((owner.count(), bus.emit(&Placed(1)), other.emit(&Placed(1))), (3, 3, 1));
    bus.once(|_: &Placed| ()).owned_by(&owner);
    assert_eq!((owner.count(), bus.emit(&Placed(1)), owner.count()), (4, 4, 3));
    drop(owner);
    assert_eq!((bus.emit(&Placed(1)), other.emit(&Placed(1))), (1, 0));
}

#[test]
fn an_owner_may_be_dropped_inside_a_listener_it_owns() {
    let (bus, owner) = (Bus::new(), Arc::new(Mutex::new(Some(Owner::new()))));
    let inside = owner.clone();
    let guard = bus.on(move |_: &Placed| drop(inside.lock().expect("not poisoned").take()));
    guard.owned_by(owner.lock().expect("not poisoned").as_ref().expect("there"));
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Placed(1))), (1, 0));
    assert_eq!(Arc::strong_count(&owner), 1);
}

#[test]
fn a_weak_subscription_does_not_keep_its_target_and_ends_with_it() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let target = Arc::new(diary.clone());
    let guard = bus.on_weak(&target, |diary, placed: &Placed| diary.write(placed.0));
    assert_eq!(Arc::strong_count(&target), 1);
    assert_eq!((bus.emit(&Placed(1)), bus.listener_count("order.placed")), (1, 1));
    drop(target);
    assert!(!guard.is_live());
    assert_eq!((bus.listener_count("order.placed"), bus.names().len(), bus.emit(&Placed(2))), (0, 0, 0));
    assert_eq!(diary.take(), "1");
}

#[test]
fn weak_subscriptions_whose_targets_are_gone_do_not_pile_up_although_nothing_is_emitted() {
    let (bus, captured) = (Bus::new(), Arc::new(()));
    let kept = Arc::new(());
    for _ in 0..1_000 {
        let held = captured.clone();
        bus.on_weak(&Arc::new(()), move |(), _: &Placed| drop(held.clone())).forever();
        bus.on_weak(&kept, |(), _: &Placed| ()).forever();
    }
    assert!(Arc::strong_count(&captured) < 1_000 / 2, "{} are there", Arc::strong_count(&captured));
    assert_eq!(bus.emit(&Placed(1)), 1_000);
    assert_eq!(Arc::strong_count(&captured), 1);
}

#[test]
fn a_weak_listener_to_a_pattern_ends_with_its_target_and_is_not_counted_then() {
    let (bus, target) = (Bus::new(), Arc::new(Diary::default()));
    let write = |diary: &Diary, any: &Envelope| diary.write(any.name());
    let guard = bus.subscribe_weak(&target, "order.*", write).expect("valid");
    assert!(bus.subscribe_weak(&target, "order.**x", write).is_err());
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Cancelled(1)), Arc::strong_count(&target)), (1, 1, 1));
    assert_eq!((target.take().as_str(), guard.is_live()), ("order.placed order.cancelled", true));
    drop(target);
    assert_eq!((guard.is_live(), bus.listener_count("order.placed")), (false, 0));
    assert_eq!((bus.emit(&Placed(1)), bus.names().len()), (0, 0));
}

#[test]
fn an_owner_that_has_ended_ends_at_once_what_it_is_given() {
    let (bus, owner) = (Bus::new(), Owner::new());
    bus.on(|_: &Placed| ()).owned_by(&owner);
    bus.on(|_: &Cancelled| ()).forever();
    owner.end();
    assert_eq!((owner.count(), bus.names()), (0, vec!["order.cancelled".to_owned()]));
    bus.on(|_: &Placed| ()).owned_by(&owner);
    assert_eq!((owner.count(), bus.listener_count("order.placed")), (0, 0));
}
