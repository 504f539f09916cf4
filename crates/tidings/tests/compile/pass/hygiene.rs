//! What the macros write means the same wherever it stands, whatever the names around it mean.
#![no_implicit_prelude]
#![allow(dead_code, unused_macros)]

mod strange {
    use ::tidings::event;

    // Everything the code could mean by a short name is something else here.
    type Option = ();
    type String = ();
    type Vec = ();
    type Text = ();
    type Event = ();
    type Field = ();
    mod core {}
    mod std {}
    mod tidings {}
    mod serde {}
    trait ToString {}
    macro_rules! format {
        () => {};
    }
    macro_rules! format_args {
        () => {};
    }

    #[event(name = "order.placed")]
    pub struct OrderPlaced {
        #[event(key)]
        pub r#type: u64,
        #[event(tag)]
        pub f: ::std::option::Option<bool>,
        #[event(tag)]
        pub all: ::std::string::String,
        #[event(redact)]
        pub value: ::std::string::String,
    }

    #[derive(Event2, ::tidings::__private::serde::Serialize, ::tidings::__private::serde::Deserialize)]
    #[event(name = "order.paid")]
    #[serde(crate = "::tidings::__private::serde")]
    pub struct OrderPaid {
        #[event(key)]
        pub order: u64,
    }

    use ::tidings::Event as Event2;
}

fn main() {
    use ::std::{assert_eq, convert::Into, format, option::Option::Some};
    use ::tidings::Event;
    let placed = strange::OrderPlaced { r#type: 5, f: Some(true), all: "a".into(), value: "secret".into() };
    assert_eq!(placed.key().as_deref(), Some("5"));
    assert_eq!(*placed.tags(), ["f:true", "all:a"]);
    assert_eq!(format!("{placed:?}"), "OrderPlaced { type: 5, f: Some(true), all: \"a\", value: [redacted] }");
    assert_eq!(strange::OrderPlaced::INFO.fields[0].name, "type");
    assert_eq!(strange::OrderPaid { order: 1 }.key().as_deref(), Some("1"));
}
