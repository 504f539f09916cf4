//! How many deliveries may start in a span of time.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::span;

/// The most deliveries a span, and the most keys, of a rate.
const RATE_MAX: usize = 1_000_000_000;

/// How many deliveries may start in a span of time.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::Rate;
/// let steady = Rate::per_second(1_000).burst(50);
/// let each_customer = Rate::per(Duration::from_secs(60), 20).window().each_key();
/// let whole_fleet = Rate::per_second(500).shared();
/// assert_ne!(each_customer, whole_fleet);
/// # let _ = steady;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    pub permits: u32,
    /// In which span.
    #[serde(with = "span")]
    pub per: Duration,
    /// How they are counted.
    #[serde(default)]
    pub kind: RateKind,
    /// How many may start at once after a pause: the size of the bucket. As many as `permits` unless said; a window has
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// For what together.
    #[serde(default)]
    pub each: Per,
    /// How many keys are told apart at most; further ones share one limit.
    #[serde(default = "Rate::keys_max")]
    pub keys: u32,
    /// Counted by this process alone, or by all that share the store.
    #[serde(default)]
    pub shared: bool,
    /// How long a direct call waits for its turn; without it, what is over the limit is refused at once.
    #[serde(default, with = "span::option", skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
}

/// How a rate is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateKind {
    /// A bucket that fills evenly.
    #[default]
    Bucket,
    /// A count that begins anew in each span; around its border twice as many may start.
    Window,
}

/// For what a rate counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// All deliveries.
    #[default]
    All,
    /// Those with the same key; those without one together.
    Key,
}

impl Rate {
    /// How many keys are told apart unless said otherwise.
    fn keys_max() -> u32 {
        10_000
    }

    /// So many in a span.
    pub fn per(span: Duration, permits: u32) -> Self {
        Self {
            permits,
            per: span,
            kind: RateKind::default(),
            burst: None,
            each: Per::default(),
            keys: Self::keys_max(),
            shared: false,
            wait: None,
        }
    }

    /// So many a second.
    pub fn per_second(permits: u32) -> Self {
        Self::per(Duration::from_secs(1), permits)
    }

    /// So many a minute.
    pub fn per_minute(permits: u32) -> Self {
        Self::per(Duration::from_secs(60), permits)
    }

    /// How many may start at once after a pause.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Counted anew in each span instead of evenly.
    #[must_use]
    pub fn window(mut self) -> Self {
        self.kind = RateKind::Window;
        self
    }

    /// Each key has the limit for itself.
    #[must_use]
    pub fn each_key(mut self) -> Self {
        self.each = Per::Key;
        self
    }

    /// How many keys are told apart at most.
    #[must_use]
    pub fn keys(mut self, most: u32) -> Self {
        self.keys = most;
        self
    }

    /// Counted by all that share the store, in windows.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self.window()
    }

    /// A direct call waits so long for its turn.
    #[must_use]
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = Some(limit);
        self
    }

    pub(super) fn faults(&self, found: &mut Faults) {
        found.count("rate.permits", self.permits as usize, RATE_MAX);
        found.span("rate.per", Some(self.per), "there is no time to count in");
        if !self.per.is_zero() && u128::from(self.permits) > self.per.as_nanos() {
            found.add("rate.permits", "is more than one a nanosecond");
        }
        if let Some(burst) = self.burst {
            found.count("rate.burst", burst as usize, RATE_MAX);
            if self.kind == RateKind::Window {
                found.add("rate.burst", "means nothing to a window");
            }
        }
        found.count("rate.keys", self.keys as usize, RATE_MAX);
        if self.shared && self.kind == RateKind::Bucket {
            found.add("rate.shared", "is counted in windows: say kind = \"window\"");
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rate {} ", self.permits)?;
        match self.per {
            second if second == Duration::from_secs(1) => f.write_str("a second")?,
            per => write!(f, "in {}", span::text(per))?,
        }
        if let Some(burst) = self.burst {
            write!(f, ", burst {burst}")?;
        }
        if self.kind == RateKind::Window {
            f.write_str(" by window")?;
        }
        if self.each == Per::Key {
            write!(f, " each of at most {} keys", self.keys)?;
        }
        if self.shared {
            f.write_str(", shared")?;
        }
        match self.wait {
            Some(wait) => write!(f, ", waits {}", span::text(wait)),
            None => Ok(()),
        }
    }
}
