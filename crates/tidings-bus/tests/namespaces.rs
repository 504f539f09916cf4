//! Namespaces: what is emitted and subscribed through one has its prefix, and it can be removed as a whole.

mod common;

use std::{pin::pin, sync::Arc, task::Poll};

use common::{Cancelled, Diary, Failures, Placed, Sent};
use futures_util::{FutureExt, poll};
use parking_lot::Mutex;
use tidings_bus::{Bus, Fault, Filter, Question, RequestError, WaitError};
use tidings_core::{Attribute, Envelope, EnvelopeError, On, PayloadForm, Priority, Timestamp};

#[test]
fn a_typed_event_is_heard_in_its_namespace_and_nowhere_else() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (shop, depot) = (bus.namespace("shop").expect("valid"), bus.namespace("depot").expect("valid"));
    let inner = shop.namespace("eu").expect("valid");
    let entries = || diary.clone();
    let (a, b, c, d) = (entries(), entries(), entries(), entries());
    bus.on(move |placed: &Placed| a.write(format!("bus:{}", placed.0))).forever();
    shop.on(move |placed: &Placed| b.write(format!("shop:{}", placed.0))).forever();
    depot.on(move |placed: &Placed| c.write(format!("depot:{}", placed.0))).forever();
    inner.on(move |placed: &Placed| d.write(format!("shop.eu:{}", placed.0))).forever();
    assert_eq!((bus.emit(&Placed(1)), shop.emit(&Placed(2)), inner.emit(&Placed(3))), (1, 1, 1));
    assert_eq!(diary.take(), "bus:1 shop:2 shop.eu:3");
    assert_eq!(
        bus.names(),
        ["depot.order.placed", "order.placed", "shop.eu.order.placed", "shop.order.placed"]
    );
}

#[test]
fn patterns_are_prefixed_and_listeners_see_the_whole_name() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let shop = bus.namespace("shop").expect("valid");
    for (scope, pattern) in [("shop", "order.*"), ("shop", "**"), ("bus", "shop.**"), ("bus", "order.*")] {
        let entry = diary.clone();
        let write = move |any: &Envelope| entry.write(format!("{scope}:{pattern}:{}", any.name()));
        let guard =
            if scope == "bus" { bus.subscribe(pattern, write) } else { shop.subscribe(pattern, write) };
        guard.expect("valid").forever();
    }
    assert_eq!(shop.emit(&Placed(1)), 3);
    let name = "shop.order.placed";
    assert_eq!(diary.take(), format!("shop:order.*:{name} shop:**:{name} bus:shop.**:{name}"));
    assert_eq!(bus.emit(&Placed(1)), 1);
    assert_eq!((shop.listener_count("order.placed"), bus.listener_count("order.placed")), (3, 1));
    assert_eq!(shop.subscribe("order.**x", |_| ()).expect_err("invalid").column, 7);
    assert!(
        bus.namespace("shop.*").is_err() && bus.namespace("").is_err() && shop.namespace("a..b").is_err()
    );
}

