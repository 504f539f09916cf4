//! Sessions of one key: windows that grow with their events, and grow together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::told::{Asked, Put, Told};
use crate::Aggregation;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sessions<S> {
    /// By their beginnings. They do not overlap, so that their ends are in the same order.
    sessions: BTreeMap<i64, Session<S>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session<S> {
    /// The time of the last event, and the gap.
    until: i64,
    state: S,
    items: u64,
    /// The span in which it was told, until something is added.
    told: Option<(i64, i64)>,
    /// Spans that were told and are parts of it now.
    replaces: Vec<(i64, i64)>,
}

impl<S: Clone> Sessions<S> {
    pub(super) fn new() -> Self {
        Self { sessions: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// When there is something to do.
    pub(super) fn due(&self, lateness: i64) -> Option<i64> {
        let open = self.sessions.values().find(|session| session.told.is_none()).map(|session| session.until);
        let told = self.sessions.values().find(|session| session.told.is_some());
        let over = told.map(|session| session.until.saturating_add(lateness));
        [open, over].into_iter().flatten().min()
    }

    pub(super) fn put<T, A: Aggregation<T, State = S>>(
        &mut self,
        gap: i64,
        asked: &Asked<'_, A>,
        time: i64,
        item: &T,
    ) -> Put {
        let touching = self.sessions.range(..time.saturating_add(gap)).rev();
        let touching: Vec<i64> =
            touching.take_while(|(_, session)| session.until > time).map(|(from, _)| *from).collect();
        let mut until = time.saturating_add(gap);
        if let Some(last) = touching.first().and_then(|from| self.sessions.get(from)) {
            until = until.max(last.until);
        }
        if until.saturating_add(asked.lateness) <= asked.watermark {
            return Put::Late;
        }
        if touching.is_empty() && !asked.room {
            return Put::Full;
        }
        if let [from] = touching[..]
            && from <= time
            && let Some(session) = self.sessions.get_mut(&from)
        {
            asked.aggregation.add(&mut session.state, item);
            session.items += 1;
            session.until = until;
            session.replaces.extend(session.told.take());
            return if until <= asked.watermark { Put::Again(vec![from]) } else { Put::Done };
        }
        let mut parts = touching.iter().rev().filter_map(|from| self.sessions.remove_entry(from));
        let (from, mut session) = parts.next().unwrap_or_else(|| {
            let state = asked.aggregation.start();
            (time, Session { until, state, items: 0, told: None, replaces: Vec::new() })
        });
        session.replaces.extend(session.told.take());
        for (_, later) in parts {
            asked.aggregation.merge(&mut session.state, &later.state);
            session.items += later.items;
            session.replaces.extend(later.replaces.into_iter().chain(later.told));
        }
        asked.aggregation.add(&mut session.state, item);
        session.items += 1;
        session.until = until;
        let from = from.min(time);
        self.sessions.insert(from, session);
        if until <= asked.watermark { Put::Again(vec![from]) } else { Put::Done }
    }

    /// The next session whose end the watermark has passed.
    pub(super) fn step(&self, watermark: i64) -> Option<i64> {
        let (from, session) = self.sessions.iter().find(|(_, session)| session.told.is_none())?;
        (session.until <= watermark).then_some(*from)
    }

    /// Forgets what no event can change any more.
    pub(super) fn expire(&mut self, lateness: i64, watermark: i64) {
        while let Some(first) = self.sessions.first_entry().filter(|first| {
            first.get().told.is_some() && first.get().until.saturating_add(lateness) <= watermark
        }) {
            first.remove();
        }
    }

    /// The session that begins at `from`.
    pub(super) fn tell<T, A: Aggregation<T, State = S>>(
        &mut self,
        asked: &Asked<'_, A>,
        from: i64,
    ) -> Option<Told<A::Out>> {
        let session = self.sessions.get_mut(&from)?;
        let span = (from, session.until);
        session.told = Some(span);
        let value = asked.aggregation.finish(&session.state);
        Some(Told { span, items: session.items, value, replaces: std::mem::take(&mut session.replaces) })
    }
}
