//! What is no event: every fault is refused with its place, and nothing that is sent can break the reader.

use proptest::prelude::*;
use tidings_core::cloudevents::{self, Problem, ReadError};

const GOOD: &str = concat!(
    r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","subject":"x\u00e9","#,
    r#""time":"2025-01-01T00:00:00Z","datacontenttype":"application/json","free":{"a":[1]},"#,
    r#""data":{"k":["v",1.5,null,true,"\ud83d\ude00"]}}"#,
);

fn wrong(json: impl AsRef<[u8]>) -> ReadError {
    cloudevents::read(json.as_ref()).expect_err("no valid event")
}

/// A valid event with `members` added.
fn with(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"a.b",{members}}}"#)
}

#[track_caller]
fn check(error: &ReadError, field: Option<&str>, problem: &Problem) {
    assert_eq!(error.field.as_deref(), field, "{error}");
    assert_eq!(std::mem::discriminant(&error.problem), std::mem::discriminant(problem), "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    if let Some(field) = field {
        assert!(text.contains(&format!("`{}`", field.escape_debug())), "{text}");
    }
}

#[test]
fn required_attributes_must_be_there_and_filled() {
    let all = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "a.b")];
    let event = |left_out: &str, replaced: &str| {
        let members: Vec<String> = all
            .iter()
            .filter(|(name, _)| *name != left_out || !replaced.is_empty())
            .map(|(name, value)| {
                if *name == left_out {
                    format!("\"{name}\":{replaced}")
                } else {
                    format!("\"{name}\":\"{value}\"")
                }
            })
            .collect();
        format!("{{{}}}", members.join(","))
    };
    cloudevents::read(event("", "").as_bytes()).expect("all there");
    for (name, _) in all {
        check(&wrong(event(name, "")), Some(name), &Problem::Missing);
        check(&wrong(event(name, "null")), Some(name), &Problem::Missing);
        check(&wrong(event(name, "\"\"")), Some(name), &Problem::Empty);
        check(&wrong(event(name, "1")), Some(name), &Problem::NotText);
        check(&wrong(event(name, "{\"a\":[]}")), Some(name), &Problem::NotText);
    }
    for name in ["subject", "time", "datacontenttype", "dataschema"] {
        check(&wrong(with(&format!("\"{name}\":\"\""))), Some(name), &Problem::Empty);
        check(&wrong(with(&format!("\"{name}\":[1]"))), Some(name), &Problem::NotText);
    }
}

#[test]
fn other_versions_are_refused() {
    for version in ["0.3", "1.1", "1.0.2", "1.0 ", "a version that is really rather long"] {
        let error = wrong(GOOD.replace("\"1.0\"", &format!("\"{version}\"")));
        let cut = version.chars().take(16).collect();
        assert_eq!(error.problem, Problem::SpecVersion(cut));
        assert_eq!(error.field.as_deref(), Some("specversion"));
    }
}

#[test]
fn a_type_that_is_no_name_is_refused_with_the_column() {
    for (name, column) in [("order..placed", 7), ("order.*", 7), ("order placed", 6), (".a", 1)] {
        let error = wrong(GOOD.replace("a.b", name));
        assert_eq!(error.field.as_deref(), Some("type"));
        let Problem::Name(topic) = &error.problem else { panic!("{error}") };
        assert_eq!(topic.column, column, "{name}");
        assert!(error.to_string().contains(&format!("column {column}")), "{error}");
    }
}

