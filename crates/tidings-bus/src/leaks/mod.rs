//! The leak watch: who warns when listeners of an event only ever become more.
//!
//! What it is: the settings, the warning and the report. Whether a warning is due is decided in [`watch`]; what is
//! registered where is asked of the bus's [state](crate::state) when somebody wants to know, so that nothing is counted
//! twice. It costs something where listeners join and leave, and nothing where events are emitted.

mod report;
mod watch;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::{Event, EventInfo, Field, Pattern, Text, TopicError};

pub use self::report::{Leak, LeakOrigin, LeakSample, Leaks};
pub(crate) use self::watch::Watch;

/// How many listeners an event may have before the leak watch suspects a leak, unless said otherwise.
pub const LEAK_LIMIT: usize = 10;

/// At how many per cent of the limit the first warning is given, unless said otherwise.
pub const LEAK_NEAR_PERCENT: u8 = 80;

/// How long the leak watch waits between two samples of one event, unless said otherwise.
pub const LEAK_SAMPLE_EVERY: Duration = Duration::from_secs(60);

/// How many samples are kept of one event; the oldest goes first.
pub const LEAK_SAMPLES_MAX: usize = 32;

/// How many events and patterns are watched at the same time. Only those count that have half as many listeners as
/// they may have.
pub const LEAK_WATCHED_MAX: usize = 1_000;

/// How many places of registration a warning or report names of one event: those with the most listeners.
pub const LEAK_ORIGINS_MAX: usize = 20;

/// How many listeners an event, or a pattern, may have before its bus warns.
///
/// There are two warnings an event, one near the limit and one at the limit, each with the source file and line of every
/// registration. Either is logged, and emitted as a [`LeakSuspected`] on the bus itself, by the thread that registered
/// the listener. The warning at the limit is given again after the number of listeners has been below the mark of the
/// first one, and that one again after it has been below half of the limit.
///
/// ```
/// use tidings_bus::{Bus, LeakSuspected, LeakWatch, example::OrderPlaced};
///
/// let watch = LeakWatch::limit(5).limit_for("screen.**", 100)?.unbounded_for("tidings.**")?;
/// let bus = Bus::builder().leak_watch(watch).build();
/// let (told, hear) = std::sync::mpsc::channel();
/// bus.on(move |leak: &LeakSuspected| drop(told.send(leak.clone()))).forever();
/// for _ in 0..5 {
///     bus.on(|_: &OrderPlaced| ()).forever();
/// }
/// let (near, reached) = (hear.try_recv()?, hear.try_recv()?);
/// assert_eq!((near.listeners, reached.listeners), (4, 5));
/// assert_eq!((reached.topic.as_str(), reached.origins[0].listeners), ("order.placed", 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it does nothing until a builder is given it"]
pub struct LeakWatch {
    limit: Option<usize>,
    exceptions: Vec<(Pattern, Option<usize>)>,
    near_percent: u8,
    sample_every: Duration,
}

impl Default for LeakWatch {
    fn default() -> Self {
        Self::limit(LEAK_LIMIT)
    }
}

impl LeakWatch {
    /// Every event may have fewer than `listeners`. With 0 the first one is one too many.
    pub fn limit(listeners: usize) -> Self {
        Self { limit: Some(listeners), ..Self::unbounded() }
    }

    /// Events may have any number of listeners. There are no warnings; [`Bus::leaks`](crate::Bus::leaks) still tells
    /// how their numbers grow.
    pub fn unbounded() -> Self {
        Self {
            limit: None,
            exceptions: Vec::new(),
            near_percent: LEAK_NEAR_PERCENT,
            sample_every: LEAK_SAMPLE_EVERY,
        }
    }

    /// Another limit for what `pattern` matches. Of several that match, the one said last counts. What is listened to
    /// by a pattern is matched as it is written: `screen.**` matches `screen.*` too.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    pub fn limit_for(self, pattern: &str, listeners: usize) -> Result<Self, TopicError> {
        self.except(pattern, Some(listeners))
    }

    /// No limit for what `pattern` matches.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    pub fn unbounded_for(self, pattern: &str) -> Result<Self, TopicError> {
        self.except(pattern, None)
    }

    fn except(mut self, pattern: &str, limit: Option<usize>) -> Result<Self, TopicError> {
        self.exceptions.push((Pattern::parse(pattern)?, limit));
        Ok(self)
    }

    /// At how many per cent of the limit the first warning is given; [`LEAK_NEAR_PERCENT`] by default. From 100 on
    /// there is only the warning at the limit.
    pub fn near_percent(self, near_percent: u8) -> Self {
        Self { near_percent, ..self }
    }

    /// How long to wait at least between two samples of one event; [`LEAK_SAMPLE_EVERY`] by default. Of each,
    /// [`LEAK_SAMPLES_MAX`] are kept.
    pub fn sample_every(self, span: Duration) -> Self {
        Self { sample_every: span, ..self }
    }

    fn limit_of(&self, topic: &str) -> Option<usize> {
        let exception = self.exceptions.iter().rev().find(|(pattern, _)| pattern.matches(topic));
        exception.map_or(self.limit, |(_, limit)| *limit)
    }
}

/// How serious a suspicion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakLevel {
    /// Near the limit.
    Near,
    /// At the limit, or beyond.
    Reached,
}

/// A notice of the bus itself, as an event: an event has so many listeners that some have perhaps been forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakSuspected {
    /// The name or pattern that is listened to.
    pub topic: String,
    /// How many listeners it has.
    pub listeners: usize,
    /// How many it may have.
    pub limit: usize,
    /// How serious it is.
    pub level: LeakLevel,
    /// Where they were registered, the place with most of them first; no more than [`LEAK_ORIGINS_MAX`].
    pub origins: Vec<LeakOrigin>,
    /// How many of them were registered in other places.
    pub elsewhere: usize,
}

impl Event for LeakSuspected {
    const INFO: &'static EventInfo = &EventInfo {
        name: "tidings.leak.suspected",
        version: 1,
        fields: &[
            Field { name: "topic", key: true, tag: false, redact: false },
            Field { name: "listeners", key: false, tag: false, redact: false },
            Field { name: "limit", key: false, tag: false, redact: false },
            Field { name: "level", key: false, tag: false, redact: false },
            Field { name: "origins", key: false, tag: false, redact: false },
            Field { name: "elsewhere", key: false, tag: false, redact: false },
        ],
    };

    fn key(&self) -> Option<Text> {
        Some(Text::from(&self.topic))
    }
}
