//! A running subscription: it reads the log, hands deliveries to lanes, and commits what they settle.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidings_core::{Commit, DocumentChange, DocumentWrite, Place, Position, Tenant, Text, Timestamp};
use tidings_store::{
    AnyStore, Checkpoint, DocumentQuery, Error, ErrorKind, Filter, Lease, PAGE_EVENTS_MAX, Read,
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Config,
    bar::Bar,
    book::{Book, Sealed, lease_name, rows_namespace},
    delivery::Delivery,
    gathering::Gathering,
    keeper::Keeper,
    lane::{Lane, Message},
    node::Node,
    rows::Row,
    shared::Shared,
    subscription::{Declared, declare, first_checkpoint},
    suspects::{self, Waiting},
};

/// How many events are read at once.
pub(crate) const PAGE: usize = 1_000;

/// How many deliveries may wait for the handler: more would only take memory, and make lanes drift apart, so that each
/// checkpoint lists more positions above its watermark.
pub(crate) const READ_AHEAD: usize = 4 * PAGE;

/// A checkpoint over events that do not concern the subscription is moved after this many.
const ADVANCE: u64 = 1_000;

/// Why a run ended.
pub(crate) enum Ended {
    /// It was told to.
    Stopped,
    /// Another node has the lease, or somebody moved the checkpoint: begin anew from what is stored.
    Lost,
}

/// The lanes' inboxes.
#[derive(Clone)]
pub(crate) struct Lanes(Vec<mpsc::UnboundedSender<Message>>);

impl Lanes {
    pub(crate) fn deliver(&self, lane: usize, deliveries: Vec<Delivery>) {
        // A lane that has ended leaves its deliveries unsettled: they come again.
        let _ = self.0[lane].send(Message::Deliver(deliveries));
    }

    fn again(&self, shared: &Shared, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let lane = shared.lane(delivery.key.as_ref(), delivery.position());
            let _ = self.0[lane].send(Message::Again(vec![delivery]));
        }
    }
}

/// Loads what is stored about a subscription.
pub(crate) async fn load(
    store: &AnyStore,
    tenant: &Tenant,
    name: &str,
) -> Result<(Checkpoint, HashMap<Text, Row>), Error> {
    let checkpoint = store.checkpoint(name).await?;
    let mut rows = HashMap::new();
    let mut query = DocumentQuery { tenant: tenant.clone(), ..DocumentQuery::all(rows_namespace(name)) };
    query.limit = PAGE_EVENTS_MAX;
    loop {
        let page = store.documents(&query).await?;
        let full = page.len() == query.limit;
        for document in page {
            let row = serde_json::from_slice(&document.value)
                .map_err(|error| Error::Damaged(format!("row {} of {name}: {error}", document.key.id)))?;
            query.after = Some(document.key.id.clone());
            rows.insert(document.key.id, row);
        }
        if !full {
            return Ok((checkpoint, rows));
        }
    }
}

/// Takes the lease and runs until told to stop; begins anew when the lease was lost.
pub(crate) async fn run(node: Arc<Node>, declared: Arc<Declared>, waiting: Waiting) {
    let mut waiting = Some(waiting);
    let lease = lease_name(&declared.name);
    loop {
        let granted = node.store.lease(&lease, &node.config.owner, node.config.lease).await;
        let wait = match granted {
            Ok(Lease::Granted { epoch }) => match start(&node, &declared, epoch, waiting.take()).await {
                Ok(Ended::Stopped) => return,
                Ok(Ended::Lost) => {
                    tracing::warn!(subscription = %declared.name, "begins anew from what is stored");
                    Duration::ZERO
                }
                Err(error) => declared.troubled(&error),
            },
            Ok(Lease::Held { by, until }) => {
                declared.standby(&by);
                until.since(node.clock.now()).clamp(Duration::from_millis(50), Duration::from_secs(1))
            }
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => declared.troubled(&error),
        };
        // It does not run here now: nobody need wait for it.
        drop(waiting.take());
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = node.clock.sleep(wait) => {}
        }
    }
}

