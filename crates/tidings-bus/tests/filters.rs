//! Filters by content: predicates, and conditions that are data.

mod common;

use common::{Diary, Failures, Placed, Sent};
use serde_json::{Value, json};
use tidings_bus::{Bus, FILTER_CONDITIONS_MAX, FILTER_DEPTH_MAX, Fault, Filter};
use tidings_core::{Attribute, Envelope, EventTime, PayloadForm};

fn filter(json: Value) -> Filter {
    serde_json::from_value(json).expect("a filter")
}

fn order() -> Envelope {
    let json = json!({
        "total_cents": 1_000, "rate": 0.5, "customer": {"name": "Ada", "tags": ["new", "large"]},
        "large": 9_007_199_254_740_993_u64, "gone": null, "a/b": 1,
    });
    Envelope::build("order.placed")
        .id("1")
        .source("/shop")
        .key("4711")
        .tag("customer", 7)
        .schema_version(2)
        .user("ada")
        .tenant("acme")
        .correlation("c")
        .causation("d")
        .time(EventTime::parse("2026-03-01T10:00:00Z").expect("a time"))
        .attribute("region", Attribute::Text("eu".into()))
        .attribute("retries", Attribute::Integer(3))
        .attribute("urgent", Attribute::Bool(true))
        .attribute("extra", Attribute::Json(r#"{"n":1}"#.into()))
        .content_type("application/json")
        .json(json.to_string())
        .finish()
        .expect("valid")
}

#[test]
fn every_condition_holds_where_it_should_and_nowhere_else() {
    let is = |field: &str, value: Value| json!({"is": {"field": field, "value": value}});
    let op = |op: &str, field: &str, value: Value| json!({op: {"field": field, "value": value}});
    let text = |op: &str, field: &str, text: &str| json!({op: {"field": field, "text": text}});
    for (expression, expected) in [
        (is("/total_cents", json!(1_000)), true),
        (is("/total_cents", json!(1_000.0)), true),
        (is("/total_cents", json!("1000")), false),
        (is("/large", json!(9_007_199_254_740_992_u64)), false),
        (is("/customer/name", json!("Ada")), true),
        (is("/customer/tags/1", json!("large")), true),
        (is("/customer/tags/2", json!("large")), false),
        (is("/a~1b", json!(1)), true),
        (is("/gone", json!(null)), false),
        (json!({"exists": {"field": "/gone"}}), false),
        (json!({"exists": {"field": "/customer"}}), true),
        (json!({"exists": {"field": "/nobody"}}), false),
        (json!({"not": {"exists": {"field": "/nobody"}}}), true),
        (json!({"one_of": {"field": "/total_cents", "values": [1, 1_000]}}), true),
        (json!({"one_of": {"field": "/total_cents", "values": []}}), false),
        (op("above", "/total_cents", json!(999)), true),
        (op("above", "/total_cents", json!(1_000)), false),
        (op("above", "/large", json!(9_007_199_254_740_992_u64)), true),
        (op("at_least", "/total_cents", json!(1_000)), true),
        (op("at_least", "/total_cents", json!(1_000.5)), false),
        (op("at_most", "/rate", json!(0.5)), true),
        (op("at_most", "/rate", json!(0.4)), false),
        (op("below", "/rate", json!(1)), true),
        (op("below", "/rate", json!(0.5)), false),
        (op("below", "/rate", json!("1")), false),
        (op("at_least", "time", json!("2026-02")), true),
        (op("below", "time", json!("2026-02")), false),
        (text("starts_with", "/customer/name", "A"), true),
        (text("starts_with", "/customer/name", "d"), false),
        (text("ends_with", "/customer/name", "da"), true),
        (text("ends_with", "/total_cents", "0"), false),
        (op("contains", "/customer/name", json!("d")), true),
        (op("contains", "/customer/name", json!("x")), false),
        (op("contains", "/customer/tags", json!("new")), true),
        (op("contains", "/customer/tags", json!("ne")), false),
        (op("contains", "tags", json!("customer:7")), true),
        (is("id", json!("1")), true),
        (is("name", json!("order.placed")), true),
        (is("source", json!("/shop")), true),
        (is("stream", json!("order-4711")), true),
        (is("subject", json!("4711")), true),
        (is("key", json!("4711")), true),
        (is("schema_version", json!(2)), true),
        (is("user", json!("ada")), true),
        (is("tenant", json!("acme")), true),
        (is("correlation", json!("c")), true),
        (is("causation", json!("d")), true),
        (is("content_type", json!("application/json")), true),
        (is("region", json!("eu")), true),
        (is("retries", json!(3)), true),
        (is("urgent", json!(true)), true),
        (is("extra", json!({"n": 1})), true),
        (is("nothing", json!("eu")), false),
        (json!({"topic": "order.*"}), true),
        (json!({"topic": "stock.*"}), false),
        (json!({"all": []}), true),
        (json!({"any": []}), false),
        (json!({"all": [{"topic": "order.*"}, {"topic": "*"}]}), false),
        (json!({"any": [{"topic": "order.*"}, {"topic": "*"}]}), true),
    ] {
        let filter = filter(expression.clone());
        assert_eq!(filter.matches(&order()).expect("JSON"), expected, "{expression}");
        let written = serde_json::to_value(&filter).expect("written");
        assert_eq!(written, expression, "it is written as it is read");
    }
}

#[test]
fn a_filter_that_is_none_or_too_large_is_refused() {
    let nested = |depth: usize| (1..depth).fold(json!({"topic": "**"}), |inner, _| json!({ "not": inner }));
    let wide = |count: usize| json!({"all": vec![json!({"topic": "**"}); count - 1]});
    let values = |count: usize| json!({"one_of": {"field": "key", "values": vec![1; count - 1]}});
    let read = |json: Value| serde_json::from_value::<Filter>(json);
    assert!(read(nested(FILTER_DEPTH_MAX)).is_ok() && read(nested(FILTER_DEPTH_MAX + 1)).is_err());
    assert!(read(wide(FILTER_CONDITIONS_MAX)).is_ok() && read(wide(FILTER_CONDITIONS_MAX + 1)).is_err());
    assert!(read(values(FILTER_CONDITIONS_MAX)).is_ok() && read(values(FILTER_CONDITIONS_MAX + 1)).is_err());
    for wrong in [
        json!({"is": {"field": "key"}}),
        json!({"is": {"field": "key", "value": 1, "valeu": 2}}),
        json!({"equals": {"field": "key", "value": 1}}),
        json!({"topic": "order..placed"}),
        json!({"is": {"field": "key", "value": 1}, "topic": "**"}),
    ] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_payload_that_is_no_json_is_an_error_only_if_it_is_asked_about() {
    let binary =
        Envelope::build("image.taken").payload(PayloadForm::Binary, vec![0xff]).finish().expect("valid");
    assert!(filter(json!({"topic": "image.*"})).matches(&binary).expect("not asked"));
    assert!(
        filter(json!({"exists": {"field": "/width"}})).matches(&binary).expect_err("asked").is_permanent()
    );
    let absent = Envelope::build("image.taken").finish().expect("valid");
    assert!(
        !filter(json!({"exists": {"field": "/width"}})).matches(&absent).expect("no payload is no fault")
    );
}

#[test]
fn listeners_are_given_only_what_meets_all_their_conditions() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (typed, both, pattern) = (diary.clone(), diary.clone(), diary.clone());
    bus.listen()
        .when(|placed: &Placed| placed.0 > 5)
        .on(move |placed| typed.write(format!("when-{}", placed.0)))
        .forever();
    bus.listen()
        .when(|placed: &Placed| placed.0 > 5)
        .when(|placed: &Placed| placed.0 < 9)
        .filter(filter(json!({"not": {"is": {"field": "", "value": 7}}})))
        .filter(filter(json!({"topic": "order.*"})))
        .on(move |placed| both.write(format!("both-{}", placed.0)))
        .forever();
    bus.listen()
        .when(|any: &Envelope| any.hops() == 0)
        .filter(filter(json!({"exists": {"field": "/order"}})))
        .subscribe("**", move |any| pattern.write(any.name()))
        .expect("valid")
        .forever();
    let heard: Vec<usize> = (5..=9).map(|number| bus.emit(&Placed(number))).collect();
    assert_eq!(heard, [0, 2, 2, 2, 1]);
    assert_eq!(diary.take(), "when-6 both-6 when-7 both-7 when-8 both-8 when-9");
    assert_eq!(bus.emit(&Sent { order: "1".into(), secret: 2 }), 1);
    assert_eq!(diary.take(), "order.sent");
    let hops =
        Envelope::build("order.sent").hops(1).json(br#"{"order":"1"}"#.as_slice()).finish().expect("valid");
    assert_eq!(bus.emit_envelope(&hops), 0);
}

#[test]
fn an_event_that_cannot_be_decided_on_is_told_of() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    bus.listen()
        .filter(filter(json!({"exists": {"field": "/a"}})))
        .subscribe("**", |_| ())
        .expect("valid")
        .forever();
    let text = Envelope::build("note.taken").payload(PayloadForm::Text, "hello").finish().expect("valid");
    assert_eq!(bus.emit_envelope(&text), 0);
    let told = failures.take();
    assert!(
        matches!(told.as_slice(), [failed] if matches!(failed.fault(), Fault::Unreadable(_))),
        "{told:?}"
    );
}

#[tokio::test]
async fn asynchronous_listeners_have_conditions_too() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (typed, pattern) = (diary.clone(), diary.clone());
    bus.listen()
        .when(|placed: &Placed| placed.0 > 5)
        .on_async(move |placed| {
            let entry = typed.clone();
            async move { entry.write(placed.0) }
        })
        .forever();
    bus.listen()
        .filter(filter(json!({"topic": "order.sent"})))
        .subscribe_async("**", move |any| {
            let entry = pattern.clone();
            async move { entry.write(any.name()) }
        })
        .expect("valid")
        .forever();
    let mut heard = Vec::new();
    for number in [5, 6] {
        heard.push(bus.emit_async(Placed(number)).await.heard);
    }
    heard.push(bus.emit_async(Sent { order: "1".into(), secret: 2 }).await.heard);
    assert_eq!((heard.as_slice(), diary.take().as_str()), ([0, 1, 1].as_slice(), "6 order.sent"));
}
