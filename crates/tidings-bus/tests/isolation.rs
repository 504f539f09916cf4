//! A listener that fails stops nobody, and the error channel is told all about it.

mod common;

use std::sync::Arc;

use common::{Diary, Failures, Placed, Sent};
use tidings_bus::{Bus, Fault};
use tidings_core::{Failure, Handled, Kind, ManualClock, On, PayloadForm, Timestamp};

fn panics(_: &Placed) {
    panic!("no more boxes")
}

fn fails(_: &Placed) -> Handled {
    Err(Failure::transient("try later"))
}

#[test]
fn a_listener_that_panics_or_fails_stops_no_other_and_counts_as_one_that_ran() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let failures = Failures::of(&bus);
    let entry = diary.clone();
    bus.on(panics).forever();
    bus.on(fails).forever();
    bus.subscribe("order.*", |any| assert_eq!(any.id().len(), 0)).expect("valid").forever();
    bus.on(move |placed: &Placed| entry.write(placed.0)).forever();
    assert_eq!(bus.emit(&Placed(1)), 4);
    assert_eq!((diary.take().as_str(), failures.take().len()), ("1", 3));
}

#[test]
fn the_error_channel_is_told_event_data_error_listener_and_time() {
    let clock = ManualClock::at(Timestamp::from_millis(7_000));
    let bus = Bus::builder().clock(Arc::new(clock)).source("/shop").build();
    let failures = Failures::of(&bus);
    bus.on(|_: &Sent| -> Handled { Err(Failure::permanent("no such address")) }).forever();
    let line = line!() - 1;
    bus.subscribe("order.**", |_| -> Handled { Err(Failure::transient("try later")) })
        .expect("valid")
        .forever();
    bus.emit(&Sent { order: "4711".into(), secret: 1 });
    let told = failures.take();
    let [first, second] = told.as_slice() else { panic!("{told:?}") };
    assert!(matches!(first.fault(), Fault::Failed(failure) if failure.kind() == Kind::Permanent));
    assert!(matches!(second.fault(), Fault::Failed(failure) if failure.kind() == Kind::Transient));
    assert_eq!((&**first.event(), first.time()), ("order.sent", Timestamp::from_millis(7_000)));
    assert_eq!((first.listener().topic(), first.listener().location().line()), ("order.sent", line));
    assert!(first.listener().location().file().ends_with("isolation.rs"));
    assert!(
        first.listener().function().contains("the_error_channel_is_told"),
        "{}",
        first.listener().function()
    );
    assert_eq!(second.listener().topic(), "order.**");
    let envelope = first.envelope();
    assert_eq!((envelope.id(), second.id()), (first.id(), first.id()), "one event has one id");
    assert_eq!(envelope.payload().expect("written"), br#"{"order":"4711"}"#.as_slice());
    assert_eq!((&**envelope.source(), envelope.schema_version()), ("/shop", 3));
    assert_eq!((envelope.key().map(|key| &**key), envelope.tags().len()), (Some("4711"), 1));
    assert_eq!(envelope.time().map(ToString::to_string), Some("1970-01-01T00:00:07Z".to_owned()));
    let text = format!("{first} {first:?}");
    assert!(text.contains("no such address") && text.contains("order.sent"), "{text}");
    assert!(!text.contains(r#"{"order""#), "data has no place in logs: {text}");
}

#[test]
fn messages_of_panics_are_kept_whatever_was_thrown() {
    fn throws_text(_: &Placed) {
        let kind = "text";
        panic!("a {kind}")
    }
    fn throws_number(_: &Placed) {
        std::panic::panic_any(7)
    }
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    bus.on(panics).forever();
    bus.on(throws_text).forever();
    bus.on(throws_number).forever();
    bus.emit(&Placed(1));
    let messages: Vec<String> = failures.take().iter().map(|failed| failed.fault().to_string()).collect();
    let expected =
        ["it panicked: no more boxes", "it panicked: a text", "it panicked: with a value that is no text"];
    assert_eq!(messages, expected);
}

#[test]
fn what_was_thrown_may_throw_again_when_it_is_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("again")
        }
    }
    fn throws(_: &Placed) {
        std::panic::panic_any(Bomb)
    }
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = diary.clone();
    let failures = Failures::of(&bus);
    bus.on(throws).forever();
    bus.on(move |placed: &Placed| entry.write(placed.0)).forever();
    assert_eq!((bus.emit(&Placed(1)), failures.take().len(), diary.take().as_str()), (2, 1, "1"));
}

#[test]
fn a_panicking_predicate_is_a_failure_of_its_listener() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    bus.listen().when(|placed: &Placed| 10 / placed.0 > 1).on(|_: &Placed| ()).forever();
    assert_eq!((bus.emit(&Placed(5)), failures.take().len()), (1, 0));
    bus.emit(&Placed(0));
    assert!(matches!(failures.take()[0].fault(), Fault::Panicked(message) if message.contains("zero")));
}

/// An event that cannot be written as JSON.
#[derive(Debug, serde::Deserialize)]
struct Unwritable {
    panics: bool,
}

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        assert!(!self.panics, "while writing");
        Err(serde::ser::Error::custom("not to be written"))
    }
}

impl tidings_core::Event for Unwritable {
    const INFO: &'static tidings_core::EventInfo =
        &tidings_core::EventInfo { name: "thing.kept", version: 1, fields: &[] };
}

#[test]
fn an_event_that_cannot_be_written_reaches_those_that_need_no_copy_and_the_others_are_told_of() {
    for panics in [false, true] {
        let (bus, diary) = (Bus::new(), Diary::default());
        let failures = Failures::of(&bus);
        let entry = diary.clone();
        bus.subscribe("thing.*", |_| ()).expect("valid").forever();
        bus.on_async(|_: On<Unwritable>| async {}).forever();
        bus.on(move |_: &Unwritable| entry.write("in place")).forever();
        bus.on(|_: &Unwritable| -> Handled { Err(Failure::permanent("no")) }).forever();
        assert_eq!((bus.emit(&Unwritable { panics }), diary.take().as_str()), (2, "in place"));
        let told = failures.take();
        let unreadable = |fault: &Fault| matches!(fault, Fault::Unreadable(_));
        assert_eq!(
            told.iter().map(|failed| unreadable(failed.fault())).collect::<Vec<_>>(),
            [true, true, false]
        );
        let text = if panics { "while writing" } else { "not to be written" };
        assert!(told[0].to_string().contains(text), "{}", told[0]);
        assert!(told.iter().all(|failed| failed.envelope().form() == PayloadForm::Absent));
        assert!(told.iter().all(|failed| failed.id() == told[0].id() && !failed.id().is_empty()));
    }
}
