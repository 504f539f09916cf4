//! A running application.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tidings_bus::Bus;
use tidings_core::{
    Clock, Commit, Envelope, EnvelopeBuilder, Event, Flag, Letters, Pattern, Ran, Tenant, Text, View,
};
use tidings_durable::{Followed, Left, Node, PolicyRequests, Status, StoreFlags};
use tidings_flow::Drain;
use tidings_policy::{FlagChange, FlagTarget, MemoryFlags, Surroundings};
use tidings_runtime::{Admitted, Buffered, Direct, From, Gatherer, PoolLeft, Ticket};
use tidings_store::{AnyStore, Applied, Error};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    FlowLeft, Model, Publish, PublishError, ViewReader, batches::Gatherers, flows::Flows, letters::Desk,
    models::Models, outside::AppOutside, policies::Requested,
};

/// An application: modules on a bus and a store.
#[derive(Clone)]
pub struct App(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub name: String,
    pub source: Text,
    pub clock: Arc<dyn Clock>,
    pub store: Option<AnyStore>,
    pub node: Option<Arc<Node>>,
    pub bus: Bus,
    /// What handlers on the bus and in pools reach.
    pub outside: Arc<AppOutside>,
    /// Handlers that run on the bus.
    pub direct: Direct,
    /// Handlers that run on worker threads.
    pub buffered: Buffered,
    /// What guards of handlers live among.
    pub around: Surroundings,
    /// What the way from the bus to buffered handlers selects.
    pub bridged: RwLock<Vec<Pattern>>,
    /// Deliveries that were given up.
    pub desk: Desk,
    /// Feature flags.
    pub flags: Arc<MemoryFlags>,
    /// The same in the store, for all processes on it.
    pub kept_flags: Option<StoreFlags>,
    /// What takes over changes there, until it has begun.
    pub followed: parking_lot::Mutex<Option<Followed>>,
    pub drain: Duration,
    pub payload_bytes_max: usize,
    /// What it is made of now.
    pub models: Models,
    /// Its process, as it takes leases, and whose events it handles.
    pub process: Text,
    pub tenant: Tenant,
    /// Nothing is taken in any more.
    pub closing: CancellationToken,
    /// The same, for a look that takes no lock.
    pub closed: AtomicBool,
    /// Publications on their way to the store.
    pub publishing: TaskTracker,
    /// Calls of handlers on the bus.
    pub calls: TaskTracker,
    /// Flows.
    pub flows: Flows,
    /// Handlers of batches in memory.
    pub gatherers: Gatherers,
    pub started: AtomicBool,
}

/// What a shutdown left. Nothing durable is lost by it: it is delivered again after a restart, or waits in the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Drained {
    /// Calls of handlers on the bus that were still running.
    pub bus_calls: usize,
    /// Pools that had something left: it is lost, unless it is in a store.
    pub pools: Vec<PoolLeft>,
    /// Durable subscriptions that had something left.
    pub subscriptions: Vec<Left>,
    /// Flows and handlers of batches in memory that had something left, and flows that had given something up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<FlowLeft>,
    /// What went wrong on the way.
    pub troubles: Vec<String>,
}

impl Drained {
    /// Whether every handler had finished, nothing waits and nothing went wrong.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("everything was finished");
        }
        let mut parts = Vec::new();
        if self.bus_calls > 0 {
            parts.push(format!("{} calls on the bus were still running", self.bus_calls));
        }
        for left in &self.pools {
            let PoolLeft { pool, waiting, running } = left;
            let pool = if pool.is_empty() { "the shared pool" } else { pool };
            parts.push(format!("{pool}: {running} running, {waiting} waiting were dropped"));
        }
        for left in &self.subscriptions {
            parts.push(format!(
                "{}: {} running, {} not settled, {} waiting, {} parked",
                left.subscription, left.running, left.unsettled, left.waiting, left.parked
            ));
        }
        for left in &self.flows {
            parts.push(format!("{}: {} not done, {} given up", left.name, left.outputs, left.given_up));
        }
        parts.extend(self.troubles.iter().cloned());
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.0.name)
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}

