//! Tumbling and sliding windows of one key: parts that windows share.
//!
//! A window is one part if it tumbles, and several if it slides. An event goes into one part, however many windows
//! overlap; a window's parts are merged when it is told.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{
    settings::{Shape, micros, part},
    told::{Asked, Put, Told},
};
use crate::Aggregation;

/// Where windows begin and end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    size: i64,
    every: i64,
    part: i64,
}

impl Grid {
    pub(super) fn of(shape: Shape) -> Option<Self> {
        match shape {
            Shape::Tumbling { size } => {
                Some(Self { size: micros(size), every: micros(size), part: micros(size) })
            }
            Shape::Sliding { size, every } => {
                Some(Self { size: micros(size), every: micros(every), part: part(size, every) })
            }
            Shape::Session { .. } => None,
        }
    }

    /// The end of the first window that holds `time`.
    fn first_end(self, time: i64) -> i64 {
        ((time - self.size).div_euclid(self.every) + 1) * self.every + self.size
    }

    /// The end of the last window that holds `time`.
    fn last_end(self, time: i64) -> i64 {
        time.div_euclid(self.every) * self.every + self.size
    }

    fn ends(self, time: i64) -> impl Iterator<Item = i64> {
        let (mut end, last) = (self.first_end(time), self.last_end(time));
        std::iter::from_fn(move || {
            let this = end;
            end += self.every;
            (this <= last).then_some(this)
        })
    }

    /// The first end of a window that is not over at the watermark and holds `time`.
    fn open_end(self, time: i64, watermark: i64) -> Option<i64> {
        self.ends(time).find(|end| *end > watermark)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Panes<S> {
    /// In order of time. New ones come at the end, nearly always, and old ones go at the front.
    parts: VecDeque<Part<S>>,
    /// The end of the next window to be told.
    next: Option<i64>,
    /// The ends of windows that were told and may be told again.
    told: VecDeque<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Part<S> {
    start: i64,
    state: S,
    items: u64,
}

impl<S: Clone> Panes<S> {
    pub(super) fn new() -> Self {
        Self { parts: VecDeque::new(), next: None, told: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.told.is_empty()
    }

    /// When there is something to do.
    pub(super) fn due(&self, grid: Grid, lateness: i64) -> Option<i64> {
        let part = self.parts.front().map(|part| grid.last_end(part.start).saturating_add(lateness));
        let told = self.told.front().map(|end| end.saturating_add(lateness));
        [self.next, part, told].into_iter().flatten().min()
    }

    pub(super) fn put<T, A: Aggregation<T, State = S>>(
        &mut self,
        grid: Grid,
        asked: &Asked<'_, A>,
        time: i64,
        item: &T,
    ) -> Put {
        // What is not before the watermark belongs to windows that end after it: most events need no more than this.
        let all_open = time >= asked.watermark;
        if !all_open && grid.last_end(time).saturating_add(asked.lateness) <= asked.watermark {
            return Put::Late;
        }
        let (start, place) = self.place(grid, time);
        match place.map(|place| &mut self.parts[place]) {
            Ok(part) => {
                asked.aggregation.add(&mut part.state, item);
                part.items += 1;
                if all_open || grid.first_end(time) > asked.watermark {
                    // Its windows are all to be told yet, as was seen to when the part began.
                    return Put::Done;
                }
            }
            Err(_) if !asked.room => return Put::Full,
            Err(place) => {
                let mut state = asked.aggregation.start();
                asked.aggregation.add(&mut state, item);
                self.parts.insert(place, Part { start, state, items: 1 });
                if let Some(end) = grid.open_end(time, asked.watermark) {
                    self.next = Some(self.next.map_or(end, |next| next.min(end)));
                }
            }
        }
        let is_told =
            |end: &i64| *end <= asked.watermark && end.saturating_add(asked.lateness) > asked.watermark;
        let again: Vec<i64> = grid.ends(time).filter(is_told).collect();
        if again.is_empty() { Put::Done } else { Put::Again(again) }
    }

    /// When the part of a time begins, and where it is or belongs.
    fn place(&self, grid: Grid, time: i64) -> (i64, Result<usize, usize>) {
        let last = self.parts.back().map(|part| part.start);
        if let Some(last) = last.filter(|last| (*last..*last + grid.part).contains(&time)) {
            return (last, Ok(self.parts.len() - 1));
        }
        let start = time.div_euclid(grid.part) * grid.part;
        let is_new = last.is_none_or(|last| last < start);
        let place = if is_new {
            Err(self.parts.len())
        } else {
            self.parts.binary_search_by_key(&start, |part| part.start)
        };
        (start, place)
    }

    /// Where the first part is that begins at `time` or later.
    fn from(&self, time: i64) -> usize {
        self.parts.partition_point(|part| part.start < time)
    }

    /// The next window whose end the watermark has passed.
    pub(super) fn step(&mut self, grid: Grid, watermark: i64) -> Option<i64> {
        let end = self.next.filter(|end| *end <= watermark)?;
        let next = self.parts.get(self.from(end + grid.every - grid.size));
        self.next = next.map(|part| grid.first_end(part.start).max(end + grid.every));
        Some(end)
    }

    /// Forgets what no event can change any more.
    pub(super) fn expire(&mut self, grid: Grid, lateness: i64, watermark: i64) {
        let is_over = |end: i64| end.saturating_add(lateness) <= watermark;
        while self.parts.front().is_some_and(|part| is_over(grid.last_end(part.start))) {
            self.parts.pop_front();
        }
        while self.told.front().is_some_and(|end| is_over(*end)) {
            self.told.pop_front();
        }
    }

    /// The window that ends at `end`, which may be told again if `lateness` allows.
    pub(super) fn tell<T, A: Aggregation<T, State = S>>(
        &mut self,
        grid: Grid,
        asked: &Asked<'_, A>,
        end: i64,
    ) -> Option<Told<A::Out>> {
        let from = end - grid.size;
        let mut parts = self.parts.range(self.from(from)..self.from(end));
        let first = parts.next()?;
        let (mut items, mut merged) = (first.items, None);
        for part in parts {
            let merged = merged.get_or_insert_with(|| first.state.clone());
            asked.aggregation.merge(merged, &part.state);
            items += part.items;
        }
        let value = asked.aggregation.finish(merged.as_ref().unwrap_or(&first.state));
        let is_kept = end.saturating_add(asked.lateness) > asked.watermark;
        let is_first = match self.told.binary_search(&end) {
            Ok(_) => false,
            Err(place) => {
                if is_kept {
                    self.told.insert(place, end);
                }
                true
            }
        };
        let replaces = if is_first { Vec::new() } else { vec![(from, end)] };
        Some(Told { span: (from, end), items, value, replaces })
    }
}
