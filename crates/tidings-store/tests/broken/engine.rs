//! An engine that is wrong where it is told to be: the model, with hooks between it and its caller.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tidings_core::{Commit, DocumentKey, DueRow, EventQuery, ManualClock, Position, Tenant, Text, Timestamp};
use tidings_store::{
    AnyStore, Applied, Beat, Checkpoint, Document, DocumentQuery, Error, Lease, Limits, MemoryStore, Page,
    Progress, Read, Recorded, Store, StoreInfo, StoreStats, Tenants, Verified,
};
use tokio::sync::{oneshot, watch};

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
    pub store: Mutex<Arc<MemoryStore>>,
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

/// The engine.
#[derive(Debug)]
pub struct Broken {
    inside: Inside,
    hooks: Hooks,
    restarted: AtomicBool,
    closed: AtomicBool,
    waiting: Mutex<Vec<(Commit, oneshot::Sender<Answer>)>>,
    beats: watch::Sender<Beat>,
}

struct Hooks(&'static [Hook]);

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} hooks", self.0.len())
    }
}

/// The hooks of one kind that hold now.
macro_rules! hooks {
    ($broken:expr, $kind:path) => {
        $broken.active().filter_map(|hook| if let $kind(change) = hook { Some(change) } else { None })
    };
}

impl Broken {
    pub fn new(hooks: &'static [Hook], clock: ManualClock) -> Self {
        let mut limits = Limits::default();
        for hook in hooks {
            if let Hook::Limits(change) = hook {
                change(&mut limits);
            }
        }
        let store = Arc::new(MemoryStore::with_limits(Arc::new(clock.clone()), limits));
        let inside = Inside { store: Mutex::new(store), clock, memo: Mutex::default() };
        Self {
            inside,
            hooks: Hooks(hooks),
            restarted: AtomicBool::default(),
            closed: AtomicBool::default(),
            waiting: Mutex::default(),
            beats: watch::channel(Beat::default()).0,
        }
    }

    pub fn restart(&self) {
        self.restarted.store(true, Ordering::SeqCst);
        for hook in hooks!(self, Hook::Reopened) {
            hook(&self.inside);
        }
    }

    fn active(&self) -> impl Iterator<Item = &'static Hook> + use<'_> {
        self.hooks.0.iter().filter_map(|hook| match hook {
            Hook::AfterRestart(later) => self.restarted.load(Ordering::SeqCst).then_some(*later),
            hook => Some(hook),
        })
    }

    fn has(&self, wanted: fn(&Hook) -> bool) -> bool {
        self.active().any(wanted)
    }

    fn open(&self) -> Result<AnyStore, Error> {
        let store = self.inside.store();
        now(store.head())?;
        Ok(store)
    }

    async fn grouped(&self, commit: Commit, group: fn(&Inside, Vec<Commit>) -> Vec<Answer>) -> Answer {
        let (answer, answered) = oneshot::channel();
        let leader = {
            let mut waiting = self.waiting.lock();
            waiting.push((commit, answer));
            waiting.len() == 1
        };
        if leader {
            // Whoever is ready to write joins.
            tokio::task::yield_now().await;
            let (commits, askers): (Vec<_>, Vec<_>) =
                std::mem::take(&mut *self.waiting.lock()).into_iter().unzip();
            for (asker, answer) in askers.into_iter().zip(group(&self.inside, commits)) {
                let _ = asker.send(answer);
            }
        }
        answered.await.unwrap_or(Err(Error::Closed))
    }

    fn event(&self, mut event: Recorded) -> Recorded {
        hooks!(self, Hook::Event).for_each(|change| change(&self.inside, &mut event));
        event
    }
}

#[async_trait]
impl Store for Broken {
    fn info(&self) -> StoreInfo {
        let mut info = self.inside.store().info();
        hooks!(self, Hook::Info).for_each(|change| change(&mut info));
        info
    }