impl App {
    /// The bus.
    pub fn bus(&self) -> &Bus {
        &self.0.bus
    }

    /// Sets a feature flag while it runs, or with `None` forgets it: then the settings' value holds, or it is on. With a
    /// store it is kept there, with who changed it and when, and other processes on the store notice within a second;
    /// without one it holds until the process ends.
    ///
    /// # Errors
    /// A pattern or percentage that is none, or a store that cannot be written.
    pub async fn set_flag(
        &self,
        target: impl Into<FlagTarget>,
        flag: Option<Flag>,
        by: &str,
    ) -> Result<FlagChange, Error> {
        let target = target.into();
        if let Some(kept) = &self.0.kept_flags {
            let change = kept.set(&target, flag, by).await?;
            if let Some(flag) = flag {
                // Here it holds at once.
                self.0.flags.set(target, Some(flag), by, change.at).map_err(Error::Refused)?;
            }
            return Ok(change);
        }
        let at = self.0.clock.now();
        let before = self.0.flags.all().into_iter().find(|(other, _)| *other == target);
        self.0.flags.set(target.clone(), flag, by, at).map_err(Error::Refused)?;
        Ok(FlagChange { at, by: by.into(), target, before: before.map(|(_, flag)| flag), after: flag })
    }

    /// Feature flags as they are now here. What is changed through this is forgotten with the process; see
    /// [`set_flag`](Self::set_flag).
    pub fn flags(&self) -> &MemoryFlags {
        &self.0.flags
    }

    /// Deliveries that were given up, wherever their handlers run: to look at, to edit, replay, discard and export.
    pub fn dead_letters(&self) -> &Letters {
        &self.0.desk.letters
    }

    /// The store, if there is one.
    pub fn store(&self) -> Option<&AnyStore> {
        self.0.store.as_ref()
    }

    /// What the application is made of now: as it was built, with the handlers that were [added](Self::add) since and
    /// the policies that were [changed](Self::change_policy). With a store it is kept there, for `tidings explain`;
    /// processes of one name share it, and the one that wrote last is shown.
    pub fn model(&self) -> Arc<Model> {
        self.0.models.now()
    }

