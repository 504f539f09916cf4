//! Windows on event time: what events of a while come to.
//!
//! ```text
//!  event ──▶ time, key, source ──▶ late? ──▶ part or session of its key ──▶ aggregation
//!                       │                                                     │
//!                       └──▶ watermark: passes the end of windows ──▶ told ◀──┘
//! ```
//! `settings` says which windows there are, `watermark` how far event time has come, `panes` and `sessions` hold the
//! windows of one key, `pass` moves between them, `state` writes it all down, and `kept` keeps that in documents.

mod kept;
mod panes;
mod pass;
mod sessions;
mod settings;
mod state;
mod told;
mod watermark;

use std::{fmt, hash::Hash};

use tidings_core::{Envelope, Text, Timestamp};

pub use self::{
    kept::{Kept, KeptWindows, WINDOW_DUE},
    settings::{Shape, Windowing},
    state::WindowState,
    told::{Span, Summary, WindowCounts, Windowed, WindowedCause},
};
use self::{panes::Grid, settings::Limits, state::Windows, told::Put, watermark::Watermark};
use crate::{
    Aggregation, Error, Operator,
    due::{Due, Ticket},
    keyed::Keyed,
};

/// Times further from 1970 than this are nonsense, and would not be added up without care.
const TIME_MAX: i64 = 1 << 61;

/// The event time of an envelope: its producer's. One without a time is as old as can be, and therefore late.
pub fn event_time(envelope: &Envelope) -> Timestamp {
    envelope.time().map_or(Timestamp::MIN, |time| time.at())
}

type Of<T, R> = Box<dyn Fn(&T) -> R + Send + Sync>;

struct Entry<S> {
    windows: Windows<S>,
    ticket: Option<Ticket>,
}

/// Windows on event time, each key for itself.
///
/// The *watermark* is the latest event time seen, less what is allowed as disorder; with several sources, that of the
/// slowest that is not idle. When it passes the end of a window, the window is told. An event that belongs to a window
/// already told makes it be told again, as long as lateness allows; what comes after that is given out as late. Event
/// time belongs to the events: only for idle sources does the time that the operator is told play a part.
///
/// Functions and aggregations must not panic half-way: a window in which one did has part of that event.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::Timestamp;
/// use tidings_flow::{Operator, Window, Windowed, Windowing, aggregate::sum};
///
/// let minutes = Windowing::tumbling(Duration::from_secs(60));
/// let at = |(second, _): &(i64, u32)| Timestamp::from_millis(second * 1_000);
/// let mut sales = Window::new(minutes, sum(|(_, cents): &(i64, u32)| *cents), at)?;
/// let mut sums = Vec::new();
/// for sale in [(5, 100), (59, 20), (61, 7)] {
///     sales.push(sale, Timestamp::MIN, &mut |out| sums.push(out));
/// }
/// let [Windowed::Summary(minute)] = &sums[..] else { panic!("one minute is over") };
/// assert_eq!((minute.items, minute.value), (2, 120));
/// # Ok::<(), tidings_flow::Error>(())
/// ```
pub struct Window<T, A: Aggregation<T>, K = ()> {
    settings: Windowing,
    limits: Limits,
    grid: Option<Grid>,
    aggregation: A,
    time: Of<T, Timestamp>,
    key: Of<T, K>,
    source: Option<Of<T, Text>>,
    entries: Keyed<K, Entry<A::State>>,
    /// Which key has something to do at which event time.
    due: Due<K>,
    watermark: Watermark,
    /// How many windows, or parts of them, there are.
    held: usize,
    counts: WindowCounts,
}

impl<T, A: Aggregation<T>> Window<T, A> {
    /// Windows over all events; `time` tells when an event happened.
    ///
    /// # Errors
    /// Every setting that means nothing, and an aggregation that cannot merge where windows share parts or grow.
    pub fn new(
        settings: Windowing,
        aggregation: A,
        time: impl Fn(&T) -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        Self::by(settings, aggregation, time, |_| ())
    }
}

