//! What a delivery does to the row of its key: it passes, blocks it, or follows.

use tidings_core::{Position, Text};

use super::Book;
use crate::{
    DeadLetter, Reason,
    delivery::Delivery,
    rows::{Row, State},
};

/// What a delivery whose turn may have come has to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has.
    Now,
    /// Its key is blocked: it follows.
    Behind,
    /// Its row does not wait for it any more, or not yet; it is handed out again if it has to be.
    Gone,
}

impl Book {
    /// Whether there will be a dead letter at this position, if one is on its way into the store, or out of it.
    pub(crate) fn letter_on_its_way(&self, position: Position) -> Option<bool> {
        let open = self.dead.get(&position).map(Option::is_some);
        open.or_else(|| self.dead_committing.get(&position).copied())
    }

    /// Whether it is the delivery's turn, as the row of its key has it.
    pub(crate) fn turn(&self, delivery: &Delivery) -> Turn {
        if !delivery.from_row && (delivery.key.is_none() || self.rows.len() == 0) {
            return Turn::Now;
        }
        let position = delivery.position();
        let state = self.rows.get(&delivery.row_id()).map(|row| &row.state);
        match (delivery.from_row, state) {
            (false, None) => Turn::Now,
            (false, Some(_)) => Turn::Behind,
            (true, Some(State::Pending { position: at, .. })) if *at == position => Turn::Now,
            (true, Some(State::Draining { after })) if *after < position => Turn::Now,
            (true, _) => Turn::Gone,
        }
    }

    /// A delivery is through: what waited behind it may go on, and its dead letter, if it had one, is settled.
    pub(super) fn pass(&mut self, delivery: &Delivery) {
        if !delivery.from_row {
            return;
        }
        let id = &delivery.row_id();
        let position = delivery.position();
        let Some(row) = self.rows.get(id) else { return };
        let mut row = row.clone();
        let waited = matches!(row.state, State::Draining { .. });
        if waited && position <= row.last {
            row.followers = row.followers.saturating_sub(1);
        } else if waited {
            row.overflow = row.overflow.saturating_sub(1);
        }
        self.dead.insert(position, None);
        let rest = row.end > position && row.key.is_some();
        row.state = State::Draining { after: position };
        self.rows.set(id, rest.then_some(row));
    }

    pub(super) fn block(&mut self, id: &Text, delivery: &Delivery, state: State) {
        let position = delivery.position();
        let row = match self.rows.get(id) {
            None => Row::new(delivery.key.clone(), state),
            Some(row) => {
                let mut row = row.clone();
                if matches!(row.state, State::Draining { .. }) {
                    // It was a follower until now; it leads from now on.
                    if position <= row.last {
                        row.followers = row.followers.saturating_sub(1);
                    } else {
                        row.overflow = row.overflow.saturating_sub(1);
                    }
                }
                row.state = state;
                row
            }
        };
        self.rows.set(id, Some(row));
    }

    pub(super) fn follow(&mut self, delivery: &Delivery, id: &Text) {
        let position = delivery.position();
        let Some(row) = self.rows.get(id) else { return };
        let mut row = row.clone();
        // Whoever comes after one that could not wait cannot wait either, or the order would be lost.
        let before = match row.state {
            State::Pending { position, .. } | State::Parked { position } => position,
            State::Draining { after } => after,
        };
        let full = row.overflow > 0
            || row.end > row.last.max(before)
            || row.followers >= self.config.followers_per_key
            || self.rows.followers() >= self.config.followers;
        if full {
            row.overflow += 1;
            self.counts.dead += 1;
            let letter = self.letter(delivery, Reason::Follower, &[]);
            self.dead.insert(position, Some(Box::new(letter)));
        } else {
            row.followers += 1;
            row.last = position;
        }
        row.end = position;
        self.rows.set(id, Some(row));
    }

    pub(super) fn letter(&self, delivery: &Delivery, reason: Reason, path: &[String]) -> DeadLetter {
        let (event, envelope) = (&delivery.event, &delivery.event.envelope);
        // Who is not delivered has not been called this time.
        let now = if matches!(reason, Reason::Follower | Reason::Newer) { 0 } else { 1 };
        let attempts = delivery.calls - 1 + now;
        DeadLetter {
            subscription: self.name.to_string(),
            position: event.position,
            id: envelope.id().clone(),
            source: envelope.source().clone(),
            name: envelope.name().clone(),
            key: envelope.key().cloned(),
            stream: event.stream.clone(),
            reason,
            error: match (&delivery.trouble, reason) {
                (_, Reason::Follower) => {
                    "an earlier event of its key was given up, and no more could wait".to_owned()
                }
                (Some(trouble), _) => shortened(trouble).to_owned(),
                (None, other) => other.to_string(),
            },
            attempts,
            first_at: delivery.first.unwrap_or(self.now),
            last_at: self.now,
            correlation: envelope.correlation().cloned(),
            path: path.to_vec(),
        }
    }

    /// Changes a row on behalf of an operator.
    pub(crate) fn operate(
        &mut self,
        id: &Text,
        row: Option<Row>,
        letters: impl IntoIterator<Item = Position>,
    ) {
        self.rows.set(id, row);
        for position in letters {
            self.dead.insert(position, None);
        }
        self.open_writes += 1;
    }

    /// Forgets a dead letter that blocks no key.
    pub(crate) fn forget(&mut self, position: Position) {
        self.dead.insert(position, None);
        self.open_writes += 1;
    }
}

/// As much of an error's text as is kept.
pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(tidings_core::ERROR_BYTES_MAX)]
}