    /// Writes the model into the store and starts the durable subscriptions. A second call does nothing.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn start(&self) -> Result<(), Error> {
        if self.0.started.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.0.buffered.start().await.map_err(|failure| Error::Refused(failure.describe()))?;
        tokio::spawn(crate::letters::run(Arc::downgrade(&self.0)));
        let (Some(store), Some(node)) = (&self.0.store, &self.0.node) else { return Ok(()) };
        let followed = self.0.followed.lock().take();
        if let Some(mut followed) = followed {
            // What is off is off before anybody is called.
            followed.look().await?;
            tokio::spawn(followed.follow(self.0.closing.clone()));
        }
        self.0.models.write(store).await?;
        tokio::spawn(crate::models::run(Arc::downgrade(&self.0)));
        let requests = PolicyRequests {
            store: store.clone(),
            tenant: self.0.tenant.clone(),
            clock: self.0.clock.clone(),
            application: Text::from(self.0.name.as_str()),
            process: self.0.process.clone(),
        };
        let owner = Arc::new(Requested(Arc::downgrade(&self.0)));
        tokio::spawn(requests.follow(owner, self.0.closing.clone()));
        node.start();
        Ok(())
    }

    /// Publishes an event: with a store, awaiting it returns when the event is durable, and handlers see it after that.
    pub fn publish<E: Event>(&self, event: E) -> Publish {
        self.publish_envelope(Envelope::of::<E>(event))
    }

    /// The same for an event that has no type here. Its source becomes the application's.
    pub fn publish_envelope(&self, envelope: EnvelopeBuilder) -> Publish {
        Publish::new(self.0.clone(), envelope)
    }

    /// Writes a commit of one's own; events in it reach the bus when it is durable.
    ///
    /// # Errors
    /// What the store says, or that the application has none or is shutting down.
    pub async fn commit(&self, commit: Commit) -> Result<Applied, PublishError> {
        let _publishing = self.0.publishing.token();
        if self.0.closing.is_cancelled() {
            return Err(PublishError::Closed);
        }
        let Some(store) = &self.0.store else { return Err(PublishError::NoStore("a commit")) };
        let events: Vec<Envelope> = commit.appends.iter().flat_map(|append| append.events.clone()).collect();
        let mut tickets = Vec::with_capacity(events.len());
        for event in &events {
            tickets.push(self.0.buffered.admit(event).await?);
        }
        let applied = store.apply(commit).await?;
        if !applied.repeated {
            for (event, ticket) in events.iter().zip(tickets) {
                self.0.hand_over(event, ticket, false).await?;
            }
        }
        Ok(applied)
    }

    /// A view, to read.
    ///
    /// # Errors
    /// That the application has no store.
    pub fn view(&self, view: View) -> Result<ViewReader, PublishError> {
        let store = self.0.store.clone().ok_or(PublishError::NoStore("a view"))?;
        Ok(ViewReader::new(store, view))
    }

    /// Ends `flow` with the application. At shutdown it is flushed when intake has stopped, and closed when the handlers
    /// that may feed it have finished, before the store is closed; what it was not done with at the deadline is in
    /// [`Drained::flows`]. What its consumer [publishes](Self::publish) once the shutdown has begun is refused like
    /// anybody's; what it emits on the bus, and what a handler of batches publishes through its contexts, is not.
    ///
    /// What a flow holds is in memory: a crash loses it.
    pub fn attach(&self, name: impl Into<String>, flow: impl Drain + 'static) {
        self.0.flows.keep(name.into(), Box::new(flow));
    }

    /// How the durable subscriptions are doing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn status(&self) -> Result<Vec<Status>, Error> {
        match &self.0.node {
            Some(node) => node.status().await,
            None => Ok(Vec::new()),
        }
    }

    /// Waits until durable subscriptions have settled everything there is, nothing waits or runs in the pools, and
    /// no dead letter is due to be replayed. What is
    /// parked stays parked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn settled(&self) -> Result<(), Error> {
        let (Some(node), Some(store)) = (&self.0.node, &self.0.store) else {
            loop {
                let ended = self.0.gatherers.ended();
                self.0.buffered.settled().await;
                self.0.gatherers.idle(Some(Ran::Buffered)).await;
                // What a batch has published may be in a pool.
                if ended == self.0.gatherers.ended() && !self.replays().await? {
                    return Ok(());
                }
            }
        };
        loop {
            node.settled().await?;
            let (head, ended) = (store.head().await?, self.0.gatherers.ended());
            self.0.buffered.settled().await;
            self.0.gatherers.idle(Some(Ran::Buffered)).await;
            // What was handled in a pool may have published something for the durable subscriptions, or for a pool.
            let quiet = store.head().await? == head && self.0.gatherers.ended() == ended;
            if quiet && !self.replays().await? {
                return Ok(());
            }
        }
    }

    /// Whether dead letters are due or being replayed; then they have had a moment.
    async fn replays(&self) -> Result<bool, Error> {
        let is_due = self.0.desk.is_due(self.0.clock.now()).await;
        let is_due = is_due.map_err(|failure| Error::Refused(failure.describe()))?;
        if is_due && self.0.started.load(Ordering::SeqCst) && !self.0.closing.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            return Ok(true);
        }
        Ok(false)
    }

    /// The handlers of batches that run in memory: how they are doing, and what surrounds their calls.
    pub fn batches(&self) -> Vec<Gatherer> {
        self.0.gatherers.all()
    }

    /// The pools of buffered handlers: their queues and workers, and how they are doing.
    pub fn buffered(&self) -> &Buffered {
        &self.0.buffered
    }

    /// Starts, runs until `signal` completes, and shuts down. When `signal` came from [`signals`](crate::signals), a
    /// second one ends the process at once.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn run_until(&self, signal: impl Future<Output = ()>) -> Result<Drained, Error> {
        self.start().await?;
        signal.await;
        Ok(self.shutdown().await)
    }

    /// Stops intake, tells (`tidings.shutting_down` on the bus), flushes flows and batches, lets handlers finish up to
    /// the deadline, commits what they settled, ends the flows, closes the store, tells again (`tidings.shut_down`),
    /// and reports what was left.
    pub async fn shutdown(&self) -> Drained {
        let app = &self.0;
        app.closed.store(true, Ordering::SeqCst);
        app.closing.cancel();
        self.0.notice("tidings.shutting_down", "{}");
        let mut drained = Drained::default();
        let begun = app.clock.now();
        let rest = || app.drain.saturating_sub(app.clock.now().since(begun));
        app.flows.flush();
        app.gatherers.flush();
        if let Some(node) = &app.node {
            drained.subscriptions = node.stop(app.drain).await;
        }
        app.publishing.close();
        app.calls.close();
        tokio::select! {
            // Who had begun to publish gets an answer, and handlers the event.
            () = app.publishing.wait() => {}
            () = app.clock.sleep(rest()) => {}
        }
        // What handlers did until now may be in a flow, and what comes out of it may call handlers.
        app.quiet(rest()).await;
        drained.flows = app.flows.drain(rest()).await;
        app.quiet(rest()).await;
        drained.pools = app.buffered.drained(rest()).await;
        drained.flows.extend(app.gatherers.close(rest()).await);
        tokio::select! {
            biased;
            () = app.calls.wait() => {}
            () = app.clock.sleep(rest()) => drained.bus_calls = app.calls.len(),
        }
        if let Some(store) = &app.store {
            if app.started.load(Ordering::SeqCst)
                && let Err(error) = app.models.write(store).await
            {
                drained.troubles.push(format!("writing the model: {error}"));
            }
            if let Err(error) = store.close().await {
                drained.troubles.push(format!("closing the store: {error}"));
            }
        }
        let report = serde_json::to_string(&drained).unwrap_or_else(|_| "{}".into());
        self.0.notice("tidings.shut_down", &report);
        tracing::info!(left = %drained, "shut down");
        drained
    }
}

