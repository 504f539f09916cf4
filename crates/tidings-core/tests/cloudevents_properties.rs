//! There and back again: whatever envelope is written is read as the same, and whatever event is read is written as the
//! same JSON.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Number, Value};
use tidings_core::{
    Attribute, Envelope, EnvelopeBuilder, EventTime, JSON, PayloadForm, Priority, Text, Timestamp,
    cloudevents::{self, Incoming, Place},
};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-zA-Z0-9/:.-]{1,12}", 2 => "\\PC{1,8}", 1 => any::<String>()]
}

fn filled() -> impl Strategy<Value = String> {
    text().prop_filter("not empty", |text| !text.is_empty())
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_é-]{0,8}(\\.[A-Z0-9_]{1,8}){0,3}"
}

/// RFC 3339 in all its forms: any number of digits, any offset, and the letters in either case.
fn time() -> impl Strategy<Value = String> {
    let date = (1_i32..=9999, 1_u8..=12, 1_u8..=28, 0_u8..24, 0_u8..60, 0_u8..60);
    let offset = prop_oneof![
        Just("Z".to_owned()),
        Just("z".to_owned()),
        Just("+00:00".to_owned()),
        Just("-00:00".to_owned()),
        (any::<bool>(), 0_u8..24, 0_u8..60)
            .prop_map(|(east, h, m)| format!("{}{h:02}:{m:02}", if east { '+' } else { '-' })),
    ];
    // Years at both ends are left out, so that an offset cannot push the time out of the calendar.
    (date, "(\\.[0-9]{1,9})?", offset, select(vec!['T', 't'])).prop_map(|(date, fraction, offset, t)| {
        let (year, month, day, h, m, s) = date;
        let year = year.clamp(2, 9998);
        format!("{year:04}-{month:02}-{day:02}{t}{h:02}:{m:02}:{s:02}{fraction}{offset}")
    })
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (-60_000_000_000_000_000_i64..250_000_000_000_000_000).prop_map(Timestamp::from_micros)
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i32>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |n| Number::from_f64(n).map(Value::from)),
        Just(Value::from(-0.0)),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|members| Value::from(Map::from_iter(members))),
        ]
    })
}

fn content_type() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "application/json",
            "text/json; charset=utf-8",
            "application/problem+json",
            "text/plain",
            "text/html;charset=latin1",
            "application/xml",
            "image/svg+xml",
            "application/octet-stream",
            "nonsense",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,5}/[a-z+]{1,8}",
    ]
}

fn payload() -> impl Strategy<Value = (PayloadForm, Vec<u8>)> {
    prop_oneof![
        Just((PayloadForm::Absent, Vec::new())),
        json().prop_map(|json| (PayloadForm::Json, json.to_string().into_bytes())),
        any::<String>().prop_map(|text| (PayloadForm::Text, text.into_bytes())),
        vec(any::<u8>(), 0..24).prop_map(|bytes| (PayloadForm::Binary, bytes)),
        // What looks like another form than it is.
        json().prop_map(|json| (PayloadForm::Text, json.to_string().into_bytes())),
        json().prop_map(|json| (PayloadForm::Binary, json.to_string().into_bytes())),
    ]
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<bool>().prop_map(Attribute::Bool),
        any::<i64>().prop_map(Attribute::Integer),
        any::<String>().prop_map(|text| Attribute::Text(text.into())),
        json().prop_filter_map("neither null nor of another kind", |json| match json {
            Value::Array(_) | Value::Object(_) => Some(Attribute::Json(json.to_string().into())),
            Value::Number(number) if !number.is_i64() => Some(Attribute::Json(number.to_string().into())),
            _ => None,
        }),
        Just(Attribute::Json("-0".into())),
    ]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let identity = (name(), filled(), filled(), option::of(filled()), option::of(time()));
    let order = (
        option::of(filled()),
        option::of(filled()),
        prop_oneof![Just(1), 1..=u32::MAX],
        vec(text().prop_map(Text::from), 0..4),
        select(vec![Priority::Low, Priority::Normal, Priority::Critical]),
    );
    let chain = (option::of(filled()), option::of(filled()), prop_oneof![Just(0), any::<u16>()]);
    let rare = (
        vec(option::of(text()), 4),
        option::of(timestamp()),
        option::of(filled()),
        vec(("x[a-z0-9]{0,8}", attribute()), 0..4),
    );
    let data = (payload(), option::of(content_type()));
    (identity, order, chain, rare, data).prop_map(|(identity, order, chain, rare, data)| {
        let (name, id, source, subject, time) = identity;
        let (key, stream, version, tags, priority) = order;
        let (correlation, causation, hops) = chain;
        let (texts, expiry, schema, attributes) = rare;
        let ((form, bytes), content_type) = data;
        let mut event = Envelope::build(name).id(id).source(source).schema_version(version).tags(tags);
        event = event.priority(priority).hops(hops).payload(form, bytes);
        event = given(event, subject, |event, subject| event.subject(subject));
        event = given(event, time, |event, time| event.time(EventTime::parse(&time).expect(&time)));
        event = given(event, key, |event, key| event.key(key));
        event = given(event, stream, |event, stream| event.stream(stream));
        event = given(event, correlation, |event, id| event.correlation(id));
        event = given(event, causation, |event, id| event.causation(id));
        event = given(event, texts[0].clone(), |event, user| event.user(user));
        event = given(event, texts[1].clone(), |event, tenant| event.tenant(tenant));
        event = given(event, texts[2].clone(), |event, parent| event.trace_parent(parent));
        event = given(event, texts[3].clone(), |event, state| event.trace_state(state));
        event = given(event, expiry, |event, at| event.expiry(at));
        event = given(event, schema, |event, schema| event.data_schema(schema));
        event = given(event, content_type, |event, content_type| event.content_type(content_type));
        for (name, value) in attributes {
            event = event.attribute(name, value);
        }
        event.finish().expect("a valid envelope")
    })
}

