//! What a guard is asked and what it answers.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_core::{BoxFuture, Envelope, Failure, Priority, Reason, Text, Timestamp, span};

use crate::Permit;

/// A delivery that would like to be handled.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Its envelope.
    pub envelope: &'a Envelope,
    /// Which call of the handler this would be, from 1.
    pub attempt: u32,
    /// How long it has waited since it could have begun: in a queue, not for a retry.
    pub waited: Duration,
    /// How urgent it is.
    pub priority: Priority,
    /// When its first attempt was due.
    pub since: Timestamp,
    /// How often a process died with it in its hands.
    pub crashes: u32,
    /// Whether it may be held until there is a token or a permit. A source that can come back with it says no.
    pub hold: bool,
    /// The time now. A reading some milliseconds old will do.
    pub now: Timestamp,
}

impl<'a> Ask<'a> {
    /// The first attempt, due now.
    pub fn new(envelope: &'a Envelope, now: Timestamp) -> Self {
        Self {
            envelope,
            attempt: 1,
            waited: Duration::ZERO,
            priority: envelope.priority(),
            since: now,
            crashes: 0,
            hold: true,
            now,
        }
    }
}

/// May it?
#[must_use]
pub enum Entered {
    /// Yes, now.
    Go(Permit),
    /// It has to wait for a token, a permit or a store: as long as the policy says and no longer.
    Wait(BoxFuture<'static, Result<Permit, Refusal>>),
    /// No.
    Refused(Refusal),
}

impl Entered {
    /// The answer, awaited if it has to be.
    ///
    /// # Errors
    /// The refusal.
    pub async fn get(self) -> Result<Permit, Refusal> {
        match self {
            Self::Go(permit) => Ok(permit),
            Self::Wait(waiting) => waiting.await,
            Self::Refused(refusal) => Err(refusal),
        }
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Go(_) => f.write_str("Go"),
            Self::Wait(_) => f.write_str("Wait"),
            Self::Refused(refusal) => write!(f, "Refused({refusal:?})"),
        }
    }
}

/// Why a delivery may not be handled now, or not at all. A direct call gets this as its error, at once.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A flag is off for it.
    #[error("flag {0} is off")]
    FlagOff(Text),
    /// The process died too often with it in its hands.
    #[error("the process died {0} times while handling it")]
    Poison(u32),
    /// Its deadline has passed.
    #[error("its deadline has passed")]
    Deadline,
    /// The circuit breaker is open.
    #[error("the circuit is open")]
    CircuitOpen {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// Latency has passed its target.
    #[error("shed: latency is over its target")]
    Shed {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// There were too many.
    #[error("the rate limit is reached")]
    RateLimited {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// All permits are taken, and as many wait as may.
    #[error("the bulkhead and its queue are full")]
    BulkheadFull {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// It waited for a permit as long as it may.
    #[error("no permit came in time")]
    BulkheadTimeout {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// It is done already.
    #[error("it was handled already")]
    Finished,
    /// The same is being handled by somebody.
    #[error("the same is being handled")]
    Running {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// A store that has to be asked does not answer.
    #[error("claims or counts cannot be reached")]
    Unavailable {
        /// When it is worth asking again.
        retry_after: Duration,
        /// What it said.
        failure: Text,
    },
}

/// What a source of deliveries has to do with one that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Settle it as done: there is nothing to do.
    Done,
    /// Ask again after this, with the same attempt: none was burnt.
    Later(Duration),
    /// Give it up.
    Dead(Reason),
}

impl Refusal {
    /// What a source that keeps its deliveries has to do. One that cannot keep them gives a [`Settlement::Later`] up, or
    /// tells its publisher.
    pub fn settlement(&self) -> Settlement {
        match self {
            Self::FlagOff(_) | Self::Finished => Settlement::Done,
            Self::Poison(_) => Settlement::Dead(Reason::Poison),
            Self::Deadline => Settlement::Dead(Reason::Deadline),
            Self::CircuitOpen { retry_after }
            | Self::Shed { retry_after }
            | Self::RateLimited { retry_after }
            | Self::BulkheadFull { retry_after }
            | Self::BulkheadTimeout { retry_after }
            | Self::Running { retry_after }
            | Self::Unavailable { retry_after, .. } => Settlement::Later(*retry_after),
        }
    }

    /// When it is worth asking again, if it ever is.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.settlement() {
            Settlement::Later(after) => Some(after),
            Settlement::Done | Settlement::Dead(_) => None,
        }
    }

    /// One word, for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::FlagOff(_) => "flag-off",
            Self::Poison(_) => "poison",
            Self::Deadline => "deadline",
            Self::CircuitOpen { .. } => "circuit-open",
            Self::Shed { .. } => "shed",
            Self::RateLimited { .. } => "rate-limited",
            Self::BulkheadFull { .. } => "bulkhead-full",
            Self::BulkheadTimeout { .. } => "bulkhead-timeout",
            Self::Finished => "finished",
            Self::Running { .. } => "running",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

/// What becomes of a delivery after its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is handled.
    Done,
    /// It is tried again.
    Again {
        /// After this.
        #[serde(with = "span")]
        after: Duration,
    },
    /// It is given up.
    Dead {
        /// Why.
        reason: Reason,
    },
    /// The fallback handler is to take it; if that fails too, it is given up for this reason.
    Fallback {
        /// Why.
        reason: Reason,
    },
}

/// How a call was left.
#[must_use]
pub struct Left {
    /// What becomes of the delivery.
    pub verdict: Verdict,
    /// What a store still has to be told about the claim; to be awaited before the delivery is settled. A failure means
    /// that the claim was lost, or is not known to be kept.
    pub then: Option<BoxFuture<'static, Result<(), Failure>>>,
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Left").field("verdict", &self.verdict).field("waits", &self.then.is_some()).finish()
    }
}
