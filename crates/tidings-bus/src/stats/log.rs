//! The last emissions, to look at when something is to be found out.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tidings_core::{Pattern, Text, Timestamp};

use super::Emitted;

/// A ring: what is new pushes out what is oldest.
pub(crate) struct Log {
    most: usize,
    entries: Mutex<VecDeque<Entry>>,
}

pub(crate) struct Entry {
    pub(crate) time: Timestamp,
    pub(crate) name: Text,
    pub(crate) heard: Option<usize>,
    pub(crate) nanos: u64,
}

impl Log {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, entries: Mutex::default() }
    }

    pub(crate) fn push(&self, entry: Entry) {
        if self.most == 0 {
            return;
        }
        let mut entries = self.entries.lock();
        if entries.len() >= self.most {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(crate) fn select(&self, pattern: &Pattern, since: Timestamp) -> Vec<Emitted> {
        let entries = self.entries.lock();
        let wanted = entries.iter().filter(|entry| entry.time >= since && pattern.matches(&entry.name));
        let emitted = |entry: &Entry| Emitted {
            time: entry.time,
            name: entry.name.as_ref().to_owned(),
            heard: entry.heard.unwrap_or(0),
            cancelled: entry.heard.is_none(),
            nanos: entry.nanos,
        };
        wanted.map(emitted).collect()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }
}
