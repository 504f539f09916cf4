//! Where dead letters are kept, in memory or in a store, and what may be done to them there.

use std::time::Duration;

use serde::Serialize;

use super::{DeadLetter, GivenUp, LetterFilter};
use crate::{BoxFuture, Handled, Text, Timestamp};

/// What is decided about dead letters.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// They go to the failed handler again, in the order given: the first at `from`, the next after `every`, and so on.
    Replay {
        /// When the first one goes.
        from: Timestamp,
        /// How long after one the next one goes.
        every: Duration,
    },
    /// They are forgotten; what waited behind them goes on.
    Discard,
    /// The payload is replaced by this JSON, and who did it is kept.
    Edit {
        /// The new payload.
        payload: Text,
        /// Who.
        by: Text,
    },
}

/// What became of a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// About how many dead letters it was carried out.
    pub done: u64,
    /// What could not be done, and why.
    pub refused: Vec<String>,
    /// The process that runs a subscription has not answered yet; the request stays there and will be carried out.
    pub waiting: bool,
}

impl Decided {
    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.done += other.done;
        self.refused.extend(other.refused);
        self.waiting |= other.waiting;
        self
    }
}

/// A page of dead letters of one handler, in order of their entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LetterPage {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// The entry after which the next page begins, unless this was the last.
    pub next: Option<Text>,
}

/// What is not in the dead letters any more although nobody has decided so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LetterFigures {
    /// How many there have been since the process started, outside of durable subscriptions.
    pub kept: u64,
    /// How many were thrown away by a rule.
    pub discarded: u64,
    /// How many had to go because there was no room for more.
    pub dropped: u64,
}

/// A dead letter and, where it could be found, its event.
pub type LetterAndEvent = (DeadLetter, Option<crate::Envelope>);

/// The dead letters of an application. [`Letters`](super::Letters) is the comfortable way to them.
pub trait DeadLetters: Send + Sync + 'static {
    /// The handlers that have, or had, dead letters, in order.
    ///
    /// The failure inside: they cannot be read.
    fn handlers(&self) -> BoxFuture<'_, Handled<Vec<Text>>>;

    /// Some of the wanted dead letters of a handler after an entry, with their payloads. A page may be empty although
    /// there are more.
    ///
    /// The failure inside: they cannot be read.
    fn page<'a>(
        &'a self,
        handler: &'a str,
        filter: &'a LetterFilter,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Handled<LetterPage>>;

    /// How many there are, of all that is there. It is counted where they are kept: what is asked for by no more than one
    /// of handler and an indexed field is not read.
    ///
    /// The failure inside: they cannot be read.
    fn count<'a>(&'a self, filter: &'a LetterFilter) -> BoxFuture<'a, Handled<u64>>;

    /// One of them.
    ///
    /// The failure inside: it cannot be read.
    fn get<'a>(&'a self, handler: &'a str, entry: &'a str) -> BoxFuture<'a, Handled<Option<LetterAndEvent>>>;

    /// Decides about some of a handler's. A second decision about the same one while the first is being carried out is
    /// refused.
    ///
    /// The failure inside: the decision cannot be written.
    fn decide<'a>(
        &'a self,
        handler: &'a str,
        entries: Vec<Text>,
        decision: Decision,
    ) -> BoxFuture<'a, Handled<Decided>>;

    /// Figures.
    fn figures(&self) -> LetterFigures;
}

/// How long a replay outside of a durable subscription may take before it may begin again elsewhere.
pub const REPLAY_CLAIM: Duration = Duration::from_secs(600);

/// Dead letters of handlers outside of durable subscriptions, for the one who runs these handlers: it keeps what they
/// give up, and replays what is due.
pub trait LetterKeeper: DeadLetters {
    /// Keeps a delivery that is given up, or throws it away where a rule says so; one that was replayed takes the place
    /// of what it was. `hidden` are the redacted fields of its event.
    ///
    /// The failure inside: it could not be kept; whoever gives it up tries again.
    fn keep<'a>(&'a self, given_up: GivenUp, hidden: &'a [&'a str]) -> BoxFuture<'a, Handled>;

    /// Takes up to `limit` of a handler's letters that are due, in order, and when to look again. What was taken is not
    /// given to anybody else for [`REPLAY_CLAIM`].
    ///
    /// The failure inside: they cannot be taken.
    fn claim<'a>(
        &'a self,
        handler: &'a str,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'a, Handled<(Vec<DeadLetter>, Option<Timestamp>)>>;

    /// A claimed letter was handled and goes, or it was not, and is held again.
    ///
    /// The failure inside: that could not be written; the claim runs out.
    fn settle<'a>(&'a self, letter: &'a DeadLetter, handled: bool) -> BoxFuture<'a, Handled>;

    /// Whether a handler has letters that are due, or are being replayed here.
    ///
    /// The failure inside: they cannot be read.
    fn is_due<'a>(&'a self, handler: &'a str, now: Timestamp) -> BoxFuture<'a, Handled<bool>>;
}
