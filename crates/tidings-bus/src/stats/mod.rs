//! Statistics: what was emitted how often, and how long listeners take.
//!
//! What it is: the settings, the report and the notice about slow listeners. Off by default, and then nothing is
//! counted, timed or asked: a bus without statistics has other [plans](crate::plan) and other
//! [listeners](measured) than one with them. Start at [`meter`], which holds all that is counted.

mod histogram;
mod log;
mod measured;
mod meter;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::{Event, EventInfo, Field, Pattern, Timestamp, TopicError};

pub(crate) use self::{
    measured::Measured,
    meter::{Call, Calls, Measure, Meter},
};
use crate::Bus;

/// How many topics have statistics of their own, unless said otherwise.
pub const STATS_TOPICS_MAX: usize = 1_000;

/// How many listeners have statistics of their own at the same time, unless said otherwise.
pub const STATS_LISTENERS_MAX: usize = 1_000;

/// How many emissions are logged, unless said otherwise; the oldest goes first.
pub const STATS_LOG_MAX: usize = 1_000;

/// How long a listener may take before it is called slow, unless said otherwise.
pub const SLOW: Duration = Duration::from_millis(1);

/// How long a listener may take before it is called very slow, unless said otherwise.
pub const VERY_SLOW: Duration = Duration::from_millis(10);

/// What a bus counts and measures.
///
/// ```
/// use tidings_bus::{Bus, StatsOptions, example::OrderPlaced};
/// let bus = Bus::builder().stats(StatsOptions::new().log_max(100)).build();
/// bus.on(|_: &OrderPlaced| ()).forever();
/// bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
/// let stats = bus.stats().expect("they are on");
/// assert_eq!((stats.topics[0].name.as_str(), stats.topics[0].emitted), ("order.placed", 1));
/// assert_eq!((stats.listeners[0].calls, stats.listeners[0].errors), (1, 0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it does nothing until a builder is given it"]
pub struct StatsOptions {
    topics_max: usize,
    listeners_max: usize,
    log_max: usize,
    slow: Duration,
    very_slow: Duration,
    on_clock: bool,
}

impl Default for StatsOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl StatsOptions {
    /// Everything as the constants beside this say.
    pub fn new() -> Self {
        Self {
            topics_max: STATS_TOPICS_MAX,
            listeners_max: STATS_LISTENERS_MAX,
            log_max: STATS_LOG_MAX,
            slow: SLOW,
            very_slow: VERY_SLOW,
            on_clock: false,
        }
    }

    /// How many topics have statistics of their own; [`STATS_TOPICS_MAX`] by default. All further ones share one.
    pub fn topics_max(self, topics_max: usize) -> Self {
        Self { topics_max, ..self }
    }

    /// How many listeners have statistics of their own at the same time; [`STATS_LISTENERS_MAX`] by default. All
    /// further ones share one.
    pub fn listeners_max(self, listeners_max: usize) -> Self {
        Self { listeners_max, ..self }
    }

    /// How many emissions are logged; [`STATS_LOG_MAX`] by default. With 0 there is no log.
    pub fn log_max(self, log_max: usize) -> Self {
        Self { log_max, ..self }
    }

    /// From which time on a listener is slow, and from which very slow; [`SLOW`] and [`VERY_SLOW`] by default.
    pub fn slow(self, slow: Duration, very_slow: Duration) -> Self {
        Self { slow, very_slow, ..self }
    }

    /// Measures on the bus's clock, which a test can drive but which knows no less than a microsecond. By default it
    /// is the machine's monotonic clock, which knows nanoseconds.
    pub fn on_clock(self) -> Self {
        Self { on_clock: true, ..self }
    }
}

/// What was emitted and heard since the bus was made, or since [`Bus::reset_stats`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Each topic, by name.
    pub topics: Vec<TopicStats>,
    /// All topics together that found no room among those.
    pub other_topics: Option<TopicStats>,
    /// Each listener, in the order of calls.
    pub listeners: Vec<ListenerStats>,
    /// All listeners together that found no room among those.
    pub other_listeners: Option<ListenerStats>,
    /// How often those listeners were called that have ended since.
    pub ended_calls: u64,
    /// How often they failed.
    pub ended_errors: u64,
}

