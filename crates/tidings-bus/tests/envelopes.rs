//! Events by name and in envelopes: patterns, decoding, and types that share a name.

mod common;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use common::{Cancelled, Diary, Failures, Placed, Sent};
use serde::{Deserialize, Serialize};
use tidings_bus::{Bus, Fault, Guard, Verdict};
use tidings_core::{Envelope, Event, EventInfo, On};

// The same event as another module sees it, and its next version.
events! {
    SeenElsewhere = "order.placed" version 1;
    PlacedTwo = "order.placed" version 2;
}

fn envelope(name: &str, json: &'static str) -> Envelope {
    Envelope::build(name).json(json.as_bytes()).finish().expect("valid")
}

#[test]
fn a_pattern_hears_the_names_it_matches_and_no_others() {
    let (bus, diary) = (Bus::new(), Diary::default());
    for pattern in ["order.placed", "order.*", "order.**", "*.placed", "**.placed", "**", "*", "**.line.*"] {
        let entry = diary.clone();
        bus.subscribe(pattern, move |_| entry.write(pattern)).expect("valid").forever();
    }
    for (name, heard) in [
        ("order.placed", "order.placed order.* order.** *.placed **.placed **"),
        ("order.line.added", "order.** ** **.line.*"),
        ("stock.placed", "*.placed **.placed **"),
        ("placed", "**.placed ** *"),
        ("order", "order.** ** *"),
        ("orders.placed.twice", "**"),
    ] {
        // Twice: the first time the plan is made, the second time it is kept.
        for _ in 0..2 {
            assert_eq!(bus.emit_envelope(&envelope(name, "1")), heard.split(' ').count(), "{name}");
            assert_eq!(diary.take(), heard, "{name}");
        }
    }
}

#[test]
fn an_invalid_pattern_is_refused_with_the_column() {
    let bus = Bus::new();
    for (pattern, column) in [("", 1), ("order..placed", 7), ("order.pl*", 9), ("order placed", 6)] {
        assert_eq!(bus.subscribe(pattern, |_| ()).expect_err(pattern).column, column, "{pattern}");
        let refused = bus.subscribe_async(pattern, |_| async {}).expect_err(pattern);
        assert_eq!(refused.column, column, "{pattern}");
    }
    assert_eq!(bus.names(), Vec::<String>::new());
}

#[test]
fn a_pattern_added_or_ended_counts_from_the_next_event_for_every_name_it_matches() {
    let bus = Bus::new();
    let (placed, other) = (envelope("order.placed", "1"), envelope("order.sent", "1"));
    let emit = || (bus.emit(&Placed(1)), bus.emit_envelope(&placed), bus.emit_envelope(&other));
    assert_eq!(emit(), (0, 0, 0));
    let wild = bus.subscribe("order.*", |_| ()).expect("valid");
    assert_eq!(emit(), (1, 1, 1));
    let exact = bus.subscribe("order.placed", |_| ()).expect("valid");
    assert_eq!(emit(), (2, 2, 1));
    let typed = bus.on(|_: &Placed| ());
    assert_eq!(emit(), (3, 3, 1));
    drop(wild);
    assert_eq!(emit(), (2, 2, 0));
    drop(typed);
    assert_eq!(emit(), (1, 1, 0));
    drop(exact);
    assert_eq!(emit(), (0, 0, 0));
}

#[test]
fn typed_listeners_are_given_what_an_envelope_holds() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = diary.clone();
    bus.on(move |placed: &Placed| entry.write(placed.0)).forever();
    assert_eq!(bus.emit_envelope(&envelope("order.placed", "7")), 1);
    assert_eq!(bus.emit_envelope(&envelope("order.cancelled", "8")), 0);
    assert_eq!(diary.take(), "7");
}

/// Counts how often it is decoded.
#[derive(Debug, Serialize)]
struct Decoded;

static DECODED: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        serde::de::IgnoredAny::deserialize(from).map(|_| Self)
    }
}

impl Event for Decoded {
    const INFO: &'static EventInfo = &EventInfo { name: "thing.decoded", version: 1, fields: &[] };
}

