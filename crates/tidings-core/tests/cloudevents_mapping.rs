//! How our own metadata is carried by CloudEvents, and what becomes of extensions that only look like it.

use serde_json::{Value, json};
use tidings_core::{
    Attribute, Envelope, EventTime, PayloadForm, Priority, Text, Timestamp,
    cloudevents::{self, Incoming, Place, WriteError},
};

fn read(event: &Value) -> Incoming {
    cloudevents::read(event.to_string().as_bytes()).expect("a valid event")
}

fn written(envelope: &Envelope, place: Option<&Place>) -> Value {
    serde_json::from_slice(&cloudevents::write(envelope, place).expect("writable")).expect("JSON")
}

fn foreign(extensions: Value) -> Value {
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "order.placed"});
    event.as_object_mut().expect("an object").extend(extensions.as_object().expect("an object").clone());
    event
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// An envelope in which nothing is left at its default.
fn full() -> Envelope {
    Envelope::build("order.placed")
        .id("e-1")
        .source("/shop")
        .subject("the order")
        .time(EventTime::parse("2025-01-02T03:04:05.600+02:00").expect("a time"))
        .content_type("application/vnd.shop+json")
        .data_schema("https://example.com/order/2")
        .key("4711")
        .stream("orders")
        .schema_version(2)
        .tags(vec!["customer:7".into(), "note:a,\"b\"".into()])
        .correlation("c-1")
        .causation("c-9")
        .hops(3)
        .user("ada")
        .tenant("acme")
        .priority(Priority::Critical)
        .expiry(at("2025-02-01T00:00:00Z"))
        .trace_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .trace_state("vendor=1")
        .attribute("shelf", Attribute::Text("B4".into()))
        .attribute("fragile", Attribute::Bool(true))
        .attribute("weight", Attribute::Json("1.50".into()))
        .json("{\"total\":3}")
        .finish()
        .expect("a valid envelope")
}

/// The wire format, letter for letter: what has been written once must always be read.
const FULL: &str = concat!(
    r#"{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.placed","subject":"the order","#,
    r#""time":"2025-01-02T03:04:05.600+02:00","datacontenttype":"application/vnd.shop+json","#,
    r#""dataschema":"https://example.com/order/2","partitionkey":"4711","streamname":"orders","#,
    r#""schemaversion":2,"tags":"[\"customer:7\",\"note:a,\\\"b\\\"\"]","correlationid":"c-1","#,
    r#""causationid":"c-9","hops":3,"userid":"ada","tenantid":"acme","priority":"critical","#,
    r#""expirytime":"2025-02-01T00:00:00Z","#,
    r#""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"vendor=1","#,
    r#""fragile":true,"shelf":"B4","weight":1.50,"data":{"total":3}}"#,
);

#[test]
fn all_metadata_is_written_as_the_golden_line_and_read_from_it() {
    let event = full();
    assert_eq!(String::from_utf8(cloudevents::write(&event, None).expect("writable")).expect("text"), FULL);
    let back = cloudevents::read(FULL.as_bytes()).expect("valid");
    assert!(back.envelope.same_content(&event));
    assert_eq!((back.envelope.id(), back.envelope.source()), (event.id(), event.source()));
    assert_eq!(back.envelope.own_stream().map(|text| &**text), Some("orders"));
    assert_eq!(back.place, None);
}

#[test]
fn defaults_are_not_written() {
    let event = Envelope::build("order.placed").id("1").source("/s").key("7").finish().expect("valid");
    assert_eq!((event.subject(), &*event.stream()), (Some("7"), "order-7"));
    assert_eq!(written(&event, None), foreign(json!({"partitionkey": "7"})));
}

#[test]
fn a_recorded_event_carries_its_place_and_an_import_does_not_keep_it() {
    let place = Place {
        stream: "order-7".into(),
        position: 5_000_000_000,
        version: 3,
        recorded: at("2025-01-01T00:00:00.000001Z"),
    };
    let event = Envelope::build("order.placed").id("1").source("/s").key("7").finish().expect("valid");
    let export = written(&event, Some(&place));
    assert_eq!(
        export,
        foreign(json!({
            "partitionkey": "7",
            "streamname": "order-7",
            "position": "5000000000",
            "streamversion": "3",
            "recordedtime": "2025-01-01T00:00:00.000001Z",
        }))
    );
    let back = read(&export);
    assert_eq!(back.place, Some(place.clone()));
    assert_eq!(back.envelope.attributes().count(), 0);
    assert_eq!(back.envelope.own_stream(), None, "the default stream stays a default");
    assert_eq!(written(&back.envelope, None), foreign(json!({"partitionkey": "7"})));

    let elsewhere = Place { stream: "archive".into(), ..place };
    let back = read(&written(&event, Some(&elsewhere)));
    assert_eq!(back.envelope.own_stream().map(|text| &**text), Some("archive"));
    assert_eq!(back.place, Some(elsewhere));
}