/// What was emitted under one name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TopicStats {
    /// The name; empty for several.
    pub name: String,
    /// How often it was emitted.
    pub emitted: u64,
    /// How many listeners ran for it, all emissions together.
    pub heard: u64,
    /// How many emissions a middleware has cancelled.
    pub cancelled: u64,
    /// When it was last emitted, on the bus's clock.
    pub last: Option<Timestamp>,
    /// How many listeners it reaches now.
    pub subscribers: usize,
}

/// How one listener does.
///
/// Of an asynchronous one, the time from its start to its end is measured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListenerStats {
    /// The name or pattern it listens to; empty for several.
    pub topic: String,
    /// The Rust path of its function.
    pub function: String,
    /// The source file in which it was registered.
    pub file: String,
    /// The line in it.
    pub line: u32,
    /// How often it was called.
    pub calls: u64,
    /// How often it failed, panicked or could not be called.
    pub errors: u64,
    /// Half of its calls took no longer, in nanoseconds, to 6 per cent.
    pub p50_nanos: u64,
    /// 95 of 100 calls took no longer.
    pub p95_nanos: u64,
    /// 99 of 100 calls took no longer.
    pub p99_nanos: u64,
    /// The longest call, exactly.
    pub max_nanos: u64,
}

/// One emission in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// When it was through, on the bus's clock.
    pub time: Timestamp,
    /// The event's name.
    pub name: String,
    /// How many listeners ran.
    pub heard: usize,
    /// Whether a middleware has cancelled it.
    pub cancelled: bool,
    /// How long it took until all listeners in place had run, in nanoseconds.
    pub nanos: u64,
}

/// How slow a listener was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slowness {
    /// Slower than it should be.
    Slow,
    /// Much slower.
    VerySlow,
}

/// A notice of the bus itself, as an event: a listener in place took long, and whoever emitted waited for it.
///
/// It is told, and logged, once a listener and level, until [`Bus::reset_stats`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSlowed {
    /// The name or pattern it listens to.
    pub topic: String,
    /// The Rust path of its function.
    pub function: String,
    /// The source file in which it was registered.
    pub file: String,
    /// The line in it.
    pub line: u32,
    /// How long it took, in nanoseconds.
    pub nanos: u64,
    /// How slow that is.
    pub level: Slowness,
}

impl Event for ListenerSlowed {
    const INFO: &'static EventInfo = &EventInfo {
        name: "tidings.listener.slowed",
        version: 1,
        fields: &[
            Field { name: "topic", key: false, tag: false, redact: false },
            Field { name: "function", key: false, tag: false, redact: false },
            Field { name: "file", key: false, tag: false, redact: false },
            Field { name: "line", key: false, tag: false, redact: false },
            Field { name: "nanos", key: false, tag: false, redact: false },
            Field { name: "level", key: false, tag: false, redact: false },
        ],
    };
}

impl Bus {
    /// What was counted and measured; nothing unless the bus was [built](crate::Builder::stats) to do so.
    pub fn stats(&self) -> Option<Stats> {
        let meter = self.core().meter.as_ref()?;
        let mut stats = meter.stats();
        self.core().locked(|state, _| {
            for topic in &mut stats.topics {
                topic.subscribers = state.count(&topic.name);
            }
        });
        Some(stats)
    }

    /// Sets all statistics to nothing, empties the log, and lets slow listeners be told of again.
    pub fn reset_stats(&self) {
        if let Some(meter) = &self.core().meter {
            meter.reset();
        }
    }

    /// The logged emissions of events that match `pattern`, not before `since`, the oldest first.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    ///
    /// ```
    /// use tidings_bus::{Bus, StatsOptions, example::OrderPlaced};
    /// use tidings_core::Timestamp;
    /// let bus = Bus::builder().stats(StatsOptions::new()).build();
    /// bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
    /// let log = bus.emissions("order.**", Timestamp::MIN)?;
    /// assert_eq!((log.len(), log[0].heard), (1, 0));
    /// # Ok::<(), tidings_core::TopicError>(())
    /// ```
    pub fn emissions(&self, pattern: &str, since: Timestamp) -> Result<Vec<Emitted>, TopicError> {
        let pattern = Pattern::parse(pattern)?;
        Ok(self.core().meter.as_ref().map_or_else(Vec::new, |meter| meter.log.select(&pattern, since)))
    }
}
