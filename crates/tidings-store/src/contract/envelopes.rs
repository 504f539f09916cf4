//! Rows about the envelope: it comes back with everything it was given and nothing else.

use bytes::Bytes;
use tidings_core::{
    Append, Attribute, Commit, Envelope, EnvelopeBuilder, Event, EventInfo, EventTime, PayloadForm, Priority,
    Text, Timestamp,
};

use super::{
    Fresh,
    history::Dice,
    kit::{Outcome, all, event, failed, made, named, nobody, one, refuses, same},
    show,
};
use crate::{AnyStore, Error, Read};

table![
    "envelope: one with every field comes back with every field" => full,
    "envelope: one with nothing but a name comes back with nothing else" => bare,
    "envelope: payloads of every form come back byte by byte" => payloads,
    "envelope: the event's time comes back as it was written" => written_times,
    "envelope: attributes of every kind come back" => attributes,
    "envelope: a stream or subject that equals its default is still one's own" => own,
    "envelope: a typed event is stored as its JSON" => typed,
    "envelope: whatever is put together comes back" => any,
    "envelope: the same id with any part changed is another event" => every_part_counts,
];

/// Appends to `stream` and compares what comes back, by log, by stream and by id.
async fn comes_back(store: &AnyStore, stream: &str, event: Envelope) -> Outcome {
    let wanted = show::envelope(&event);
    let applied = store.apply(Commit::append(Append::to(stream, vec![event.clone()]))).await?;
    let page = store.read(&Read::after(applied.first.saturating_sub(1))).await?;
    let found = store.find(&nobody(), event.source(), event.id()).await?;
    let last = all(store, Read::stream(stream).from(applied.version.saturating_sub(1))).await?;
    for (way, back) in
        [("the log", page.events.first()), ("the id", found.as_ref()), ("the stream", last.first())]
    {
        let Some(back) = back else { return Err(failed(&format!("no event by {way}"))) };
        same(&format!("the envelope by {way}"), &show::envelope(&back.envelope), &wanted)?;
        same("its stream", &*back.stream, stream)?;
        ensure!(back.envelope.same_content(&event), "the envelope by {way} has not the same content");
    }
    Ok(())
}

