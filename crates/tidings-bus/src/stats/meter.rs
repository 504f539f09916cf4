//! All that a bus with statistics counts.
//!
//! Topics and listeners take hold of their counters when a plan is made or a listener registered, and after that only
//! add to them. The locks here are the innermost of the bus: nothing else is done under them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tidings_core::{Text, Timestamp};

use super::{
    ListenerSlowed, ListenerStats, Slowness, Stats, StatsOptions, TopicStats,
    histogram::Histogram,
    log::{Entry, Log},
};
use crate::{Listener, about::About, core::Core, rank::Rank};

/// The counters of a bus.
pub(crate) struct Meter {
    options: StatsOptions,
    begun: Instant,
    topics: Mutex<HashMap<Text, Arc<Topic>>>,
    other_topics: Arc<Topic>,
    listeners: Mutex<BTreeMap<Rank, (Listener, Arc<Counters>)>>,
    other_listeners: Arc<Counters>,
    ended_calls: AtomicU64,
    ended_errors: AtomicU64,
    pub(super) log: Log,
}

/// The counters of one topic.
pub(crate) struct Topic {
    emitted: AtomicU64,
    heard: AtomicU64,
    cancelled: AtomicU64,
    last: AtomicI64,
}

/// The counters of one listener.
#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    errors: AtomicU64,
    histogram: Histogram,
    /// How many levels of slowness were told.
    told: AtomicU8,
}

impl Meter {
    pub(crate) fn new(options: StatsOptions) -> Self {
        Self {
            log: Log::new(options.log_max),
            options,
            begun: Instant::now(),
            topics: Mutex::default(),
            other_topics: Arc::default(),
            listeners: Mutex::default(),
            other_listeners: Arc::default(),
            ended_calls: AtomicU64::new(0),
            ended_errors: AtomicU64::new(0),
        }
    }

    fn nanos(&self, core: &Core) -> u64 {
        if self.options.on_clock {
            u64::try_from(core.now().as_micros()).unwrap_or(0).saturating_mul(1_000)
        } else {
            nanos(self.begun.elapsed())
        }
    }

    /// What measures the emissions of one topic.
    pub(crate) fn measure(self: &Arc<Self>, name: &str) -> Measure {
        let mut topics = self.topics.lock();
        let topic = match topics.get(name) {
            Some(topic) => topic.clone(),
            None if topics.len() >= self.options.topics_max => self.other_topics.clone(),
            None => topics.entry(Text::from(name)).or_default().clone(),
        };
        drop(topics);
        Measure { meter: self.clone(), name: Text::from(name), topic }
    }

    /// What counts the calls of one listener.
    pub(crate) fn calls(self: &Arc<Self>, rank: Rank, listener: &Listener) -> Calls {
        let mut listeners = self.listeners.lock();
        let counters = if listeners.len() < self.options.listeners_max {
            listeners.entry(rank).or_insert_with(|| (listener.clone(), Arc::default())).1.clone()
        } else {
            self.other_listeners.clone()
        };
        drop(listeners);
        Calls { meter: self.clone(), rank, counters }
    }

    pub(crate) fn stats(&self) -> Stats {
        let topics = self.topics.lock();
        let mut topics: Vec<_> = topics.iter().map(|(name, topic)| topic.stats(name)).collect();
        topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let listeners = self.listeners.lock();
        let listeners =
            listeners.values().map(|(listener, counters)| counters.stats(Some(listener))).collect();
        Stats {
            topics,
            other_topics: Some(self.other_topics.stats("")).filter(|topic| topic.emitted > 0),
            listeners,
            other_listeners: Some(self.other_listeners.stats(None)).filter(|all| all.calls + all.errors > 0),
            ended_calls: self.ended_calls.load(Ordering::Relaxed),
            ended_errors: self.ended_errors.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn reset(&self) {
        let mut topics = self.topics.lock();
        // Those that no plan holds were perhaps emitted once, long ago: they make room.
        topics.retain(|_, topic| Arc::strong_count(topic) > 1);
        topics.values().for_each(|topic| topic.reset());
        drop(topics);
        self.other_topics.reset();
        self.listeners.lock().values().for_each(|(_, counters)| counters.reset());
        self.other_listeners.reset();
        self.ended_calls.store(0, Ordering::Relaxed);
        self.ended_errors.store(0, Ordering::Relaxed);
        self.log.clear();
    }
}

impl Default for Topic {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { emitted: zero(), heard: zero(), cancelled: zero(), last: AtomicI64::new(i64::MIN) }
    }
}

impl Topic {
    fn stats(&self, name: &str) -> TopicStats {
        let emitted = self.emitted.load(Ordering::Relaxed);
        TopicStats {
            name: name.to_owned(),
            emitted,
            heard: self.heard.load(Ordering::Relaxed),
            cancelled: self.cancelled.load(Ordering::Relaxed),
            last: (emitted > 0).then(|| Timestamp::from_micros(self.last.load(Ordering::Relaxed))),
            subscribers: 0,
        }
    }