#[test]
fn half_a_place_is_no_place() {
    for half in [
        json!({"position": "1", "streamversion": "1", "recordedtime": "2025-01-01T00:00:00Z"}),
        json!({"streamname": "s", "position": "1", "recordedtime": "2025-01-01T00:00:00Z"}),
        json!({"streamname": "s", "position": "0", "streamversion": "1", "recordedtime": "2025-01-01T00:00:00Z"}),
        json!({"streamname": "s", "position": 1, "streamversion": 1, "recordedtime": "2025-01-01T00:00:00Z"}),
        json!({"streamname": "s", "position": "1", "streamversion": "1", "recordedtime": "2025-01-01T01:00:00+01:00"}),
        json!({"streamname": "s", "position": "01", "streamversion": "1", "recordedtime": "2025-01-01T00:00:00Z"}),
        json!({"streamname": "s", "position": "1", "streamversion": "+1", "recordedtime": "2025-01-01T00:00:00Z"}),
        json!({"recordedtime": "2025-01-01T00:00:00Z"}),
    ] {
        let event = foreign(half);
        let incoming = read(&event);
        assert_eq!(incoming.place, None, "{event}");
        assert!(incoming.envelope.attribute("recordedtime").is_some());
        assert_eq!(written(&incoming.envelope, None), event);
    }
}

#[test]
fn what_only_looks_like_ours_stays_a_free_attribute() {
    let event = foreign(json!({
        "partitionkey": 7,
        "streamname": "",
        "schemaversion": 0,
        "tags": "red, green",
        "correlationid": {"a": 1},
        "causationid": "",
        "hops": "many",
        "userid": 12,
        "tenantid": ["a"],
        "priority": "urgent",
        "expirytime": "tomorrow",
        "traceparent": false,
        "tracestate": 1.5,
        "payloadform": "json",
    }));
    let incoming = read(&event);
    let envelope = &incoming.envelope;
    assert_eq!(envelope.attributes().count(), 14);
    assert_eq!((envelope.key(), envelope.hops(), envelope.schema_version()), (None, 0, 1));
    assert_eq!((envelope.tags().len(), envelope.expiry(), envelope.priority()), (0, None, Priority::Normal));
    assert_eq!(written(envelope, None), event);
}

#[test]
fn a_strangers_default_is_written_back() {
    for extensions in [
        json!({"schemaversion": 1, "hops": 0, "priority": "normal", "tags": "[]"}),
        json!({"partitionkey": "7", "subject": "7"}),
        json!({"tags": "[\"a\",5]"}),
        json!({"tags": format!("[{}\"x\"]", "\"x\",".repeat(64))}),
        json!({"hops": 65_536, "schemaversion": 4_294_967_296_i64}),
    ] {
        let event = foreign(extensions);
        assert_eq!(written(&read(&event).envelope, None), event);
    }
}

#[test]
fn what_says_the_same_in_other_words_counts_and_keeps_its_words() {
    let event = foreign(json!({
        "hops": "3",
        "schemaversion": "2",
        "tags": "[ \"a:1\" ]",
        "expirytime": "2025-01-01T01:00:00+01:00",
    }));
    let envelope = read(&event).envelope;
    assert_eq!((envelope.hops(), envelope.schema_version()), (3, 2));
    assert_eq!(envelope.tags(), [Text::from("a:1")]);
    assert_eq!(envelope.expiry(), Some(at("2025-01-01T00:00:00Z")));
    assert_eq!(written(&envelope, None), event);

    let changed = envelope.edit().hops(4).expiry(at("2026-01-01T00:00:00Z")).finish().expect("valid");
    let line = written(&changed, None);
    assert_eq!((&line["hops"], &line["schemaversion"]), (&json!(4), &json!("2")));
    assert_eq!(line["expirytime"], json!("2026-01-01T00:00:00Z"));
}

