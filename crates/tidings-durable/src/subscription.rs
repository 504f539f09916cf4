//! A declared subscription: what its author wrote, what is stored about it, and how it is doing.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidings_core::{
    Commit, DocumentChange, DocumentKey, DocumentWrite, Fence, Pattern, Place, Policy, Position,
    Registration, Start, Text, Timestamp,
};
use tidings_store::{AnyStore, Checkpoint, Error};

use crate::{
    Left, book::lease_name, guards::Guards, node::Node, rows::Row, rows::State as RowState,
    shared::PARTITIONS, shared::Shared,
};

/// Where subscriptions are described, one document each.
pub const SUBSCRIPTIONS: &str = "$subscriptions";

/// The hash that divides keys among partitions; it has a name, because it must never change under a stored one.
const HASH: &str = "xxh3-low8";

/// What is stored about a subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// The name: its identity.
    pub name: Text,
    /// What it selects.
    pub patterns: Vec<Pattern>,
    /// Where it began.
    pub start: Start,
    /// How many partitions its keys are divided into.
    pub partitions: usize,
    /// By which hash.
    pub hash: String,
    /// When it was created.
    pub created: Timestamp,
    /// Whether it is paused.
    pub paused: bool,
    /// The Rust function behind it, for people.
    pub function: String,
    /// Whether events of a key are handled in order.
    pub ordered: bool,
    /// Its policy, as it was when a process took it up last; what was changed since is not here.
    pub policy: Policy,
}

/// A subscription of this process.
pub(crate) struct Declared {
    pub name: Text,
    pub registration: Registration,
    pub patterns: Vec<Pattern>,
    pub guards: Guards,
    /// Whether it has run in this process.
    pub has_begun: AtomicBool,
    place: Mutex<Life>,
}

enum Life {
    Waiting(String),
    Running(Arc<Shared>),
    Ended(Arc<Shared>),
}

impl Declared {
    pub(crate) fn new(
        name: Text,
        registration: Registration,
        patterns: Vec<Pattern>,
        guards: Guards,
    ) -> Self {
        Self {
            name,
            registration,
            patterns,
            guards,
            has_begun: false.into(),
            place: Mutex::new(Life::Waiting("has not started".into())),
        }
    }

    pub(crate) fn start(&self) -> Start {
        match self.registration.place {
            Place::Durable { start, .. } => start,
            Place::Bus | Place::Buffered { .. } => Start::Beginning,
        }
    }

    pub(crate) fn runs(&self, shared: &Arc<Shared>) {
        *self.place.lock() = Life::Running(shared.clone());
    }

    pub(crate) fn ended(&self, shared: &Arc<Shared>) {
        *self.place.lock() = Life::Ended(shared.clone());
    }

    pub(crate) fn standby(&self, by: &str) {
        *self.place.lock() = Life::Waiting(format!("stands by: {by} has the lease"));
    }

    /// Remembers what is wrong; answers how long to wait before trying again.
    pub(crate) fn troubled(&self, error: &Error) -> Duration {
        tracing::warn!(subscription = %self.name, %error, "does not run");
        *self.place.lock() = Life::Waiting(error.to_string());
        Duration::from_millis(500)
    }

    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        match &*self.place.lock() {
            Life::Running(shared) => Some(shared.clone()),
            Life::Waiting(_) | Life::Ended(_) => None,
        }
    }

    /// What it had not finished, if there is anything.
    pub(crate) fn left(&self) -> Option<Left> {
        let place = self.place.lock();
        let (Life::Running(shared) | Life::Ended(shared)) = &*place else { return None };
        let book = shared.book.lock();
        let parked = book.rows.iter().filter(|(_, row)| matches!(row.state, RowState::Parked { .. })).count();
        let left = Left {
            subscription: self.name.clone(),
            running: shared.left.load(std::sync::atomic::Ordering::SeqCst),
            unsettled: book.window.unsettled() + book.accepted(),
            waiting: book.rows.len() - parked,
            parked,
        };
        (left.running + left.unsettled + left.waiting + left.parked > 0).then_some(left)
    }

    /// How it is doing; or, where it does not run here, why not.
    pub(crate) fn status(&self, head: Position) -> Result<Status, String> {
        let (shared, state) = match &*self.place.lock() {
            Life::Waiting(why) => return Err(why.clone()),
            Life::Running(shared) => (shared.clone(), None),
            Life::Ended(shared) => (shared.clone(), Some("stopped")),
        };
        let state = match (state, &*shared.trouble.lock()) {
            (Some(state), _) => state.to_owned(),
            (None, Some(trouble)) => trouble.clone(),
            (None, None) if *shared.paused.borrow() => "paused".to_owned(),
            (None, None) => "running".to_owned(),
        };
        let book = shared.book.lock();
        let parked = book.rows.iter().filter(|(_, row)| matches!(row.state, RowState::Parked { .. })).count();
        let counts = book.counts;
        Ok(Status {
            name: self.name.clone(),
            state,
            watermark: book.watermark(),
            lag: head.saturating_sub(book.watermark()),
            handled: counts.handled,
            published: counts.published,
            expired: counts.expired,
            skipped: counts.skipped,
            dead_lettered: counts.dead,
            discarded: counts.discarded,
            reruns: counts.reruns,
            commits: counts.commits,
            failures: shared.failures.load(std::sync::atomic::Ordering::Relaxed),
            retries: shared.retries.load(std::sync::atomic::Ordering::Relaxed),
            unsettled: book.window.unsettled() + book.accepted(),
            waiting: book.rows.len() - parked,
            parked,
            followers: book.rows.followers(),
        })
    }
}

