//! What an event does to windows, and what the watermark does when it passes.

use std::hash::Hash;

use tidings_core::Timestamp;

use super::{
    Entry, Shape, Span, Summary, Window, Windowed, WindowedCause,
    settings::micros,
    state::Windows,
    told::{Asked, Put, Told},
};
use crate::Aggregation;

impl<T, A: Aggregation<T>, K: Clone + Eq + Hash> Window<T, A, K> {
    /// Puts an event where it belongs.
    pub(super) fn put(&mut self, key: &K, time: i64, item: &T) -> Put {
        // Asked for twice where it is there, for the sake of the borrow checker; the second time costs a comparison.
        let entry = if self.entries.get_mut(key).is_some() {
            self.entries.get_mut(key).expect("it was found just now")
        } else {
            self.entries.insert(key.clone(), Entry { windows: Windows::new(self.grid), ticket: None })
        };
        let asked = Asked {
            aggregation: &self.aggregation,
            watermark: self.watermark.at(),
            lateness: self.limits.lateness,
            room: self.held < self.settings.windows,
        };
        let before = entry.windows.len();
        let put = match (&mut entry.windows, self.grid, self.settings.shape) {
            (Windows::Panes(panes), Some(grid), _) => panes.put(grid, &asked, time, item),
            (Windows::Sessions(sessions), _, Shape::Session { gap }) => {
                sessions.put(micros(gap), &asked, time, item)
            }
            _ => Put::Full,
        };
        self.held = self.held + entry.windows.len() - before;
        put
    }

    /// Tells one window.
    pub(super) fn tell(
        &mut self,
        key: &K,
        which: i64,
        at: (i64, WindowedCause),
        emit: &mut dyn FnMut(Windowed<T, A::Out, K>),
    ) {
        let (watermark, cause) = at;
        let Some(entry) = self.entries.get_mut(key) else { return };
        let lateness = self.limits.lateness;
        let asked = Asked { aggregation: &self.aggregation, watermark, lateness, room: true };
        let told = match (&mut entry.windows, self.grid) {
            (Windows::Panes(panes), Some(grid)) => panes.tell(grid, &asked, which),
            (Windows::Sessions(sessions), _) => sessions.tell(&asked, which),
            _ => None,
        };
        let Some(Told { span, items, value, replaces }) = told else { return };
        self.counts.told += 1;
        self.counts.again += u64::from(!replaces.is_empty());
        let span = Span::of(span);
        let replaces = replaces.into_iter().map(Span::of).collect();
        emit(Windowed::Summary(Summary { key: key.clone(), span, items, value, replaces, cause }));
    }

    /// Notes when the key has something to do next; forgets it when it holds nothing.
    pub(super) fn remember(&mut self, key: K) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.windows.is_empty() {
            let entry = self.entries.remove(&key);
            if let Some(ticket) = entry.and_then(|entry| entry.ticket) {
                self.due.remove(ticket);
            }
            return;
        }
        let due = entry.windows.due(self.grid, self.limits.lateness).map(Timestamp::from_micros);
        if entry.ticket.map(|(at, _)| at) != due {
            if let Some(ticket) = entry.ticket.take() {
                self.due.remove(ticket);
            }
            entry.ticket = due.map(|due| self.due.insert(due, key));
        }
    }

    /// Tells and forgets all that the watermark allows, in the order of event time.
    pub(super) fn pass(
        &mut self,
        watermark: i64,
        cause: WindowedCause,
        emit: &mut dyn FnMut(Windowed<T, A::Out, K>),
    ) {
        while let Some(key) = self.due.pop_by(Timestamp::from_micros(watermark)) {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let Some((at, _)) = entry.ticket.take() else { continue };
            // One thing at a time, and not as far as the watermark: another key may come before the next.
            let at = at.as_micros();
            if let Some(which) = entry.windows.step(self.grid, at) {
                self.tell(&key, which, (watermark, cause), emit);
            }
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            // Sooner or later there is nothing to tell at this time, and then something is over.
            let before = entry.windows.len();
            entry.windows.expire(self.grid, self.limits.lateness, at);
            self.held -= before - entry.windows.len();
            self.remember(key);
        }
    }
}