async fn start(
    node: &Arc<Node>,
    declared: &Arc<Declared>,
    epoch: u64,
    waiting: Option<Waiting>,
) -> Result<Ended, Error> {
    let (checkpoint, rows) = load(&node.store, &node.config.tenant, &declared.name).await?;
    let paused = declare(node, declared, epoch).await?;
    let checkpoint = first_checkpoint(node, declared, checkpoint, epoch).await?;
    let Place::Durable { ordered, concurrency, .. } = declared.registration.place else {
        return Err(Error::Refused("not a durable subscription".into()));
    };
    let suspects = suspects::begin(node, declared, &checkpoint, rows.iter(), epoch, waiting).await?;
    let blocked = rows.len();
    let mut book = Book::new(declared.name.clone(), node.config.clone(), epoch, &checkpoint, rows);
    book.dead_policy = declared.guards.policy().dead.unwrap_or_default();
    book.event = declared.registration.event;
    let shared = Arc::new(Shared {
        name: declared.name.clone(),
        // A batch is gathered in one place.
        config: match declared.registration.batches {
            Some(_) => Config { lanes: 1, ..node.config.clone() },
            None => node.config.clone(),
        },
        clock: node.clock.clone(),
        store: node.store.clone(),
        patterns: declared.patterns.clone(),
        guard: declared.guards.each.clone(),
        calls: declared.guards.calls.clone(),
        claims: declared.guards.claims.clone(),
        fallback: declared.registration.fallback.clone(),
        bar: Bar::default(),
        handler: declared.registration.handler.clone(),
        batches: declared.registration.batches.clone(),
        event: declared.registration.event,
        ordered,
        concurrency: concurrency.max(1),
        book: parking_lot::Mutex::new(book),
        blocked: blocked.into(),
        commits: tokio::sync::watch::channel(0).0,
        work: tokio::sync::Notify::new(),
        pressing: false.into(),
        rows: tokio::sync::Notify::new(),
        paused: tokio::sync::watch::channel(paused).0,
        stop: node.stop.child_token(),
        leave: node.leave.child_token(),
        lost: tokio_util::sync::CancellationToken::new(),
        flush: false.into(),
        left: 0.into(),
        failures: 0.into(),
        retries: 0.into(),
        suspects,
        published: node.published.clone(),
        trouble: parking_lot::Mutex::new(None),
    });
    declared.runs(&shared);
    // It may have changed between being read and being known here.
    shared.book.lock().dead_policy = declared.guards.policy().dead.unwrap_or_default();
    let ended = Run { node: node.clone(), shared: shared.clone() }.run().await;
    declared.ended(&shared);
    Ok(ended)
}

struct Run {
    node: Arc<Node>,
    shared: Arc<Shared>,
}

impl Run {
    async fn run(self) -> Ended {
        let shared = &self.shared;
        let mut inboxes = Vec::new();
        let mut lanes: Vec<JoinHandle<()>> = Vec::new();
        for _ in 0..shared.config.lanes {
            let (inbox, outbox) = mpsc::unbounded_channel();
            inboxes.push(inbox);
            lanes.push(match shared.batches.clone() {
                None => tokio::spawn(Lane::new(shared.clone(), outbox).run()),
                Some(batches) => tokio::spawn(Gathering::new(shared.clone(), &batches, outbox).run()),
            });
        }
        let inboxes = Lanes(inboxes);
        let reader = tokio::spawn(read(shared.clone(), inboxes.clone()));
        let keeper = tokio::spawn(Keeper { shared: shared.clone(), lanes: inboxes.clone() }.run());
        let control = tokio::spawn(crate::control::serve(shared.clone()));
        let renew = tokio::spawn(renew(self.node.clone(), shared.clone()));
        let committer = Committer { shared: shared.clone(), lanes: inboxes };
        let lost = committer.run(&mut lanes).await;
        // Whatever the reason, nothing of this run goes on.
        shared.stop.cancel();
        shared.leave.cancel();
        shared.told();
        // The committer has waited for lanes already, unless the subscription was lost.
        for task in
            lanes.into_iter().chain([reader, keeper, control, renew]).filter(|task| !task.is_finished())
        {
            let _ = task.await;
        }
        if lost {
            return Ended::Lost;
        }
        let epoch = shared.book.lock().epoch();
        let clean = suspects::Run { clean: true, ..suspects::Run::default() };
        if let Err(error) = suspects::write(&self.node, &shared.name, &clean, epoch).await {
            tracing::warn!(subscription = %shared.name, %error, "the next run takes this one to have died");
        }
        if let Err(error) = self.node.store.release(&lease_name(&shared.name), &shared.config.owner).await {
            tracing::debug!(%error, "the lease runs out by itself");
        }
        Ended::Stopped
    }
}

