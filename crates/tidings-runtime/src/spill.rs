//! Events for which there was no room, kept in the store and brought back in order.
//!
//! While anything of a pool is spilled, every further event of it is spilled too; otherwise a later one would overtake.
//! A row is removed when the deliveries made of it have ended, so a crash between brings it back: at least once.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{BoxFuture, Clock, Envelope, Handled, Text};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;

/// Where spilled events are kept: rows by pool, in order of their number.
pub trait Spill: Send + Sync + 'static {
    /// Keeps an event under a number that is larger than all before.
    fn put(&self, pool: &Text, number: u64, event: &Envelope) -> BoxFuture<'_, Handled>;

    /// The first rows after this number, at most `limit`, in order.
    fn rows(
        &self,
        pool: &Text,
        after: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Handled<Vec<(u64, Envelope)>>>;

    /// Removes rows.
    fn remove(&self, pool: &Text, numbers: Vec<u64>) -> BoxFuture<'_, Handled>;
}

/// How many rows are read, or removed, at a time.
const ROWS: usize = 256;

/// How long to wait after the store failed.
const AGAIN: Duration = Duration::from_secs(1);

/// The spilled events of one pool.
pub(crate) struct Spiller {
    pool: Text,
    store: Arc<dyn Spill>,
    clock: Arc<dyn Clock>,
    /// Whether everything has to go the long way.
    active: AtomicBool,
    /// Held while a row is put, and while it is decided that there is none left.
    turn: AsyncMutex<()>,
    next: AtomicU64,
    ended: Mutex<BTreeSet<u64>>,
    work: Notify,
    stop: CancellationToken,
    spilled: AtomicU64,
}

impl fmt::Debug for Spiller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spiller").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Spiller {
    pub fn new(pool: Text, store: Arc<dyn Spill>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            pool,
            store,
            clock,
            active: AtomicBool::new(false),
            turn: AsyncMutex::new(()),
            next: AtomicU64::new(0),
            ended: Mutex::default(),
            work: Notify::new(),
            stop: CancellationToken::new(),
            spilled: AtomicU64::new(0),
        })
    }

    /// Whether events have to be spilled so that they do not overtake others.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// How many were spilled since the start.
    pub fn spilled(&self) -> u64 {
        self.spilled.load(Ordering::Relaxed)
    }

    /// Spills an event.
    pub async fn put(&self, event: &Envelope) -> Handled {
        let _turn = self.turn.lock().await;
        // Numbers go on rising over restarts, because time does; within a run they never repeat.
        let now = u64::try_from(self.clock.now().as_micros()).unwrap_or(0);
        let number = self.next.load(Ordering::Relaxed).max(now);
        self.next.store(number + 1, Ordering::Relaxed);
        self.store.put(&self.pool, number, event).await?;
        self.spilled.fetch_add(1, Ordering::Relaxed);
        self.active.store(true, Ordering::Release);
        self.work.notify_one();
        Ok(())
    }

    /// The deliveries of a row have ended.
    pub fn done(&self, number: u64) {
        let mut ended = self.ended.lock();
        ended.insert(number);
        if ended.len() >= ROWS {
            drop(ended);
            self.work.notify_one();
        }
    }

    /// Looks whether an earlier run left something.
    pub async fn recover(&self) -> Handled {
        let left = self.store.rows(&self.pool, None, 1).await?;
        self.active.store(!left.is_empty(), Ordering::Release);
        Ok(())
    }

    /// Takes it that an earlier run left something until it is known better.
    pub fn suspect(&self) {
        self.active.store(true, Ordering::Release);
    }

    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Removes the rows whose deliveries have ended.
    pub async fn sweep(&self) -> Handled {
        let numbers: Vec<_> = std::mem::take(&mut *self.ended.lock()).into_iter().collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let removed = self.store.remove(&self.pool, numbers.clone()).await;
        if removed.is_err() {
            self.ended.lock().extend(numbers);
        }
        removed
    }

    /// Brings rows back until it is stopped. `enqueue` waits for room; it answers whether the event was taken in.
    pub async fn run<F>(self: Arc<Self>, enqueue: impl Fn(Envelope, u64) -> F)
    where
        F: Future<Output = bool>,
    {
        let mut after = None;
        loop {
            let rows = tokio::select! {
                () = self.stop.cancelled() => return,
                rows = self.page(after) => rows,
            };
            match rows {
                Ok(rows) if rows.is_empty() => {
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = self.work.notified() => {}
                    }
                }
                Ok(rows) => {
                    for (number, event) in rows {
                        let taken = tokio::select! {
                            () = self.stop.cancelled() => return,
                            taken = enqueue(event, number) => taken,
                        };
                        if !taken {
                            return;
                        }
                        after = Some(number);
                    }
                }
                Err(failure) => {
                    tracing::warn!(pool = %self.pool, %failure, "spilled events wait for the store");
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = self.clock.sleep(AGAIN) => {}
                    }
                }
            }
            if let Err(failure) = self.sweep().await {
                tracing::warn!(pool = %self.pool, %failure, "rows of events that were handled stay for now");
            }
        }
    }

    /// The next rows; when there are none, events may go the short way again.
    async fn page(&self, after: Option<u64>) -> Handled<Vec<(u64, Envelope)>> {
        let rows = self.store.rows(&self.pool, after, ROWS).await?;
        if !rows.is_empty() {
            return Ok(rows);
        }
        let _turn = self.turn.lock().await;
        let rows = self.store.rows(&self.pool, after, ROWS).await?;
        if rows.is_empty() {
            self.active.store(false, Ordering::Release);
        }
        Ok(rows)
    }
}
