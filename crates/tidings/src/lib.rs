#![doc = include_str!("../../../README.md")]
//! # The crate
//!
//! This is the facade: everything a user names, under one roof, and the table of URL schemes. There is no logic here.
//! `use tidings::prelude::*;` is the usual beginning.

mod engines;

pub use engines::{Build, Mode, open_store};
pub use tidings_app::{
    Added, App, AppBuilder, BuildError, BusSettings, DeadLetterSettings, Drained, ENVIRONMENT_PREFIX,
    FlowLeft, Loading, MODELS, Model, ModelBatches, ModelEvent, ModelFlow, ModelHandler, ModelModule,
    ModelPlace, Module, PolicyChange, PolicyError, Preset, Publish, PublishError, Receipt, SettingFault,
    Settings, SettingsError, ViewReader, signals,
};
pub use tidings_core::*;
pub use tidings_macros::{Event, event};

/// What generated code needs and no person does.
#[doc(hidden)]
pub use tidings_core::__private;

/// The in-process bus.
pub use tidings_bus as bus;

/// Operators between a source and a handler.
pub use tidings_flow as flow;

/// Handlers on worker threads: pools, their queues, and what becomes of events on their way through them.
pub mod buffered {
    pub use tidings_queue::{
        Config as QueueConfig, Error as QueueError, Figures, Order, Percentiles, Scaling, WORKERS_MAX,
        WorkerFigures,
    };
    pub use tidings_runtime::{
        Admission, Buffered, Config, Ended, Full, GatherFigures, Gatherer, HELD_BYTES_MAX, HELD_MAX,
        MemoryDeadLetters, NoRoom, Notice, Outcome, Overflow, PoolConfig, PoolFigures, PoolLeft,
        PublishError, ScaleError,
    };
}

/// The guard that runs a handler's policy, for whoever calls handlers, or anything else, by hand.
pub use tidings_policy as guard;

/// Durable subscriptions: what they tell about themselves, and what an operator may do to them.
pub mod durable {
    pub use tidings_durable::{
        Answer, CLAIMS_PREFIX, COUNTERS, Carried, Config, DEAD_FIELDS, DEAD_HANDLERS, DEAD_PREFIX,
        DeadLetter, Described, FLAG_HISTORY, FLAGS, Followed, KeptFlag, Left, Node, NodeError, Operator,
        PARTITIONS, POLICY_REQUESTS, Pace, PolicyAnswer, PolicyCame, PolicyOwner, PolicyRequests, Published,
        QUIET, RUNS, Reason, SCHEDULE, SUBSCRIPTIONS, Settled, Status, StoreClaims, StoreCounters,
        StoreFlags, StoredLetters, Verb, dead_namespace, partition,
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
        App, Batched, Batching, Build as _, Cx, Delivered, Envelope, Event, Failed, Failure, Handled,
        InBatches as _, Module, On, OrFail as _, Policy, Retry, Subscribe as _, View, WithDependency as _,
        event, signals,
    };
}

/// The guide, whose examples are compiled and run with the tests.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/coming-from-an-emitter.md")]
    struct ComingFromAnEmitter;

    #[doc = include_str!("../../../docs/guide/buffered.md")]
    struct Buffered;

    #[doc = include_str!("../../../docs/guide/dead-letters.md")]
    struct DeadLetters;

    #[doc = include_str!("../../../docs/guide/policies.md")]
    struct Policies;
    #[doc = include_str!("../../../docs/guide/batches-and-windows.md")]
    struct BatchesAndWindows;
}