/// Keeps the lease; a lease that is gone ends the run.
async fn renew(node: Arc<Node>, shared: Arc<Shared>) {
    let (name, span) = (lease_name(&shared.name), shared.config.lease);
    let epoch = shared.book.lock().epoch();
    loop {
        tokio::select! {
            () = shared.leave.cancelled() => return,
            () = shared.clock.sleep(span / 3) => {}
        }
        match node.store.lease(&name, &shared.config.owner, span).await {
            Ok(Lease::Granted { epoch: now }) if now == epoch => {}
            // In between it was in other hands.
            Ok(Lease::Granted { .. } | Lease::Held { .. }) => shared.lost.cancel(),
            Err(error) => tracing::warn!(subscription = %shared.name, %error, "the lease was not renewed"),
        }
    }
}

/// Reads the log and hands what matches to the lanes: everything there is, then whatever comes, by signal.
async fn read(shared: Arc<Shared>, lanes: Lanes) {
    let mut beats = shared.store.beats();
    let mut commits = shared.commits.subscribe();
    let mut paused = shared.paused.subscribe();
    let all = shared.patterns.iter().any(tidings_core::Pattern::is_all);
    let filter = Filter::names(if all { Vec::new() } else { shared.patterns.clone() });
    loop {
        if shared.stop.is_cancelled() {
            return;
        }
        if *paused.borrow_and_update() {
            shared.suspects.let_others_go();
            tokio::select! {
                () = shared.stop.cancelled() => return,
                _ = paused.changed() => continue,
            }
        }
        commits.borrow_and_update();
        let careful = shared.suspects.is_active();
        let now = shared.clock.now();
        if careful && shared.suspects_over().await {
            continue;
        }
        let (from, room) = {
            let window = &shared.book.lock().window;
            let ahead = READ_AHEAD.saturating_sub(window.unsettled());
            (window.read_to(), shared.config.window.saturating_sub(window.len()).min(ahead))
        };
        if room == 0 || (careful && from >= shared.suspects.to()) {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                _ = commits.changed() => continue,
                _ = paused.changed() => continue,
                () = shared.clock.sleep(shared.suspects.patience(now)), if shared.suspects.keeps_others() => {
                    shared.suspects.let_others_go();
                    continue;
                }
            }
        }
        beats.borrow_and_update();
        let question = Read::after(from)
            .filter(filter.clone())
            .tenant(shared.config.tenant.clone())
            .limit(room.min(PAGE));
        let mut page = match shared.store.read(&question).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(subscription = %shared.name, %error, "the log cannot be read");
                *shared.trouble.lock() = Some(error.to_string());
                tokio::select! {
                    () = shared.stop.cancelled() => return,
                    () = shared.clock.sleep(Duration::from_millis(500)) => continue,
                }
            }
        };
        if careful {
            // First these, and nothing new.
            page.next = if page.end { shared.suspects.to() } else { page.next.min(shared.suspects.to()) };
            page.end = false;
            page.events.retain(|event| event.position <= shared.suspects.to());
        }
        let now = shared.clock.now();
        let mut routed: Vec<Vec<Delivery>> = vec![Vec::new(); shared.config.lanes];
        let advance = {
            let mut book = shared.book.lock();
            for event in page.events {
                if !book.window.read(event.position) {
                    continue;
                }
                let delivery = delivery(&shared, event, now);
                routed[shared.lane(delivery.key.as_ref(), delivery.position())].push(delivery);
            }
            book.window.advance(page.next);
            page.next.saturating_sub(book.watermark())
        };
        for (lane, deliveries) in
            routed.into_iter().enumerate().filter(|(_, deliveries)| !deliveries.is_empty())
        {
            lanes.deliver(lane, deliveries);
        }
        if advance >= ADVANCE {
            shared.work.notify_one();
        }
        if page.end {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                changed = beats.changed() => if changed.is_err() { return },
                _ = paused.changed() => {}
            }
        }
    }
}