fn given<T>(
    event: EnvelopeBuilder,
    value: Option<T>,
    with: impl Fn(EnvelopeBuilder, T) -> EnvelopeBuilder,
) -> EnvelopeBuilder {
    match value {
        Some(value) => with(event, value),
        None => event,
    }
}

/// A place in the envelope's own stream or, where one is given, in that.
fn place() -> impl Strategy<Value = Option<(Option<String>, u64, u64, Timestamp)>> {
    option::of((option::of(filled()), 1..=u64::MAX, 1..=u64::MAX, timestamp()))
}

fn placed(event: &Envelope, place: Option<(Option<String>, u64, u64, Timestamp)>) -> Option<Place> {
    place.map(|(stream, position, version, recorded)| {
        let stream = stream.map_or_else(|| Text::from(&*event.stream()), Text::from);
        Place { stream, position, version, recorded }
    })
}

/// What `event` is when it comes back from `place`.
fn at_place(event: Envelope, place: Option<&Place>) -> Envelope {
    match place {
        Some(place) => event.edit().stream(place.stream.clone()).finish().expect("valid"),
        None => event,
    }
}

#[track_caller]
fn assert_same(back: &Incoming, event: &Envelope, place: Option<&Place>) {
    assert!(back.envelope.same_content(event), "{:?} is not {event:?}", back.envelope);
    assert_eq!((back.envelope.id(), back.envelope.source()), (event.id(), event.source()));
    assert_eq!(back.envelope.own_subject(), event.own_subject());
    assert_eq!(back.place.as_ref(), place);
}

/// A value that may stand where one of our extensions has its own.
fn lookalike() -> impl Strategy<Value = Value> {
    let texts = select(vec![
        "",
        "0",
        "1",
        "3",
        "+3",
        "003",
        "-1",
        "65536",
        "low",
        "normal",
        "Critical",
        "critical",
        "[]",
        "[\"a\"]",
        "[ \"a\",\"b\" ]",
        "[1]",
        "2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00.000+01:00",
        "json",
        "text",
        "binary",
        "order-1",
    ]);
    prop_oneof![
        texts.prop_map(Value::from),
        (-1_i64..5).prop_map(Value::from),
        json(),
        Just(Value::from(1_i64 << 40))
    ]
}

