//! The state of windows as a value: to be a document, and to go on from it.

use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::{Entry, Grid, Shape, Watermark, Window, WindowCounts, panes::Panes, sessions::Sessions};
use crate::{Aggregation, Error};

/// The windows of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Windows<S> {
    Panes(Panes<S>),
    Sessions(Sessions<S>),
}

impl<S: Clone> Windows<S> {
    pub(super) fn new(grid: Option<Grid>) -> Self {
        if grid.is_some() { Self::Panes(Panes::new()) } else { Self::Sessions(Sessions::new()) }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Panes(panes) => panes.len(),
            Self::Sessions(sessions) => sessions.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Panes(panes) => panes.is_empty(),
            Self::Sessions(sessions) => sessions.is_empty(),
        }
    }

    pub(super) fn due(&self, grid: Option<Grid>, lateness: i64) -> Option<i64> {
        match (self, grid) {
            (Self::Panes(panes), Some(grid)) => panes.due(grid, lateness),
            (Self::Sessions(sessions), _) => sessions.due(lateness),
            _ => None,
        }
    }

    pub(super) fn step(&mut self, grid: Option<Grid>, watermark: i64) -> Option<i64> {
        match (self, grid) {
            (Self::Panes(panes), Some(grid)) => panes.step(grid, watermark),
            (Self::Sessions(sessions), _) => sessions.step(watermark),
            _ => None,
        }
    }

    pub(super) fn expire(&mut self, grid: Option<Grid>, lateness: i64, watermark: i64) {
        match (self, grid) {
            (Self::Panes(panes), Some(grid)) => panes.expire(grid, lateness, watermark),
            (Self::Sessions(sessions), _) => sessions.expire(lateness, watermark),
            _ => {}
        }
    }
}

/// Everything that windows hold, as a value: what a durable handler keeps as a document in its commit, so that it goes
/// on after a restart where it was.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::Timestamp;
/// use tidings_flow::{Operator, Window, WindowState, Windowing, aggregate::count};
///
/// let windows = || {
///     Window::new(Windowing::tumbling(Duration::from_secs(60)), count(), |second: &i64| {
///         Timestamp::from_millis(second * 1_000)
///     })
/// };
/// let mut before = windows()?;
/// before.push(5, Timestamp::MIN, &mut |_| unreachable!());
/// let document = serde_json::to_string(&before.state())?;
///
/// let state: WindowState<(), u64> = serde_json::from_str(&document)?;
/// let mut after = windows()?.restored(state)?;
/// after.push(61, Timestamp::MIN, &mut |out| assert_eq!(out.summary().map(|one| one.value), Some(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WindowState<K, S> {
    shape: Shape,
    watermark: Watermark,
    counts: WindowCounts,
    keys: Vec<(K, Windows<S>)>,
}

impl<T, A: Aggregation<T>, K: Clone + Eq + Hash> Window<T, A, K> {
    /// Everything it holds, as a value.
    pub fn state(&self) -> WindowState<K, A::State> {
        let keys = self.entries.iter().map(|(key, entry)| (key.clone(), entry.windows.clone())).collect();
        WindowState {
            shape: self.settings.shape,
            watermark: self.watermark.clone(),
            counts: self.counts,
            keys,
        }
    }

    /// Goes on from what was held; what it holds itself is forgotten.
    ///
    /// # Errors
    /// The state is of windows of another shape.
    pub fn restored(mut self, state: WindowState<K, A::State>) -> Result<Self, Error> {
        if state.shape != self.settings.shape {
            let (was, is) = (state.shape, self.settings.shape);
            Error::settings(vec![format!("shape: the state is of {was:?}, not of {is:?}")])?;
        }
        (self.watermark, self.counts) = (state.watermark, state.counts);
        self.entries.drain().for_each(drop);
        self.due.clear();
        // When sources may become idle is not written down: it follows from the rest.
        self.watermark.look(self.limits, i64::MIN);
        self.held = 0;
        for (key, windows) in state.keys {
            self.held += windows.len();
            self.entries.insert(key.clone(), Entry { windows, ticket: None });
            self.remember(key);
        }
        Ok(self)
    }
}

impl<K, S> WindowState<K, S> {
    /// What became of events and windows.
    pub fn counts(&self) -> WindowCounts {
        self.counts
    }
}
