//! The book of a subscription: deliveries accepted but not yet committed, folded into what the next commit writes.
//!
//! ```text
//!   lanes ── accept ──▶ open ── seal ──▶ committing ── committed ──▶ (forgotten)
//!                         ▲                  │
//!                         └──── refold ◀─────┘  a conflict cuts deliveries out; the rest is folded anew
//! ```
//! It does no I/O and reads no clock: everything it decides follows from what it is told.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use tidings_core::{
    CheckpointMove, Commit, DocumentChange, DocumentKey, DocumentWrite, DueChange, DueRow, Fence, Position,
    Text, Timestamp,
};
use tidings_store::{Checkpoint, Error};

use crate::{
    Config, DeadLetter, Reason,
    dead::{DEAD_FIELDS, dead_namespace},
    delivery::{Accepted, Delivery, Outcome},
    rows::{Row, Rows, State},
    schedule::SCHEDULE,
    slots::{Seen, Slots},
    window::Window,
};

/// What became of offering a finished delivery.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is in the book.
    Accepted,
    /// A document it had read has changed: run it again.
    Stale(Box<Delivery>),
    /// An earlier delivery of its key has to run again first.
    Behind(Box<Delivery>),
    /// There is no room before the next commit, or one delivery is alone now: offer it again.
    Later(Box<Accepted>),
}

/// Figures that only grow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub handled: u64,
    pub expired: u64,
    pub dead: u64,
    pub reruns: u64,
    pub commits: u64,
    pub published: u64,
}

pub(crate) struct Book {
    pub(crate) name: Text,
    config: Config,
    epoch: u64,
    pub(crate) window: Window,
    pub(crate) slots: Slots,
    pub(crate) rows: Rows,
    open: Vec<Entry>,
    committing: Vec<Entry>,
    /// What the open batch writes besides documents of views, and how many bytes that is.
    open_bytes: usize,
    open_writes: usize,
    dead: HashMap<Position, Option<Box<DeadLetter>>>,
    /// Deliveries to be committed one by one, because the store refused a commit they were in.
    solo: std::collections::VecDeque<Entry>,
    /// Keys of which deliveries have to run again, with their positions.
    redo: HashMap<Text, BTreeSet<Position>>,
    /// The delivery that has run into conflicts so often that it is alone now.
    pub(crate) alone: Option<Position>,
    revision: u64,
    committed_watermark: Position,
    pub(crate) counts: Counts,
    /// The time, told before each round of work.
    pub(crate) now: Timestamp,
}

/// An accepted delivery and what its reads stand on.
struct Entry {
    accepted: Accepted,
    /// For each read, the version in the store, or `None` where it stands on a delivery before it.
    bases: Vec<Option<u64>>,
}

/// A commit, and what to remember about it.
pub(crate) struct Sealed {
    pub commit: Commit,
    pub published: Vec<tidings_core::Envelope>,
}