impl<T, A: Aggregation<T>, K: Clone + Eq + Hash> Window<T, A, K> {
    /// Windows for each key.
    ///
    /// # Errors
    /// As [`new`](Window::new).
    pub fn by(
        settings: Windowing,
        aggregation: A,
        time: impl Fn(&T) -> Timestamp + Send + Sync + 'static,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let mut faults = settings.faults();
        faults.extend(aggregation.faults());
        if !matches!(settings.shape, Shape::Tumbling { .. }) && !aggregation.merges() {
            faults.push("aggregation: sliding windows and sessions need one that can merge".into());
        }
        Error::settings(faults)?;
        Ok(Self {
            grid: Grid::of(settings.shape),
            limits: Limits::of(&settings),
            settings,
            aggregation,
            time: Box::new(time),
            key: Box::new(key),
            source: None,
            entries: Keyed::default(),
            due: Due::default(),
            watermark: Watermark::default(),
            held: 0,
            counts: WindowCounts::default(),
        })
    }

    /// Where an event comes from: each source has its own order, and the slowest holds up the watermark.
    #[must_use]
    pub fn from_sources(self, source: impl Fn(&T) -> Text + Send + Sync + 'static) -> Self {
        Self { source: Some(Box::new(source)), ..self }
    }

    /// Events before this time are not expected any more; `None` before the first event.
    pub fn watermark(&self) -> Option<Timestamp> {
        Some(self.watermark.at()).filter(|at| *at != i64::MIN).map(Timestamp::from_micros)
    }

    /// How many windows, or parts of them, there are.
    pub fn held(&self) -> usize {
        self.held
    }

    /// What became of events and windows.
    pub fn counts(&self) -> WindowCounts {
        self.counts
    }
}

impl<T, A: Aggregation<T>, K: Clone + Eq + Hash> Operator for Window<T, A, K> {
    type Item = T;
    type Out = Windowed<T, A::Out, K>;

    fn push(&mut self, item: T, now: Timestamp, emit: &mut dyn FnMut(Self::Out)) {
        let (time, key) = ((self.time)(&item), (self.key)(&item));
        let source = self.source.as_ref().map(|source| source(&item));
        self.fire(now, emit);
        let at = time.as_micros();
        if self.settings.ahead.is_some_and(|ahead| time > now.after(ahead)) || at > TIME_MAX {
            self.counts.refused += 1;
            return emit(Windowed::Refused(item));
        }
        if at < -TIME_MAX {
            self.counts.late += 1;
            return emit(Windowed::Late(item));
        }
        self.watermark.observe(self.limits, source, at, now.as_micros());
        match self.put(&key, at, &item) {
            Put::Done => self.counts.taken += 1,
            Put::Again(windows) => {
                self.counts.taken += 1;
                for which in windows {
                    self.tell(&key, which, (self.watermark.at(), WindowedCause::Late), emit);
                }
            }
            Put::Late => {
                self.counts.late += 1;
                emit(Windowed::Late(item));
            }
            Put::Full => {
                self.counts.refused += 1;
                emit(Windowed::Refused(item));
            }
        }
        self.remember(key);
        self.pass(self.watermark.at(), WindowedCause::Watermark, emit);
    }

    /// When an idle source will let the watermark go on. What waits for events waits for no time.
    fn due(&self) -> Option<Timestamp> {
        self.limits.idle?;
        let first = self.due.first()?.as_micros();
        self.watermark.reaches(self.limits, first).map(Timestamp::from_micros)
    }

    fn fire(&mut self, now: Timestamp, emit: &mut dyn FnMut(Self::Out)) {
        if self.limits.idle.is_some() {
            self.watermark.look(self.limits, now.as_micros());
            self.pass(self.watermark.at(), WindowedCause::Watermark, emit);
        }
    }

    /// Tells all windows that were not told, as they are. Nothing is told again for what comes later.
    fn flush(&mut self, _: Timestamp, emit: &mut dyn FnMut(Self::Out)) {
        self.pass(i64::MAX, WindowedCause::Flush, emit);
    }
}

impl<T, A: Aggregation<T>, K> fmt::Debug for Window<T, A, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("settings", &self.settings)
            .field("held", &self.held)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
