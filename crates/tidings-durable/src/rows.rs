//! Rows that block a key: a delivery that waits for its next attempt, or one that was given up and has to be decided by a
//! person. Followers of the key are not copied; the row counts them, and the log gives them back in order.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use tidings_core::{Attempt, Position, Text, Timestamp};

/// A row, as it is kept in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The key it blocks; `None` for a delivery that has no key.
    pub key: Option<Text>,
    pub state: State,
    /// Followers that wait behind it.
    pub followers: u64,
    /// The position of the last follower that waits.
    pub last: Position,
    /// Followers that were dead-lettered, because no more could wait.
    pub overflow: u64,
    /// The position of the last follower of either kind.
    pub end: Position,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// To be tried at `due`.
    Pending {
        position: Position,
        /// Which call of the handler comes next, from 1.
        attempt: u32,
        /// The same over all replays.
        #[serde(default)]
        calls: u32,
        due: Timestamp,
        first: Timestamp,
        error: String,
        /// What went wrong so far, since its dead letter if it has one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        history: Vec<Attempt>,
        /// It has a dead letter, which is being replayed.
        #[serde(default)]
        letter: bool,
    },
    /// A dead letter at this position stands in the way.
    Parked { position: Position },
    /// Followers after this position are being handled.
    Draining { after: Position },
}

impl Row {
    pub(crate) fn new(key: Option<Text>, state: State) -> Self {
        Self { key, state, followers: 0, last: 0, overflow: 0, end: 0 }
    }
}

/// The id of the row for a key, or for a single delivery.
pub(crate) fn row_id(key: Option<&Text>, position: Position) -> Text {
    match key {
        // Ids of documents are shorter than keys may be.
        Some(key) if key.len() > 400 => {
            format!("h:{:032x}", xxhash_rust::xxh3::xxh3_128(key.as_bytes())).into()
        }
        Some(key) => format!("k:{key}").into(),
        None => format!("p:{}", tidings_core::position_text(position)).into(),
    }
}

/// Stands for the delivery of a row while it is looked for.
pub(crate) const LOOKED_FOR: Position = 0;

/// All rows of a subscription: as they are now, and how to get back to what is committed.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    now: HashMap<Text, Row>,
    /// What changed since the last commit: the row as it is in the store.
    before: HashMap<Text, Option<Row>>,
    /// The same for what is in the commit on its way.
    committing: HashMap<Text, Option<Row>>,
    /// Rows of which deliveries are in the hands of a lane, and which.
    in_hand: HashMap<Text, BTreeSet<Position>>,
    followers: u64,
}

impl Rows {
    pub(crate) fn restore(rows: HashMap<Text, Row>) -> Self {
        let followers = rows.values().map(|row| row.followers).sum();
        Self { now: rows, followers, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.now.len()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Row> {
        self.now.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Text, &Row)> {
        self.now.iter()
    }

    /// Followers that wait in all.
    pub(crate) fn followers(&self) -> u64 {
        self.followers
    }

    pub(crate) fn set(&mut self, id: &Text, row: Option<Row>) {
        let count = |row: Option<&Row>| row.map_or(0, |row| row.followers);
        self.followers = self.followers + count(row.as_ref()) - count(self.now.get(id));
        let old = match row {
            Some(row) => self.now.insert(id.clone(), row),
            None => self.now.remove(id),
        };
        self.before.entry(id.clone()).or_insert(old);
    }

    pub(crate) fn take_in_hand(&mut self, id: &Text, position: Position) {
        self.in_hand.entry(id.clone()).or_default().insert(position);
    }

    pub(crate) fn let_go(&mut self, id: &str, position: Position) {
        if let Some(positions) = self.in_hand.get_mut(id) {
            positions.remove(&position);
            if positions.is_empty() {
                self.in_hand.remove(id);
            }
        }
    }

    pub(crate) fn is_in_hand(&self, id: &str) -> bool {
        self.in_hand.contains_key(id)
    }

    /// Whether the delivery at `position` is the one the row waits for, or is being handled.
    pub(crate) fn is_begun(&self, id: &str, position: Position) -> bool {
        let pending = match self.now.get(id).map(|row| &row.state) {
            Some(State::Pending { position: at, .. }) => *at == position,
            _ => false,
        };
        let in_hand = self.in_hand.get(id);
        pending || in_hand.is_some_and(|all| all.contains(&position) || all.contains(&LOOKED_FOR))
    }

    /// Changes for the next commit: each changed row as it is now.
    pub(crate) fn seal(&mut self) -> Vec<(Text, Option<Row>)> {
        self.committing = std::mem::take(&mut self.before);
        self.committing.keys().map(|id| (id.clone(), self.now.get(id).cloned())).collect()
    }

    pub(crate) fn committed(&mut self) {
        self.committing.clear();
    }

    /// Back to what is in the store.
    pub(crate) fn reset(&mut self) {
        let open = std::mem::take(&mut self.before);
        let sealed = std::mem::take(&mut self.committing);
        // What the sealed commit found is older than what was changed after it.
        for (id, row) in open.into_iter().chain(sealed) {
            match row {
                Some(row) => self.now.insert(id, row),
                None => self.now.remove(&id),
            };
        }
        self.followers = self.now.values().map(|row| row.followers).sum();
    }
}

#[cfg(test)]
mod tests;
