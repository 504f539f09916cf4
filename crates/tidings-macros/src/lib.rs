//! The macros that make a type an event: [`event`](macro@event) and [`derive(Event)`](derive@Event).
//!
//! They write nothing a person could not write: an implementation of the trait `Event`, and with the attribute serde's
//! derives and a `Debug` that keeps what is redacted to itself. What they write they write with full paths, below
//! `::tidings` unless `crate = "…"` says another. Start at `expand`.

mod expand;
mod name;
mod options;
mod serde_names;
mod shape;

use proc_macro::TokenStream;

/// Makes a struct or an enum an event: serde, a `Debug` that redacts, and the trait `Event`.
///
/// ```
/// # extern crate tidings_core as tidings;
/// # use tidings_macros::event;
/// #[event(name = "order.placed", version = 2)]
/// pub struct OrderPlaced {
///     #[event(key)]
///     pub order: u64,
///     #[event(tag)]
///     pub customer: String,
///     #[event(redact)]
///     pub card: String,
///     pub total_cents: u64,
/// }
/// # fn main() {
/// use tidings::Event;
/// let placed = OrderPlaced { order: 4711, customer: "ada".into(), card: "4242 4242".into(), total_cents: 350 };
/// assert_eq!(OrderPlaced::INFO.name, "order.placed");
/// assert_eq!(placed.key().as_deref(), Some("4711"));
/// assert_eq!(&*placed.tags()[0], "customer:ada");
/// assert!(format!("{placed:?}").contains("card: [redacted]"));
/// # }
/// ```
///
/// # Options
/// - `name = "order.placed"`, required: a topic, written here and never derived from the type.
/// - `version = 2`: the version of the schema, from 1, which is the default.
/// - `crate = "path"`: where the platform's words are, `::tidings` by default.
///
/// # Marks of fields
/// - `#[event(key)]`, on at most one field: events with the same key are delivered in order. The field is written with
///   `Display`; an `Option` that is `None` is no key.
/// - `#[event(tag)]`: the event can be asked for by `field:value`. The field is written with `Display`; an `Option`
///   that is `None` is no tag.
/// - `#[event(redact)]`: the field never reaches a log, a span, an error text or a listing. Keys and tags are shown
///   there, so a field is not both.
///
/// Fields are called as serde calls them, with `rename` and `rename_all`; those of a tuple struct by their index.
/// Fields of an enum cannot be marked, and a type with parameters is no event.
#[proc_macro_attribute]
pub fn event(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(options.into(), item.into()).into()
}

/// Implements the trait `Event` and nothing else, for a type that brings serde and `Debug` itself.
///
/// The options are those of the attribute [`event`](macro@event), written as `#[event(name = "…")]` below the derive,
/// and fields are marked in the same way. A `Debug` that is derived does not redact: `#[event(redact)]` then keeps a
/// field out of listings only.
///
/// ```
/// # extern crate tidings_core as tidings;
/// # use tidings_macros::Event;
/// #[derive(serde::Serialize, serde::Deserialize, Event)]
/// #[event(name = "order.paid")]
/// pub struct OrderPaid(#[event(key)] pub u64);
/// # fn main() {
/// use tidings::Event as _;
/// assert_eq!(OrderPaid(4711).key().as_deref(), Some("4711"));
/// # }
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(item: TokenStream) -> TokenStream {
    expand::derive(item.into()).into()
}