    async fn apply(&self, mut commit: Commit) -> Answer {
        hooks!(self, Hook::Commit).for_each(|change| change(&mut commit));
        let asked = commit.clone();
        let mut answer = if let Some(group) = hooks!(self, Hook::Group).next() {
            self.grouped(commit, *group).await
        } else if let Some(apply) = hooks!(self, Hook::Apply).next() {
            apply(&self.inside, commit)
        } else {
            self.inside.apply(commit)
        };
        hooks!(self, Hook::Answer).for_each(|change| change(&self.inside, &asked, &mut answer));
        let mut beat = *self.beats.borrow();
        if answer.is_ok() {
            beat = Beat { head: self.inside.head(), commits: beat.commits + 1 };
        }
        let told: Vec<bool> =
            hooks!(self, Hook::Beat).map(|change| change(&asked, &answer, &mut beat)).collect();
        if told.iter().all(|told| *told) && (answer.is_ok() || !told.is_empty()) {
            self.beats.send_replace(beat);
        }
        answer
    }

    async fn read(&self, read: &Read) -> Result<Page, Error> {
        if self.closed.load(Ordering::SeqCst) && self.has(|hook| matches!(hook, Hook::ReadsOn)) {
            return Ok(Page { end: true, ..Page::default() });
        }
        let mut asked = read.clone();
        hooks!(self, Hook::Ask).for_each(|change| change(&self.inside, &mut asked));
        let mut page = now(self.open()?.read(&asked))?;
        page.events = page.events.into_iter().map(|event| self.event(event)).collect();
        hooks!(self, Hook::Page).for_each(|change| change(&self.inside, read, &mut page));
        Ok(page)
    }

    async fn head(&self) -> Result<Position, Error> {
        now(self.inside.store().head())
    }

    async fn stream_version(&self, tenant: &Tenant, stream: &str) -> Result<u64, Error> {
        let store = self.open()?;
        match hooks!(self, Hook::StreamVersion).next() {
            Some(version) => Ok(version(&self.inside, tenant, stream)),
            None => now(store.stream_version(tenant, stream)),
        }
    }

    async fn find(&self, tenant: &Tenant, source: &str, id: &str) -> Result<Option<Recorded>, Error> {
        let store = self.open()?;
        let found = match hooks!(self, Hook::Find).next() {
            Some(find) => find(&self.inside, tenant, source, id),
            None => now(store.find(tenant, source, id))?,
        };
        Ok(found.map(|event| self.event(event)))
    }

    async fn first_match(
        &self,
        tenant: &Tenant,
        query: &EventQuery,
        after: Position,
    ) -> Result<Option<Position>, Error> {
        let (mut tenant, mut query, mut after) = (tenant.clone(), query.clone(), after);
        hooks!(self, Hook::Match).for_each(|change| change(&mut tenant, &mut query, &mut after));
        now(self.open()?.first_match(&tenant, &query, after))
    }

    async fn document(&self, tenant: &Tenant, key: &DocumentKey) -> Result<Option<Document>, Error> {
        let store = self.open()?;
        match hooks!(self, Hook::Document).next() {
            Some(read) => Ok(read(&self.inside, tenant, key)),
            None => now(store.document(tenant, key)),
        }
    }

    async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>, Error> {
        let mut asked = query.clone();
        hooks!(self, Hook::List).for_each(|change| change(&self.inside, &mut asked));
        let mut found = now(self.open()?.documents(&asked))?;
        hooks!(self, Hook::Listed).for_each(|change| change(&self.inside, query, &mut found));
        Ok(found)
    }

    async fn count_documents(&self, query: &DocumentQuery) -> Result<u64, Error> {
        let store = self.open()?;
        if let Some(count) = hooks!(self, Hook::Count).next() {
            return Ok(count(&self.inside, query));
        }
        let mut asked = query.clone();
        hooks!(self, Hook::List).for_each(|change| change(&self.inside, &mut asked));
        now(store.count_documents(&asked))
    }

    async fn checkpoint(&self, name: &str) -> Result<Checkpoint, Error> {
        let mut checkpoint = now(self.inside.store().checkpoint(name))?;
        hooks!(self, Hook::Checkpoint).for_each(|change| change(&mut checkpoint));
        Ok(checkpoint)
    }

