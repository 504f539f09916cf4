//! The store port over one SQLite file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tidings_core::{Commit, DocumentKey, DueRow, EventQuery, Position, Tenant, Text, Timestamp};
use tidings_store::{
    Applied, Beat, Checkpoint, Direction, Document, DocumentQuery, Error, Lease, PAGE_EVENTS_MAX, Page,
    Progress, Read, Recorded, Store, StoreInfo, StoreStats, Tenants, Verified, check,
};
use tokio::{runtime::Handle, sync::mpsc, sync::watch};

use crate::{
    Options, backup, caches, check as checks, decode, documents,
    fault::{Step, io},
    ids::Identity,
    leases, marks, node, open, pages,
    pages::Filling,
    queue::Queue,
    readers::{Reader, Readers},
    ring::Ring,
    search, stats, verify,
    writer::{Done, Published, Work, Writer},
};

/// A page of at least so many events is read by two threads.
const HALVED: usize = 2_048;

/// A store in one SQLite file.
///
/// ```
/// use tidings_core::{Commit, Envelope};
/// use tidings_sqlite::{Options, SqliteStore};
/// use tidings_store::{Read, Store as _};
/// # let folder = tempfile::tempdir()?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let store = SqliteStore::open(folder.path().join("orders.db"), Options::default())?;
/// let placed = Envelope::build("order.placed").key("4711").json(br#"{"total":3}"#.as_slice()).finish()?;
/// store.apply(Commit::events([placed])).await?;
/// let page = store.read(&Read::stream("order-4711")).await?;
/// assert_eq!(page.events[0].version, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteStore {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    path: PathBuf,
    options: Options,
    published: Arc<Published>,
    queue: Arc<Queue>,
    readers: Readers,
}

impl SqliteStore {
    /// Opens the store at `path`, or makes it.
    ///
    /// # Errors
    /// What is there is no store, of a newer format, damaged, or cannot be read.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        // SQLite gives some relative names a meaning of their own, and the folder may be changed later.
        let path = std::path::absolute(path).map_err(|error| io("finding the file", &error))?;
        open::look(&path, &options)?;
        if !options.read_only {
            node::sweep(&path);
        }
        let published = Arc::new(Published {
            ring: RwLock::new(Ring::new(options.ring_events, options.ring_bytes)),
            beats: watch::channel(Beat::default()).0,
        });
        let writer = Writer::open(path.clone(), options.clone(), published.clone())?;
        let queue = Queue::new(writer, options.group);
        let readers = Readers::new(path.clone(), options.clone());
        let thread = std::thread::Builder::new().name("tidings-sqlite".into()).spawn({
            let (queue, published) = (queue.clone(), published.clone());
            move || queue.serve(|| published.beats.receiver_count() > 0)
        });
        let thread = thread.map_err(|error| io("starting the writer's thread", &error))?;
        let inner = Arc::new(Inner { path, options, published, queue, readers });
        Ok(Self { inner, thread: Mutex::new(Some(thread)) })
    }

    async fn write(&self, work: Work) -> Result<Done, Error> {
        if self.inner.options.read_only {
            return Err(Error::ReadOnly(format!("{} was opened for reading", self.inner.path.display())));
        }
        self.inner.queue.submit(work).await
    }

    /// Reads something small where the caller is.
    fn look<T>(&self, work: impl FnOnce(&mut Reader) -> Step<T>) -> Result<T, Error> {
        self.inner.readers.at_one_moment(work)
    }

    /// Does long work on a thread that may block, and tells how far it has come.
    async fn long<T: Send + 'static>(
        &self,
        progress: Progress<'_>,
        work: impl FnOnce(&mut Reader, Progress<'_>) -> Step<T> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.inner.clone();
        let Ok(runtime) = Handle::try_current() else {
            return inner.readers.at_one_moment(|reader| work(reader, progress));
        };
        let (tell, mut told) = mpsc::unbounded_channel();
        let working = runtime.spawn_blocking(move || {
            let tell = move |done, all| {
                // Who asked may have gone away.
                let _ = tell.send((done, all));
            };
            inner.readers.at_one_moment(|reader| work(reader, &tell))
        });
        while let Some((done, all)) = told.recv().await {
            progress(done, all);
        }
        working.await.unwrap_or_else(|error| Err(Error::Io(error.to_string())))
    }

    /// Reads a large page of the log in two halves at the same time: decoding takes longer than reading.
    async fn read_halves(&self, runtime: &Handle, read: Read, middle: u64) -> Result<Page, Error> {
        let limit = read.limit.min(PAGE_EVENTS_MAX) / 2;
        let half = |from: u64, until: u64| {
            let (inner, read) = (self.inner.clone(), read.clone().from(from).limit(limit));
            runtime.spawn_blocking(move || {
                let mut filling = Filling::of(&read).until(until);
                inner.take_from_file(&mut filling)?;
                Ok::<_, Error>(filling.part())
            })
        };
        let (first, second) = (half(read.from, middle), half(middle, u64::MAX));
        let lost = |error: tokio::task::JoinError| Error::Io(error.to_string());
        let first = first.await.map_err(lost)??;
        if !first.reached(middle) {
            return Ok(first.page);
        }
        Ok(first.join(second.await.map_err(lost)??))
    }

    /// Ends the thread once everything that waits has been done.
    fn end(inner: &Inner, thread: Option<JoinHandle<()>>) {
        inner.queue.close();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer's thread has panicked");
        }
        inner.readers.close();
        inner.queue.with_writer(Writer::shut);
    }
}

