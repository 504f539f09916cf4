//! What happens to an event for which there is no room.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_core::{Envelope, span};

/// What a queue that is full does with one more event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Overflow {
    /// It is given back to the publisher, at once.
    Refuse,
    /// The publisher waits for room, in order with others who wait, at most this long; then it gets the event back.
    Wait(#[serde(with = "span")] Duration),
    /// The event that has waited longest at the lowest level is dropped for it.
    DropOldest,
    /// It is dropped itself.
    DropNewest,
    /// It is kept in the store until there is room, and so is every event after it, so that their order stays.
    Spill,
    /// The publisher calls the handlers itself, and is held up by that.
    Inline,
}

impl Default for Overflow {
    /// Waits five seconds at most.
    fn default() -> Self {
        Self::Wait(Duration::from_secs(5))
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("refuse"),
            Self::Wait(most) => write!(f, "wait up to {}", span::text(*most)),
            Self::DropOldest => f.write_str("drop the oldest"),
            Self::DropNewest => f.write_str("drop the newest"),
            Self::Spill => f.write_str("spill to the store"),
            Self::Inline => f.write_str("call on the publisher's side"),
        }
    }
}

/// What was done with an event on its way into the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// No buffered handler selects it.
    #[default]
    Nobody,
    /// There was room.
    Queued,
    /// There was room after a while.
    Waited,
    /// So many other deliveries were dropped for it.
    DroppedOldest(usize),
    /// There was no room, and it was dropped, as its queue is told to.
    DroppedNewest,
    /// It is in the store until there is room.
    Spilled,
    /// Its handlers were called by the publisher.
    Inline,
}

/// Why there was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// As many events wait as may.
    Events,
    /// As many bytes wait as may.
    Bytes,
    /// Events come faster than is allowed.
    Rate,
    /// The queue takes nothing in any more.
    Closed,
    /// It could not be spilled, because the store failed.
    Store,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "as many events wait as may",
            Self::Bytes => "as many bytes wait as may",
            Self::Rate => "events come faster than is allowed",
            Self::Closed => "it takes nothing in any more",
            Self::Store => "it could not be spilled to the store",
        })
    }
}

/// An event that was not taken in; it is given back, and no handler has it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the queue {pool:?} is full: {why}")]
pub struct Full {
    /// The event.
    pub event: Envelope,
    /// The pool whose queue had no room; empty is the shared one.
    pub pool: String,
    /// Why.
    pub why: NoRoom,
}
