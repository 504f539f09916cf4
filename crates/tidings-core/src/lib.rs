//! The words of Tidings: what everything else is made of.
//!
//! Here are events and envelopes, topics and patterns, handlers and their contexts, policies and commits as data, and
//! the clock. Here is no I/O, no thread and no runtime: this crate knows neither store nor broker. Every other crate
//! imports it; it imports none of them. Start with [`Event`], [`Envelope`] and [`Cx`].

mod batch;
mod blind;
mod changes;
mod clock;
pub mod cloudevents;
mod commit;
mod cx;
mod dead;
mod document;
mod envelope;
mod event;
mod failure;
mod handler;
pub mod id;
pub mod lint;
mod policy;
mod ports;
pub mod span;
mod text;
mod time;
mod topic;

pub use batch::{
    Answer, Batched, Batches, Batching, BoxedBatch, Cause, Delivered, Failed, InBatches, OfBatches, Together,
    Witness,
};
pub use blind::{BlindError, apply_blind, index_text, position_text};
pub use changes::Changes;
pub use clock::{BoxFuture, Clock, ManualClock, SystemClock};
pub use commit::{
    Append, BlindChange, BlobChange, COMMIT_BYTES_MAX, CheckpointMove, Commit, DocumentChange, DocumentKey,
    DocumentRead, DocumentWrite, DueChange, DueRow, EventQuery, Expected, Fence, NothingSince, Position,
    Tenant, WRITES_MAX,
};
pub use cx::{
    Change, Cx, DOCUMENT_ID_BYTES_MAX, DeliveryInfo, Documents, Effects, Loaded, NoDocuments, OpenCx,
    Outgoing, Publication, Refused, Subscriber, ViewCx, Write,
};
pub use dead::{
    ATTEMPTS_KEPT, Attempt, DeadLetter, DeadLetters, Decided, Decision, EDITS_MAX, ERROR_BYTES_MAX, Edit,
    GivenUp, Hidden, LetterAndEvent, LetterFigures, LetterFilter, LetterKeeper, LetterPage, Letters,
    REPLAY_CLAIM, Ran, Reason, keep_attempt, scrubbed,
};
pub use document::{DocumentValue, TypedDocument, View};
pub use envelope::{
    Attribute, Envelope, EnvelopeBuilder, EnvelopeError, HOPS_MAX, JSON, PAYLOAD_BYTES_MAX, PayloadForm,
    Priority, TAGS_MAX, TEXT_BYTES_MAX,
};
pub use event::{Event, EventInfo, Field};
pub use failure::{Failure, Handled, IntoHandled, Kind, OrFail, Wish};
pub use handler::{
    Argument, Asynchronous, Begun, Boxed, ByEnvelope, ByReference, CONCURRENCY, Call, Dependent, Handler, On,
    Place, Plain, Registration, Start, Subscribe, With, WithDependency, handling,
};
pub use policy::{
    Backoff, Bulkhead, By, CALL_TIMEOUT, Circuit, CircuitMode, Dead, DeadRule, Defaults, Idempotency, Keeper,
    Per, Policy, QUARANTINE_AFTER, Rate, RateKind, Retry, Shed, Slow, Then, Trip, Window,
};
pub use ports::{Claim, ClaimAsk, Claimed, Claims, Counters, FLAG_HASH, Flag, FlagAsk, Flags, Reply, Take};
pub use text::Text;
pub use time::{EventTime, EventTimeParts, TimeError, Timestamp};
pub use topic::{Pattern, SEGMENTS_MAX, TOPIC_BYTES_MAX, TopicError, category, check_topic};

/// What generated code needs and no person does.
#[doc(hidden)]
pub mod __private {
    pub use serde;
}