impl Inner {
    fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Where a page may be divided, if it is one of many that go through the log from one end to the other.
    fn middle(&self, read: &Read, begun: &Page) -> Option<u64> {
        let goes_through = read.stream.is_none()
            && read.direction == Direction::Forward
            && read.limit >= HALVED
            && begun.events.is_empty()
            && begun.next == read.from;
        let half = read.limit.min(PAGE_EVENTS_MAX) as u64 / 2;
        let middle = read.from.checked_add(half)?;
        let behind = middle.checked_add(half)?;
        (goes_through && self.published.beats.borrow().head >= behind).then_some(middle)
    }

    /// What the ring has of a page, and whether that is all there is to it without looking at the file.
    fn take_from_ring(&self, filling: &mut Filling<'_>, read: &Read) -> Result<bool, Error> {
        if read.stream.is_some()
            || read.direction == Direction::Backward
            || !self.published.ring.read().fill(filling)
        {
            return Ok(false);
        }
        if filling.is_full() {
            return Ok(true);
        }
        let next = filling.next();
        Ok(self.readers.with(|reader| decode::head(&reader.conn))? as u64 <= next)
    }

    fn take_from_file(&self, filling: &mut Filling<'_>) -> Result<(), Error> {
        self.readers.at_one_moment(|reader| pages::fill(&reader.conn, &mut reader.caches, filling))
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        Self::end(&self.inner, self.thread.lock().take());
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn info(&self) -> StoreInfo {
        let options = &self.inner.options;
        let settings = [
            ("sqlite", rusqlite::version().to_owned()),
            ("journal", "write-ahead log".to_owned()),
            ("synchronous", "full: one sync a group of commits".to_owned()),
            ("format", open::FORMAT.to_string()),
            ("read only", options.read_only.to_string()),
            ("checkpoint after", format!("{} bytes", options.checkpoint_bytes)),
            ("lock wait", format!("{:?}", options.lock_wait)),
        ];
        StoreInfo {
            engine: "sqlite".into(),
            url: format!("sqlite:{}", self.inner.path.display()),
            durable: true,
            settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    async fn apply(&self, commit: Commit) -> Result<Applied, Error> {
        check(&commit, &self.inner.options.limits)?;
        match self.write(Work::Apply(Box::new(commit))).await? {
            Done::Applied(applied) => Ok(applied),
            Done::Lease(_) | Done::Released => Err(Error::Closed),
        }
    }

    async fn read(&self, read: &Read) -> Result<Page, Error> {
        if self.inner.is_closed() {
            return Err(Error::Closed);
        }
        let mut filling = Filling::of(read);
        if self.inner.take_from_ring(&mut filling, read)? {
            return Ok(filling.finish());
        }
        // A small page is read where the caller is; what reads more goes to a thread that may block.
        if read.limit <= pages::SMALL_PAGE {
            self.inner.take_from_file(&mut filling)?;
            return Ok(filling.finish());
        }
        let Ok(runtime) = Handle::try_current() else {
            self.inner.take_from_file(&mut filling)?;
            return Ok(filling.finish());
        };
        let (inner, read, begun) = (self.inner.clone(), read.clone(), filling.finish());
        if let Some(middle) = self.inner.middle(&read, &begun) {
            return self.read_halves(&runtime, read, middle).await;
        }
        let working = runtime.spawn_blocking(move || {
            let mut filling = Filling::go_on(&read, begun);
            inner.take_from_file(&mut filling)?;
            Ok(filling.finish())
        });
        working.await.unwrap_or_else(|error| Err(Error::Io(error.to_string())))
    }

    async fn head(&self) -> Result<Position, Error> {
        self.inner.readers.with(|reader| Ok(decode::head(&reader.conn)? as u64))
    }

    async fn stream_version(&self, tenant: &Tenant, stream: &str) -> Result<u64, Error> {
        self.look(|Reader { conn, caches }| {
            let Some(tenant) = caches.tenant_id(conn, &tenant.0)? else { return Ok(0) };
            let id = caches::stream_id(conn, tenant, stream)?;
            id.map_or(Ok(0), |id| Ok(caches::stream_head(conn, id)? as u64))
        })
    }

    async fn find(&self, tenant: &Tenant, source: &str, id: &str) -> Result<Option<Recorded>, Error> {
        let identity = Identity::of(&tenant.0, source, id);
        self.look(|Reader { conn, caches }| {
            let known = checks::find_id(conn, caches, &tenant.0, source, id, identity)?;
            let Some(known) = known else { return Ok(None) };
            Ok(decode::event(conn, caches, known.position)?.map(|(_, event)| event))
        })
    }

    async fn first_match(
        &self,
        tenant: &Tenant,
        query: &EventQuery,
        after: Position,
    ) -> Result<Option<Position>, Error> {
        let Ok(after) = i64::try_from(after) else { return Ok(None) };
        self.look(|Reader { conn, caches }| {
            let found = search::first_match(conn, caches, &tenant.0, query, after)?;
            Ok(found.map(|position| position as u64))
        })
    }

    async fn document(&self, tenant: &Tenant, key: &DocumentKey) -> Result<Option<Document>, Error> {
        self.inner.readers.with(|reader| documents::read(&reader.conn, &tenant.0, key))
    }

    async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>, Error> {
        self.inner.readers.with(|reader| documents::list(&reader.conn, query))
    }

    async fn count_documents(&self, query: &DocumentQuery) -> Result<u64, Error> {
        self.inner.readers.with(|reader| documents::count(&reader.conn, query))
    }

    async fn checkpoint(&self, name: &str) -> Result<Checkpoint, Error> {
        self.inner.readers.with(|reader| marks::checkpoint(&reader.conn, name))
    }

    async fn checkpoints(&self) -> Result<Vec<(Text, Checkpoint)>, Error> {
        self.inner.readers.with(|reader| marks::checkpoints(&reader.conn))
    }

    async fn lease(&self, name: &str, owner: &str, span: Duration) -> Result<Lease, Error> {
        let work = Work::Lease { name: name.into(), owner: owner.into(), span };
        match self.write(work).await? {
            Done::Lease(lease) => Ok(lease),
            Done::Applied(_) | Done::Released => Err(Error::Closed),
        }
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), Error> {
        let work = Work::Release { name: name.into(), owner: owner.into() };
        self.write(work).await.map(drop)
    }

    async fn holder(&self, name: &str) -> Result<Option<Text>, Error> {
        let now = self.inner.options.clock.now();
        let path = &self.inner.path;
        self.inner.readers.with(|reader| leases::holder(&reader.conn, path, name, now))
    }

    async fn due(
        &self,
        tenants: &Tenants,
        queue: &str,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Tenant, DueRow)>, Error> {
        self.inner.readers.with(|reader| marks::due(&reader.conn, tenants, queue, until, limit))
    }

    async fn blob(&self, tenant: &Tenant, key: &str) -> Result<Option<Bytes>, Error> {
        self.inner.readers.with(|reader| marks::blob(&reader.conn, &tenant.0, key))
    }

    async fn stats(&self) -> Result<StoreStats, Error> {
        let path = self.inner.path.clone();
        self.long(&|_, _| {}, move |reader, _| stats::read(&reader.conn, &path)).await
    }

    fn beats(&self) -> watch::Receiver<Beat> {
        let beats = self.inner.published.beats.subscribe();
        self.inner.queue.watch();
        beats
    }

    async fn verify(&self, progress: Progress<'_>) -> Result<Verified, Error> {
        self.long(progress, |reader, progress| verify::verify(&reader.conn, &mut reader.caches, progress))
            .await
    }

    async fn backup(&self, to: &Path, progress: Progress<'_>) -> Result<(), Error> {
        let to = to.to_owned();
        self.long(progress, move |reader, progress| {
            // The first read fixes the moment.
            decode::head(&reader.conn)?;
            backup::copy(&reader.conn, &to, progress)
        })
        .await
    }

    async fn close(&self) -> Result<(), Error> {
        let (inner, thread) = (self.inner.clone(), self.thread.lock().take());
        match Handle::try_current() {
            Err(_) => Self::end(&inner, thread),
            Ok(runtime) => {
                let ending = runtime.spawn_blocking(move || Self::end(&inner, thread));
                ending.await.map_err(|error| Error::Io(error.to_string()))?;
            }
        }
        Ok(())
    }
}
