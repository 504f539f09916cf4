//! The examples of the CloudEvents 1.0 specification: its JSON format, its batches, its HTTP binding.

use serde_json::{Value, json};
use tidings_core::{Attribute, PayloadForm, cloudevents};

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("JSON")
}

/// Reads the example, writes it again, and checks that it says the same; gives what was read.
#[track_caller]
fn there_and_back(example: &Value) -> tidings_core::Envelope {
    let pretty = serde_json::to_string_pretty(example).expect("JSON");
    let incoming = cloudevents::read(pretty.as_bytes()).expect("a valid example");
    assert_eq!(incoming.place, None);
    let mut without_unset = example.clone();
    let members = without_unset.as_object_mut().expect("an object");
    members.retain(|name, value| name == "data" || !value.is_null());
    let written = cloudevents::write(&incoming.envelope, None).expect("writable");
    assert_eq!(value(&written), without_unset);
    assert!(!written.contains(&b'\n'));
    incoming.envelope
}

fn example(id: &str, rest: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "type": "com.example.someevent",
        "source": "/mycontext",
        "id": id,
        "time": "2018-04-05T17:31:00Z",
        "comexampleextension1": "value",
        "comexampleothervalue": 5,
    });
    event.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
    event
}

fn binary() -> Value {
    example(
        "A234-1234-1234",
        json!({"datacontenttype": "application/vnd.apache.thrift.binary", "data_base64": "gAEAAQAAAAT/"}),
    )
}

fn xml() -> Value {
    example(
        "B234-1234-1234",
        json!({"unsetextension": null, "datacontenttype": "application/xml", "data": "<much wow=\"xml\"/>"}),
    )
}

fn object() -> Value {
    example(
        "C234-1234-1234",
        json!({
            "subject": null,
            "datacontenttype": "application/json",
            "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": true},
        }),
    )
}

fn string() -> Value {
    example("D234-1234-1234", json!({"subject": null, "data": "I'm just a string"}))
}

#[test]
fn binary_data_is_decoded_and_encoded() {
    let event = there_and_back(&binary());
    assert_eq!(event.form(), PayloadForm::Binary);
    assert_eq!(&event.payload().expect("there")[..], b"\x80\x01\x00\x01\x00\x00\x00\x04\xff");
    assert_eq!(event.attribute("comexampleextension1"), Some(&Attribute::Text("value".into())));
    assert_eq!(event.attribute("comexampleothervalue"), Some(&Attribute::Integer(5)));
}

#[test]
fn data_of_another_type_than_json_is_text() {
    let event = there_and_back(&xml());
    assert_eq!(event.form(), PayloadForm::Text);
    assert_eq!(&event.payload().expect("there")[..], b"<much wow=\"xml\"/>");
    assert_eq!(event.attribute("unsetextension"), None);
}

#[test]
fn data_of_a_json_type_is_json() {
    let event = there_and_back(&object());
    assert_eq!(event.form(), PayloadForm::Json);
    assert_eq!(event.own_subject(), None);
    assert_eq!(event.content_type().map(|text| &**text), Some("application/json"));
    let data = value(event.payload().expect("there"));
    assert_eq!(data, json!({"appinfoA": "abc", "appinfoB": 123, "appinfoC": true}));
}