impl Inner {
    /// Tells something as an event on the bus.
    pub fn notice(&self, name: &str, json: &str) {
        let notice =
            Envelope::build(name).source(self.source.clone()).json(json.as_bytes().to_vec()).finish();
        if let Ok(notice) = notice {
            self.bus.emit_envelope(&notice);
        }
    }

    /// Waits until no handler on the bus and in a pool, and none of batches, has anything to do, at most this long. Each
    /// may give work to the others.
    async fn quiet(&self, within: Duration) {
        let settled = async {
            loop {
                let ended = self.gatherers.ended();
                self.calls.wait().await;
                self.buffered.settled().await;
                self.gatherers.idle(None).await;
                if self.calls.is_empty() && self.gatherers.ended() == ended {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = settled => {}
            () = self.clock.sleep(within) => {}
        }
    }

    /// Has an event reach listeners on the bus and buffered handlers, without waiting for room.
    pub fn tell(&self, event: &Envelope, from: From) -> Result<(), tidings_runtime::PublishError> {
        let taken = self.buffered.publish_now(event, from);
        self.bus.emit_relayed(event);
        taken.map(drop)
    }

    /// The same for an event for which room was kept.
    pub async fn hand_over(
        &self,
        event: &Envelope,
        ticket: Option<Ticket>,
        told: bool,
    ) -> Result<Admitted, PublishError> {
        let admitted = match ticket {
            Some(ticket) => ticket.hand_over(told).await,
            None => Ok(Admitted::default()),
        };
        self.bus.emit_relayed(event);
        Ok(admitted?)
    }
}