pub(crate) fn delivery(shared: &Shared, event: tidings_store::Recorded, ready: Timestamp) -> Delivery {
    let key = event.envelope.key().filter(|_| shared.ordered).cloned();
    Delivery {
        event,
        key,
        attempt: 1,
        calls: 1,
        first: None,
        from_row: false,
        conflicts: 0,
        trouble: None,
        history: Vec::new(),
        letter: None,
        ready,
        uncalled: false,
        claim: None,
    }
}

struct Committer {
    shared: Arc<Shared>,
    lanes: Lanes,
}

impl Committer {
    /// Commits what is settled until the lanes have ended and nothing is left; answers whether the subscription was lost
    /// to somebody else.
    ///
    /// While there is more to do, commits grow to what one may hold: a document that many deliveries change is
    /// then written once. As soon as a lane has nothing left to do, what is there is committed.
    async fn run(&self, lanes: &mut [JoinHandle<()>]) -> bool {
        let shared = &self.shared;
        let mut ending = futures_util::future::join_all(lanes.iter_mut());
        let mut ended = false;
        loop {
            let idle = tokio::select! {
                () = shared.lost.cancelled() => return !shared.stop.is_cancelled(),
                () = shared.work.notified() => shared.flush.swap(false, Ordering::SeqCst),
                _ = &mut ending, if !ended => {
                    ended = true;
                    true
                }
                () = shared.clock.sleep(Duration::from_secs(1)), if !ended => true,
            };
            loop {
                let sealed = {
                    let mut book = shared.book.lock();
                    book.now = shared.clock.now();
                    let advance = book.advance();
                    let pressing = shared.pressing.swap(false, Ordering::SeqCst);
                    let now = idle || pressing || book.is_full() || book.is_urgent();
                    let due = (book.is_dirty() && now) || advance >= ADVANCE || (idle && advance > 0);
                    due.then(|| (book.seal(), book.spoiled()))
                };
                let Some((sealed, spoiled)) = sealed else { break };
                self.lanes.again(shared, spoiled);
                match self.apply(sealed).await {
                    Ok(()) => shared.told(),
                    Err(Gone) => return !(ended || shared.stop.is_cancelled()),
                }
            }
            if ended {
                return false;
            }
        }
    }