    async fn checkpoints(&self) -> Result<Vec<(Text, Checkpoint)>, Error> {
        let mut list = now(self.inside.store().checkpoints())?;
        for (_, checkpoint) in &mut list {
            hooks!(self, Hook::Checkpoint).for_each(|change| change(checkpoint));
        }
        hooks!(self, Hook::Checkpoints).for_each(|change| change(&mut list));
        Ok(list)
    }

    async fn lease(&self, name: &str, owner: &str, span: Duration) -> Result<Lease, Error> {
        let store = self.open()?;
        if self.has(|hook| matches!(hook, Hook::LeaseInTwoSteps)) {
            let free = now(store.holder(name))?.is_none();
            tokio::task::yield_now().await;
            if let (true, Some(other)) = (free, now(store.holder(name))?) {
                now(store.release(name, &other))?;
            }
        }
        match hooks!(self, Hook::Lease).next() {
            Some(lease) => Ok(lease(&self.inside, name, owner, span)),
            None => now(store.lease(name, owner, span)),
        }
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), Error> {
        let store = self.open()?;
        match hooks!(self, Hook::Release).next() {
            Some(release) => release(&self.inside, name, owner),
            None => now(store.release(name, owner))?,
        }
        Ok(())
    }

    async fn holder(&self, name: &str) -> Result<Option<Text>, Error> {
        let store = self.open()?;
        match hooks!(self, Hook::Holder).next() {
            Some(holder) => Ok(holder(&self.inside, name)),
            None => now(store.holder(name)),
        }
    }

    async fn due(
        &self,
        tenants: &Tenants,
        queue: &str,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Tenant, DueRow)>, Error> {
        let (mut tenants, mut queue, mut until, mut limit) =
            (tenants.clone(), queue.to_owned(), until, limit);
        hooks!(self, Hook::AskDue)
            .for_each(|change| change(&mut tenants, &mut queue, &mut until, &mut limit));
        let mut rows = now(self.open()?.due(&tenants, &queue, until, limit))?;
        hooks!(self, Hook::Due).for_each(|change| change(&mut rows));
        Ok(rows)
    }

    async fn blob(&self, tenant: &Tenant, key: &str) -> Result<Option<Bytes>, Error> {
        let store = self.open()?;
        match hooks!(self, Hook::Blob).next() {
            Some(blob) => Ok(blob(&self.inside, tenant, key)),
            None => now(store.blob(tenant, key)),
        }
    }

    async fn stats(&self) -> Result<StoreStats, Error> {
        let mut figures = now(self.open()?.stats())?;
        hooks!(self, Hook::Stats).for_each(|change| change(&self.inside, &mut figures));
        Ok(figures)
    }

    fn beats(&self) -> watch::Receiver<Beat> {
        if self.has(|hook| matches!(hook, Hook::LateBeats)) {
            let (late, receiver) = watch::channel(Beat::default());
            let mut source = self.beats.subscribe();
            source.mark_unchanged();
            tokio::spawn(async move {
                while source.changed().await.is_ok() {
                    let beat = *source.borrow_and_update();
                    late.send_replace(beat);
                }
            });
            return receiver;
        }
        self.beats.subscribe()
    }

    async fn verify(&self, progress: Progress<'_>) -> Result<Verified, Error> {
        let told: Progress<'_> =
            if self.has(|hook| matches!(hook, Hook::NoProgress)) { &|_, _| {} } else { progress };
        let mut verified = now(self.open()?.verify(told))?;
        hooks!(self, Hook::Verified).for_each(|change| change(&mut verified));
        Ok(verified)
    }

    async fn backup(&self, to: &Path, progress: Progress<'_>) -> Result<(), Error> {
        now(self.inside.store().backup(to, progress))
    }

    async fn close(&self) -> Result<(), Error> {
        let again = self.closed.swap(true, Ordering::SeqCst);
        if again && self.has(|hook| matches!(hook, Hook::ClosesOnce)) {
            return Err(Error::Closed);
        }
        now(self.inside.store().close())
    }
}
