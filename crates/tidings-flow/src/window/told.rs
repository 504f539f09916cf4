//! What comes out of windows.

use serde::{Deserialize, Serialize};
use tidings_core::Timestamp;

/// From a time, up to but without another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end, which is not part of it. A session's is its last event's time and the gap.
    pub until: Timestamp,
}

impl Span {
    pub(super) fn of((from, until): (i64, i64)) -> Self {
        Self { from: Timestamp::from_micros(from), until: Timestamp::from_micros(until) }
    }
}

/// What the events of a window come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary<R, K = ()> {
    /// What the events have in common; `()` where there are no keys.
    pub key: K,
    /// Which window.
    pub span: Span,
    /// How many events it has; never none.
    pub items: u64,
    /// What they come to.
    pub value: R,
    /// The windows told before in whose place this one is: itself, or the sessions that have become one.
    pub replaces: Vec<Span>,
    /// Why it is told.
    pub cause: WindowedCause,
}

/// Why a window is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowedCause {
    /// The watermark passed its end.
    Watermark,
    /// An event came when the watermark had passed its end.
    Late,
    /// Somebody asked for it, or the flow ended; it may have been complete or not.
    Flush,
}

/// What comes out of windows: summaries, and events that are in none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Windowed<T, R, K = ()> {
    /// A window is complete, or has changed since it was.
    Summary(Summary<R, K>),
    /// An event that came when its windows took no more.
    Late(T),
    /// An event that would have needed one window more than may be open, or whose time is too far ahead.
    Refused(T),
}

impl<T, R, K> Windowed<T, R, K> {
    /// The summary, if it is one.
    pub fn summary(self) -> Option<Summary<R, K>> {
        match self {
            Self::Summary(summary) => Some(summary),
            Self::Late(_) | Self::Refused(_) => None,
        }
    }
}

/// What became of events and windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WindowCounts {
    /// Events that are in at least one window.
    pub taken: u64,
    /// Events that came too late.
    pub late: u64,
    /// Events that were refused.
    pub refused: u64,
    /// Summaries.
    pub told: u64,
    /// Summaries in the place of others.
    pub again: u64,
}

/// What the windows of one key have to know to do their work.
pub(super) struct Asked<'a, A> {
    pub(super) aggregation: &'a A,
    pub(super) watermark: i64,
    pub(super) lateness: i64,
    /// Whether there may be one window more.
    pub(super) room: bool,
}

/// What became of an event.
pub(super) enum Put {
    Done,
    /// It is in these windows, which are over and have to be told now.
    Again(Vec<i64>),
    Late,
    Full,
}

/// A window told, without its key.
pub(super) struct Told<R> {
    pub(super) span: (i64, i64),
    pub(super) items: u64,
    pub(super) value: R,
    pub(super) replaces: Vec<(i64, i64)>,
}
