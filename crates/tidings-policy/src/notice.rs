//! What a guard tells about itself.

use serde::{Deserialize, Serialize};
use tidings_core::{Envelope, Text};

/// What the names of the platform's own events begin with. They are never limited, shed or switched off.
pub const OWN: &str = "tidings.";

/// Something happened to a guard. It is told while no lock is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Notice {
    /// A circuit breaker refuses calls from now on.
    CircuitOpened {
        /// The handler.
        handler: Text,
    },
    /// A circuit breaker lets probes through.
    CircuitHalfOpen {
        /// The handler.
        handler: Text,
    },
    /// A circuit breaker lets calls through again.
    CircuitClosed {
        /// The handler.
        handler: Text,
    },
    /// A rate limit was reached. Told at most once a second, with how many were refused since it was last told.
    RateExceeded {
        /// The handler.
        handler: Text,
        /// How many were refused.
        refused: u64,
    },
    /// What is shed has changed: 0 nothing, 1 low priority, 2 low and normal.
    Shedding {
        /// The handler.
        handler: Text,
        /// The level.
        level: u8,
    },
    /// A delivery was quarantined.
    Quarantined {
        /// The handler.
        handler: Text,
        /// The event's id.
        event: Text,
        /// How often a process died with it.
        crashes: u32,
    },
    /// Retries have used up their budget: one waits longer than its backoff says. Told at most once a second.
    RetryBudgetSpent {
        /// The handler.
        handler: Text,
    },
}

impl Notice {
    /// The name under which it is published.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CircuitOpened { .. } => "tidings.circuit.opened",
            Self::CircuitHalfOpen { .. } => "tidings.circuit.half-opened",
            Self::CircuitClosed { .. } => "tidings.circuit.closed",
            Self::RateExceeded { .. } => "tidings.rate.exceeded",
            Self::Shedding { .. } => "tidings.shedding.changed",
            Self::Quarantined { .. } => "tidings.delivery.quarantined",
            Self::RetryBudgetSpent { .. } => "tidings.retry-budget.spent",
        }
    }
}

/// Whether it is one of the platform's own.
pub(crate) fn is_own(envelope: &Envelope) -> bool {
    envelope.name().starts_with(OWN)
}