#[test]
fn the_envelopes_own_field_wins_over_a_free_attribute_of_its_name() {
    let event = read(&foreign(json!({"hops": "many", "partitionkey": 5}))).envelope;
    let event = event.edit().hops(1).key("k").finish().expect("valid");
    assert_eq!(written(&event, None), foreign(json!({"hops": 1, "partitionkey": "k"})));
}

#[test]
fn the_form_of_a_payload_survives_where_the_content_type_says_another() {
    for (form, content_type, payload, line) in [
        (PayloadForm::Text, None, &b"hello"[..], json!({"payloadform": "text", "data": "hello"})),
        (
            PayloadForm::Text,
            Some("application/json"),
            b"{\"a\":1}",
            json!({"datacontenttype": "application/json", "payloadform": "text", "data": "{\"a\":1}"}),
        ),
        (
            PayloadForm::Json,
            Some("text/plain"),
            b"\"quoted\"",
            json!({"datacontenttype": "text/plain", "payloadform": "json", "data": "quoted"}),
        ),
        (PayloadForm::Json, Some("text/plain"), b"5", json!({"datacontenttype": "text/plain", "data": 5})),
        (
            PayloadForm::Binary,
            Some("text/plain"),
            b"a",
            json!({"datacontenttype": "text/plain", "data_base64": "YQ=="}),
        ),
        (PayloadForm::Binary, None, b"", json!({"data_base64": ""})),
        (PayloadForm::Absent, Some("text/plain"), b"", json!({"datacontenttype": "text/plain"})),
    ] {
        let mut event = Envelope::build("order.placed").id("1").source("/s").payload(form, payload);
        if let Some(content_type) = content_type {
            event = event.content_type(content_type);
        }
        let event = event.finish().expect("valid");
        assert_eq!(written(&event, None), foreign(line));
        let back = read(&written(&event, None)).envelope;
        assert!(back.same_content(&event), "{form:?} {content_type:?}");

        let (headers, body) = cloudevents::write_binary(&event, None).expect("writable");
        let message = headers.iter().map(|(name, value)| (&**name, &**value));
        let back = cloudevents::read_binary(message, body).expect("valid").envelope;
        assert!(back.same_content(&event), "{form:?} {content_type:?} in binary mode");
    }
}

#[test]
fn a_strangers_word_about_the_form_counts_only_where_it_changes_something() {
    for (extensions, form, kept) in [
        (json!({"payloadform": "json", "data": "x"}), PayloadForm::Json, true),
        (json!({"payloadform": "binary", "data": "x"}), PayloadForm::Json, true),
        (json!({"payloadform": "text", "data": 5}), PayloadForm::Json, true),
        (json!({"payloadform": "text", "data": "x"}), PayloadForm::Text, false),
        (json!({"payloadform": "text", "datacontenttype": "a/b", "data": "x"}), PayloadForm::Text, true),
        (json!({"payloadform": "text", "data_base64": "YQ=="}), PayloadForm::Binary, true),
        (json!({"payloadform": "text"}), PayloadForm::Absent, true),
    ] {
        let event = foreign(extensions);
        let envelope = read(&event).envelope;
        assert_eq!((envelope.form(), envelope.attribute("payloadform").is_some()), (form, kept), "{event}");
        assert_eq!(written(&envelope, None), event);
    }
}

#[test]
fn an_empty_content_type_or_schema_says_nothing() {
    let event =
        Envelope::build("order.placed").id("1").source("/s").content_type("").data_schema("").json("5");
    let event = event.finish().expect("valid");
    assert_eq!(written(&event, None), foreign(json!({"data": 5})));
    let (headers, _) = cloudevents::write_binary(&event, None).expect("writable");
    assert_eq!(headers[0], ("content-type".to_owned(), "application/json".to_owned()));
    assert_eq!(headers.len(), 5);
}