/// How a subscription of this process is doing. Counts begin with the process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Status {
    /// The name.
    pub name: Text,
    /// `running`, `paused`, `stopped`, or why it does not run.
    pub state: String,
    /// Everything up to here is settled, and that is in the store.
    pub watermark: Position,
    /// How many positions of the log come after the watermark.
    pub lag: u64,
    /// Deliveries the handler returned `Ok` for.
    pub handled: u64,
    /// Events its handler published.
    pub published: u64,
    /// Deliveries whose time was over.
    pub expired: u64,
    /// Deliveries settled without a call, because a flag is off for them or the same was handled already.
    pub skipped: u64,
    /// Deliveries given up.
    pub dead_lettered: u64,
    /// How many of these were thrown away by a rule.
    pub discarded: u64,
    /// Deliveries run again because a document they had read changed; these are no attempts.
    pub reruns: u64,
    /// Commits.
    pub commits: u64,
    /// Failed attempts.
    pub failures: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Deliveries read but not settled in the store.
    pub unsettled: usize,
    /// Rows that wait for their next attempt, or whose followers are being handled.
    pub waiting: usize,
    /// Keys a dead letter stands before.
    pub parked: usize,
    /// Followers that wait behind rows.
    pub followers: u64,
}

impl Status {
    /// What can be told of one that does not run here.
    pub(crate) fn stored(
        name: &Text,
        state: String,
        head: Position,
        checkpoint: &Checkpoint,
        rows: &HashMap<Text, Row>,
    ) -> Self {
        let parked = rows.values().filter(|row| matches!(row.state, RowState::Parked { .. })).count();
        Self {
            name: name.clone(),
            state,
            watermark: checkpoint.watermark,
            lag: head.saturating_sub(checkpoint.watermark),
            waiting: rows.len() - parked,
            parked,
            followers: rows.values().map(|row| row.followers).sum(),
            ..Self::default()
        }
    }
}

/// Writes down what the subscription is, under the lease; answers whether it is paused.
pub(crate) async fn declare(node: &Node, declared: &Declared, epoch: u64) -> Result<bool, Error> {
    let ordered = matches!(declared.registration.place, Place::Durable { ordered: true, .. });
    let before = described(&node.store, node, &declared.name).await?;
    let mut now = Described {
        name: declared.name.clone(),
        patterns: declared.patterns.clone(),
        start: declared.start(),
        partitions: PARTITIONS,
        hash: HASH.into(),
        created: node.clock.now(),
        paused: false,
        function: declared.registration.function.into(),
        ordered,
        policy: declared.guards.policy(),
    };
    if let Some(before) = before {
        if before.partitions != PARTITIONS || before.hash != HASH {
            return Err(Error::Refused(format!(
                "subscription {} has {} partitions by {}; this program knows {PARTITIONS} by {HASH}",
                declared.name, before.partitions, before.hash
            )));
        }
        now = Described { start: before.start, created: before.created, paused: before.paused, ..now };
        if now == before {
            return Ok(before.paused);
        }
    }
    write(node, &now, Some(epoch)).await?;
    Ok(now.paused)
}

/// What is stored about a subscription.
pub(crate) async fn described(store: &AnyStore, node: &Node, name: &str) -> Result<Option<Described>, Error> {
    let key = DocumentKey::new(SUBSCRIPTIONS, name);
    let Some(document) = store.document(&node.config.tenant, &key).await? else { return Ok(None) };
    serde_json::from_slice(&document.value)
        .map(Some)
        .map_err(|error| Error::Damaged(format!("the description of subscription {name}: {error}")))
}

pub(crate) async fn write(node: &Node, described: &Described, epoch: Option<u64>) -> Result<(), Error> {
    let value =
        serde_json::to_vec(described).map(Bytes::from).map_err(|error| Error::Refused(error.to_string()))?;
    let mut commit = Commit { tenant: node.config.tenant.clone(), ..Commit::default() };
    commit.fences.extend(epoch.map(|epoch| Fence { lease: lease_name(&described.name), epoch }));
    commit.documents.push(DocumentWrite {
        key: DocumentKey::new(SUBSCRIPTIONS, described.name.clone()),
        change: DocumentChange::Put(value),
        indexed: Arc::from([]),
        expected: None,
    });
    node.store.apply(commit).await.map(drop)
}

/// The checkpoint a subscription begins at; where it is not the beginning of the log, it is written down at once, so that
/// a restart does not move it.
pub(crate) async fn first_checkpoint(
    node: &Node,
    declared: &Declared,
    found: Checkpoint,
    epoch: u64,
) -> Result<Checkpoint, Error> {
    let watermark = match (found.revision, declared.start()) {
        (0, Start::Now) => node.store.head().await?,
        (0, Start::After(position)) => position,
        _ => return Ok(found),
    };
    let mut commit = Commit { tenant: node.config.tenant.clone(), ..Commit::default() };
    commit.fences.push(Fence { lease: lease_name(&declared.name), epoch });
    commit.checkpoints.push(tidings_core::CheckpointMove {
        name: declared.name.clone(),
        expected_revision: 0,
        watermark,
        settled: Vec::new(),
    });
    node.store.apply(commit).await?;
    Ok(Checkpoint { revision: 1, watermark, settled: Vec::new() })
}
