//! What can be said about a bus before it exists.

use std::{fmt, sync::Arc};

use tidings_core::{BoxFuture, Clock, Pattern, SystemClock, Text, TopicError};

use crate::{
    Bus, HISTORY_TOPICS_MAX, History, LeakWatch, StatsOptions,
    core::{Core, Settings},
};

/// How many calls of asynchronous listeners may run that nobody awaits, unless said otherwise.
pub const IN_FLIGHT_MAX: usize = 10_000;

/// Builds a [`Bus`].
///
/// ```
/// use std::sync::Arc;
/// use tidings_bus::Bus;
/// use tidings_core::{ManualClock, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::from_millis(0));
/// let bus = Bus::builder().clock(Arc::new(clock)).source("/shop").in_flight_max(100).build();
/// # drop(bus);
/// ```
#[derive(Clone)]
#[must_use = "a bus is made by `build`"]
pub struct Builder(Settings);

impl Default for Builder {
    fn default() -> Self {
        Self(Settings {
            clock: Arc::new(SystemClock),
            source: Text::from("/tidings"),
            spawn: None,
            in_flight_max: IN_FLIGHT_MAX,
            leak_watch: None,
            stats: None,
            history: Vec::new(),
            history_topics_max: HISTORY_TOPICS_MAX,
        })
    }
}

impl Builder {
    /// Where the time comes from; the machine's clock by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = clock;
        self
    }

    /// The source of events that are put into an envelope here, as a URI reference; `/tidings` by default.
    pub fn source(mut self, source: impl Into<Text>) -> Self {
        self.0.source = source.into();
        self
    }

    /// Who runs asynchronous listeners that nobody awaits. By default the tokio runtime in which the event is emitted,
    /// else the one in which the listener was registered; where there is neither, the error channel is told.
    pub fn spawner(mut self, spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        self.0.spawn = Some(Arc::new(spawn));
        self
    }

    /// How many calls of asynchronous listeners may run that nobody awaits; [`IN_FLIGHT_MAX`] by default. One more is
    /// not begun, and the error channel is told. With 0, such listeners run only where they are awaited.
    pub fn in_flight_max(mut self, most: usize) -> Self {
        self.0.in_flight_max = most;
        self
    }

    /// Warns when an event has so many listeners that some have perhaps been forgotten. Off by default, and then free.
    pub fn leak_watch(mut self, watch: LeakWatch) -> Self {
        self.0.leak_watch = Some(watch);
        self
    }

    /// Counts and measures emissions and listeners, for [`Bus::stats`]. Off by default, and then free.
    pub fn stats(mut self, options: StatsOptions) -> Self {
        self.0.stats = Some(options);
        self
    }

    /// Keeps the last events whose names match `pattern`, for listeners that come [late](crate::Listen::replay). Of
    /// several patterns that match, the one said last counts. An event that is emitted by reference is put into an
    /// envelope for it; other events cost what they did.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    pub fn history(mut self, pattern: &str, history: History) -> Result<Self, TopicError> {
        self.0.history.push((Pattern::parse(pattern)?, history));
        Ok(self)
    }

    /// Of how many topics events are kept; [`HISTORY_TOPICS_MAX`] by default.
    pub fn history_topics_max(mut self, most: usize) -> Self {
        self.0.history_topics_max = most;
        self
    }

    /// The bus.
    pub fn build(self) -> Bus {
        Bus::of(Core::new(self.0))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("clock", &self.0.clock)
            .field("source", &self.0.source)
            .field("spawner", &self.0.spawn.is_some())
            .field("in_flight_max", &self.0.in_flight_max)
            .field("leak_watch", &self.0.leak_watch)
            .field("stats", &self.0.stats)
            .field("history", &self.0.history)
            .field("history_topics_max", &self.0.history_topics_max)
            .finish()
    }
}
