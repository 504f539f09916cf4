//! History: the last events of a topic, for those who come late.
//!
//! What it is: the settings, and what a late listener asks for. How events are kept is in [`kept`], how a late listener
//! is given them, and then those that come, in [`late`]. What it is not: a store. It is bounded, and gone with the bus.

mod kept;
mod late;

use tidings_core::{Envelope, Pattern, Timestamp, TopicError};

pub(crate) use self::kept::{Histories, Keep};
use crate::{Bus, Listen};

/// How many events of a topic are kept, unless said otherwise.
pub const HISTORY_LAST: usize = 100;

/// Of how many topics events are kept, unless said otherwise. A further topic takes the place of the one that has been
/// quiet for longest.
pub const HISTORY_TOPICS_MAX: usize = 1_000;

/// How many events may wait for a late listener that is still being given earlier ones. Whoever emits a further one
/// waits until there is room.
pub const HISTORY_WAITING_MAX: usize = 10_000;

/// What is kept of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it does nothing until a builder is given it"]
pub struct History {
    last: usize,
}

impl History {
    /// Its last `events`. With 0 nothing is kept, as where no history was asked for.
    pub fn last(events: usize) -> Self {
        Self { last: events }
    }
}

impl Default for History {
    fn default() -> Self {
        Self::last(HISTORY_LAST)
    }
}

/// Which of the kept events a late listener is given.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use tidings_bus::{Bus, History, Replay, example::OrderPlaced};
///
/// let bus = Bus::builder().history("order.**", History::last(100))?.build();
/// let order = |number: u64| OrderPlaced { order: number.to_string(), total_cents: 300 };
/// for number in 1..=3 {
///     bus.emit(&order(number));
/// }
///
/// let seen = Arc::new(Mutex::new(Vec::new()));
/// let all = seen.clone();
/// let late = move |placed: &OrderPlaced| all.lock().unwrap().push(placed.order.clone());
/// bus.listen().replay(Replay::last(2)).on(late).forever();
/// assert_eq!(*seen.lock().unwrap(), ["2", "3"]);
/// bus.emit(&order(4));
/// assert_eq!(*seen.lock().unwrap(), ["2", "3", "4"]);
/// # Ok::<(), tidings_core::TopicError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it does nothing until a subscription is given it"]
pub struct Replay(pub(crate) Which);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Last(usize),
    Since(Timestamp),
}

impl Replay {
    /// The last `events` of each topic.
    pub fn last(events: usize) -> Self {
        Self(Which::Last(events))
    }

    /// Those that were emitted at `time` or later, on the bus's clock.
    pub fn since(time: Timestamp) -> Self {
        Self(Which::Since(time))
    }

    /// All that are kept.
    pub fn all() -> Self {
        Self::last(usize::MAX)
    }
}

impl<T: ?Sized + 'static> Listen<'_, T> {
    /// Gives the listener what was emitted before it joined and has been [kept](crate::Builder::history), in the order
    /// it was emitted, and then what comes: every event once and none left out, also of those that are emitted by other
    /// threads meanwhile.
    ///
    /// What was kept is given before the subscribing function returns; asynchronous listeners are begun. Events that
    /// come during that are given afterwards, by the same thread.
    pub fn replay(mut self, replay: Replay) -> Self {
        self.set_replay(replay);
        self
    }
}

impl Bus {
    /// The kept events whose names match `pattern`, in the order in which they were emitted.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    ///
    /// ```
    /// use tidings_bus::{Bus, History, Replay, example::OrderPlaced};
    /// let bus = Bus::builder().history("**", History::default())?.build();
    /// bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
    /// assert_eq!(&**bus.history("order.*", Replay::all())?[0].name(), "order.placed");
    /// # Ok::<(), tidings_core::TopicError>(())
    /// ```
    pub fn history(&self, pattern: &str, replay: Replay) -> Result<Vec<Envelope>, TopicError> {
        let pattern = Pattern::parse(pattern)?;
        let histories = self.core().histories.as_ref();
        Ok(histories.map_or_else(Vec::new, |histories| histories.select(&pattern, replay)))
    }
}
