//! What the tasks of one running subscription share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tidings_core::{
    Batches, BoxFuture, Boxed, Clock, DocumentKey, Documents, Envelope, EventInfo, HOPS_MAX, Handled, Loaded,
    Pattern, Position, Subscriber, Tenant, Text,
};
use tidings_policy::Guard;
use tidings_store::{AnyStore, Read, Recorded};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    Config,
    bar::Bar,
    book::{Book, Group, Turn, Verdict},
    claims::OwnClaims,
    delivery::{Accepted, Delivery, Outcome},
    node::Published,
    suspects::Suspects,
};

pub(crate) struct Shared {
    pub name: Text,
    pub config: Config,
    pub clock: Arc<dyn Clock>,
    pub store: AnyStore,
    pub patterns: Vec<Pattern>,
    /// Asked before each delivery.
    pub guard: Guard,
    /// Asked before each call of a handler of batches.
    pub calls: Option<Guard>,
    pub claims: Arc<OwnClaims>,
    pub handler: Boxed,
    pub fallback: Option<Boxed>,
    /// Wakes lanes that hold back.
    pub bar: Bar,
    pub batches: Option<Batches>,
    pub event: Option<&'static EventInfo>,
    pub ordered: bool,
    pub concurrency: usize,
    pub book: Mutex<Book>,
    /// How many rows block something; 0 saves asking the book.
    pub blocked: AtomicUsize,
    /// Counts commits; lanes that found no room, and readers of blind changes, wait for it.
    pub commits: watch::Sender<u64>,
    /// There is something to commit.
    pub work: Notify,
    /// What is open is to be committed now, although there is room for more.
    pub pressing: AtomicBool,
    /// A row has changed.
    pub rows: Notify,
    pub paused: watch::Sender<bool>,
    /// Stop taking in and starting; finish what runs.
    pub stop: CancellationToken,
    /// Stop waiting for what runs.
    pub leave: CancellationToken,
    /// The lease is gone, or the checkpoint was moved by somebody: this run is over.
    pub lost: CancellationToken,
    /// Move the checkpoint also over what does not concern the subscription.
    pub flush: AtomicBool,
    /// Calls that were running when the lanes left.
    pub left: AtomicUsize,
    pub failures: AtomicU64,
    pub retries: AtomicU64,
    pub suspects: Suspects,
    pub published: Published,
    /// What is wrong with the store, if something is.
    pub trouble: Mutex<Option<String>>,
}

impl Shared {
    /// For whom the handler is called.
    pub(crate) fn subscriber(self: &Arc<Self>) -> Subscriber {
        Subscriber {
            name: Text::from(&*self.name),
            source: Text::from(&*self.config.source),
            tenant: self.config.tenant.clone(),
            payload_bytes_max: self.config.payload_bytes,
            clock: self.clock.clone(),
            documents: self.clone(),
        }
    }

    pub(crate) fn accept(&self, accepted: Accepted) -> Verdict {
        let from_row = accepted.delivery.from_row;
        let has_row = !matches!(accepted.outcome, Outcome::Handled(_));
        self.offer(from_row, has_row, |book| {
            let verdict = book.accept(accepted);
            (matches!(verdict, Verdict::Accepted), verdict)
        })
    }

    /// Offers what was handled together; answers what became of each, or gives back what there was no room for.
    pub(crate) fn accept_together(&self, group: Group) -> (Vec<Verdict>, Option<Group>) {
        let from_row = group.offered.iter().any(|one| one.accepted.delivery.from_row);
        let has_row = group.offered.iter().any(|one| !matches!(one.accepted.outcome, Outcome::Handled(_)));
        self.offer(from_row, has_row, |book| {
            let (verdicts, rest) = book.accept_together(group);
            (!verdicts.is_empty(), (verdicts, rest))
        })
    }

    fn offer<T>(&self, from_row: bool, has_row: bool, offer: impl FnOnce(&mut Book) -> (bool, T)) -> T {
        let mut book = self.book.lock();
        let before = (book.rows.len(), book.alone);
        if before.0 > 0 || has_row {
            book.now = self.clock.now();
        }
        let (accepted, verdict) = offer(&mut book);
        let after = (book.rows.len(), book.alone);
        let full = book.is_full();
        // Under the lock: two that change it must not leave the older number.
        self.blocked.store(after.0, Ordering::SeqCst);
        drop(book);
        if accepted && full {
            self.work.notify_one();
        } else if before.1 != after.1 {
            self.told();
        }
        if from_row || before.0 != after.0 {
            self.rows.notify_one();
        }
        verdict
    }