#[test]
fn a_payload_over_several_lines_is_written_on_one() {
    let event = |json: &'static str| Envelope::build("a.b").id("1").source("/s").json(json).finish();
    let pretty = event("\n{\n  \"text\": \"a \\n b\",\n  \"list\": [1,\r\n 2]\n}\n").expect("valid");
    let line = String::from_utf8(cloudevents::write(&pretty, None).expect("writable")).expect("text");
    assert!(line.ends_with(r#""data":{"text":"a \n b","list":[1,2]}}"#), "{line}");
    let spaced = event(" {\"a\" : 1} ").expect("valid");
    let line = String::from_utf8(cloudevents::write(&spaced, None).expect("writable")).expect("text");
    assert!(line.ends_with(r#""data":{"a" : 1}}"#), "{line}");
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let base = || Envelope::build("a.b").id("1").source("/s");
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let text = |text: &str| Attribute::Text(text.into());
    for (event, expected) in [
        (base().json("{\"a\":"), "data"),
        (base().json(""), "data"),
        (base().json("1 2"), "data"),
        (base().json(&b"\"\xff\""[..]), "data"),
        (base().json(nested(128)), "deep"),
        (base().payload(PayloadForm::Text, &b"\xff"[..]), "utf8"),
        (base().attribute("x", Attribute::Json("{".into())), "x"),
        (base().attribute("x", Attribute::Json(nested(128).into())), "deep"),
        (base().attribute("id", text("2")), "reserved"),
        (base().attribute("data", text("2")), "reserved"),
        (base().attribute("", text("2")), "nameless"),
        (base().attribute("x", text(&"y".repeat(65_536))), "much"),
    ] {
        let event = event.finish().expect("the envelope does not look into payloads and attributes");
        let mut out = b"before".to_vec();
        let error = cloudevents::write_into(&mut out, &event, None).expect_err(expected);
        assert_eq!(out, b"before");
        let kind = match &error {
            WriteError::NotJson { field, .. } => field,
            WriteError::TooDeep(_) => "deep",
            WriteError::NotUtf8 => "utf8",
            WriteError::Reserved(_) => "reserved",
            WriteError::Nameless => "nameless",
            WriteError::TooMuch => "much",
            other => panic!("{other}"),
        };
        assert_eq!(kind, expected);
        assert_eq!(cloudevents::write_binary(&event, None).expect_err("the same"), error);
        let fine = base().finish().expect("valid");
        let batch = cloudevents::write_batch([(&fine, None), (&event, None)]).expect_err("the second");
        assert_eq!(batch, WriteError::InBatch { event: 2, error: Box::new(error) });
    }
    let deep = base().json(nested(127)).finish().expect("valid");
    cloudevents::read(&cloudevents::write(&deep, None).expect("just within")).expect("readable");
}

#[test]
fn what_cannot_be_a_header_is_refused_in_binary_mode_only() {
    let base = || Envelope::build("a.b").id("1").source("/s").json("1");
    for (event, expected) in [
        (base().attribute("Upper", Attribute::Bool(true)), WriteError::HeaderName("Upper".into())),
        (base().attribute("a b", Attribute::Bool(true)), WriteError::HeaderName("a b".into())),
        (base().content_type("text/plain\r\nx: y"), WriteError::HeaderValue),
        (base().content_type(" text/plain"), WriteError::HeaderValue),
        (base().content_type("text/plän"), WriteError::HeaderValue),
    ] {
        let event = event.finish().expect("valid");
        assert_eq!(cloudevents::write_binary(&event, None).expect_err("no header"), expected);
        let line = cloudevents::write(&event, None).expect("JSON has no such limit");
        assert!(cloudevents::read(&line).expect("readable").envelope.same_content(&event));
    }
}

#[test]
fn a_place_travels_in_headers_too() {
    let place =
        Place { stream: "order-7".into(), position: 9, version: 2, recorded: at("2025-01-01T00:00:00Z") };
    let (headers, body) = cloudevents::write_binary(&full(), Some(&place)).expect("writable");
    let message = headers.iter().map(|(name, value)| (&**name, &**value));
    let back = cloudevents::read_binary(message, body).expect("valid");
    assert_eq!(back.place, Some(place));
    assert_eq!(back.envelope.hops(), 3);
    assert_eq!(back.envelope.schema_version(), 2);
    let free: Vec<(&str, &Attribute)> =
        back.envelope.attributes().map(|(name, value)| (&**name, value)).collect();
    let text = |text: &str| Attribute::Text(text.into());
    assert_eq!(free, [("fragile", &text("true")), ("shelf", &text("B4")), ("weight", &text("1.50"))]);
}