#[tokio::test]
async fn every_way_to_subscribe_and_to_emit_is_in_the_namespace() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let shop = bus.namespace("shop").expect("valid");
    let (deferred, weak, once) = (diary.clone(), Arc::new(diary.clone()), diary.clone());
    shop.on_async(move |placed: On<Placed>| {
        let entry = deferred.clone();
        async move { entry.write(format!("async:{}", placed.envelope().name())) }
    })
    .forever();
    shop.listen().on_weak(&weak, |diary: &Diary, placed: &Placed| diary.write(placed.0)).forever();
    shop.listen().once().first().on(move |_: &Placed| once.write("once")).forever();
    let next = shop.listen::<Placed>().next();
    let mut stream = shop.listen().when(|placed: &Placed| placed.0 > 1).stream(10);
    let topic: Filter = serde_json::from_str(r#"{"topic":"shop.order.*"}"#).expect("a filter");
    let mut all = shop.listen().filter(topic).stream_of("**", 10).expect("valid");
    bus.emit(&Placed(9));
    assert_eq!(shop.emit_async(Placed(1)).await.heard, 5);
    assert_eq!(diary.take(), "once 1 async:shop.order.placed");
    assert_eq!(shop.emit_shared(&Arc::new(Placed(2))), 4);
    let envelope = Envelope::build("order.placed").json("3").finish().expect("valid");
    assert_eq!(shop.emit_envelope(&envelope).expect("a name"), 4);
    bus.settled().await;
    assert_eq!(next.await.expect("it came").0, 1);
    let typed = std::iter::from_fn(|| stream.next().now_or_never().flatten().map(|placed| placed.0));
    assert_eq!(typed.collect::<Vec<_>>(), [2, 3]);
    let names = std::iter::from_fn(|| all.next().now_or_never().flatten());
    assert!(names.map(|any| any.name().clone()).eq(["shop.order.placed"; 3].map(tidings_core::Text::from)));
    drop((weak, stream, all));
    assert_eq!(shop.emit(&Placed(4)), 1);
    assert_eq!(bus.emit(&Placed(9)), 0);
}

#[test]
fn a_shared_event_is_not_copied_and_an_envelope_keeps_everything_but_its_name() {
    let bus = Bus::new();
    let shop = bus.namespace("shop").expect("valid");
    let (heard, same) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Sent { order: "1".into(), secret: 7 }));
    let all = heard.clone();
    shop.on(move |sent: &Sent| all.lock().push(sent.secret)).forever();
    shop.emit_shared(&same);
    shop.emit(&*same);
    assert_eq!(*heard.lock(), [7, 0], "a shared one is handed over, another one travels as JSON");

    let seen = Arc::new(Mutex::new(None));
    let last = seen.clone();
    shop.subscribe("order.*", move |any| *last.lock() = Some(any.clone())).expect("valid").forever();
    let full = |name: &str| {
        let builder = Envelope::build(name).id("id").source("/x").schema_version(3).key("k").subject("s");
        let builder = builder.stream("st").tags(vec!["a:b".into()]).time(Timestamp::from_millis(5));
        let builder = builder.expiry(Timestamp::from_millis(9)).correlation("c").causation("d").hops(4);
        let builder = builder.user("u").tenant("t").priority(Priority::Critical).trace_parent("tp");
        let builder = builder.trace_state("ts").data_schema("ds").attribute("free", Attribute::Integer(1));
        builder.content_type("text/plain").payload(PayloadForm::Text, "data").finish().expect("valid")
    };
    shop.emit_envelope(&full("order.placed")).expect("a name");
    let (heard, meant) = (seen.lock().take().expect("it came"), full("shop.order.placed"));
    assert!(heard.same_content(&meant) && (heard.id(), heard.source()) == (meant.id(), meant.source()));
    let long = Envelope::build("a".repeat(253)).finish().expect("a long name");
    assert!(matches!(shop.emit_envelope(&long), Err(EnvelopeError::Name(_))));
}

#[tokio::test]
async fn it_is_removed_as_a_whole_with_those_inside_and_without_what_is_on_the_bus() {
    let bus = Bus::new();
    let shop = bus.namespace("shop").expect("valid");
    let inner = bus.namespace("shop.eu").expect("valid");
    let other = bus.namespace("shopping").expect("valid");
    let kept = [
        bus.subscribe("shop.**", |_| ()).expect("valid"),
        other.on(|_: &Placed| ()),
        bus.on(|_: &Placed| ()),
    ];
    let gone = [
        shop.on(|_: &Placed| ()),
        shop.on(|_: &Cancelled| ()),
        inner.on(|_: &Placed| ()),
        inner.subscribe("**", |_| ()).expect("valid"),
        bus.namespace("shop").expect("valid").subscribe("order.placed", |_| ()).expect("valid"),
    ];
    let next = shop.listen::<Placed>().next();
    assert_eq!(shop.remove_all(), 6);
    assert!(kept.iter().all(|guard| guard.is_live()) && !gone.iter().any(|guard| guard.is_live()));
    assert_eq!(next.await.map(|on| on.0), Err(WaitError::Ended));
    assert_eq!(bus.names(), ["order.placed", "shop.**", "shopping.order.placed"]);
    assert_eq!((shop.emit(&Placed(1)), other.emit(&Placed(1)), shop.remove_all()), (1, 1, 0));
    let again = shop.on(|_: &Placed| ());
    assert_eq!(shop.emit(&Placed(1)), 2);
    drop(again);
}

