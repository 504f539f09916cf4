//! How many calls may run at once.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::{Text, span};

/// The most permits of a pool, and the most that may wait for one.
const PERMITS_MAX: usize = 1_000_000;

/// How many calls may run at once, together with others of the same pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bulkhead {
    /// The pool; without a name the handler has one of its own. Who names the same pool must give it the same permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Text>,
    /// How many calls the pool runs at once.
    pub permits: u32,
    /// How many deliveries of this handler may wait for a permit, first come, first served; 0 is none.
    pub queue: u32,
    /// How long one waits at most; 0 is not at all.
    #[serde(with = "span")]
    pub wait: Duration,
}

impl Default for Bulkhead {
    /// Ten calls at once; a hundred wait, at most five seconds each.
    fn default() -> Self {
        Self { pool: None, permits: 10, queue: 100, wait: Duration::from_secs(5) }
    }
}

impl From<u32> for Bulkhead {
    fn from(permits: u32) -> Self {
        Self { permits, ..Self::default() }
    }
}

impl Bulkhead {
    /// Ten calls at once, together with all who name the same pool.
    pub fn pool(name: impl Into<Text>) -> Self {
        Self { pool: Some(name.into()), ..Self::default() }
    }

    /// How many calls the pool runs at once.
    #[must_use]
    pub fn permits(mut self, permits: u32) -> Self {
        self.permits = permits;
        self
    }

    /// How many may wait for a permit.
    #[must_use]
    pub fn queue(mut self, bound: u32) -> Self {
        self.queue = bound;
        self
    }

    /// How long one waits at most.
    #[must_use]
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    pub(super) fn faults(&self, found: &mut Faults) {
        if self.pool.as_deref() == Some("") {
            found.add("bulkhead.pool", "must have a name");
        }
        found.count("bulkhead.permits", self.permits as usize, PERMITS_MAX);
        if self.queue as usize > PERMITS_MAX {
            found.add("bulkhead.queue", &format!("at most {PERMITS_MAX}, not {}", self.queue));
        }
    }
}

impl fmt::Display for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bulkhead of {}", self.permits)?;
        if let Some(pool) = &self.pool {
            write!(f, " in pool {pool}")?;
        }
        write!(f, ", {} wait at most {}", self.queue, span::text(self.wait))
    }
}
