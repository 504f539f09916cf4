//! Events as their users write them: what the macros make of a type.

use std::{collections::BTreeSet, sync::Arc};

use tidings::{Envelope, Event, EventInfo, Field, PayloadForm};

#[tidings::event(name = "order.placed", version = 2)]
#[derive(Clone, PartialEq)]
struct Bestellung {
    #[event(key)]
    order: u64,
    #[event(tag)]
    customer: String,
    #[event(tag)]
    coupon: Option<String>,
    #[event(redact)]
    card: Option<String>,
    total_cents: u64,
}

fn placed() -> Bestellung {
    Bestellung {
        order: 4711,
        customer: "ada".into(),
        coupon: None,
        card: Some("4242 4242".into()),
        total_cents: 350,
    }
}

fn tags(event: &impl Event) -> Vec<String> {
    event.tags().iter().map(ToString::to_string).collect()
}

/// The names of the fields in the JSON of an event.
fn members(event: &impl Event) -> BTreeSet<String> {
    let json = serde_json::to_value(event).expect("JSON");
    json.as_object().expect("an object").keys().cloned().collect()
}

fn names(info: &EventInfo) -> Vec<&'static str> {
    info.fields.iter().map(|field| field.name).collect()
}

#[test]
fn the_info_says_what_was_written() {
    fn field(name: &'static str) -> Field {
        Field { name, key: false, tag: false, redact: false }
    }
    let EventInfo { name, version, fields } = *Bestellung::INFO;
    assert_eq!((name, version), ("order.placed", 2));
    assert_eq!(
        fields,
        [
            Field { key: true, ..field("order") },
            Field { tag: true, ..field("customer") },
            Field { tag: true, ..field("coupon") },
            Field { redact: true, ..field("card") },
            field("total_cents"),
        ]
    );
}

#[test]
fn the_version_is_1_unless_written() {
    #[tidings::event(name = "day.closed")]
    struct DayClosed;

    assert_eq!(*DayClosed::INFO, EventInfo { name: "day.closed", version: 1, fields: &[] });
    assert_eq!((DayClosed.key(), DayClosed.tags().len()), (None, 0));
}

#[test]
fn the_rust_name_shows_nowhere_on_the_wire() {
    let envelope = Envelope::of(placed()).finish().expect("valid");
    assert_eq!(&**envelope.name(), "order.placed");
    let line = tidings::cloudevents::write(&envelope, None).expect("writable");
    assert!(!String::from_utf8(line).expect("text").to_lowercase().contains("bestellung"));
}

#[test]
fn key_and_tags_are_the_marked_fields_as_text() {
    let mut event = placed();
    assert_eq!(event.key().as_deref(), Some("4711"));
    assert_eq!(tags(&event), ["customer:ada"]);
    event.coupon = Some("May 5".into());
    assert_eq!(tags(&event), ["customer:ada", "coupon:May 5"]);
    let envelope = Envelope::of(event).finish().expect("valid");
    assert_eq!(envelope.key().map(|key| &**key), Some("4711"));
    assert_eq!(&*envelope.stream(), "order-4711");
    assert_eq!(envelope.tags().len(), 2);
}

