//! The in-memory engine: the reference model. It is written to be obviously right; other engines must answer as it does.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidings_core::{
    BlobChange, Clock, Commit, DocumentChange, DocumentKey, DueChange, DueRow, EventQuery, Expected,
    Position, SystemClock, Tenant, Text, Timestamp, apply_blind, index_text,
};
use tokio::sync::watch;

use crate::{
    Applied, Beat, Checkpoint, Direction, Document, DocumentQuery, Error, Lease, Limits, PAGE_BYTES,
    PAGE_EVENTS_MAX, Page, Progress, Read, Recorded, Store, StoreInfo, StoreStats, Tenants, Verified, check,
};

/// A store that lives as long as the process.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    limits: Limits,
    state: Mutex<State>,
    beats: watch::Sender<Beat>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    log: Vec<(Tenant, Recorded)>,
    /// Positions of the events of each stream, by version.
    streams: HashMap<(Tenant, Text), Vec<Position>>,
    ids: HashMap<(Tenant, Text, Text), Known>,
    documents: BTreeMap<(Tenant, DocumentKey), Stored>,
    revision: u64,
    checkpoints: BTreeMap<Text, Checkpoint>,
    leases: BTreeMap<Text, Held>,
    due: BTreeMap<(Tenant, Text, Text), DueRow>,
    blobs: BTreeMap<(Tenant, Text), Bytes>,
    recorded: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    position: Position,
    /// The first and last position of the append it came with.
    append: (Position, Position),
}

#[derive(Debug, Clone)]
struct Stored {
    version: u64,
    value: Bytes,
    index: Vec<(Text, String)>,
}

#[derive(Debug, Clone, Default)]
struct Held {
    epoch: u64,
    owner: Option<Text>,
    until: Timestamp,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl MemoryStore {
    /// An empty store on `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(clock, Limits::default())
    }

    /// An empty store with other limits.
    pub fn with_limits(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self { clock, limits, state: Mutex::default(), beats: watch::channel(Beat::default()).0 }
    }

    fn open(&self) -> Result<parking_lot::MutexGuard<'_, State>, Error> {
        let state = self.state.lock();
        if state.closed { Err(Error::Closed) } else { Ok(state) }
    }
}

impl State {
    fn head(&self) -> Position {
        self.log.len() as Position
    }

    fn version(&self, tenant: &Tenant, stream: &Text) -> u64 {
        self.streams.get(&(tenant.clone(), stream.clone())).map_or(0, |positions| positions.len() as u64)
    }

    fn document_version(&self, tenant: &Tenant, key: &DocumentKey) -> u64 {
        self.documents.get(&(tenant.clone(), key.clone())).map_or(0, |stored| stored.version)
    }

    fn first_match(&self, tenant: &Tenant, query: &EventQuery, after: Position) -> Option<Position> {
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(self.log.len());
        self.log[from..]
            .iter()
            .find(|(owner, event)| owner == tenant && query.matches(&event.stream, &event.envelope))
            .map(|(_, event)| event.position)
    }

    /// The answer to a commit whose ids are all known from one earlier append, or that none is known.
    fn repeated(&self, commit: &Commit) -> Result<Option<Applied>, Error> {
        let events: Vec<_> = commit
            .appends
            .iter()
            .flat_map(|append| append.events.iter().map(|e| (&append.stream, e)))
            .collect();
        let mut known = Vec::new();
        for (stream, event) in &events {
            let id = (commit.tenant.clone(), event.source().clone(), event.id().clone());
            if let Some(found) = self.ids.get(&id) {
                let (_, before) = &self.log[found.position as usize - 1];
                if !before.envelope.same_content(event) || before.stream != **stream {
                    return Err(Error::IdReused { id: id.2, source_uri: id.1 });
                }
                known.push((*found, id));
            }
        }
        let Some((first, (_, source_uri, id))) = known.first() else { return Ok(None) };
        if known.len() < events.len() || known.iter().any(|(other, _)| other.append != first.append) {
            return Err(Error::PartlyKnown {
                known: known.len(),
                given: events.len(),
                id: id.clone(),
                source_uri: source_uri.clone(),
            });
        }
        let (from, to) = first.append;
        let version = self.log[to as usize - 1].1.version;
        Ok(Some(Applied { repeated: true, first: from, last: to, version, revision: 0 }))
    }

