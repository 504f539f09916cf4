//! A node: all durable subscriptions of a process, and the scheduler.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{Batching, Clock, DocumentKey, Envelope, Place, Policy, Position, Registration, Text};
use tidings_policy::{Faults, GuardState, Surroundings};
use tidings_store::{AnyStore, Error};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Config, DeadLetter, Status, dead::dead_namespace, guards::Guards, rows::State, runner,
    schedule::Scheduler, subscription::Declared, suspects::Quiet,
};

/// Told of events after they have become durable.
pub type Published = Arc<dyn Fn(&[Envelope]) + Send + Sync>;

/// All durable subscriptions of a process.
pub struct Node {
    pub(crate) store: AnyStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) published: Published,
    /// Stop taking in; finish what runs.
    pub(crate) stop: CancellationToken,
    /// Stop waiting.
    pub(crate) leave: CancellationToken,
    pub(crate) quiet: Arc<Quiet>,
    declared: Vec<Arc<Declared>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.declared.iter().map(|declared| &declared.name).collect();
        f.debug_struct("Node")
            .field("store", &self.store)
            .field("subscriptions", &names)
            .finish_non_exhaustive()
    }
}

/// What a node had not finished when it stopped. Nothing of it is lost: it is delivered again, or waits in the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Left {
    /// The subscription.
    pub subscription: Text,
    /// Calls of the handler that were still running at the deadline.
    pub running: usize,
    /// Deliveries read but not settled.
    pub unsettled: usize,
    /// Keys that wait for an attempt.
    pub waiting: usize,
    /// Keys a dead letter stands before.
    pub parked: usize,
}

/// What became of an event in one subscription.
#[derive(Debug, Clone, PartialEq)]
pub enum Settled {
    /// The handler returned `Ok`, and its effects are in the store.
    Handled,
    /// It was given up.
    DeadLettered(Box<DeadLetter>),
    /// It waits behind a dead letter of its key, at this position, until a person decides.
    Behind(Position),
}

/// A registration a node cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NodeError(pub String);

impl Node {
    /// A node for these registrations, by themselves; all must be durable.
    ///
    /// # Errors
    /// Every fault: names used twice, invalid patterns, policies and settings.
    pub fn new(
        store: AnyStore,
        clock: Arc<dyn Clock>,
        config: Config,
        registrations: Vec<Registration>,
        published: Published,
    ) -> Result<Arc<Self>, Vec<NodeError>> {
        let around = Surroundings { clock, ..Surroundings::default() };
        Self::among(store, &around, config, registrations, published)
    }

    /// The same where policies meet others: pools that are shared by name, flags, and who is told what happens. The clock
    /// is theirs. Claims of stored idempotency and, unless said, shared counts are kept in the store; the seed is that of
    /// `config`, and where a policy says nothing it means what [`Defaults::durable`](tidings_core::Defaults::durable)
    /// says.
    ///
    /// # Errors
    /// As [`Node::new`].
    pub fn among(
        store: AnyStore,
        around: &Surroundings,
        config: Config,
        registrations: Vec<Registration>,
        published: Published,
    ) -> Result<Arc<Self>, Vec<NodeError>> {
        let clock = around.clock.clone();
        let mut faults: Vec<NodeError> = config.faults().into_iter().map(NodeError).collect();
        let (mut names, mut declared) = (HashSet::new(), Vec::new());
        for registration in registrations {
            let function = registration.function;
            let Place::Durable { name, concurrency, .. } = registration.place.clone() else {
                faults.push(NodeError(format!("{function} is not durable")));
                continue;
            };
            let mut fault =
                |what: String| faults.push(NodeError(format!("subscription {name:?} ({function}): {what}")));
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
                fault(format!("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters"));
            }
            if !names.insert(name.clone()) {
                fault("the name is used twice; it owns the checkpoint, so it must be unique".into());
            }
            if concurrency == 0 {
                fault("concurrency: must be at least 1".into());
            }
            let guards = Guards::new(&name, &registration, &store, &config, around);
            let guards = guards.map_err(|more| more.faults.into_iter().for_each(&mut fault)).ok();
            if let Some(batches) = &registration.batches {
                batch_faults(&batches.settings, &config).into_iter().for_each(&mut fault);
            }
            match registration.patterns() {
                Ok(patterns) if patterns.is_empty() => {
                    fault("it takes any event: say which with `.topic(\"…\")`".into());
                }
                Ok(patterns) => declared.extend(
                    guards.map(|guards| Arc::new(Declared::new(name, registration, patterns, guards))),
                ),
                Err(errors) => errors.into_iter().for_each(|error| fault(error.to_string())),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let (stop, leave) = (CancellationToken::new(), CancellationToken::new());
        Ok(Arc::new(Self {
            store,
            clock,
            config,
            published,
            stop,
            leave,
            quiet: Arc::default(),
            declared,
            tasks: Mutex::default(),
        }))
    }

    /// Starts everything. Only once.
    pub fn start(self: &Arc<Self>) {
        let mut tasks = self.tasks.lock();
        if !tasks.is_empty() {
            return;
        }
        // Nobody begins before it is known of all whether they have suspects.
        let waiting: Vec<_> = self.declared.iter().map(|_| self.quiet.begin()).collect();
        for (declared, waiting) in self.declared.iter().zip(waiting) {
            tasks.push(tokio::spawn(runner::run(self.clone(), declared.clone(), waiting)));
        }
        let scheduler = Scheduler {
            store: self.store.clone(),
            clock: self.clock.clone(),
            config: self.config.clone(),
            published: self.published.clone(),
            stop: self.stop.clone(),
        };
        tasks.push(tokio::spawn(scheduler.run()));
        tasks.push(tokio::spawn(sweep(self.clone())));
    }

    /// How every subscription is doing, in order of registration.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn status(&self) -> Result<Vec<Status>, Error> {
        Ok(self.status_at().await?.0)
    }