    async fn apply(&self, sealed: Sealed) -> Result<(), Gone> {
        let shared = &self.shared;
        let Sealed { mut commit, mut published, effects } = sealed;
        let (expected, watermark) =
            (commit.checkpoints[0].expected_revision, commit.checkpoints[0].watermark);
        let mut unknown = false;
        let mut wait = Duration::from_millis(20);
        if let Some(error) = self.too_large(&commit).filter(|_| effects) {
            self.refused(&error);
            return Ok(());
        }
        loop {
            let error = match shared.store.apply(commit.clone()).await {
                Ok(applied) if applied.repeated => {
                    // The events are there. Either this very commit was applied when its answer was lost, or a handler
                    // published ids that were known: then the rest of the commit is still to be written.
                    if unknown {
                        match self.found(&commit.documents, expected, watermark).await {
                            Found::No => {}
                            Found::At(revision) => {
                                self.committed(watermark, revision, &published);
                                return Ok(());
                            }
                            Found::Somewhere => return Err(Gone),
                        }
                    }
                    commit.appends.clear();
                    published.clear();
                    continue;
                }
                Ok(applied) => {
                    self.committed(watermark, applied.revision, &published);
                    return Ok(());
                }
                Err(error) => error,
            };
            match error {
                Error::CheckpointMoved { .. } if unknown => {
                    if let Found::At(revision) = self.found(&commit.documents, expected, watermark).await {
                        self.committed(watermark, revision, &published);
                        return Ok(());
                    }
                    return Err(Gone);
                }
                Error::Fenced { .. } | Error::CheckpointMoved { .. } | Error::Closed => return Err(Gone),
                // Without effects of a handler there is nobody to give up, and nothing to do but to try again.
                _ if effects && matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Refused) => {
                    self.refused(&error);
                    return Ok(());
                }
                _ => {}
            }
            unknown |= error.kind() == ErrorKind::Unknown;
            tracing::warn!(subscription = %shared.name, %error, ?wait, "a commit is tried again");
            *shared.trouble.lock() = Some(error.to_string());
            tokio::select! {
                () = shared.leave.cancelled() => return Err(Gone),
                () = shared.clock.sleep(wait) => {}
            }
            wait = (wait * 2).min(Duration::from_secs(2));
        }
    }

    fn too_large(&self, commit: &Commit) -> Option<Error> {
        let (config, writes, bytes) = (&self.shared.config, commit.writes(), commit.bytes());
        let over = |size: usize, most: usize, unit: &str| Error::TooLarge {
            what: "its commit".into(),
            size: format!("{size} {unit}"),
            limit: format!("{most} {unit}"),
        };
        if writes > config.writes {
            Some(over(writes, config.writes, "writes"))
        } else {
            (bytes > config.bytes).then(|| over(bytes, config.bytes, "bytes"))
        }
    }

    fn refused(&self, error: &Error) {
        let shared = &self.shared;
        tracing::debug!(subscription = %shared.name, %error, "a commit was refused");
        let again = {
            let mut book = shared.book.lock();
            book.now = shared.clock.now();
            let again = book.refused(error);
            shared.blocked.store(book.rows.len(), Ordering::SeqCst);
            again
        };
        self.lanes.again(shared, again);
        // Rows are as they were: what was handed out on the way may have to be handed out again.
        shared.rows.notify_one();
    }

    fn committed(&self, watermark: Position, revision: u64, published: &[tidings_core::Envelope]) {
        let shared = &self.shared;
        let mut book = shared.book.lock();
        let done = book.committed(watermark, revision);
        shared.blocked.store(book.rows.len(), Ordering::SeqCst);
        drop(book);
        drop(done);
        *shared.trouble.lock() = None;
        if !published.is_empty() {
            (shared.published)(published);
        }
    }

    /// Whether the commit whose answer was lost is in the store after all.
    async fn found(&self, documents: &[DocumentWrite], expected: u64, watermark: Position) -> Found {
        let shared = &self.shared;
        match shared.store.checkpoint(&shared.name).await {
            Ok(checkpoint) if checkpoint.revision == expected + 1 && checkpoint.watermark == watermark => {}
            Ok(_) => return Found::No,
            Err(_) => return Found::Somewhere,
        }
        let mut none = true;
        for write in documents {
            let DocumentChange::Put(value) = &write.change else { continue };
            none = false;
            // What is still as it was written has the version that was written.
            if let Ok(Some(document)) = shared.store.document(&shared.config.tenant, &write.key).await
                && document.value == *value
            {
                return Found::At(document.version);
            }
        }
        if none { Found::At(0) } else { Found::Somewhere }
    }
}

/// Where a commit is whose answer was lost.
enum Found {
    /// It was not applied.
    No,
    /// It was applied, and what it wrote has this version.
    At(u64),
    /// Perhaps it was applied, but what it wrote has changed since, so its version is not known: begin anew.
    Somewhere,
}

/// The subscription is in other hands.
struct Gone;
