//! Tidings: an event-driven application platform.
//!
//! This crate is the door: it re-exports, under one name, what the crates behind it are made of, and has no logic.
//! Start with an event and a function of it.
//!
//! ```
//! use tidings::{Cx, Handled, On, OrFail, Place, Subscribe};
//!
//! #[tidings::event(name = "order.placed", version = 2)]
//! pub struct OrderPlaced {
//!     #[event(key)] pub order: u64,        // same key, same order of delivery
//!     #[event(tag)] pub customer: String,  // can be asked for
//!     #[event(redact)] pub card: String,   // never reaches a log or a listing
//!     pub total: String,
//! }
//!
//! async fn bill(placed: On<OrderPlaced>, _: Cx) -> Handled {
//!     let cents: u64 = placed.total.parse().permanent()?;
//!     println!("{} owes {cents} cents", placed.customer);
//!     Ok(())
//! }
//!
//! let registration = bill.durable("billing");
//! assert!(matches!(registration.place, Place::Durable { .. }));
//! ```

pub use tidings_core::{
    Append, Argument, Asynchronous, Attribute, Backoff, Begun, BlindChange, BlindError, BlobChange,
    BoxFuture, Boxed, ByEnvelope, ByReference, COMMIT_BYTES_MAX, CONCURRENCY, Call, Change, Changes,
    CheckpointMove, Clock, Commit, Cx, DOCUMENT_ID_BYTES_MAX, DeliveryInfo, Dependent, DocumentChange,
    DocumentKey, DocumentRead, DocumentValue, DocumentWrite, Documents, DueChange, DueRow, Effects, Envelope,
    EnvelopeBuilder, EnvelopeError, Event, EventInfo, EventQuery, EventTime, EventTimeParts, Expected,
    Failure, Fence, Field, HOPS_MAX, Handled, Handler, IntoHandled, JSON, Kind, Loaded, ManualClock,
    NoDocuments, NothingSince, On, OpenCx, OrFail, Outgoing, PAYLOAD_BYTES_MAX, Pattern, PayloadForm, Place,
    Plain, Policy, Position, Priority, Publication, Refused, Registration, Retry, SEGMENTS_MAX, Start,
    Subscribe, SystemClock, TAGS_MAX, TEXT_BYTES_MAX, TOPIC_BYTES_MAX, Tenant, Text, TimeError, Timestamp,
    TopicError, TypedDocument, View, ViewCx, WRITES_MAX, With, WithDependency, Write, apply_blind, category,
    check_topic, cloudevents, id, index_text, lint, position_text,
};
pub use tidings_macros::{Event, event};

/// What generated code needs and no person does.
#[doc(hidden)]
pub use tidings_core::__private;