    /// Has what is open committed now: whoever asks has nothing else to do, or waits for it.
    pub(crate) fn press(&self) {
        self.pressing.store(true, Ordering::SeqCst);
        self.work.notify_one();
    }

    pub(crate) fn turn(&self, delivery: &Delivery) -> Turn {
        if !delivery.from_row && (delivery.key.is_none() || self.blocked.load(Ordering::SeqCst) == 0) {
            return Turn::Now;
        }
        self.book.lock().turn(delivery)
    }

    /// A delivery nobody waits for any more.
    pub(crate) fn gone(&self, delivery: &Delivery) {
        self.book.lock().gone(delivery);
        self.told();
        self.rows.notify_one();
    }

    pub(crate) fn begin_alone(&self, position: Position) {
        self.book.lock().begin_alone(position);
    }

    pub(crate) fn not_alone(&self, position: Position) {
        self.book.lock().not_alone(position);
        // Whoever found no room beside it may be accepted now.
        self.told();
    }

    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// The names of the events that led to `event`, the oldest first.
    pub(crate) async fn path_to(&self, event: &Recorded) -> Vec<String> {
        let mut path = vec![event.envelope.name().to_string()];
        let mut at = event.clone();
        while path.len() <= usize::from(HOPS_MAX) {
            let Some(cause) = at.envelope.causation().cloned() else { break };
            let mut found = None;
            for source in [at.envelope.source(), &self.config.source] {
                found = self.store.find(&self.config.tenant, source, &cause).await.ok().flatten();
                if found.is_some() {
                    break;
                }
            }
            if found.is_none() {
                // It came from elsewhere; then it is not far before.
                let read = Read::newest().from(at.position).tenant(self.config.tenant.clone());
                let page = self.store.read(&read).await.unwrap_or_default();
                found = page.events.into_iter().find(|event| *event.envelope.id() == cause);
            }
            let Some(cause) = found else { break };
            path.push(cause.envelope.name().to_string());
            at = cause;
        }
        path.reverse();
        path
    }

    /// The number of the lane for a key, or for one delivery without a key.
    pub(crate) fn lane(&self, key: Option<&Text>, position: Position) -> usize {
        let lanes = self.config.lanes;
        match key {
            Some(key) => usize::from(partition(key)) * lanes / PARTITIONS,
            None => position as usize % lanes,
        }
    }

    /// Tells everybody who waits for a commit.
    pub(crate) fn told(&self) {
        self.commits.send_modify(|count| *count += 1);
    }
}

/// Whether the program knows only older versions of this event.
pub(crate) fn newer(known: &EventInfo, envelope: &Envelope) -> bool {
    known.name == &**envelope.name() && envelope.schema_version() > known.version
}

/// Keys hash to this many partitions, for ever.
pub const PARTITIONS: usize = 256;

/// The partition of a key: the low byte of its XXH3 hash. It is part of what is stored, and never changes.
///
/// ```
/// assert_eq!(tidings_durable::partition("4711"), tidings_durable::partition("4711"));
/// ```
pub fn partition(key: &str) -> u8 {
    xxhash_rust::xxh3::xxh3_64(key.as_bytes()) as u8
}

impl Documents for Shared {
    fn cached(&self, _: &Tenant, key: &DocumentKey) -> Option<Loaded> {
        let (value, stamp) = self.book.lock().slots.get(key)?;
        Some(Loaded { value, stamp })
    }

    fn load<'a>(&'a self, tenant: &'a Tenant, key: &'a DocumentKey) -> BoxFuture<'a, Handled<Loaded>> {
        Box::pin(async move {
            let mut commits = self.commits.subscribe();
            loop {
                commits.borrow_and_update();
                if self.book.lock().slots.is_blind(key) {
                    // Its value is known when the blind change has been committed.
                    self.press();
                    let _ = commits.changed().await;
                    continue;
                }
                if let Some(loaded) = self.cached(tenant, key) {
                    return Ok(loaded);
                }
                let found = self.store.document(tenant, key).await?;
                self.book.lock().slots.load(key, found);
            }
        })
    }
}