    fn check(&self, commit: &Commit) -> Result<Option<Applied>, Error> {
        for fence in &commit.fences {
            let actual = self.leases.get(&fence.lease).map_or(0, |lease| lease.epoch);
            if actual != fence.epoch {
                return Err(Error::Fenced { lease: fence.lease.clone(), epoch: fence.epoch, actual });
            }
        }
        if let Some(answer) = self.repeated(commit)? {
            return Ok(Some(answer));
        }
        for moved in &commit.checkpoints {
            let actual = self.checkpoints.get(&moved.name).map_or(0, |checkpoint| checkpoint.revision);
            if actual != moved.expected_revision {
                let (name, expected) = (moved.name.clone(), moved.expected_revision);
                return Err(Error::CheckpointMoved { name, expected, actual });
            }
        }
        let mut versions: HashMap<&Text, u64> = HashMap::new();
        for append in &commit.appends {
            let actual = *versions
                .entry(&append.stream)
                .or_insert_with(|| self.version(&commit.tenant, &append.stream));
            let holds = match append.expected {
                Expected::Any => true,
                Expected::None => actual == 0,
                Expected::Exact(version) => actual == version,
                Expected::Exists => actual > 0,
            };
            if !holds {
                let (stream, expected) = (append.stream.clone(), append.expected);
                return Err(Error::WrongVersion { stream, expected, actual });
            }
            versions.insert(&append.stream, actual + append.events.len() as u64);
        }
        for condition in &commit.conditions {
            if let Some(position) = self.first_match(&commit.tenant, &condition.query, condition.after) {
                return Err(Error::Matched { position, after: condition.after });
            }
        }
        let reads = commit.reads.iter().map(|read| (&read.key, read.version));
        let writes = commit.documents.iter().filter_map(|write| Some((&write.key, write.expected?)));
        for (key, expected) in reads.chain(writes) {
            let actual = self.document_version(&commit.tenant, key);
            if actual != expected {
                return Err(Error::DocumentChanged { key: key.clone(), expected, actual });
            }
        }
        for change in &commit.due {
            if let DueChange::Take { queue, id } = change
                && !self.due.contains_key(&(commit.tenant.clone(), queue.clone(), id.clone()))
            {
                return Err(Error::DueTaken { queue: queue.clone(), id: id.clone() });
            }
        }
        Ok(None)
    }

    fn apply(&mut self, commit: &Commit, now: Timestamp) -> Result<Applied, Error> {
        if let Some(answer) = self.check(commit)? {
            return Ok(answer);
        }
        let tenant = &commit.tenant;
        // Values that may be refused are made before anything is changed.
        let mut documents = Vec::new();
        for write in &commit.documents {
            let value = match &write.change {
                DocumentChange::Put(bytes) => Some(bytes.clone()),
                DocumentChange::Delete => None,
                DocumentChange::Blind(changes) => {
                    let old = self.documents.get(&(tenant.clone(), write.key.clone()));
                    let new = apply_blind(old.map(|stored| &*stored.value), changes);
                    Some(new.map_err(|error| {
                        Error::Refused(format!("document {}/{}: {error}", write.key.namespace, write.key.id))
                    })?)
                }
            };
            documents.push((write, value));
        }
        let mut applied = Applied::default();
        let events: u64 = commit.appends.iter().map(|append| append.events.len() as u64).sum();
        if events > 0 {
            self.recorded = self.recorded.max(now);
            applied.first = self.head() + 1;
            applied.last = self.head() + events;
        }
        for append in &commit.appends {
            for event in &append.events {
                let position = self.head() + 1;
                let positions = self.streams.entry((tenant.clone(), append.stream.clone())).or_default();
                positions.push(position);
                applied.version = positions.len() as u64;
                let id = (tenant.clone(), event.source().clone(), event.id().clone());
                self.ids.insert(id, Known { position, append: (applied.first, applied.last) });
                let (version, recorded) = (applied.version, self.recorded);
                let stream = append.stream.clone();
                let event = Recorded { position, version, recorded, stream, envelope: event.clone() };
                self.log.push((tenant.clone(), event));
            }
        }
        if !documents.is_empty() {
            self.revision += 1;
            applied.revision = self.revision;
        }
        for (write, value) in documents {
            let key = (tenant.clone(), write.key.clone());
            match value {
                None => drop(self.documents.remove(&key)),
                Some(value) => {
                    let index = index_text(&value, &write.indexed);
                    self.documents.insert(key, Stored { version: self.revision, value, index });
                }
            }
        }
        for moved in &commit.checkpoints {
            let revision = moved.expected_revision + 1;
            let checkpoint =
                Checkpoint { revision, watermark: moved.watermark, settled: moved.settled.clone() };
            self.checkpoints.insert(moved.name.clone(), checkpoint);
        }
        for change in &commit.due {
            match change {
                DueChange::Put(row) => {
                    self.due.insert((tenant.clone(), row.queue.clone(), row.id.clone()), row.clone());
                }
                DueChange::Take { queue, id } | DueChange::Drop { queue, id } => {
                    self.due.remove(&(tenant.clone(), queue.clone(), id.clone()));
                }
            }
        }
        for change in &commit.blobs {
            match change {
                BlobChange::Put { key, bytes } => {
                    self.blobs.insert((tenant.clone(), key.clone()), bytes.clone());
                }
                BlobChange::Delete { key } => drop(self.blobs.remove(&(tenant.clone(), key.clone()))),
            }
        }
        Ok(applied)
    }

