//! Where an engine can be wrong, and what is behind it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tidings_core::{Commit, DocumentKey, DueRow, EventQuery, ManualClock, Position, Tenant, Text, Timestamp};
use tidings_store::{
    AnyStore, Applied, Beat, Checkpoint, Document, DocumentQuery, Error, Lease, Limits, Page, Read, Recorded,
    StoreInfo, StoreStats, Tenants, Verified,
};

pub type Answer = Result<Applied, Error>;

/// Where an engine can be wrong. Closures that capture nothing, so that a bug is a line in a table.
pub enum Hook {
    /// Other limits.
    Limits(fn(&mut Limits)),
    /// Changes what is to be written.
    Commit(fn(&mut Commit)),
    /// Writes in its own way.
    Apply(fn(&Inside, Commit) -> Answer),
    /// Changes the answer to a commit.
    Answer(fn(&Inside, &Commit, &mut Answer)),
    /// Writes commits that come at the same time in its own way, as one group.
    Group(fn(&Inside, Vec<Commit>) -> Vec<Answer>),
    /// Changes what a read asks for.
    Ask(fn(&Inside, &mut Read)),
    /// Changes the page that a read gets.
    Page(fn(&Inside, &Read, &mut Page)),
    /// Changes every event that is read.
    Event(fn(&Inside, &mut Recorded)),
    /// Finds by id in its own way.
    Find(fn(&Inside, &Tenant, &str, &str) -> Option<Recorded>),
    /// The version of a stream in its own way.
    StreamVersion(fn(&Inside, &Tenant, &str) -> u64),
    /// Changes what a first match is asked for.
    Match(fn(&mut Tenant, &mut EventQuery, &mut Position)),
    /// Reads a document in its own way.
    Document(fn(&Inside, &Tenant, &DocumentKey) -> Option<Document>),
    /// Changes what a list asks for.
    List(fn(&Inside, &mut DocumentQuery)),
    /// Changes what is listed.
    Listed(fn(&Inside, &DocumentQuery, &mut Vec<Document>)),
    /// Counts in its own way.
    Count(fn(&Inside, &DocumentQuery) -> u64),
    /// Changes a checkpoint that is read.
    Checkpoint(fn(&mut Checkpoint)),
    /// Changes the list of checkpoints.
    Checkpoints(fn(&mut Vec<(Text, Checkpoint)>)),
    /// Grants leases in its own way.
    Lease(fn(&Inside, &str, &str, Duration) -> Lease),
    /// Gives the turn to others between looking at a lease and taking it.
    LeaseInTwoSteps,
    /// Lets leases go in its own way.
    Release(fn(&Inside, &str, &str)),
    /// Names holders in its own way.
    Holder(fn(&Inside, &str) -> Option<Text>),
    /// Changes what due rows are asked for: tenants, queue, until, limit.
    AskDue(fn(&mut Tenants, &mut String, &mut Timestamp, &mut usize)),
    /// Changes the due rows that are read.
    Due(fn(&mut Vec<(Tenant, DueRow)>)),
    /// Reads a blob in its own way.
    Blob(fn(&Inside, &Tenant, &str) -> Option<Bytes>),
    /// Changes the figures.
    Stats(fn(&Inside, &mut StoreStats)),
    /// Changes what the engine says of itself.
    Info(fn(&mut StoreInfo)),
    /// Changes what verification finds.
    Verified(fn(&mut Verified)),
    /// Tells no progress.
    NoProgress,
    /// Changes the beat after a commit; false keeps it from being sent.
    Beat(fn(&Commit, &Answer, &mut Beat) -> bool),
    /// Gives late receivers nothing until the next beat.
    LateBeats,
    /// Goes on answering reads when it is closed.
    ReadsOn,
    /// Cannot be closed twice.
    ClosesOnce,
    /// Happens when the store is opened again.
    Reopened(fn(&Inside)),
    /// Holds from when the store has been opened again.
    AfterRestart(&'static Hook),
}

/// What is behind the hooks.
#[derive(Debug)]
pub struct Inside {
    pub store: Mutex<AnyStore>,
    pub clock: ManualClock,
    pub memo: Mutex<Memo>,
}

/// What hooks remember from call to call.
#[derive(Debug, Default)]
pub struct Memo {
    /// Numbers, by whatever name a hook gives them.
    pub numbers: HashMap<String, i64>,
    /// Texts that have been seen.
    pub seen: HashSet<String>,
}

/// The value of a future of the model, which never waits.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the model answers at once")
}

impl Inside {
    pub fn store(&self) -> AnyStore {
        self.store.lock().clone()
    }

    pub fn apply(&self, commit: Commit) -> Answer {
        now(self.store().apply(commit))
    }

    pub fn head(&self) -> Position {
        now(self.store().head()).unwrap_or(0)
    }

    pub fn find(&self, of: &Tenant, source: &str, id: &str) -> Option<Recorded> {
        now(self.store().find(of, source, id)).ok().flatten()
    }

    pub fn stream_version(&self, of: &Tenant, stream: &str) -> u64 {
        now(self.store().stream_version(of, stream)).unwrap_or(0)
    }

    pub fn document(&self, of: &Tenant, key: &DocumentKey) -> Option<Document> {
        now(self.store().document(of, key)).ok().flatten()
    }

    /// A number that is remembered, to change.
    pub fn number<T>(&self, name: &str, change: impl FnOnce(&mut i64) -> T) -> T {
        change(self.memo.lock().numbers.entry(name.to_owned()).or_default())
    }
}