#[test]
fn data_without_a_type_is_json_and_a_string_is_not_parsed_further() {
    let event = there_and_back(&string());
    assert_eq!((event.form(), event.content_type()), (PayloadForm::Json, None));
    assert_eq!(&event.payload().expect("there")[..], br#""I'm just a string""#);
}

#[test]
fn data_may_be_any_json_and_null_is_not_absence() {
    for data in
        [json!(5), json!(1.5), json!(true), json!([1, [2]]), json!("{\"no\":\"document\"}"), json!(null)]
    {
        let event = there_and_back(&example("1", json!({ "data": data })));
        assert_eq!(event.form(), PayloadForm::Json);
        assert_eq!(value(event.payload().expect("there")), data);
    }
    let event = there_and_back(&example("1", json!({})));
    assert_eq!(event.form(), PayloadForm::Absent);
}

#[test]
fn attributes_are_mapped_as_the_tables_of_the_specification_say() {
    let event = there_and_back(&example(
        "1234-1234-1234",
        json!({"subject": "larger-context", "dataschema": "https://example.com/schema", "appinfoc": true}),
    ));
    assert_eq!(&**event.name(), "com.example.someevent");
    assert_eq!(&**event.source(), "/mycontext");
    assert_eq!(&**event.id(), "1234-1234-1234");
    assert_eq!(event.subject(), Some("larger-context"));
    assert_eq!(event.data_schema().map(|text| &**text), Some("https://example.com/schema"));
    assert_eq!(event.time().map(ToString::to_string).as_deref(), Some("2018-04-05T17:31:00Z"));
    assert_eq!(event.attribute("appinfoc"), Some(&Attribute::Bool(true)));
    let unset = there_and_back(&example("1", json!({"subject": null, "dataschema": null})));
    assert_eq!((unset.subject(), unset.data_schema()), (None, None));
    let mut no_time = example("1", json!({}));
    no_time["time"] = Value::Null;
    assert_eq!(there_and_back(&no_time).time(), None);
}

#[test]
fn a_batch_holds_two_events_and_an_empty_one_none() {
    let mut second = object();
    second["source"] = "/mycontext/9".into();
    second["type"] = "com.example.someotherevent".into();
    second["time"] = "2018-04-05T17:31:05Z".into();
    second.as_object_mut().expect("an object").remove("subject");
    let batch = Value::from(vec![binary(), second]);
    let events = cloudevents::read_batch(serde_json::to_string_pretty(&batch).expect("JSON").as_bytes());
    let events: Vec<_> = events.expect("valid").into_iter().map(|incoming| incoming.envelope).collect();
    let names: Vec<&str> = events.iter().map(|event| &**event.name()).collect();
    assert_eq!(names, ["com.example.someevent", "com.example.someotherevent"]);
    let written = cloudevents::write_batch(events.iter().map(|event| (event, None))).expect("writable");
    assert_eq!(value(&written), batch);

    assert!(cloudevents::read_batch(b" [ ] ").expect("valid").is_empty());
    assert_eq!(cloudevents::write_batch([]).expect("writable"), b"[]");
}

/// The same event as the JSON format's page shows it in the binary mode of HTTP.
fn headers(event: &Value, content_type: &str) -> Vec<(String, String)> {
    let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
    for name in
        ["specversion", "id", "source", "type", "time", "comexampleextension1", "comexampleothervalue"]
    {
        let text = event[name].as_str().map_or_else(|| event[name].to_string(), str::to_owned);
        headers.push((format!("ce-{name}"), text));
    }
    headers
}

#[test]
fn each_example_in_json_is_the_example_in_binary_mode() {
    let body = |text: &str| text.as_bytes().to_vec();
    for (event, content_type, expected) in [
        (binary(), "application/vnd.apache.thrift.binary", b"\x80\x01\x00\x01\x00\x00\x00\x04\xff".to_vec()),
        (xml(), "application/xml", body("<much wow=\"xml\"/>")),
        (object(), "application/json", body(r#"{"appinfoA":"abc","appinfoB":123,"appinfoC":true}"#)),
        // What JSON leaves out is said here, and the quotes tell that it is a JSON string.
        (string(), "application/json", body(r#""I'm just a string""#)),
    ] {
        let incoming = cloudevents::read(event.to_string().as_bytes()).expect("valid");
        let (written, body) = cloudevents::write_binary(&incoming.envelope, None).expect("writable");
        assert_eq!(written, headers(&event, content_type));
        assert_eq!(&body[..], expected);

        let message = written.iter().map(|(name, value)| (&**name, &**value));
        let back = cloudevents::read_binary(message, body).expect("valid").envelope;
        assert_eq!(back.form(), incoming.envelope.form());
        assert_eq!(back.payload(), incoming.envelope.payload());
        assert_eq!(back.id(), incoming.envelope.id());
        assert_eq!(back.time(), incoming.envelope.time());
    }
}

#[test]
fn the_request_of_the_http_binding_is_read() {
    let request = [
        ("Host", "webhook.example.com"),
        ("ce-specversion", "1.0"),
        ("CE-Type", "com.example.someevent"),
        ("ce-time", "2018-04-05T03:56:24Z"),
        ("Ce-Id", "1234-1234-1234"),
        ("ce-source", " /mycontext/subcontext\t"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", "15"),
    ];
    let event = cloudevents::read_binary(request, "{\"total\": 3}\n\n ").expect("valid").envelope;
    assert_eq!(&**event.id(), "1234-1234-1234");
    assert_eq!(&**event.source(), "/mycontext/subcontext");
    assert_eq!(event.content_type().map(|text| &**text), Some("application/json; charset=utf-8"));
    assert_eq!(event.form(), PayloadForm::Json);
    assert_eq!(&event.payload().expect("there")[..], b"{\"total\": 3}");
    assert_eq!(event.attributes().count(), 0);
}

#[test]
fn header_values_are_percent_encoded_and_also_read_from_quotes() {
    let encoded = "Euro%20%E2%82%AC%20%F0%9F%98%80";
    for header in [encoded, "\"Euro%20€ %f0%9f%98%80\"", "%45uro € 😀"] {
        let message = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "a.b"),
            ("ce-subject", header),
            ("ce-note", header),
        ];
        let event = cloudevents::read_binary(message, "").expect("valid").envelope;
        assert_eq!(event.subject(), Some("Euro € 😀"));
        assert_eq!(event.attribute("note"), Some(&Attribute::Text("Euro € 😀".into())));
        let (headers, _) = cloudevents::write_binary(&event, None).expect("writable");
        assert!(headers.contains(&("ce-subject".to_owned(), encoded.to_owned())), "{headers:?}");
        assert!(headers.contains(&("ce-note".to_owned(), encoded.to_owned())), "{headers:?}");
    }
}