fn everything(id: &str) -> EnvelopeBuilder {
    let micros = |at| Timestamp::from_micros(at);
    Envelope::build("order.line.added")
        .id(id)
        .source("urn:shop:1?a=b#ü")
        .schema_version(7)
        .key("key-1")
        .subject("subject 🦀")
        .stream("somewhere-else")
        .tags(vec![Text::from("customer:7"), Text::from("a"), Text::from("customer:7"), Text::from(":")])
        .time(EventTime::parse("2026-02-03T04:05:06.700+02:00").expect("a time"))
        .expiry(micros(-1))
        .correlation("first")
        .causation("before")
        .hops(63)
        .user("user-1")
        .tenant("a tenant's own word")
        .priority(Priority::Critical)
        .trace_parent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .trace_state("vendor=1,other=2")
        .content_type("application/json; charset=utf-8")
        .data_schema("https://example.invalid/schema#1")
        .attribute("flag", Attribute::Bool(true))
        .attribute("count", Attribute::Integer(-5))
        .attribute("note", Attribute::Text(Text::from("a\n\"note\"")))
        .attribute("rest", Attribute::Json(Text::from(r#"{ "b":1, "a":[1.0,null] }"#)))
        .json(r#"{ "b": 1,  "a": 2 }"#)
}

async fn full(fresh: Fresh) -> Outcome {
    comes_back(&fresh.store, "order-1", made(everything("1"))).await
}

async fn bare(fresh: Fresh) -> Outcome {
    comes_back(&fresh.store, "order", made(Envelope::build("order"))).await?;
    comes_back(&fresh.store, "elsewhere", made(Envelope::build("order.placed").key("1"))).await
}

async fn payloads(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let bytes: Bytes = (0..=255_u8).cycle().take(5_000).collect();
    let zstd_like = Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]);
    for (form, payload) in [
        (PayloadForm::Json, Bytes::from_static(b"null")),
        (PayloadForm::Json, Bytes::from_static(b" {\"a\" : 1.0e2, \"a\": 2} ")),
        (PayloadForm::Json, Bytes::from(format!("\"{}\"", "ü".repeat(30_000)))),
        (PayloadForm::Json, Bytes::new()),
        (PayloadForm::Text, Bytes::from_static("text, 'quoted' ü".as_bytes())),
        (PayloadForm::Text, Bytes::new()),
        (PayloadForm::Binary, bytes),
        (PayloadForm::Binary, zstd_like),
        (PayloadForm::Binary, Bytes::from(vec![0; 100_000])),
        (PayloadForm::Binary, Bytes::new()),
        (PayloadForm::Absent, Bytes::new()),
    ] {
        let event = Envelope::build("order.placed").content_type("x/y").payload(form, payload);
        comes_back(store, "a", made(event)).await?;
    }
    Ok(())
}

async fn written_times(fresh: Fresh) -> Outcome {
    for text in [
        "2026-02-03T04:05:06Z",
        "2026-02-03T04:05:06.000Z",
        "2026-02-03T04:05:06.123456Z",
        "2026-02-03T04:05:06.123456789Z",
        "2026-02-03T04:05:06-07:30",
        "2026-02-03T04:05:06.1+00:00",
        "2026-02-03T04:05:06-00:00",
        "2026-02-03t04:05:06z",
        "1969-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00Z",
    ] {
        let time = EventTime::parse(text).map_err(|error| failed(&error.to_string()))?;
        let event = made(Envelope::build("order.placed").time(time));
        comes_back(&fresh.store, "a", event.clone()).await?;
        let found = fresh.store.find(&nobody(), event.source(), event.id()).await?;
        let back = found.and_then(|found| found.envelope.time().map(ToString::to_string));
        same("the time as text", back.as_deref(), Some(text))?;
    }
    Ok(())
}

async fn attributes(fresh: Fresh) -> Outcome {
    for value in [
        Attribute::Bool(false),
        Attribute::Bool(true),
        Attribute::Integer(0),
        Attribute::Integer(i64::MIN),
        Attribute::Integer(i64::MAX),
        Attribute::Text(Text::from("")),
        Attribute::Text(Text::from("1")),
        Attribute::Text(Text::from("true")),
        Attribute::Text(Text::from("ü\t🦀")),
        Attribute::Json(Text::from("1.50")),
        Attribute::Json(Text::from("null")),
        Attribute::Json(Text::from("[ 1 ]")),
    ] {
        let event =
            Envelope::build("order.placed").attribute("x", value).attribute("y", Attribute::Bool(true));
        comes_back(&fresh.store, "a", made(event)).await?;
    }
    Ok(())
}

async fn own(fresh: Fresh) -> Outcome {
    let placed = || Envelope::build("order.placed").key("1");
    comes_back(&fresh.store, "order-1", made(placed())).await?;
    comes_back(&fresh.store, "order-1", made(placed().stream("order-1"))).await?;
    comes_back(&fresh.store, "order-1", made(placed().subject("1"))).await?;
    comes_back(&fresh.store, "order-1", made(Envelope::build("order.placed").subject("1"))).await?;
    comes_back(&fresh.store, "order-2", made(placed().stream("order-1"))).await
}

#[derive(serde::Serialize, serde::Deserialize)]
struct OrderPlaced {
    order: String,
}

impl Event for OrderPlaced {
    const INFO: &'static EventInfo = &EventInfo { name: "order.placed", version: 3, fields: &[] };

    fn key(&self) -> Option<Text> {
        Some(Text::from(&self.order))
    }

    fn tags(&self) -> Vec<Text> {
        vec![Text::from("customer:7")]
    }
}

async fn typed(fresh: Fresh) -> Outcome {
    let event = made(Envelope::of(OrderPlaced { order: "4711".into() }));
    comes_back(&fresh.store, "order-4711", event.clone()).await?;
    let found = fresh.store.find(&nobody(), event.source(), event.id()).await?;
    let Some(found) = found else { return Err(failed("a typed event is not found")) };
    same("the payload", found.envelope.payload()?.as_ref(), br#"{"order":"4711"}"#)
}

async fn any(fresh: Fresh) -> Outcome {
    let mut dice = Dice::new(0x0e0e);
    for at in 0..200 {
        let event = dice.envelope(&format!("generated {at}"));
        comes_back(&fresh.store, dice.pick(&["a", "order-1", "ü"]), event).await?;
    }
    Ok(())
}

async fn every_part_counts(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let time = |text| EventTime::parse(text).expect("a time");
    store.apply(one("a", everything("1"))).await?;
    let (fewer, other) = (vec![Text::from("customer:7")], vec![Text::from("a"), Text::from("customer:7")]);
    let base = || made(everything("1")).edit();
    let changed: Vec<EnvelopeBuilder> = vec![
        base().json(r#"{ "b": 1,  "a": 3 }"#),
        base().json(r#"{"b":1,"a":2}"#),
        base().payload(PayloadForm::Text, r#"{ "b": 1,  "a": 2 }"#),
        base().payload(PayloadForm::Absent, ""),
        base().schema_version(8),
        base().key("key-2"),
        base().subject("another"),
        base().stream("a"),
        base().tags(fewer),
        base().tags(other),
        base().tags(vec![]),
        base().time(time("2026-02-03T04:05:06.701+02:00")),
        base().time(time("2026-02-03T02:05:06.7Z")),
        base().expiry(Timestamp::from_micros(-2)),
        base().correlation("another"),
        base().causation("another"),
        base().hops(62),
        base().user("user-2"),
        base().tenant("another"),
        base().priority(Priority::Low),
        base().trace_parent("another"),
        base().trace_state("another"),
        base().content_type("application/json"),
        base().data_schema("another"),
        base().attribute("flag", Attribute::Bool(false)),
        base().attribute("count", Attribute::Text(Text::from("-5"))),
        base().attribute("new", Attribute::Bool(true)),
    ];
    for event in changed {
        reused(store, made(event)).await?;
    }
    let renamed = Envelope::build("order.line.removed").id("1").source("urn:shop:1?a=b#ü");
    reused(store, made(renamed)).await?;
    store.apply(one("a", event("2"))).await?;
    reused(store, made(named("2", "order.shipped"))).await?;
    ensure!(store.apply(one("a", everything("1"))).await?.repeated, "the very same is not a repeat");
    same("the head", store.head().await?, 2)
}

/// Fails unless the event is refused as another one under a known id.
async fn reused(store: &AnyStore, event: Envelope) -> Outcome {
    let wanted = Error::IdReused { id: event.id().clone(), source_uri: event.source().clone() };
    let what = format!("the same id with other content, {}", show::envelope(&event));
    refuses(&what, store.apply(Commit::append(Append::to("a", vec![event]))).await, &wanted)
}