    /// The same, and the last position it is about.
    async fn status_at(&self) -> Result<(Vec<Status>, Position), Error> {
        let head = self.store.head().await?;
        let mut all = Vec::new();
        for declared in &self.declared {
            all.push(match declared.status(head) {
                Ok(status) => status,
                // It does not run here; perhaps it does elsewhere.
                Err(state) => {
                    let (checkpoint, rows) =
                        runner::load(&self.store, &self.config.tenant, &declared.name).await?;
                    Status::stored(&declared.name, state, head, &checkpoint, &rows)
                }
            });
        }
        Ok((all, head))
    }

    /// Waits until nothing is left to do: every subscription has settled everything there is, and no row waits for an
    /// attempt. What is parked stays parked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn settled(&self) -> Result<(), Error> {
        let mut beats = self.store.beats();
        loop {
            beats.borrow_and_update();
            let (all, head) = self.status_at().await?;
            let settled = all.iter().all(|one| one.lag == 0 && one.unsettled == 0 && one.waiting == 0);
            // What a handler has published in the meantime is there when its checkpoint is.
            if settled && self.store.head().await? == head {
                return Ok(());
            }
            // A last checkpoint may move without a commit of its own: look again soon, whatever comes.
            tokio::select! {
                changed = beats.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(Duration::from_millis(20)) => self.nudge(),
            }
        }
    }

    /// Makes every subscription move its checkpoint over what does not concern it.
    fn nudge(&self) {
        for shared in self.declared.iter().filter_map(|declared| declared.shared()) {
            shared.flush.store(true, std::sync::atomic::Ordering::SeqCst);
            shared.press();
        }
    }

    /// How the policy of every subscription stands, in order of registration.
    pub fn policies(&self) -> Vec<(Text, GuardState)> {
        self.declared.iter().map(|declared| (declared.name.clone(), declared.guards.state())).collect()
    }

    /// The policy of a subscription, as it counts now; `None` when there is no such subscription.
    pub fn policy(&self, subscription: &str) -> Option<Policy> {
        self.declared(subscription).map(|declared| declared.guards.policy())
    }

    /// Changes the policy of a subscription while it runs, in this process, and answers what it was: as
    /// [`Guard::change`](tidings_policy::Guard::change). What it held back is asked for again at once; a delivery that
    /// waits for its next attempt keeps its time. `None` when there is no such subscription.
    ///
    /// It counts as long as this process, also when the subscription is lost to another one and comes back.
    pub fn change_policy(&self, subscription: &str, policy: Policy) -> Option<Result<Policy, Faults>> {
        let declared = self.declared(subscription)?;
        let changed = declared.guards.change(policy);
        if changed.is_ok()
            && let Some(shared) = declared.shared()
        {
            {
                let mut book = shared.book.lock();
                book.dead_policy = declared.guards.policy().dead.unwrap_or_default();
            }
            shared.bar.changed();
        }
        Some(changed)
    }

    fn declared(&self, subscription: &str) -> Option<&Arc<Declared>> {
        self.declared.iter().find(|declared| *declared.name == *subscription)
    }

    /// Names of the subscriptions that select `envelope`.
    pub fn selecting(&self, envelope: &Envelope) -> Vec<Text> {
        let selects =
            |declared: &&Arc<Declared>| declared.patterns.iter().any(|p| p.matches(envelope.name()));
        self.declared.iter().filter(selects).map(|declared| declared.name.clone()).collect()
    }

    /// Waits until the event at `position` is settled in subscription `name`. `None` when this process does not run it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn outcome(
        &self,
        name: &str,
        position: Position,
        key: Option<&Text>,
    ) -> Result<Option<Settled>, Error> {
        let Some(declared) = self.declared(name) else { return Ok(None) };
        loop {
            let Some(shared) = declared.shared() else {
                if self.stop.is_cancelled() {
                    return Ok(None);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let mut commits = shared.commits.subscribe();
            commits.borrow_and_update();
            let row = {
                let book = shared.book.lock();
                if !book.is_settled(position) {
                    None
                } else {
                    let key = key.filter(|_| shared.ordered);
                    let blocking =
                        key.and_then(|key| book.rows.get(&crate::rows::row_id(Some(key), position)));
                    let own = book.rows.get(&crate::rows::row_id(None, position));
                    Some(blocking.or(own).cloned())
                }
            };
            if let Some(row) = row {
                let id = DocumentKey::new(dead_namespace(name), DeadLetter::document_id(position));
                if let Some(letter) = self.store.document(&self.config.tenant, &id).await?
                    && let Ok(letter) = serde_json::from_slice::<DeadLetter>(&letter.value)
                {
                    return Ok(Some(Settled::DeadLettered(Box::new(letter))));
                }
                match row.map(|row| (row.state, row.end)) {
                    Some((State::Parked { position: before }, end))
                        if before < position && position <= end =>
                    {
                        return Ok(Some(Settled::Behind(before)));
                    }
                    Some((State::Pending { position: at, .. } | State::Draining { after: at }, end))
                        if at == position || (at < position && position <= end) => {}
                    _ => return Ok(Some(Settled::Handled)),
                }
            }
            tokio::select! {
                _ = commits.changed() => {}
                () = shared.leave.cancelled() => {
                    if self.stop.is_cancelled() {
                        return Ok(None);
                    }
                    // It begins anew from what is stored.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Stops: takes nothing in any more, finishes what runs, commits it, lets the leases go. What still runs after
    /// `deadline` is left. Answers what was left, without those subscriptions that had nothing to do.
    pub async fn stop(&self, deadline: Duration) -> Vec<Left> {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let mut ending = futures_util::future::join_all(tasks);
        tokio::select! {
            _ = &mut ending => {}
            () = self.clock.sleep(deadline) => {
                self.leave.cancel();
                ending.await;
            }
        }
        self.leave.cancel();
        self.declared.iter().filter_map(|declared| declared.left()).collect()
    }
}

/// How often what is over is looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Removes claims and counts that are over.
async fn sweep(node: Arc<Node>) {
    let mut wait = SWEEP;
    loop {
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = node.clock.sleep(wait) => {}
        }
        wait = match crate::stored::sweep(&node.store, &node.config.tenant, node.clock.now()).await {
            // Perhaps there are more.
            Ok(count) if count > 0 => Duration::from_secs(1),
            Ok(_) => SWEEP,
            Err(error) => {
                tracing::warn!(%error, "what is over stays a while longer");
                SWEEP
            }
        };
    }
}

/// What is wrong with the settings of batches: also, that a batch could never be complete by its items, or not be settled
/// in one commit.
fn batch_faults(settings: &Batching, config: &Config) -> Vec<String> {
    let mut faults = settings.faults();
    let most = config.batch.min(config.window).min(runner::READ_AHEAD);
    if settings.items > most {
        let items = settings.items;
        faults.push(format!("items: {items} are more than the {most} that one commit may settle"));
    }
    faults.into_iter().map(|fault| format!("in_batches.{fault}")).collect()
}

/// The longest name of a subscription, in bytes.
pub const NAME_BYTES_MAX: usize = 200;