/// A valid event of somebody else, as its members.
fn foreign() -> impl Strategy<Value = Map<String, Value>> {
    const OURS: [&str; 17] = [
        "partitionkey",
        "streamname",
        "schemaversion",
        "tags",
        "correlationid",
        "causationid",
        "hops",
        "userid",
        "tenantid",
        "priority",
        "expirytime",
        "traceparent",
        "tracestate",
        "payloadform",
        "position",
        "streamversion",
        "recordedtime",
    ];
    let standard =
        (name(), filled(), filled(), option::of(filled()), option::of(time()), option::of(filled()));
    let extension = prop_oneof![
        3 => ("[a-z0-9]{1,20}", json()),
        1 => ("\\PC{1,6}", json()),
        4 => (select(OURS.to_vec()).prop_map(str::to_owned), lookalike()),
    ];
    let data = prop_oneof![
        Just(None),
        json().prop_map(|json| Some(("data", json))),
        text().prop_map(|text| Some(("data", text.into()))),
        select(vec!["", "YQ==", "/+8=", "AAAA"]).prop_map(|text| Some(("data_base64", text.into()))),
    ];
    (standard, vec(extension, 0..8), option::of(content_type()), data).prop_map(
        |((name, id, source, subject, time, schema), extensions, content_type, data)| {
            let mut event = Map::from_iter(extensions);
            for taken in ["id", "source", "type", "subject", "time", "data", "dataschema"] {
                event.remove(taken);
            }
            event.extend(
                [("specversion", "1.0".into()), ("id", id), ("source", source), ("type", name)]
                    .map(|(member, value)| (member.to_owned(), Value::from(value))),
            );
            let optional = [
                ("subject", subject),
                ("time", time),
                ("dataschema", schema),
                ("datacontenttype", content_type),
            ];
            for (member, value) in optional {
                event.extend(value.map(|value| (member.to_owned(), Value::from(value))));
            }
            event.extend(data.map(|(member, value)| (member.to_owned(), value)));
            event
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_envelope_is_read_as_it_was_written(event in envelope(), place in place()) {
        let place = placed(&event, place);
        let line = cloudevents::write(&event, place.as_ref()).expect("writable");
        prop_assert!(!line.contains(&b'\n'));
        let back = cloudevents::read(&line).expect("readable");
        assert_same(&back, &at_place(event, place.as_ref()), place.as_ref());
        prop_assert_eq!(cloudevents::write(&back.envelope, back.place.as_ref()).expect("writable"), line);
    }

    #[test]
    fn a_batch_is_read_as_it_was_written(events in vec(envelope(), 0..4)) {
        let batch = cloudevents::write_batch(events.iter().map(|event| (event, None))).expect("writable");
        let back = cloudevents::read_batch(&batch).expect("readable");
        prop_assert_eq!(back.len(), events.len());
        for (back, event) in back.iter().zip(&events) {
            assert_same(back, event, None);
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written(event in envelope(), place in place()) {
        let place = placed(&event, place);
        let (headers, body) = cloudevents::write_binary(&event, place.as_ref()).expect("writable");
        for (name, value) in &headers {
            prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(value.bytes().all(|b| b.is_ascii_graphic() || (b == b' ' && name == "content-type")));
        }
        let message = headers.iter().map(|(name, value)| (&**name, &**value));
        let back = cloudevents::read_binary(message, body).expect("readable");
        // Binary mode has only text, and says of JSON that it is JSON.
        let mut expected = at_place(event.clone(), place.as_ref()).edit();
        if event.form() == PayloadForm::Json && event.content_type().is_none() {
            expected = expected.content_type(JSON);
        }
        for (name, value) in event.attributes() {
            let text = match value {
                Attribute::Bool(value) => value.to_string(),
                Attribute::Integer(value) => value.to_string(),
                Attribute::Text(text) | Attribute::Json(text) => text.to_string(),
            };
            expected = expected.attribute(name.clone(), Attribute::Text(text.into()));
        }
        assert_same(&back, &expected.finish().expect("valid"), place.as_ref());
    }

    #[test]
    fn a_strangers_event_is_written_as_it_was_read(event in foreign(), pretty in any::<bool>()) {
        let event = Value::from(event);
        let text = if pretty { serde_json::to_string_pretty(&event) } else { serde_json::to_string(&event) };
        let text = text.expect("JSON");
        let incoming = cloudevents::read(text.as_bytes()).expect("readable");
        let line = cloudevents::write(&incoming.envelope, incoming.place.as_ref()).expect("writable");
        let back: Value = serde_json::from_slice(&line).expect("JSON");
        let mut expected: Value = serde_json::from_str(&text).expect("JSON");
        expected.as_object_mut().expect("an object").retain(|name, value| name == "data" || !value.is_null());
        prop_assert_eq!(back, expected);
    }
}
