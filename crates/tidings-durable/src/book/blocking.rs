//! What a delivery does to the row of its key: it passes, blocks it, or follows.

use std::sync::Arc;

use tidings_core::{Attempt, Position, Ran, Text, Then, Timestamp, keep_attempt, scrubbed};

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
    /// The dead letter there will be at this position, if one is on its way into the store, or out of it.
    pub(crate) fn letter_on_its_way(&self, position: Position) -> Option<Option<Arc<DeadLetter>>> {
        self.dead.get(&position).or_else(|| self.dead_committing.get(&position)).cloned()
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
            self.dead.insert(position, Some(Arc::new(letter)));
        } else {
            row.followers += 1;
            row.last = position;
        }
        row.end = position;
        self.rows.set(id, Some(row));
    }

    /// A delivery is given up: a rule says what becomes of it, else it is held and parks its key.
    pub(super) fn given_up(&mut self, delivery: &Delivery, reason: Reason, path: &[String]) {
        let (position, id) = (delivery.position(), delivery.row_id());
        self.counts.dead += 1;
        let mut letter = self.letter(delivery, reason, path);
        match self.dead_policy.then(reason) {
            Then::Discard => {
                tracing::warn!(subscription = %self.name, position, %reason, "thrown away by a rule");
                self.counts.discarded += 1;
                return self.pass(delivery);
            }
            Then::Replay { after, times } if letter.replays < times => {
                let due = self.now.after(after);
                letter.due = Some(due);
                let state = again(&letter, due);
                self.dead.insert(position, Some(Arc::new(letter)));
                return self.block(&id, delivery, state);
            }
            Then::Replay { .. } | Then::Hold => {}
        }
        self.dead.insert(position, Some(Arc::new(letter)));
        if delivery.key.is_some() {
            self.block(&id, delivery, State::Parked { position });
        } else if self.rows.get(&id).is_some() {
            self.rows.set(&id, None);
        }
    }

    /// The record of a delivery that is given up; one that was replayed keeps what it had.
    pub(super) fn letter(&self, delivery: &Delivery, reason: Reason, path: &[String]) -> DeadLetter {
        let (event, envelope) = (&delivery.event, &delivery.event.envelope);
        let before = delivery.letter.as_deref();
        // Who is not delivered has not been called this time.
        let is_called = !delivery.uncalled && !matches!(reason, Reason::Follower | Reason::Newer);
        let hidden: Vec<&str> = self
            .event
            .iter()
            .flat_map(|info| info.fields)
            .filter(|field| field.redact)
            .map(|field| field.name)
            .collect();
        let error = match (&delivery.trouble, reason) {
            (_, Reason::Follower) => {
                "an earlier event of its key was given up, and no more could wait".to_owned()
            }
            (Some(trouble), _) => scrubbed(envelope, &hidden, trouble),
            (None, other) => other.to_string(),
        };
        let mut history = before.map(|letter| letter.history.clone()).unwrap_or_default();
        for Attempt { at, error } in delivery.history.clone() {
            keep_attempt(&mut history, Attempt { at, error: scrubbed(envelope, &hidden, &error) });
        }
        // What the store or the book has refused is no failed call of which a lane knows.
        if is_called
            && delivery.history.last().is_none_or(|last| Some(&last.error) != delivery.trouble.as_ref())
        {
            keep_attempt(&mut history, Attempt { at: self.now, error: error.clone() });
        }
        DeadLetter {
            entry: DeadLetter::document_id(event.position),
            handler: self.name.clone(),
            place: Ran::Durable,
            destination: self.dead_policy.to.clone().unwrap_or_else(|| self.name.clone()),
            position: event.position,
            id: envelope.id().clone(),
            source: envelope.source().clone(),
            name: envelope.name().clone(),
            key: envelope.key().cloned(),
            stream: event.stream.clone(),
            reason,
            error,
            attempts: delivery.calls - 1 + u32::from(is_called),
            history,
            first_at: delivery.first.unwrap_or(self.now),
            last_at: self.now,
            correlation: envelope.correlation().cloned(),
            causation: envelope.causation().cloned(),
            trace_parent: envelope.trace_parent().cloned(),
            path: path.to_vec(),
            replays: before.map_or(0, |letter| letter.replays + u32::from(letter.reason != Reason::Follower)),
            due: None,
            claimed: None,
            event: before.and_then(|letter| letter.event.clone()),
            edits: before.map(|letter| letter.edits.clone()).unwrap_or_default(),
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

    /// Writes a dead letter on behalf of an operator.
    pub(crate) fn put_letter(&mut self, letter: DeadLetter) {
        self.dead.insert(letter.position, Some(Arc::new(letter)));
        self.open_writes += 1;
    }

    /// Forgets a dead letter that blocks no key.
    pub(crate) fn forget(&mut self, position: Position) {
        self.dead.insert(position, None);
        self.open_writes += 1;
    }
}

/// The state of a row whose dead letter is handled again at `due`.
pub(crate) fn again(letter: &DeadLetter, due: Timestamp) -> State {
    State::Pending {
        position: letter.position,
        attempt: 1,
        calls: letter.attempts + 1,
        due,
        first: letter.first_at,
        error: letter.error.clone(),
        history: Vec::new(),
        letter: true,
    }
}

/// As much of an error's text as is kept.
pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(tidings_core::ERROR_BYTES_MAX)]
}
