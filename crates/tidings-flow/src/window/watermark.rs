//! How far event time has come, as far as one can know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_core::Text;

use super::settings::Limits;

/// The watermark: events before it are not expected any more. It never goes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Watermark {
    at: i64,
    /// The source of events of which nobody says where they come from, and of those that are too many to be told
    /// apart. It has no name: nearly always it is the only one, and comparing names costs more than all the rest.
    common: Option<Source>,
    named: BTreeMap<Text, Source>,
    /// When a source may become idle next.
    #[serde(skip)]
    check: Option<i64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Source {
    /// The latest event time.
    seen: i64,
    /// When it gave an event, by the clock.
    active: i64,
}

impl Default for Watermark {
    fn default() -> Self {
        Self { at: i64::MIN, common: None, named: BTreeMap::new(), check: None }
    }
}

impl Watermark {
    pub(super) fn at(&self) -> i64 {
        self.at
    }

    /// Takes note of an event.
    pub(super) fn observe(&mut self, limits: Limits, source: Option<Text>, time: i64, now: i64) {
        let has_room = self.named.len() < limits.sources;
        let name = source.filter(|name| has_room || self.named.contains_key(name));
        let known = match &name {
            Some(name) => self.named.get_mut(name),
            None => self.common.as_mut(),
        };
        let Some(known) = known else {
            let new = Source { seen: time, active: now };
            match name {
                Some(name) => drop(self.named.insert(name, new)),
                None => self.common = Some(new),
            }
            return self.advance(limits, now);
        };
        known.active = now;
        if time > known.seen {
            let held_up = known.seen.saturating_sub(limits.disorder) <= self.at;
            known.seen = time;
            if held_up {
                return self.advance(limits, now);
            }
        }
        self.look(limits, now);
    }

    /// Moves on if a source has become idle.
    pub(super) fn look(&mut self, limits: Limits, now: i64) {
        if limits.idle.is_some() && self.check.is_none_or(|check| check <= now) {
            self.advance(limits, now);
        }
    }

    fn advance(&mut self, limits: Limits, now: i64) {
        let Some(idle) = limits.idle else {
            let slowest = self.sources().map(|source| source.seen).min();
            return self.reach(slowest, limits);
        };
        let active = || self.sources().filter(|source| now < source.active.saturating_add(idle));
        let slowest = active().map(|source| source.seen).min();
        let next = active().map(|source| source.active).min();
        let seen = slowest.or_else(|| self.quiet(idle, now));
        self.check = next.map(|next| next.saturating_add(idle));
        self.reach(seen, limits);
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.common.iter().chain(self.named.values())
    }

    fn reach(&mut self, seen: Option<i64>, limits: Limits) {
        if let Some(seen) = seen {
            self.at = self.at.max(seen.saturating_sub(limits.disorder));
        }
    }

    /// The event time when all sources are idle: it has gone on with the clock since the last of them became so.
    fn quiet(&self, idle: i64, now: i64) -> Option<i64> {
        let seen = self.sources().map(|source| source.seen).max()?;
        Some(seen.saturating_add(now.saturating_sub(self.quiet_since(idle)?)))
    }

    fn quiet_since(&self, idle: i64) -> Option<i64> {
        self.sources().map(|source| source.active).max()?.checked_add(idle)
    }

    /// When, by the clock, it will have reached `time` if no event comes, or may have to be looked at before.
    pub(super) fn reaches(&self, limits: Limits, time: i64) -> Option<i64> {
        if self.check.is_some() {
            return self.check;
        }
        let since = self.quiet_since(limits.idle?)?;
        let seen = self.sources().map(|source| source.seen).max()?;
        let missing = time.saturating_sub(seen.saturating_sub(limits.disorder));
        Some(since.saturating_add(missing.max(0)))
    }
}
