#![doc = include_str!("../../../README.md")]
//! # The crate
//!
//! This is the facade: everything a user names, under one roof, and the table of URL schemes. There is no logic here.
//! `use tidings::prelude::*;` is the usual beginning.

mod engines;

pub use engines::{Build, Mode, open_store};
pub use tidings_app::{
    App, AppBuilder, BuildError, Drained, MODELS, Model, ModelEvent, ModelHandler, ModelModule, Module,
    Publish, PublishError, Receipt, ViewReader, signals,
};
pub use tidings_core::{
<<<<<<< HEAD
    ATTEMPTS_KEPT, Append, Argument, Asynchronous, Attempt, Attribute, Backoff, Begun, BlindChange,
    BlindError, BlobChange, BoxFuture, Boxed, ByEnvelope, ByReference, COMMIT_BYTES_MAX, CONCURRENCY, Call,
    Change, Changes, CheckpointMove, Clock, Commit, Cx, DOCUMENT_ID_BYTES_MAX, DeadLetters, DeliveryInfo,
    Dependent, DocumentChange, DocumentKey, DocumentRead, DocumentValue, DocumentWrite, Documents, DueChange,
    DueRow, ERROR_BYTES_MAX, Effects, Envelope, EnvelopeBuilder, EnvelopeError, Event, EventInfo, EventQuery,
    EventTime, EventTimeParts, Expected, Failure, Fence, Field, GivenUp, HOPS_MAX, Handled, Handler,
    IntoHandled, JSON, Kind, Loaded, ManualClock, NoDocuments, NothingSince, On, OpenCx, OrFail, Outgoing,
    PAYLOAD_BYTES_MAX, Pattern, PayloadForm, Place, Plain, Policy, Position, Priority, Publication, Reason,
    Refused, Registration, Retry, SEGMENTS_MAX, Start, Subscribe, Subscriber, SystemClock, TAGS_MAX,
    TEXT_BYTES_MAX, TOPIC_BYTES_MAX, Tenant, Text, TimeError, Timestamp, TopicError, TypedDocument, View,
    ViewCx, WRITES_MAX, Wish, With, WithDependency, Write, apply_blind, category, check_topic, cloudevents,
    id, index_text, lint, position_text,
=======
    Answer, Append, Argument, Asynchronous, Attribute, Backoff, Begun, BlindChange, BlindError, BlobChange,
    BoxFuture, Boxed, Bulkhead, By, ByEnvelope, ByReference, CALL_TIMEOUT, COMMIT_BYTES_MAX, CONCURRENCY,
    Call, Change, Changes, CheckpointMove, Circuit, CircuitMode, Claim, ClaimAsk, Claimed, Claims, Clock,
    Commit, Counters, Cx, DOCUMENT_ID_BYTES_MAX, Dead, DeadReason, DeadRule, Defaults, DeliveryInfo,
    Dependent, DocumentChange, DocumentKey, DocumentRead, DocumentValue, DocumentWrite, Documents, DueChange,
    DueRow, Effects, Envelope, EnvelopeBuilder, EnvelopeError, Event, EventInfo, EventQuery, EventTime,
    EventTimeParts, Expected, FLAG_HASH, Failure, Fence, Field, Flag, FlagAsk, Flags, HOPS_MAX, Handled,
    Handler, Idempotency, IntoHandled, JSON, Keeper, Kind, Loaded, ManualClock, NoDocuments, NothingSince,
    On, OpenCx, OrFail, Outgoing, PAYLOAD_BYTES_MAX, Pattern, PayloadForm, Per, Place, Plain, Policy,
    Position, Priority, Publication, QUARANTINE_AFTER, Rate, RateKind, Refused, Registration, Retry,
    SEGMENTS_MAX, Shed, Slow, Start, Subscribe, Subscriber, SystemClock, TAGS_MAX, TEXT_BYTES_MAX,
    TOPIC_BYTES_MAX, Take, Tenant, Text, Then, TimeError, Timestamp, TopicError, Trip, TypedDocument, View,
    ViewCx, WRITES_MAX, Window, With, WithDependency, Write, apply_blind, category, check_topic, cloudevents,
    id, index_text, lint, position_text, span,
>>>>>>> d9fdc46 (core: policies as data, whole)
};
pub use tidings_macros::{Event, event};

/// What generated code needs and no person does.
#[doc(hidden)]
pub use tidings_core::__private;

/// The in-process bus.
pub use tidings_bus as bus;

/// Operators between a source and a handler.
pub use tidings_flow as flow;

/// Durable subscriptions: what they tell about themselves, and what an operator may do to them.
pub mod durable {
    pub use tidings_durable::{
        Answer, Carried, Config, DEAD_FIELDS, DEAD_PREFIX, DeadLetter, Described, Left, Node, NodeError,
        Operator, PARTITIONS, Published, Reason, SCHEDULE, SUBSCRIPTIONS, Settled, Status, Verb,
        dead_namespace, partition,
    };
}

/// The store port: reading the log and documents directly.
pub mod store {
    pub use tidings_sqlite::{Options as SqliteOptions, SqliteStore};
    pub use tidings_store::{
        AnyStore, Applied, Beat, Checkpoint, Direction, Document, DocumentQuery, Error, ErrorKind, Fault,
        Filter, Lease, Limits, MemoryStore, PAGE_BYTES, PAGE_EVENTS_MAX, Page, Progress, Read, Recorded,
        Store, StoreInfo, StoreStats, Tenants, Verified, stream_category,
    };
}

pub use tidings_store::Error as StoreError;

/// What most programs begin with.
pub mod prelude {
    pub use crate::{
        App, Build as _, Cx, Envelope, Event, Failure, Handled, Module, On, OrFail as _, Policy, Retry,
        Subscribe as _, View, WithDependency as _, event, signals,
    };
}

/// The guide, whose examples are compiled and run with the tests.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/coming-from-an-emitter.md")]
    struct ComingFromAnEmitter;
}