    fn select(&self, query: &DocumentQuery) -> impl Iterator<Item = Document> + use<'_> {
        let query = query.clone();
        let first = DocumentKey::new(query.namespace.clone(), query.prefix.clone());
        self.documents
            .range((query.tenant.clone(), first)..)
            .take_while({
                let query = query.clone();
                move |((tenant, key), _)| {
                    *tenant == query.tenant
                        && key.namespace == query.namespace
                        && key.id.starts_with(&*query.prefix)
                }
            })
            .filter(move |((_, key), stored)| {
                query.after.as_ref().is_none_or(|after| key.id > *after)
                    && query.field.as_ref().is_none_or(|(field, value)| {
                        stored.index.iter().any(|(name, text)| name == field && **text == **value)
                    })
            })
            .map(|((_, key), stored)| Document {
                key: key.clone(),
                version: stored.version,
                value: stored.value.clone(),
            })
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn info(&self) -> StoreInfo {
        StoreInfo { engine: "memory".into(), url: "memory:".into(), durable: false, settings: Vec::new() }
    }

    async fn apply(&self, commit: Commit) -> Result<Applied, Error> {
        check(&commit, &self.limits)?;
        let mut state = self.open()?;
        let applied = state.apply(&commit, self.clock.now())?;
        let head = state.head();
        self.beats.send_modify(|beat| {
            beat.head = head;
            beat.commits += 1;
        });
        Ok(applied)
    }

    async fn read(&self, read: &Read) -> Result<Page, Error> {
        let state = self.open()?;
        let limit = read.limit.clamp(1, PAGE_EVENTS_MAX);
        // Positions and versions count from 1 without gaps, so what lies beyond `from` is a slice.
        let beyond = |count: usize| {
            let from = usize::try_from(read.from).unwrap_or(usize::MAX);
            match read.direction {
                Direction::Forward => from.min(count)..count,
                Direction::Backward => 0..from.saturating_sub(1).min(count),
            }
        };
        // Each candidate with the number that `from` compares with: its version in a stream, else its position.
        let candidates: Box<dyn DoubleEndedIterator<Item = (u64, &(Tenant, Recorded))>> = match &read.stream {
            None => {
                Box::new(state.log[beyond(state.log.len())].iter().map(|entry| (entry.1.position, entry)))
            }
            Some(stream) => {
                let Tenants::One(tenant) = &read.tenants else {
                    return Err(Error::Refused("a stream is read for one tenant".into()));
                };
                let positions = state.streams.get(&(tenant.clone(), stream.clone()));
                let positions = positions.map_or(&[][..], |positions| &positions[beyond(positions.len())]);
                let log = &state.log;
                Box::new(positions.iter().map(move |position| {
                    let entry = &log[*position as usize - 1];
                    (entry.1.version, entry)
                }))
            }
        };
        let mut page = Page { events: Vec::new(), next: read.from, end: true };
        let mut bytes = 0;
        let mut take = |number: u64, (tenant, event): &(Tenant, Recorded)| {
            if page.events.len() == limit || bytes >= PAGE_BYTES {
                page.end = false;
                return false;
            }
            page.next = number;
            if read.tenants.sees(tenant) && read.filter.matches(event) {
                bytes += event.envelope.payload().map_or(0, Bytes::len);
                page.events.push(event.clone());
            }
            true
        };
        let _ = match read.direction {
            Direction::Forward => { candidates }.all(|(number, entry)| take(number, entry)),
            Direction::Backward => candidates.rev().all(|(number, entry)| take(number, entry)),
        };
        Ok(page)
    }

    async fn head(&self) -> Result<Position, Error> {
        Ok(self.open()?.head())
    }

    async fn stream_version(&self, tenant: &Tenant, stream: &str) -> Result<u64, Error> {
        Ok(self.open()?.version(tenant, &Text::from(stream)))
    }

    async fn find(&self, tenant: &Tenant, source: &str, id: &str) -> Result<Option<Recorded>, Error> {
        let state = self.open()?;
        let known = state.ids.get(&(tenant.clone(), Text::from(source), Text::from(id)));
        Ok(known.map(|known| state.log[known.position as usize - 1].1.clone()))
    }

    async fn first_match(
        &self,
        tenant: &Tenant,
        query: &EventQuery,
        after: Position,
    ) -> Result<Option<Position>, Error> {
        Ok(self.open()?.first_match(tenant, query, after))
    }

