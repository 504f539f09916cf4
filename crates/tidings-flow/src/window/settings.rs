//! Which windows there are, and when they are complete.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{bounded, some, span};

/// Which windows an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Shape {
    /// One after another, each event in one.
    Tumbling {
        /// How long a window is. They begin at multiples of it since 1970.
        size: Duration,
    },
    /// A window of `size` begins every `every`; an event is in as many as overlap.
    Sliding {
        /// How long a window is.
        size: Duration,
        /// How long after a window the next one begins.
        every: Duration,
    },
    /// A window a burst: it ends when for `gap` there was no event.
    Session {
        /// How long there must be none.
        gap: Duration,
    },
}

/// Which windows there are, when they are complete, and how many may be open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windowing {
    /// Which windows an event belongs to.
    pub shape: Shape,
    /// How far events of one source may be out of order: the watermark stays behind the latest by this.
    #[serde(default)]
    pub disorder: Duration,
    /// For how long after the watermark has passed its end a window still takes events, and is told again.
    #[serde(default)]
    pub lateness: Duration,
    /// After this time without an event a source does not hold up the watermark any more; when all are idle, the
    /// watermark goes on with the clock. Without it a source may hold it up for ever.
    #[serde(default)]
    pub idle: Option<Duration>,
    /// How far an event's time may be ahead of the clock; one that is further is refused, for it would make all others
    /// late. Without it any time is believed.
    #[serde(default)]
    pub ahead: Option<Duration>,
    /// The most windows of all keys together (parts of windows, where they slide); an event that would need one more
    /// is refused.
    #[serde(default = "windows")]
    pub windows: usize,
    /// The most sources; events of further ones count as of one source together.
    #[serde(default = "sources")]
    pub sources: usize,
}

fn windows() -> usize {
    100_000
}

fn sources() -> usize {
    1_000
}

/// The most parts that a sliding window may have.
const PARTS_MAX: i64 = 10_000;

impl Windowing {
    /// Windows of this shape; nothing late, nothing out of order.
    pub fn new(shape: Shape) -> Self {
        let zero = Duration::ZERO;
        let (windows, sources) = (windows(), sources());
        Self { shape, disorder: zero, lateness: zero, idle: None, ahead: None, windows, sources }
    }

    /// One window after another.
    pub fn tumbling(size: Duration) -> Self {
        Self::new(Shape::Tumbling { size })
    }

    /// A window of `size` every `every`.
    pub fn sliding(size: Duration, every: Duration) -> Self {
        Self::new(Shape::Sliding { size, every })
    }

    /// A window a burst, with at least `gap` between bursts.
    pub fn session(gap: Duration) -> Self {
        Self::new(Shape::Session { gap })
    }

    /// How far events of one source may be out of order.
    #[must_use]
    pub fn disorder(self, disorder: Duration) -> Self {
        Self { disorder, ..self }
    }

    /// For how long a complete window still takes events.
    #[must_use]
    pub fn lateness(self, lateness: Duration) -> Self {
        Self { lateness, ..self }
    }

    /// After how long without an event a source does not hold up the watermark.
    #[must_use]
    pub fn idle(self, idle: Duration) -> Self {
        Self { idle: Some(idle), ..self }
    }

    /// How far an event's time may be ahead of the clock.
    #[must_use]
    pub fn ahead(self, ahead: Duration) -> Self {
        Self { ahead: Some(ahead), ..self }
    }

    /// The most windows of all keys together.
    #[must_use]
    pub fn windows(self, windows: usize) -> Self {
        Self { windows, ..self }
    }

    /// The most sources that are told apart.
    #[must_use]
    pub fn sources(self, sources: usize) -> Self {
        Self { sources, ..self }
    }

    /// What is wrong with the values, each with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        match self.shape {
            Shape::Tumbling { size } => span(&mut faults, "size", size),
            Shape::Session { gap } => span(&mut faults, "gap", gap),
            Shape::Sliding { size, every } => {
                span(&mut faults, "size", size);
                span(&mut faults, "every", every);
                if every > size {
                    faults.push(format!(
                        "every: {every:?} is more than the size {size:?}; some events would be in none"
                    ));
                } else if faults.is_empty() && micros(size) / part(size, every) > PARTS_MAX {
                    faults.push(format!(
                        "every: {every:?} parts a window of {size:?} into more than {PARTS_MAX}"
                    ));
                }
            }
        }
        bounded(&mut faults, "disorder", self.disorder);
        bounded(&mut faults, "lateness", self.lateness);
        if let Some(idle) = self.idle {
            span(&mut faults, "idle", idle);
        }
        if let Some(ahead) = self.ahead {
            bounded(&mut faults, "ahead", ahead);
        }
        some(&mut faults, "windows", self.windows, "or every event would be refused");
        some(&mut faults, "sources", self.sources, "or no event would have any");
        faults
    }
}

/// The spans of a [`Windowing`] in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) disorder: i64,
    pub(super) lateness: i64,
    pub(super) idle: Option<i64>,
    pub(super) sources: usize,
}

impl Limits {
    pub(super) fn of(settings: &Windowing) -> Self {
        Self {
            disorder: micros(settings.disorder),
            lateness: micros(settings.lateness),
            idle: settings.idle.map(micros),
            sources: settings.sources,
        }
    }
}

pub(super) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// The longest span of which both are multiples.
pub(super) fn part(size: Duration, every: Duration) -> i64 {
    let (mut a, mut b) = (micros(size), micros(every));
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