#[test]
fn two_versions_of_an_event_are_told_apart_in_a_namespace_too() {
    events! {
        Old = "thing.made" version 1;
        New = "thing.made" version 2;
    }
    let (bus, diary) = (Bus::new(), Diary::default());
    let shop = bus.namespace("shop").expect("valid");
    let (old, new) = (diary.clone(), diary.clone());
    shop.on(move |made: &Old| old.write(format!("old:{}", made.0))).forever();
    shop.on(move |made: &New| new.write(format!("new:{}", made.0))).forever();
    assert_eq!((shop.emit(&Old(1)), shop.emit(&New(2))), (1, 1));
    assert_eq!(diary.take(), "old:1 new:2");
}

#[test]
fn an_event_that_cannot_be_written_is_told_to_the_error_channel_for_each_listener() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    let shop = bus.namespace("shop").expect("valid");
    assert_eq!(shop.emit(&unwritable::Mute), 0);
    assert!(failures.take().is_empty(), "nobody listens");
    shop.on(|_: &unwritable::Mute| ()).forever();
    shop.subscribe("**", |_| ()).expect("valid").forever();
    assert_eq!(shop.emit(&unwritable::Mute), 0);
    let failures = failures.take();
    assert_eq!(failures.len(), 2);
    assert!(failures.iter().all(|failed| matches!(failed.fault(), Fault::Unreadable(_))));
    assert!(failures.iter().all(|failed| &**failed.event() == "shop.mute.made"));
}

/// An event that cannot be written.
mod unwritable {
    use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
    use tidings_core::{Event, EventInfo};

    /// It says nothing.
    #[derive(Deserialize)]
    pub struct Mute;

    impl Serialize for Mute {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("mute"))
        }
    }

    impl Event for Mute {
        const INFO: &'static EventInfo = &EventInfo { name: "mute.made", version: 1, fields: &[] };
    }
}

/// The length of a number in digits.
impl Question for Placed {
    type Answer = usize;
    type Error = ();
}

#[tokio::test]
async fn questions_are_asked_and_answered_within_it() {
    let bus = Bus::new();
    let (shop, depot) = (bus.namespace("shop").expect("valid"), bus.namespace("depot").expect("valid"));
    let guard = shop.respond(|placed: &Placed| Ok(placed.0.to_string().len()));
    let mut replies = shop.listen().stream_of("reply.**", 10).expect("valid");
    assert_eq!(shop.request(Placed(4711)).await.expect("an answer"), 4);
    assert!(matches!(depot.request(Placed(4711)).await, Err(RequestError::Unheard)));
    assert!(matches!(bus.request(Placed(4711)).await, Err(RequestError::Unheard)));
    let reply = replies.next().now_or_never().flatten().expect("it was seen");
    assert!(reply.name().starts_with("shop.reply.order.placed."));
    drop((guard, replies));
    assert!(bus.names().is_empty());

    shop.listen().respond_async(|_: On<Placed>| std::future::pending()).forever();
    let mut asked = pin!(shop.request(Placed(1)).into_future());
    assert!(poll!(&mut asked).is_pending());
    assert_eq!(shop.remove_all(), 2);
    assert!(matches!(poll!(&mut asked), Poll::Ready(Err(RequestError::Ended))));
}