impl Book {
    pub(crate) fn new(
        name: Text,
        config: Config,
        epoch: u64,
        checkpoint: &Checkpoint,
        rows: HashMap<Text, Row>,
    ) -> Self {
        Self {
            name,
            epoch,
            window: Window::restore(checkpoint),
            slots: Slots::new(config.cached_documents),
            rows: Rows::restore(rows),
            open: Vec::new(),
            committing: Vec::new(),
            open_bytes: 0,
            open_writes: 0,
            dead: HashMap::new(),
            solo: std::collections::VecDeque::new(),
            redo: HashMap::new(),
            alone: None,
            revision: checkpoint.revision,
            committed_watermark: checkpoint.watermark,
            counts: Counts::default(),
            now: Timestamp::default(),
            config,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn watermark(&self) -> Position {
        self.committed_watermark
    }

    /// A dead letter that is on its way to the store, or on its way out of it.
    pub(crate) fn letter_on_its_way(&self, position: Position) -> Option<Option<&DeadLetter>> {
        self.dead.get(&position).map(|letter| letter.as_deref())
    }

    /// Whether the position is settled, and that is committed.
    pub(crate) fn is_settled(&self, position: Position) -> bool {
        let at =
            |entries: &[Entry]| entries.iter().any(|entry| entry.accepted.delivery.position() == position);
        let solo = self.solo.iter().any(|entry| entry.accepted.delivery.position() == position);
        position <= self.committed_watermark
            || (self.window.is_settled(position) && !at(&self.open) && !at(&self.committing) && !solo)
    }

    /// Deliveries accepted but not committed.
    pub(crate) fn accepted(&self) -> usize {
        self.open.len() + self.committing.len() + self.solo.len()
    }

    /// Offers a finished delivery.
    pub(crate) fn accept(&mut self, mut accepted: Accepted) -> Verdict {
        let position = accepted.delivery.position();
        if let Some(key) = &accepted.delivery.key
            && let Some(waiting) = self.redo.get(key)
            && waiting.first().is_some_and(|first| *first < position)
        {
            return Verdict::Behind(Box::new(accepted.delivery));
        }
        if self.alone.is_some_and(|alone| alone != position) {
            return Verdict::Later(Box::new(accepted));
        }
        let (writes, bytes) = size(&accepted.outcome);
        if writes + 4 > self.config.writes || bytes > self.config.bytes {
            let limit = format!("{} writes and {} bytes", self.config.writes, self.config.bytes);
            let trouble = format!("its commit has {writes} writes and {bytes} bytes, more than {limit}");
            accepted.delivery.trouble = Some(trouble);
            accepted.outcome = Outcome::Dead { reason: Reason::Refused, path: Vec::new() };
        } else if self.open.len() >= self.config.batch
            || (self.alone.is_some() && !self.open.is_empty())
            || self.open_writes + writes + 4 > self.config.writes
            || self.open_bytes + bytes > self.config.bytes
        {
            return Verdict::Later(Box::new(accepted));
        }
        if matches!(accepted.outcome, Outcome::Follow) && self.rows.get(&accepted.delivery.row_id()).is_none()
        {
            // The key is free again: it has nobody to follow.
            return Verdict::Stale(Box::new(accepted.delivery));
        }
        let mut bases = Vec::new();
        if let Outcome::Handled(effects) = &accepted.outcome {
            if self.slots.check(&effects.reads) == Seen::Stale {
                self.counts.reruns += 1;
                return Verdict::Stale(Box::new(accepted.delivery));
            }
            if let Err(failure) = self.slots.check_writes(&effects.writes) {
                accepted.delivery.trouble = Some(failure.describe());
                accepted.outcome = Outcome::Dead { reason: Reason::Permanent, path: Vec::new() };
            } else {
                bases = effects.reads.iter().map(|(key, _)| self.slots.stands_on(key)).collect();
            }
        }
        self.done_again(&accepted.delivery);
        self.fold(Entry { accepted, bases }, true);
        Verdict::Accepted
    }

    fn done_again(&mut self, delivery: &Delivery) {
        if let Some(key) = &delivery.key
            && let Some(waiting) = self.redo.get_mut(key)
        {
            waiting.remove(&delivery.position());
            if waiting.is_empty() {
                self.redo.remove(key);
            }
        }
    }

    /// Takes an entry into the open batch.
    fn fold(&mut self, entry: Entry, first_time: bool) {
        let Accepted { delivery, outcome } = &entry.accepted;
        let (writes, bytes) = size(outcome);
        self.open_writes += writes + 1;
        self.open_bytes += bytes;
        let (position, id) = (delivery.position(), delivery.row_id());
        match outcome {
            Outcome::Handled(effects) => {
                for ((key, _), base) in effects.reads.iter().zip(&entry.bases) {
                    match base {
                        Some(base) if !first_time => self.slots.read_at(key, *base),
                        _ => self.slots.read(key),
                    }
                }
                for write in &effects.writes {
                    // Checked by `accept`; in a refold the base may be another, and then the store refuses it.
                    if let Err(failure) = self.slots.write(write) {
                        tracing::error!(subscription = %self.name, position, %failure, "a document was not changed");
                    }
                }
                self.counts.handled += 1;
                self.counts.published += effects.events.len() as u64;
                self.pass(delivery, &id);
            }
            Outcome::Expired => {
                self.counts.expired += 1;
                self.pass(delivery, &id);
            }
            Outcome::Later { due } => {
                let state = State::Pending {
                    position,
                    attempt: delivery.attempt,
                    due: *due,
                    first: delivery.first.unwrap_or(*due),
                    error: delivery.trouble.clone().unwrap_or_default(),
                };
                self.block(&id, delivery, state);
            }
            Outcome::Dead { reason, path } => {
                self.counts.dead += 1;
                self.dead.insert(position, Some(Box::new(self.letter(delivery, *reason, path))));
                if delivery.key.is_some() {
                    self.block(&id, delivery, State::Parked { position });
                } else if self.rows.get(&id).is_some() {
                    self.rows.set(&id, None);
                }
            }
            Outcome::Follow => self.follow(delivery, &id),
        }
        if delivery.from_row {
            self.rows.let_go(&id);
        } else {
            self.window.settle(position);
        }
        self.open.push(entry);
    }

    /// A delivery is through: what waited behind it may go on, and its dead letter, if it had one, is settled.
    fn pass(&mut self, delivery: &Delivery, id: &Text) {
        if !delivery.from_row {
            return;
        }
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

    fn block(&mut self, id: &Text, delivery: &Delivery, state: State) {
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

    fn follow(&mut self, delivery: &Delivery, id: &Text) {
        let position = delivery.position();
        let Some(row) = self.rows.get(id) else { return };
        let mut row = row.clone();
        row.end = position;
        let full = row.overflow > 0
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
        self.rows.set(id, Some(row));
    }

    fn letter(&self, delivery: &Delivery, reason: Reason, path: &[String]) -> DeadLetter {
        let (event, envelope) = (&delivery.event, &delivery.event.envelope);
        let attempts = if reason == Reason::Follower { 0 } else { delivery.attempt };
        DeadLetter {
            subscription: self.name.to_string(),
            position: event.position,
            id: envelope.id().clone(),
            source: envelope.source().clone(),
            name: envelope.name().clone(),
            key: envelope.key().cloned(),
            stream: event.stream.clone(),
            reason,
            error: delivery.trouble.clone().unwrap_or_else(|| match reason {
                Reason::Follower => {
                    "an earlier event of its key was given up, and no more could wait".to_owned()
                }
                other => other.to_string(),
            }),
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

    /// Whether the checkpoint would move, or something else would be written, by committing now.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.open.is_empty() || !self.solo.is_empty() || self.open_writes > 0
    }

    /// How far the watermark would move by committing now.
    pub(crate) fn advance(&self) -> u64 {
        self.window.checkpoint().0.saturating_sub(self.committed_watermark)
    }

    /// Makes the next commit of everything that is open. Only when no commit is on its way.
    pub(crate) fn seal(&mut self) -> Option<Sealed> {
        debug_assert!(self.committing.is_empty(), "one commit at a time");
        if self.open.is_empty()
            && let Some(entry) = self.solo.pop_front()
        {
            self.fold(entry, false);
        }
        let (documents, reads) = loop {
            match self.slots.seal() {
                Ok(sealed) => break sealed,
                Err((key, failure)) => self.spoil(&key, &failure.describe()),
            }
        };
        let (watermark, settled) = self.window.checkpoint();
        let mut commit = Commit { tenant: self.config.tenant.clone(), documents, reads, ..Commit::default() };
        commit.fences.push(Fence { lease: lease_name(&self.name), epoch: self.epoch });
        let mut published = Vec::new();
        for entry in &self.open {
            let Outcome::Handled(effects) = &entry.accepted.outcome else { continue };
            for event in &effects.events {
                match event.due {
                    None => {
                        published.push(event.envelope.clone());
                        commit.push_event(event.envelope.clone());
                    }
                    Some(due) => commit.due.push(DueChange::Put(DueRow {
                        queue: Text::from(SCHEDULE),
                        id: event.envelope.id().clone(),
                        due,
                        body: crate::schedule::body(&event.envelope).expect("the lane has written it once"),
                    })),
                }
            }
        }
        for (id, row) in self.rows.seal() {
            let value =
                row.map(|row| serde_json::to_vec(&row).map(Bytes::from).expect("a row is plain data"));
            commit.documents.push(plain(rows_namespace(&self.name), id, value, &[]));
        }
        for (position, letter) in std::mem::take(&mut self.dead) {
            let value =
                letter.map(|letter| serde_json::to_vec(&letter).map(Bytes::from).expect("plain data"));
            let id = DeadLetter::document_id(position);
            commit.documents.push(plain(dead_namespace(&self.name), id, value, &DEAD_FIELDS));
        }
        commit.checkpoints.push(CheckpointMove {
            name: self.name.clone(),
            expected_revision: self.revision,
            watermark,
            settled,
        });
        self.committing = std::mem::take(&mut self.open);
        (self.open_bytes, self.open_writes) = (0, 0);
        Some(Sealed { commit, published })
    }

    /// The commit on its way is in the store.
    pub(crate) fn committed(&mut self, watermark: Position, revision: u64) {
        self.revision += 1;
        self.committed_watermark = watermark;
        self.counts.commits += 1;
        self.committing.clear();
        self.slots.committed(revision);
        self.rows.committed();
        self.window.prune(watermark);
        self.alone = None;
    }

    /// A value somebody wrote cannot be made JSON: the last delivery that wrote it is given up, the rest is folded anew.
    fn spoil(&mut self, key: &DocumentKey, error: &str) {
        let guilty = self.open.iter().rev().find(|entry| match &entry.accepted.outcome {
            Outcome::Handled(effects) => effects.writes.iter().any(|write| write.key == *key),
            _ => false,
        });
        let guilty = guilty.map(|entry| entry.accepted.delivery.position());
        let mut entries = self.unfold();
        if let Some(entry) =
            entries.iter_mut().find(|entry| Some(entry.accepted.delivery.position()) == guilty)
        {
            give_up(entry, Reason::Permanent, error.to_owned());
        }
        self.refold(entries, &HashSet::new());
    }

    /// The store refused the commit on its way. Answers what has to run again; the rest is in the open batch again.
    pub(crate) fn refused(&mut self, error: &Error) -> Vec<Delivery> {
        let mut entries = self.unfold();
        match error {
            Error::DocumentChanged { key, .. } => {
                return self.refold(entries, &HashSet::from([key.clone()]));
            }
            _ if entries.len() == 1 => give_up(&mut entries[0], Reason::Refused, error.to_string()),
            _ => {
                // One of them is guilty; committed one by one, only that one fails.
                self.solo.extend(entries.drain(..));
            }
        }
        self.refold(entries, &HashSet::new())
    }

    /// Everything that is accepted but not committed, in order, and the book as if it had not been.
    fn unfold(&mut self) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.committing);
        entries.append(&mut self.open);
        entries.extend(self.solo.drain(..));
        for entry in &entries {
            if !entry.accepted.delivery.from_row {
                self.window.unsettle(entry.accepted.delivery.position());
            }
            match &entry.accepted.outcome {
                Outcome::Handled(effects) => {
                    self.counts.handled -= 1;
                    self.counts.published -= effects.events.len() as u64;
                }
                Outcome::Expired => self.counts.expired -= 1,
                Outcome::Dead { .. } => self.counts.dead -= 1,
                Outcome::Later { .. } | Outcome::Follow => {}
            }
        }
        self.slots.reset();
        self.rows.reset();
        self.dead.clear();
        (self.open_bytes, self.open_writes) = (0, 0);
        entries
    }

    /// Folds `entries` anew without those that stand on a document in `changed`, on one of those, or follow one of their
    /// key; these are answered, to be run again.
    fn refold(&mut self, entries: Vec<Entry>, changed: &HashSet<DocumentKey>) -> Vec<Delivery> {
        let (mut written, mut cut_keys) = (HashSet::new(), HashSet::new());
        let mut stale = changed.clone();
        let mut again = Vec::new();
        for entry in entries {
            let delivery = &entry.accepted.delivery;
            let mut cut = delivery.key.as_ref().is_some_and(|key| cut_keys.contains(key));
            if let Outcome::Handled(effects) = &entry.accepted.outcome {
                for ((key, _), base) in effects.reads.iter().zip(&entry.bases) {
                    cut |= stale.contains(key) || (base.is_none() && !written.contains(key));
                }
                for write in &effects.writes {
                    if cut {
                        stale.insert(write.key.clone());
                    } else {
                        written.insert(write.key.clone());
                    }
                }
            }
            if !cut {
                self.fold(entry, false);
                continue;
            }
            self.counts.reruns += 1;
            let mut delivery = entry.accepted.delivery;
            if let Some(key) = &delivery.key {
                cut_keys.insert(key.clone());
                self.redo.entry(key.clone()).or_default().insert(delivery.position());
            }
            if delivery.from_row {
                self.rows.take_in_hand(&delivery.row_id());
            }
            delivery.conflicts += 1;
            again.push(delivery);
        }
        again
    }
}

fn give_up(entry: &mut Entry, reason: Reason, error: String) {
    entry.accepted.delivery.trouble = Some(error);
    entry.accepted.outcome = Outcome::Dead { reason, path: Vec::new() };
    entry.bases.clear();
}

fn plain(namespace: Text, id: Text, value: Option<Bytes>, indexed: &[&str]) -> DocumentWrite {
    DocumentWrite {
        key: DocumentKey { namespace, id },
        change: value.map_or(DocumentChange::Delete, DocumentChange::Put),
        indexed: indexed.iter().map(|field| Text::from(*field)).collect(),
        expected: None,
    }
}

/// How many writes and bytes an outcome adds to a commit.
fn size(outcome: &Outcome) -> (usize, usize) {
    let Outcome::Handled(effects) = outcome else { return (2, 512) };
    let payloads =
        effects.events.iter().map(|event| event.envelope.payload().map_or(0, |bytes| bytes.len() + 64));
    (effects.events.len() + effects.writes.len() + 2, payloads.sum())
}

/// The lease under which a subscription is run.
pub(crate) fn lease_name(subscription: &str) -> Text {
    Text::from(format!("subscription/{subscription}"))
}

/// Where the rows of a subscription are kept.
pub(crate) fn rows_namespace(subscription: &str) -> Text {
    Text::from(format!("$blocked/{subscription}"))
}
