//! One event on its way to one handler, and what becomes of it.

use std::sync::Arc;

use tidings_core::{Attempt, DeadLetter, Effects, Position, Reason, Text, Timestamp};
use tidings_store::Recorded;

use crate::claims::Held;

/// An event in the hands of a subscription.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub event: Recorded,
    /// The key that orders it; `None` when it has none or order was given up.
    pub key: Option<Text>,
    /// Which call of the handler comes next, from 1.
    pub attempt: u32,
    /// The same over all replays.
    pub calls: u32,
    /// When it was first tried.
    pub first: Option<Timestamp>,
    /// It comes from a row that blocks its key, so it is not stopped by that row.
    pub from_row: bool,
    /// How often it was run again because a document it had read changed.
    pub conflicts: u32,
    /// What went wrong last.
    pub trouble: Option<String>,
    /// What went wrong so far, since its dead letter if it has one.
    pub history: Vec<Attempt>,
    /// The dead letter that is being replayed.
    pub letter: Option<Arc<DeadLetter>>,
    /// When it came into the hands of this process, or may be asked for again.
    pub ready: Timestamp,
    /// It was given up without being called for.
    pub uncalled: bool,
    /// What makes it the only one of its kind, finished in the commit of its effects.
    pub claim: Option<Arc<Held>>,
}

impl Delivery {
    pub(crate) fn position(&self) -> Position {
        self.event.position
    }

    /// Whether it has waited behind its key.
    pub(crate) fn is_follower(&self) -> bool {
        self.from_row && self.attempt == 1
    }

    /// The id of the row that blocks it or would.
    pub(crate) fn row_id(&self) -> Text {
        crate::rows::row_id(self.key.as_ref(), self.position())
    }
}

/// What becomes of a delivery; folded into the book, and committed with its checkpoint.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The handler returned `Ok`.
    Handled(Effects),
    /// It was not delivered, because its time was over.
    Expired,
    /// It was not delivered, because its policy says that there is nothing to do.
    Skipped,
    /// It is tried again at `due`, and its key waits.
    Later { due: Timestamp },
    /// It is given up.
    Dead { reason: Reason, path: Vec<String> },
    /// Its key is blocked; it waits behind.
    Follow,
}

/// A delivery and what becomes of it, accepted in an order that respects its key.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub delivery: Delivery,
    pub outcome: Outcome,
}