    fn reset(&self) {
        for count in [&self.emitted, &self.heard, &self.cancelled] {
            count.store(0, Ordering::Relaxed);
        }
        self.last.store(i64::MIN, Ordering::Relaxed);
    }
}

impl Counters {
    fn stats(&self, listener: Option<&Listener>) -> ListenerStats {
        let [p50_nanos, p95_nanos, p99_nanos] = self.histogram.percentiles([50, 95, 99]);
        ListenerStats {
            topic: listener.map_or_else(String::new, |listener| listener.topic().to_owned()),
            function: listener.map_or_else(String::new, |listener| listener.function().to_owned()),
            file: listener.map_or_else(String::new, |listener| listener.location().file().to_owned()),
            line: listener.map_or(0, |listener| listener.location().line()),
            calls: self.calls.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            p50_nanos,
            p95_nanos,
            p99_nanos,
            max_nanos: self.histogram.max(),
        }
    }

    fn reset(&self) {
        self.calls.store(0, Ordering::Relaxed);
        self.errors.store(0, Ordering::Relaxed);
        self.histogram.reset();
        self.told.store(0, Ordering::Relaxed);
    }
}

/// Measures the emissions of one topic.
pub(crate) struct Measure {
    meter: Arc<Meter>,
    name: Text,
    topic: Arc<Topic>,
}

impl Measure {
    /// Measures one emission, which answers how many listeners ran, or nothing when it was cancelled.
    pub(crate) fn emission(&self, core: &Core, emit: impl FnOnce() -> Option<usize>) -> Option<usize> {
        let begun = self.meter.nanos(core);
        let heard = emit();
        let nanos = self.meter.nanos(core).saturating_sub(begun);
        let time = core.now();
        self.topic.emitted.fetch_add(1, Ordering::Relaxed);
        self.topic.heard.fetch_add(heard.unwrap_or(0) as u64, Ordering::Relaxed);
        self.topic.cancelled.fetch_add(heard.is_none().into(), Ordering::Relaxed);
        self.topic.last.fetch_max(time.as_micros(), Ordering::Relaxed);
        self.meter.log.push(Entry { time, name: self.name.clone(), heard, nanos });
        heard
    }
}

/// Counts the calls of one listener, as long as that exists; then its counts go to those of all that have ended.
pub(crate) struct Calls {
    meter: Arc<Meter>,
    rank: Rank,
    counters: Arc<Counters>,
}

impl Calls {
    /// Counts that the listener failed, or could not be called.
    pub(crate) fn failed(&self) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // Those without a place of their own stay among the others.
        let Some((_, counters)) = self.meter.listeners.lock().remove(&self.rank) else { return };
        let (calls, errors) = (&self.meter.ended_calls, &self.meter.ended_errors);
        calls.fetch_add(counters.calls.load(Ordering::Relaxed), Ordering::Relaxed);
        errors.fetch_add(counters.errors.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// One call of a listener.
pub(crate) struct Call {
    meter: Arc<Meter>,
    counters: Arc<Counters>,
    begun: u64,
}

impl Call {
    /// Begins one, where there are statistics.
    pub(crate) fn begin(about: &About, core: &Core) -> Option<Self> {
        let calls = about.calls()?;
        let begun = calls.meter.nanos(core);
        Some(Self { meter: calls.meter.clone(), counters: calls.counters.clone(), begun })
    }

    /// It is through; answers how long it took.
    pub(crate) fn end(&self, core: &Core) -> u64 {
        let nanos = self.meter.nanos(core).saturating_sub(self.begun);
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
        self.counters.histogram.record(nanos);
        nanos
    }

    /// It has failed.
    pub(crate) fn failed(&self) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// It is through, and whoever emitted has waited; answers what there is to tell about that.
    pub(crate) fn end_in_place(&self, about: &About, core: &Core) -> Option<ListenerSlowed> {
        let nanos = self.end(core);
        let options = &self.meter.options;
        let slow_at = [
            (self::nanos(options.very_slow), Slowness::VerySlow),
            (self::nanos(options.slow), Slowness::Slow),
        ];
        let (_, level) = slow_at.into_iter().find(|(from, _)| nanos >= *from)?;
        let number = match level {
            Slowness::Slow => 1,
            Slowness::VerySlow => 2,
        };
        // Of several threads that find it slow at once, one tells.
        if self.counters.told.fetch_max(number, Ordering::Relaxed) >= number {
            return None;
        }
        let listener = about.listener();
        Some(ListenerSlowed {
            topic: listener.topic().to_owned(),
            function: listener.function().to_owned(),
            file: listener.location().file().to_owned(),
            line: listener.location().line(),
            nanos,
            level,
        })
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