#[test]
fn what_is_there_twice_is_refused() {
    for (members, field) in [
        (r#""id":"2""#, "id"),
        (r#""subject":"a","subject":"b""#, "subject"),
        (r#""subject":null,"subject":"b""#, "subject"),
        (r#""data":1,"data":1"#, "data"),
        (r#""data_base64":null,"data_base64":"""#, "data_base64"),
        (r#""free":1,"other":2,"free":null"#, "free"),
        (r#""fr\u0065e":1,"free":1"#, "free"),
        (r#""hops":"many","hops":2"#, "hops"),
    ] {
        check(&wrong(with(members)), Some(field), &Problem::Twice);
    }
    for members in [r#""data":1,"data_base64":"YQ==""#, r#""data_base64":"YQ==","data":null"#] {
        check(&wrong(with(members)), Some("data_base64"), &Problem::TwoPayloads);
    }
    cloudevents::read(with(r#""data":1,"data_base64":null"#).as_bytes()).expect("null is absent");
    let headers = [("ce-id", "1"), ("CE-ID", "1")];
    check(&cloudevents::read_binary(headers, "").expect_err("twice"), Some("id"), &Problem::Twice);
}

#[test]
fn values_that_are_not_what_they_should_be_are_refused() {
    let time = |text: &str| Problem::Time(tidings_core::TimeError(text.into()));
    let not_json = Problem::NotJson(String::new());
    for (members, field, problem) in [
        (r#""time":"yesterday""#.to_owned(), "time", time("")),
        (r#""time":"2025-01-01T00:00:00""#.to_owned(), "time", time("")),
        (r#""time":"2025-02-30T00:00:00Z""#.to_owned(), "time", time("")),
        (r#""data_base64":"a""#.to_owned(), "data_base64", Problem::Base64),
        (r#""data_base64":"YQ""#.to_owned(), "data_base64", Problem::Base64),
        (r#""data_base64":"YQ= =""#.to_owned(), "data_base64", Problem::Base64),
        (r#""data_base64":5"#.to_owned(), "data_base64", Problem::NotText),
        (r#""a\nb":01"#.to_owned(), "a\nb", not_json.clone()),
        (r#""free":"\ud800""#.to_owned(), "free", not_json.clone()),
        (r#""datacontenttype":"text/plain","data":"\ud800""#.to_owned(), "data", not_json.clone()),
        (r#""data":{"a":tru}"#.to_owned(), "data", not_json.clone()),
        (r#""data":"tab	inside""#.to_owned(), "data", not_json.clone()),
        (r#""free":01"#.to_owned(), "free", not_json),
    ] {
        check(&wrong(with(&members)), Some(field), &problem);
    }
}

#[test]
fn what_is_not_one_object_is_refused() {
    for text in ["[]", "1", "\"x\"", "null", "true", "[{}]"] {
        check(&wrong(text), None, &Problem::NotAnObject);
    }
    for text in
        ["", " ", "{", "{]", "not json", "{a:1}", "{\"a\":1,}", &format!("{GOOD},"), &format!("{GOOD}{GOOD}")]
    {
        check(&wrong(text), None, &Problem::NotJson(String::new()));
    }
    for end in 0..GOOD.len() {
        if GOOD.is_char_boundary(end) {
            let error = wrong(&GOOD[..end]);
            assert!(matches!(error.problem, Problem::NotJson(_)), "cut at {end}: {error}");
        }
    }
    cloudevents::read(GOOD.as_bytes()).expect("the whole is valid");
}

#[test]
fn a_batch_says_which_event_is_wrong() {
    let batch = |second: &str| cloudevents::read_batch(format!("[{GOOD}, {second}]").as_bytes());
    assert_eq!(batch(GOOD).expect("valid").len(), 2);
    for (second, field, problem) in [
        ("{}", Some("specversion"), Problem::Missing),
        ("null", None, Problem::NotAnObject),
        ("[]", None, Problem::NotAnObject),
        (r#"{"id":5}"#, Some("id"), Problem::NotText),
        (
            r#"{"free":5,"free":6,"specversion":"1.0","id":"1","source":"/s","type":"a"}"#,
            Some("free"),
            Problem::Twice,
        ),
        (r#"{"data":{"a":}}"#, Some("data"), Problem::NotJson(String::new())),
        ("", None, Problem::NotJson(String::new())),
    ] {
        let error = batch(second).expect_err("the second is wrong");
        assert_eq!(error.event, Some(2), "{error}");
        check(&error, field, &problem);
    }
    for text in ["{}", "1", GOOD] {
        let error = cloudevents::read_batch(text.as_bytes()).expect_err("no array");
        assert_eq!((error.event, &error.problem), (None, &Problem::NotAnArray));
    }
    for text in ["", "[", "[]]"] {
        let error = cloudevents::read_batch(text.as_bytes()).expect_err("no JSON");
        assert!(matches!(error.problem, Problem::NotJson(_)), "{error}");
    }
}

#[test]
fn nesting_is_bounded_and_never_costs_the_stack() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    for member in ["data", "free"] {
        for deep in [&nested(127), &objects(127)] {
            cloudevents::read(with(&format!("\"{member}\":{deep}")).as_bytes()).expect("within the limit");
        }
        for deep in [&nested(128), &objects(128), &nested(1_000_000)] {
            let error = wrong(with(&format!("\"{member}\":{deep}")));
            check(&error, Some(member), &Problem::TooDeep);
        }
    }
    let unclosed = wrong(with(&format!("\"data\":{}", "[".repeat(1_000_000))));
    check(&unclosed, Some("data"), &Problem::NotJson(String::new()));
    let attribute = wrong(with(&format!("\"subject\":{}", nested(1_000_000))));
    check(&attribute, Some("subject"), &Problem::NotText);
    cloudevents::read_batch(nested(1_000_000).as_bytes()).expect_err("an event is no array");
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "a.b"),
        ("content-type", "a/json"),
    ];
    let error = cloudevents::read_binary(headers, nested(1_000_000)).expect_err("too deep");
    check(&error, Some("data"), &Problem::TooDeep);
}

#[test]
fn texts_and_attributes_are_bounded() {
    let long = "x".repeat(1_025);
    let too_long = Problem::TooLong { size: 1_025, limit: 1_024 };
    for name in ["subject", "partitionkey", "streamname", "correlationid", "causationid"] {
        let error = wrong(with(&format!("\"{name}\":\"{long}\"")));
        assert_eq!((error.field.as_deref(), &error.problem), (Some(name), &too_long));
    }
    for (from, name) in [("\"1\"", "id"), ("\"/s\"", "source")] {
        let error = wrong(GOOD.replace(from, &format!("\"{long}\"")));
        assert_eq!((error.field.as_deref(), &error.problem), (Some(name), &too_long));
    }
    check(
        &wrong(GOOD.replace("a.b", &"x".repeat(1 << 20))),
        Some("type"),
        &Problem::Name(tidings_core::check_topic("").expect_err("empty")),
    );

    let free = |bytes: usize| with(&format!("\"free\":\"{}\"", "x".repeat(bytes)));
    cloudevents::read(free(65_532).as_bytes()).expect("with its name just within");
    check(&wrong(free(65_533)), None, &Problem::TooMuch);
    check(&wrong(with(&format!("\"dataschema\":\"{}\"", "x".repeat(65_537)))), None, &Problem::TooMuch);
    let many: Vec<String> = (0..100_000).map(|n| format!("\"a{n}\":1")).collect();
    check(&wrong(with(&many.join(","))), None, &Problem::TooMuch);
    let same = vec!["\"a\":1"; 100_000].join(",");
    check(&wrong(with(&same)), Some("a"), &Problem::Twice);
    check(&wrong(with("\"\":1")), None, &Problem::Nameless);
    let name = "n".repeat(1 << 20);
    check(&wrong(with(&format!("\"{name}\":01"))), Some(&name[..64]), &Problem::NotJson(String::new()));
    let payload = with(&format!("\"data\":\"{}\"", "x".repeat(2 << 20)));
    cloudevents::read(payload.as_bytes()).expect("the size of a payload is for the place it is put to judge");
}

#[test]
fn bad_utf8_is_refused_wherever_it_is() {
    for marker in ["1.0", "subject", "x\\u00e9", "free", "\"v\""] {
        let at = GOOD.find(marker).expect("there") + 1;
        for bad in [&b"\xff"[..], b"\xc0\xa0", b"\xed\xa0\x80", b"\xe2\x82"] {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes.splice(at..at, bad.iter().copied());
            assert_eq!(wrong(&bytes).problem, Problem::NotUtf8 { valid: at });
            assert_eq!(
                cloudevents::read_batch(&bytes).expect_err("same").problem,
                Problem::NotUtf8 { valid: at }
            );
        }
    }
}

#[test]
fn headers_that_are_not_for_the_event_or_badly_encoded() {
    let base = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "a.b")];
    let read = |header: (&'static str, &'static str), body: &'static [u8]| {
        cloudevents::read_binary(base.into_iter().chain([header]), body)
    };
    for name in ["ce-datacontenttype", "ce-data", "CE-Data_Base64"] {
        let field = name[3..].to_lowercase();
        check(&read((name, "x"), b"").expect_err("misplaced"), Some(&field), &Problem::Misplaced);
    }
    for value in ["%C0%A0", "100%", "%zz", "\"open"] {
        check(&read(("ce-note", value), b"").expect_err("encoding"), Some("note"), &Problem::Encoding);
        check(&read(("ce-subject", value), b"").expect_err("encoding"), Some("subject"), &Problem::Encoding);
    }
    check(&read(("ce-subject", ""), b"").expect_err("empty"), Some("subject"), &Problem::Empty);
    check(&read(("ce-", "x"), b"").expect_err("no name"), None, &Problem::Nameless);
    for body in [&b"{"[..], b"1 2", b"\"\xff\"", b"nonsense"] {
        let error = read(("content-type", "application/json"), body).expect_err("not JSON");
        check(&error, Some("data"), &Problem::NotJson(String::new()));
    }
    for passed_over in [("c", "%"), ("ce", "%"), ("ce–id", "%"), ("cookie", "\"open"), ("traceparent", "00")]
    {
        let event = read(passed_over, b"").expect("not about the event").envelope;
        assert_eq!((event.attributes().count(), event.trace_parent()), (0, None));
    }
}

#[test]
fn no_error_quotes_a_payload_or_a_free_attribute() {
    for members in [
        r#""data":{"card":"SECRET",}"#,
        r#""data":{"card":"SECRET"},"data":"SECRET""#,
        r#""free":"SECRET","free":"SECRET""#,
        r#""data_base64":"SECRET!""#,
        r#""data_base64":{"a":"SECRET"}"#,
        r#""datacontenttype":"text/plain","data":"SECRET\ud800""#,
        r#""subject":["SECRET"]"#,
    ] {
        let error = wrong(with(members));
        assert!(!error.to_string().contains("SECRET") && !format!("{error:?}").contains("SECRET"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_bytes_come_they_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = cloudevents::read_batch(&bytes);
        prop_assert!(cloudevents::read(&bytes).is_err());
    }

    #[test]
    fn an_event_with_a_few_bytes_changed_is_refused_or_can_be_written_again(
        changes in proptest::collection::vec((0..GOOD.len(), any::<u8>()), 1..4),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, byte) in changes {
            // A line break would be taken out of the payload again.
            bytes[at] = if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
        }
        if let Ok(incoming) = cloudevents::read(&bytes) {
            let line = cloudevents::write(&incoming.envelope, incoming.place.as_ref()).expect("writable");
            let again = cloudevents::read(&line).expect("readable");
            prop_assert!(again.envelope.same_content(&incoming.envelope));
        }
    }
}