#[tokio::test]
async fn an_envelope_is_decoded_once_however_many_listen_and_not_at_all_for_patterns() {
    let bus = Bus::new();
    bus.subscribe("thing.*", |_| ()).expect("valid").forever();
    assert_eq!(
        (bus.emit_envelope(&envelope("thing.decoded", "{}")), DECODED.load(Ordering::Relaxed)),
        (1, 0)
    );
    for _ in 0..3 {
        bus.on(|_: &Decoded| ()).forever();
        bus.on_async(|_: On<Decoded>| async {}).forever();
    }
    assert_eq!(
        (bus.emit_envelope(&envelope("thing.decoded", "{}")), DECODED.load(Ordering::Relaxed)),
        (7, 1)
    );
    assert_eq!(
        (bus.emit(&Decoded), DECODED.load(Ordering::Relaxed)),
        (7, 2),
        "one copy for the asynchronous ones"
    );
    assert_eq!((bus.emit_shared(&Arc::new(Decoded)), DECODED.load(Ordering::Relaxed)), (7, 2));
    bus.settled().await;
}

#[test]
fn what_cannot_be_read_is_told_of_for_each_typed_listener_and_reaches_the_others() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let failures = Failures::of(&bus);
    let entry = diary.clone();
    bus.on(|_: &Placed| ()).forever();
    bus.on(|_: &Placed| ()).forever();
    bus.subscribe("order.*", move |any| entry.write(any.name())).expect("valid").forever();
    let unreadable = envelope("order.placed", r#"{"cents":1}"#);
    assert_eq!((bus.emit_envelope(&unreadable), diary.take().as_str()), (1, "order.placed"));
    let told = failures.take();
    assert_eq!(told.len(), 2);
    assert!(
        told.iter()
            .all(|failed| matches!(failed.fault(), Fault::Unreadable(failure) if failure.is_permanent()))
    );
    assert!(
        told.iter()
            .all(|failed| failed.envelope().same_content(&unreadable) && failed.id() == unreadable.id())
    );
}

#[test]
fn types_that_share_a_name_and_version_hear_each_others_events() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (one, other) = (diary.clone(), diary.clone());
    bus.on(move |placed: &Placed| one.write(format!("own-{}", placed.0))).forever();
    bus.on(move |placed: &SeenElsewhere| other.write(format!("else-{}", placed.0))).forever();
    assert_eq!((bus.emit(&Placed(1)), diary.take().as_str()), (2, "own-1 else-1"));
    assert_eq!((bus.emit(&SeenElsewhere(2)), diary.take().as_str()), (2, "own-2 else-2"));
    assert_eq!((bus.emit_shared(&Arc::new(Placed(3))), diary.take().as_str()), (2, "own-3 else-3"));
    assert_eq!(
        (bus.emit_envelope(&envelope("order.placed", "4")), diary.take().as_str()),
        (2, "own-4 else-4")
    );
    assert_eq!(bus.listener_count("order.placed"), 2);
}

#[test]
fn of_types_for_several_versions_those_of_the_events_version_hear_it_and_without_one_all_do() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let failures = Failures::of(&bus);
    let (one, two) = (diary.clone(), diary.clone());
    let first = bus.on(move |placed: &Placed| one.write(format!("v1-{}", placed.0)));
    bus.on(move |placed: &PlacedTwo| two.write(format!("v2-{}", placed.0))).forever();
    let version = |version: u32| {
        Envelope::build("order.placed").schema_version(version).json(b"7".as_slice()).finish().expect("valid")
    };
    assert_eq!((bus.emit(&Placed(1)), diary.take().as_str()), (1, "v1-1"));
    assert_eq!((bus.emit(&PlacedTwo(2)), diary.take().as_str()), (1, "v2-2"));
    assert_eq!((bus.emit_envelope(&version(1)), diary.take().as_str()), (1, "v1-7"));
    assert_eq!((bus.emit_envelope(&version(2)), diary.take().as_str()), (1, "v2-7"));
    assert_eq!((bus.emit_envelope(&version(3)), diary.take().as_str()), (2, "v1-7 v2-7"));
    drop(first);
    assert_eq!((bus.emit(&Placed(3)), diary.take().as_str()), (1, "v2-3"));
    assert_eq!((bus.emit_envelope(&version(1)), diary.take().as_str()), (1, "v2-7"));
    assert_eq!(failures.take().len(), 0);
}