#[test]
fn a_key_may_be_missing_and_be_a_tag_too() {
    #[tidings::event(name = "visit.noted")]
    struct VisitNoted {
        #[event(key, tag)]
        r#type: Option<char>,
    }

    assert_eq!(VisitNoted { r#type: Some('x') }.key().as_deref(), Some("x"));
    assert_eq!(tags(&VisitNoted { r#type: Some('x') }), ["type:x"]);
    assert_eq!(VisitNoted { r#type: None }.key(), None);
    assert_eq!(VisitNoted { r#type: None }.tags().len(), 0);
    assert_eq!(names(VisitNoted::INFO), ["type"]);
}

#[test]
fn debug_keeps_redacted_fields_back() {
    let shown = format!("{:?}", placed());
    assert_eq!(
        shown,
        "Bestellung { order: 4711, customer: \"ada\", coupon: None, card: [redacted], total_cents: 350 }"
    );
    assert!(!format!("{:#?}", placed()).contains("4242"));

    #[tidings::event(name = "card.noted")]
    struct CardNoted(#[event(key)] u8, #[event(redact)] String);
    assert_eq!(format!("{:?}", CardNoted(1, "4242".into())), "CardNoted(1, [redacted])");

    // Nobody has to be able to show what is not shown.
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Hidden(u8);
    #[tidings::event(name = "secret.told")]
    struct SecretTold {
        #[event(redact)]
        secret: Hidden,
    }
    assert_eq!(format!("{:?}", SecretTold { secret: Hidden(42) }), "SecretTold { secret: [redacted] }");
}

#[test]
fn the_card_is_in_the_payload_and_in_no_debug_of_the_envelope() {
    let envelope = Envelope::of(placed()).finish().expect("valid");
    let payload = String::from_utf8(envelope.payload().expect("JSON").to_vec()).expect("text");
    assert_eq!(
        payload,
        r#"{"order":4711,"customer":"ada","coupon":null,"card":"4242 4242","total_cents":350}"#
    );
    assert!(!format!("{envelope:?}").contains("4242"));
}

#[test]
fn an_envelope_gives_the_event_back() {
    let event = Arc::new(placed());
    let envelope = Envelope::of::<Bestellung>(event.clone()).finish().expect("valid");
    assert!(
        Arc::ptr_eq(&envelope.decode::<Bestellung>().expect("the same"), &event),
        "not serialised for nothing"
    );

    let line = tidings::cloudevents::write(&envelope, None).expect("writable");
    let back = tidings::cloudevents::read(&line).expect("readable").envelope;
    assert!(*back.decode::<Bestellung>().expect("decodable") == *event);

    let wrong = Envelope::build("order.placed").json(r#"{"order":"x"}"#).finish().expect("valid");
    let failure = wrong.decode::<Bestellung>().expect_err("no order");
    assert!(failure.is_permanent());
    assert!(failure.to_string().contains("order.placed (version 2)"), "{failure}");
}

#[test]
fn every_shape_of_type_can_be_an_event() {
    #[tidings::event(name = "day.closed")]
    #[derive(PartialEq)]
    struct Unit;
    #[tidings::event(name = "order.paid")]
    #[derive(PartialEq)]
    struct Newtype(#[event(key)] u64);
    #[tidings::event(name = "order.moved")]
    #[derive(PartialEq)]
    struct Tuple(u64, #[event(tag)] Option<u8>);
    #[tidings::event(name = "parcel.moved", version = 3)]
    #[derive(PartialEq)]
    #[serde(tag = "how", rename_all = "snake_case")]
    enum Enum {
        SentOut { to: String },
        Returned,
    }

    #[track_caller]
    fn there_and_back<E: Event + PartialEq + std::fmt::Debug>(event: E, json: &str) {
        let event = Arc::new(event);
        let written = Envelope::of::<E>(event.clone()).finish().expect("valid");
        assert_eq!(written.payload().expect("JSON"), json);
        let read = Envelope::build(E::INFO.name).payload(PayloadForm::Json, json.to_owned());
        assert_eq!(read.finish().expect("valid").decode::<E>().expect("decodable"), event);
    }
    there_and_back(Unit, "null");
    there_and_back(Newtype(7), "7");
    there_and_back(Tuple(7, Some(1)), "[7,1]");
    there_and_back(Enum::SentOut { to: "Ada".into() }, r#"{"how":"sent_out","to":"Ada"}"#);
    there_and_back(Enum::Returned, r#"{"how":"returned"}"#);
    assert_eq!(names(Tuple::INFO), ["0", "1"]);
    assert_eq!(tags(&Tuple(7, Some(1))), ["1:1"]);
    assert_eq!((Newtype(7).key().as_deref(), Enum::INFO.version, Enum::INFO.fields.len()), (Some("7"), 3, 0));
}

#[test]
fn fields_are_called_as_serde_calls_them() {
    macro_rules! renamed {
        ($rule:literal, $($name:literal),+) => {{
            #[tidings::event(name = "name.tried")]
            #[serde(rename_all = $rule)]
            struct Tried {
                #[event(tag)]
                order_id: u8,
                x2_y: u8,
                #[serde(rename = "odd {one}")]
                #[event(tag)]
                other: u8,
                #[serde(skip)]
                #[allow(dead_code)]
                skipped: u8,
            }
            let event = Tried { order_id: 1, x2_y: 2, other: 3, skipped: 4 };
            assert_eq!(names(Tried::INFO), [$($name),+, "odd {one}"]);
            assert_eq!(members(&event), names(Tried::INFO).iter().map(ToString::to_string).collect());
            assert_eq!(tags(&event), [format!("{}:1", Tried::INFO.fields[0].name), "odd {one}:3".to_owned()]);
        }};
    }
    renamed!("lowercase", "order_id", "x2_y");
    renamed!("UPPERCASE", "ORDER_ID", "X2_Y");
    renamed!("PascalCase", "OrderId", "X2Y");
    renamed!("camelCase", "orderId", "x2Y");
    renamed!("snake_case", "order_id", "x2_y");
    renamed!("SCREAMING_SNAKE_CASE", "ORDER_ID", "X2_Y");
    renamed!("kebab-case", "order-id", "x2-y");
    renamed!("SCREAMING-KEBAB-CASE", "ORDER-ID", "X2-Y");
}

#[test]
fn a_redacted_field_is_known_under_every_name_it_can_have() {
    #[tidings::event(name = "card.noted")]
    #[serde(rename_all(serialize = "camelCase", deserialize = "kebab-case"))]
    struct CardNoted {
        #[event(redact)]
        #[serde(alias = "pan", default)]
        card_number: String,
        #[event(redact)]
        #[serde(rename(serialize = "out", deserialize = "in"), default)]
        code: String,
        #[serde(alias = "who", default)]
        card_holder: String,
    }

    let redacted: Vec<&str> =
        CardNoted::INFO.fields.iter().filter(|field| field.redact).map(|field| field.name).collect();
    assert_eq!(redacted, ["cardNumber", "pan", "card-number", "out", "in"]);
    for name in redacted {
        let read: CardNoted = match serde_json::from_str(&format!("{{\"{name}\":\"4242\"}}")) {
            Ok(read) => read,
            Err(error) => panic!("{name}: {error}"),
        };
        let is_read_name = !["cardNumber", "out"].contains(&name);
        assert_eq!(read.card_number == "4242" || read.code == "4242", is_read_name, "{name}");
    }
    assert_eq!(names(CardNoted::INFO).last(), Some(&"cardHolder"));
}

#[test]
fn the_bare_derive_adds_the_trait_and_nothing_else() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize, Event)]
    #[event(name = "order.cancelled", version = 4)]
    struct Cancelled {
        #[event(key)]
        order: String,
        #[event(tag)]
        reason: u8,
        #[event(redact)]
        note: String,
    }

    let event = Cancelled { order: "a".into(), reason: 3, note: "n".into() };
    assert_eq!((Cancelled::INFO.name, Cancelled::INFO.version), ("order.cancelled", 4));
    assert_eq!((event.key().as_deref(), tags(&event)), (Some("a"), vec!["reason:3".to_owned()]));
    assert!(Cancelled::INFO.fields[2].redact);
    assert_eq!(
        format!("{event:?}"),
        "Cancelled { order: \"a\", reason: 3, note: \"n\" }",
        "as it was derived"
    );
}

#[test]
fn the_words_may_be_somewhere_else() {
    mod elsewhere {
        pub mod words {
            pub use tidings::{__private, Event, EventInfo, Field, Text};
        }
    }

    #[tidings::event(name = "order.seen", crate = "elsewhere::words")]
    struct OrderSeen {
        #[event(tag)]
        order: u8,
    }

    assert_eq!(
        (OrderSeen::INFO.name, tags(&OrderSeen { order: 1 })),
        ("order.seen", vec!["order:1".to_owned()])
    );
}

#[test]
fn derives_may_stand_on_both_sides_of_the_attribute() {
    #[derive(Clone)]
    #[tidings::event(name = "order.seen")]
    #[derive(PartialEq)]
    struct OrderSeen {
        #[event(key)]
        order: u8,
    }

    let seen = OrderSeen { order: 1 };
    assert!(seen.clone() == seen);
    assert_eq!(seen.key().as_deref(), Some("1"));
}

#[test]
fn fields_that_are_configured_out_are_gone() {
    #[tidings::event(name = "order.seen")]
    struct OrderSeen {
        #[cfg(not(test))]
        #[event(key)]
        never: Missing,
        #[cfg(test)]
        #[event(key)]
        order: u8,
        #[cfg(not(test))]
        #[event(tag)]
        gone: Missing,
        #[cfg(not(test))]
        #[event(redact)]
        secret: Missing,
        #[event(redact)]
        card: u8,
    }

    let seen = OrderSeen { order: 1, card: 2 };
    assert_eq!(names(OrderSeen::INFO), ["order", "card"]);
    assert_eq!((seen.key().as_deref(), seen.tags().len()), (Some("1"), 0));
    assert_eq!(format!("{seen:?}"), "OrderSeen { order: 1, card: [redacted] }");
}
