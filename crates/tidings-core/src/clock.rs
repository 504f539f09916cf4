//! Time enters here: a clock that can be driven by a test.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Timestamp;

/// A boxed future, as traits behind `dyn` return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The platform's only source of time.
///
/// Everything that reads the time or waits does so through a clock, so that a test can drive a whole application.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time now. It may go backwards when a person sets the machine's clock; whoever needs it not to, keeps the
    /// largest it has seen.
    fn now(&self) -> Timestamp;

    /// Completes after `span` has passed.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Not by `as_micros`, which has 128 bits: every event is dated.
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let micros = seconds.saturating_mul(1_000_000).saturating_add(i64::from(since.subsec_micros()));
        Timestamp::from_micros(micros)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A clock that stands still until it is told to move.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::{Clock, ManualClock, Timestamp};
/// let clock = ManualClock::at(Timestamp::from_millis(1_000));
/// clock.advance(Duration::from_millis(500));
/// assert_eq!(clock.now().as_millis(), 1_500);
/// ```
#[derive(Clone)]
pub struct ManualClock {
    now: Arc<AtomicI64>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// Elapsed microseconds since the clock was made: sleeping counts what was advanced, not what was set.
    elapsed: u128,
    next: u64,
    sleepers: BTreeMap<(u128, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    /// A clock that stands at `at`.
    pub fn at(at: Timestamp) -> Self {
        Self { now: Arc::new(AtomicI64::new(at.as_micros())), waiting: Arc::default() }
    }

    /// Moves forward by `span` and wakes every sleeper whose time has come, in order of their times.
    pub fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.now.fetch_add(micros, Ordering::SeqCst);
        let mut waiting = self.waiting.lock();
        waiting.elapsed += span.as_micros();
        let bound = (waiting.elapsed + 1, 0);
        let later = waiting.sleepers.split_off(&bound);
        let due = std::mem::replace(&mut waiting.sleepers, later);
        drop(waiting);
        for sleeper in due.into_values() {
            let _ = sleeper.send(());
        }
    }

    /// Sets the time, also backwards, as a person at the machine's clock would. No sleeper is woken by it.
    pub fn set(&self, at: Timestamp) {
        self.now.store(at.as_micros(), Ordering::SeqCst);
    }

    /// How many sleepers wait.
    pub fn sleepers(&self) -> usize {
        self.waiting.lock().sleepers.values().filter(|sleeper| !sleeper.is_closed()).count()
    }

    /// How long until the next sleeper wakes, if there is one.
    pub fn next_wake(&self) -> Option<Duration> {
        let waiting = self.waiting.lock();
        let live = waiting.sleepers.iter().find(|(_, sleeper)| !sleeper.is_closed());
        live.map(|((at, _), _)| {
            Duration::from_micros(u64::try_from(at.saturating_sub(waiting.elapsed)).unwrap_or(u64::MAX))
        })
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::SeqCst))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        if span.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        let key = (waiting.elapsed + span.as_micros(), waiting.next);
        waiting.next += 1;
        waiting.sleepers.insert(key, wake);
        drop(waiting);
        Box::pin(async move {
            // A clock that is dropped wakes nobody: its sleepers are as good as forgotten.
            if woken.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({})", self.now())
    }
}
