//! What the macros write trips no lint, where the code around it is held to all of them.
#![deny(warnings, missing_docs, missing_debug_implementations)]
#![deny(unused_qualifications, unused_lifetimes, unreachable_pub, single_use_lifetimes, trivial_casts)]
#![deny(rust_2018_idioms, rust_2021_compatibility, rust_2024_compatibility, nonstandard_style, unsafe_code)]
#![deny(non_ascii_idents, let_underscore_drop, unused_results, redundant_lifetimes, variant_size_differences)]

/// Events of orders.
pub mod orders {
    /// It was placed.
    #[tidings::event(name = "order.placed", version = 2)]
    #[derive(Clone, PartialEq, Eq)]
    pub struct OrderPlaced {
        /// Which.
        #[event(key)]
        pub order: u64,
        /// By whom.
        #[event(tag)]
        pub customer: String,
        /// With what.
        #[event(tag)]
        pub coupon: Option<String>,
        /// Paid how.
        #[event(redact)]
        pub card: Option<String>,
        /// What is not always there.
        #[cfg(not(test))]
        #[event(tag)]
        pub shop: u8,
        /// What is never there.
        #[cfg(test)]
        #[event(redact)]
        pub never: Missing,
    }

    /// It was paid.
    #[tidings::event(name = "order.paid")]
    pub struct OrderPaid(#[event(key, tag)] pub u64, #[event(redact)] pub String);

    /// The day was closed.
    #[tidings::event(name = "day.closed")]
    pub struct DayClosed;

    /// What happened to a parcel.
    #[tidings::event(name = "parcel.moved")]
    pub enum ParcelMoved {
        /// Out.
        Sent {
            /// Where to.
            to: String,
        },
        /// Back.
        Returned,
    }

    /// It was cancelled.
    #[derive(Debug, serde::Serialize, serde::Deserialize, tidings::Event)]
    #[event(name = "order.cancelled")]
    pub struct OrderCancelled {
        /// Which.
        #[event(key)]
        pub order: u64,
    }
}

fn main() {
    use orders::*;
    use tidings::Event;
    let placed = OrderPlaced { order: 1, customer: "ada".into(), coupon: None, card: None, shop: 3 };
    assert_eq!(placed.tags().len(), 2);
    assert_eq!(OrderPlaced::INFO.fields.len(), 5);
    assert_eq!(OrderPaid(1, "card".into()).key().as_deref(), Some("1"));
    assert_eq!(OrderCancelled { order: 7 }.key().as_deref(), Some("7"));
    assert_eq!(format!("{DayClosed:?} {:?}", ParcelMoved::Returned), "DayClosed Returned");
}