#[test]
fn all_listeners_of_one_emission_see_the_same_envelope() {
    let bus = Bus::builder().source("/shop").build();
    let ids = Diary::default();
    for pattern in ["order.sent", "**"] {
        let entry = ids.clone();
        let write = move |any: &Envelope| {
            assert_eq!((&**any.source(), any.key().map(|key| &**key)), ("/shop", Some("4711")));
            assert!(any.time().is_some());
            entry.write(any.id());
        };
        bus.subscribe(pattern, write).expect("valid").forever();
    }
    let sent = Sent { order: "4711".into(), secret: 1 };
    let mut seen = Vec::new();
    for _ in 0..2 {
        assert_eq!(bus.emit(&sent), 2);
        let both = ids.take();
        let (one, other) = both.split_once(' ').expect("two");
        assert_eq!(one, other);
        seen.push(one.to_owned());
    }
    assert_ne!(seen[0], seen[1], "each emission is an event of its own");
}

#[test]
fn names_without_end_are_emitted_in_bounded_room_and_each_reaches_its_listeners() {
    let bus = Bus::new();
    let wild = bus.subscribe("order.*", |_| ()).expect("valid");
    let exact = bus.subscribe("order.n19999", |_| ()).expect("valid");
    for round in 0..2 {
        for number in 0..20_000 {
            let expected = if number == 19_999 { 2 } else { 1 };
            let heard = bus.emit_envelope(&envelope(&format!("order.n{number}"), "1"));
            assert_eq!(heard, expected, "round {round}, {number}");
        }
    }
    drop((wild, exact));
    assert!((0..20_000).all(|number| bus.emit_envelope(&envelope(&format!("order.n{number}"), "1")) == 0));
    assert_eq!(bus.emit(&Cancelled(1)), 0);
}

#[test]
fn also_under_a_name_that_there_is_no_room_for_who_is_ended_meanwhile_is_not_called() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let last: Arc<Mutex<Option<Guard>>> = Arc::default();
    let (entry, to_end) = (diary.clone(), last.clone());
    bus.subscribe("new.*", move |_| {
        entry.write("first");
        to_end.lock().expect("not poisoned").take();
    })
    .expect("valid")
    .forever();
    for number in 0..10 {
        let entry = diary.clone();
        let guard = bus.subscribe("*.name", move |_| entry.write("second")).expect("valid");
        *last.lock().expect("not poisoned") = Some(guard);
        // Registering has made room, so that it is taken up again.
        for filler in 0..4_096 {
            bus.emit_envelope(&Envelope::build(format!("old.n{filler}-{number}")).finish().expect("valid"));
        }
        assert_eq!(bus.emit_envelope(&Envelope::build("new.name").finish().expect("valid")), 1);
        assert_eq!(diary.take(), "first");
    }
}

#[test]
fn a_relay_hears_what_is_emitted_and_not_what_has_been_there_whatever_middleware_makes_of_it() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (relayed, listened, said) = (diary.clone(), diary.clone(), diary.clone());
    bus.listen().relay().subscribe("order.*", move |_| relayed.write("relay")).expect("valid").forever();
    let event = Envelope::build("order.placed").finish().expect("valid");
    assert_eq!((bus.emit_envelope(&event), bus.emit_relayed(&event)), (1, 0));
    assert_eq!(diary.take(), "relay", "one that nobody else hears");

    let inner = bus.clone();
    bus.subscribe("order.placed", move |_| {
        listened.write("listener");
        inner.emit_envelope(&Envelope::build("order.paid").finish().expect("valid"));
    })
    .expect("valid")
    .forever();
    assert_eq!(
        (bus.emit_relayed(&event), diary.take().as_str()),
        (1, "listener relay"),
        "of the other event"
    );
    assert_eq!((bus.emit_envelope(&event), diary.take().as_str()), (2, "relay listener relay"));

    let changes = bus.middleware_on("order.placed", move |event| {
        said.write("changed");
        Verdict::Change(Envelope::build(event.name().clone()).key("new").finish().expect("valid"))
    });
    assert_eq!((bus.emit_relayed(&event), diary.take().as_str()), (1, "changed listener relay"));
    drop(changes);
}