    async fn document(&self, tenant: &Tenant, key: &DocumentKey) -> Result<Option<Document>, Error> {
        let state = self.open()?;
        let stored = state.documents.get(&(tenant.clone(), key.clone()));
        Ok(stored.map(|stored| Document {
            key: key.clone(),
            version: stored.version,
            value: stored.value.clone(),
        }))
    }

    async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>, Error> {
        Ok(self.open()?.select(query).take(query.limit.clamp(1, PAGE_EVENTS_MAX)).collect())
    }

    async fn count_documents(&self, query: &DocumentQuery) -> Result<u64, Error> {
        Ok(self.open()?.select(query).count() as u64)
    }

    async fn checkpoint(&self, name: &str) -> Result<Checkpoint, Error> {
        Ok(self.open()?.checkpoints.get(name).cloned().unwrap_or_default())
    }

    async fn checkpoints(&self) -> Result<Vec<(Text, Checkpoint)>, Error> {
        Ok(self
            .open()?
            .checkpoints
            .iter()
            .map(|(name, checkpoint)| (name.clone(), checkpoint.clone()))
            .collect())
    }

    async fn lease(&self, name: &str, owner: &str, span: Duration) -> Result<Lease, Error> {
        let now = self.clock.now();
        let mut state = self.open()?;
        let lease = state.leases.entry(Text::from(name)).or_default();
        match &lease.owner {
            Some(by) if **by != *owner && lease.until > now => {
                Ok(Lease::Held { by: by.clone(), until: lease.until })
            }
            before => {
                if before.as_deref() != Some(owner) {
                    lease.epoch += 1;
                    lease.owner = Some(Text::from(owner));
                }
                lease.until = now.after(span);
                Ok(Lease::Granted { epoch: lease.epoch })
            }
        }
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), Error> {
        if let Some(lease) = self.open()?.leases.get_mut(name)
            && lease.owner.as_deref() == Some(owner)
        {
            lease.owner = None;
        }
        Ok(())
    }

    async fn holder(&self, name: &str) -> Result<Option<Text>, Error> {
        let now = self.clock.now();
        let state = self.open()?;
        Ok(state.leases.get(name).filter(|lease| lease.until > now).and_then(|lease| lease.owner.clone()))
    }

    async fn due(
        &self,
        tenants: &Tenants,
        queue: &str,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Tenant, DueRow)>, Error> {
        let state = self.open()?;
        let mut rows: Vec<_> = state
            .due
            .iter()
            .filter(|((tenant, of, _), row)| **of == *queue && tenants.sees(tenant) && row.due <= until)
            .map(|((tenant, _, _), row)| (tenant.clone(), row.clone()))
            .collect();
        rows.sort_by(|(t, a), (u, b)| (a.due, &a.id, t).cmp(&(b.due, &b.id, u)));
        rows.truncate(limit);
        Ok(rows)
    }

    async fn blob(&self, tenant: &Tenant, key: &str) -> Result<Option<Bytes>, Error> {
        Ok(self.open()?.blobs.get(&(tenant.clone(), Text::from(key))).cloned())
    }

    async fn stats(&self) -> Result<StoreStats, Error> {
        let state = self.open()?;
        let mut documents: BTreeMap<&Text, u64> = BTreeMap::new();
        for (_, key) in state.documents.keys() {
            *documents.entry(&key.namespace).or_default() += 1;
        }
        let mut due: BTreeMap<&Text, u64> = BTreeMap::new();
        for (_, queue, _) in state.due.keys() {
            *due.entry(queue).or_default() += 1;
        }
        let mut names: BTreeMap<&Text, u64> = BTreeMap::new();
        for (_, event) in &state.log {
            *names.entry(event.envelope.name()).or_default() += 1;
        }
        let list = |map: BTreeMap<&Text, u64>| {
            map.into_iter().map(|(name, n)| (name.to_string(), n)).collect::<Vec<_>>()
        };
        let mut names = list(names);
        names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(StoreStats {
            events: state.log.len() as u64,
            streams: state.streams.len() as u64,
            head: state.head(),
            documents: list(documents),
            due: list(due),
            bytes: 0,
            names,
        })
    }

    fn beats(&self) -> watch::Receiver<Beat> {
        self.beats.subscribe()
    }

    async fn verify(&self, progress: Progress<'_>) -> Result<Verified, Error> {
        let events = self.open()?.head();
        progress(events, events);
        Ok(Verified { events, faults: Vec::new() })
    }

    async fn backup(&self, _: &Path, _: Progress<'_>) -> Result<(), Error> {
        Err(Error::Refused("a store in memory has no file to copy; use export".into()))
    }

    async fn close(&self) -> Result<(), Error> {
        self.state.lock().closed = true;
        Ok(())
    }
}
