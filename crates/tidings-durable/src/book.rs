//! The book of a subscription: deliveries accepted but not yet committed, folded into what the next commit writes.
//!
//! ```text
//!   lanes ── accept ──▶ open ── seal ──▶ committing ── committed ──▶ (forgotten)
//!                         ▲                  │
//!                         └──── refold ◀─────┘  a conflict cuts deliveries out; the rest is folded anew
//! ```
//! It does no I/O and reads no clock: everything it decides follows from what it is told. `blocking` is about rows,
//! `together` takes in what was handled in one call, `seal` makes the commit, `undo` takes one back.

mod blocking;
mod seal;
mod together;
mod undo;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use tidings_core::{Dead, EventInfo, Position, Text, Timestamp};
use tidings_store::Checkpoint;
use tokio::sync::oneshot;

pub(crate) use self::{
    blocking::{Turn, again},
    seal::Sealed,
    together::{Group, Offered},
};
use crate::{
    Config, DeadLetter, Reason,
    delivery::{Accepted, Delivery, Outcome},
    rows::{Row, Rows, State},
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
    /// Nobody waits for it any more: forget it.
    Gone,
}

/// Figures that only grow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub handled: u64,
    pub expired: u64,
    pub skipped: u64,
    pub dead: u64,
    /// Thrown away by a rule.
    pub discarded: u64,
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
    dead: HashMap<Position, Option<Arc<DeadLetter>>>,
    /// What the commit on its way does to dead letters.
    dead_committing: HashMap<Position, Option<Arc<DeadLetter>>>,
    /// What becomes of what is given up.
    pub(crate) dead_policy: Dead,
    /// The event type of the handler, which says what must not be shown.
    pub(crate) event: Option<&'static EventInfo>,
    /// Who wants to hear whether what is open, and what is on its way, was committed or taken back.
    kept: Vec<oneshot::Sender<bool>>,
    keeping: Vec<oneshot::Sender<bool>>,
    /// Deliveries to be committed one by one, because the store refused a commit they were in.
    solo: VecDeque<Entry>,
    one_by_one: bool,
    /// How the run stands, for the next commit.
    run: Option<bytes::Bytes>,
    /// How many groups there have been.
    groups: u64,
    /// A commit is on its way.
    in_flight: bool,
    /// Cut out while a commit was made, to be run again.
    spoiled: Vec<Delivery>,
    /// Keys of which deliveries have to run again, with their positions.
    redo: HashMap<Text, BTreeSet<Position>>,
    /// The delivery that has run into conflicts so often that it is alone now.
    pub(crate) alone: Option<Position>,
    revision: u64,
    committed_watermark: Position,
    pub(crate) counts: Counts,
    /// The counts without what is open, and without what is on its way.
    counts_sealed: Counts,
    counts_committed: Counts,
    /// The time, told before each round of work.
    pub(crate) now: Timestamp,
}

/// An accepted delivery and what its reads stand on.
pub(crate) struct Entry {
    accepted: Accepted,
    /// For each read, the version in the store, or `None` where it stands on a delivery before it.
    bases: Vec<Option<u64>>,
    /// What it was handled together with, and is committed with.
    group: Option<u64>,
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
            dead_committing: HashMap::new(),
            dead_policy: Dead::default(),
            event: None,
            kept: Vec::new(),
            keeping: Vec::new(),
            solo: VecDeque::new(),
            one_by_one: false,
            run: None,
            groups: 0,
            in_flight: false,
            spoiled: Vec::new(),
            redo: HashMap::new(),
            alone: None,
            revision: checkpoint.revision,
            committed_watermark: checkpoint.watermark,
            counts: Counts::default(),
            counts_sealed: Counts::default(),
            counts_committed: Counts::default(),
            now: Timestamp::default(),
            config,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many commits there have been, ever.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn watermark(&self) -> Position {
        self.committed_watermark
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
            && !self.redo.is_empty()
            && let Some(waiting) = self.redo.get(key)
            && waiting.first().is_some_and(|first| *first < position)
        {
            self.not_alone(position);
            return Verdict::Behind(Box::new(accepted.delivery));
        }
        match self.turn(&accepted.delivery) {
            Turn::Now => {}
            Turn::Behind => accepted.outcome = Outcome::Follow,
            Turn::Gone => {
                self.gone(&accepted.delivery);
                return Verdict::Gone;
            }
        }
        if self.one_by_one || self.alone.is_some_and(|alone| alone != position) {
            return Verdict::Later(Box::new(accepted));
        }
        let (writes, bytes) = size(&accepted);
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
                accepted.delivery.conflicts += 1;
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
        self.fold(Entry { accepted, bases, group: None }, true);
        Verdict::Accepted
    }

    /// A delivery that has met too many conflicts begins; until it is committed, no other is accepted.
    pub(crate) fn begin_alone(&mut self, position: Position) {
        self.alone.get_or_insert(position);
    }

    /// It is not about to finish after all.
    pub(crate) fn not_alone(&mut self, position: Position) {
        self.alone.take_if(|alone| *alone == position);
    }

    /// A delivery nobody waits for any more.
    pub(crate) fn gone(&mut self, delivery: &Delivery) {
        self.not_alone(delivery.position());
        self.done_again(delivery);
        self.rows.let_go(&delivery.row_id(), delivery.position());
    }

    /// Has the next commit say how the run stands.
    pub(crate) fn note_run(&mut self, run: bytes::Bytes) {
        self.run = Some(run);
        self.open_writes += 1;
    }

    /// Hears whether what is open now was committed, or taken back.
    pub(crate) fn when_kept(&mut self) -> oneshot::Receiver<bool> {
        let (tell, told) = oneshot::channel();
        self.kept.push(tell);
        told
    }

    /// What was cut out while a commit was made.
    pub(crate) fn spoiled(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.spoiled)
    }

    fn done_again(&mut self, delivery: &Delivery) {
        if !self.redo.is_empty()
            && let Some(key) = &delivery.key
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
        let (writes, bytes) = size(&entry.accepted);
        self.open_writes += writes + 1;
        self.open_bytes += bytes;
        let position = delivery.position();
        // Nearly always there is no row, and then nobody needs its id.
        let id = || delivery.row_id();
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
                self.pass(delivery);
            }
            Outcome::Expired => {
                self.counts.expired += 1;
                self.pass(delivery);
            }
            Outcome::Skipped => {
                self.counts.skipped += 1;
                self.pass(delivery);
            }
            Outcome::Later { due } => {
                let state = State::Pending {
                    position,
                    attempt: delivery.attempt,
                    calls: delivery.calls,
                    due: *due,
                    first: delivery.first.unwrap_or(*due),
                    error: delivery
                        .trouble
                        .as_deref()
                        .map_or_else(String::new, |text| blocking::shortened(text).to_owned()),
                    history: delivery.history.clone(),
                    letter: delivery.letter.is_some(),
                };
                self.block(&id(), delivery, state);
            }
            Outcome::Dead { reason, path } => {
                self.given_up(delivery, *reason, path);
            }
            Outcome::Follow => self.follow(delivery, &id()),
        }
        if delivery.from_row {
            self.rows.let_go(&id(), position);
        } else {
            self.window.settle(position);
        }
        self.open.push(entry);
    }

    /// Whether the checkpoint would move, or something else would be written, by committing now.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.open.is_empty() || !self.solo.is_empty() || self.open_writes > 0
    }

    /// Whether there is no room beside what is open, or not much.
    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= self.config.batch
            || self.open_writes * 2 >= self.config.writes
            || self.open_bytes * 2 >= self.config.bytes
    }

    /// Whether somebody waits for what is open, or the store wants it piece by piece.
    pub(crate) fn is_urgent(&self) -> bool {
        self.one_by_one || !self.solo.is_empty() || self.alone.is_some() || !self.kept.is_empty()
    }

    /// How far the watermark would move by committing now.
    pub(crate) fn advance(&self) -> u64 {
        self.window.watermark().saturating_sub(self.committed_watermark)
    }

    /// The commit on its way is in the store. What was in it is given back, to be dropped where nobody waits for the
    /// book.
    pub(crate) fn committed(&mut self, watermark: Position, revision: u64) -> Vec<Entry> {
        self.revision += 1;
        self.committed_watermark = watermark;
        self.counts.commits += 1;
        let done = std::mem::take(&mut self.committing);
        if let Some(alone) = self.alone
            && done.iter().any(|entry| entry.accepted.delivery.position() == alone)
        {
            self.alone = None;
        }
        self.in_flight = false;
        self.one_by_one &= !self.solo.is_empty();
        self.dead_committing.clear();
        self.slots.committed(revision);
        self.rows.committed();
        self.window.prune(watermark);
        for kept in self.keeping.drain(..) {
            let _ = kept.send(true);
        }
        for entry in &done {
            let Accepted { delivery, outcome } = &entry.accepted;
            if let (Some(claim), Outcome::Handled(_)) = (&delivery.claim, outcome) {
                claim.is_kept(self.now);
            }
        }
        done
    }
}

/// How many writes and bytes an outcome adds to a commit.
fn size(accepted: &Accepted) -> (usize, usize) {
    let Outcome::Handled(effects) = &accepted.outcome else {
        let trouble = accepted.delivery.trouble.as_ref().map_or(0, String::len);
        return (2, 1_024 + trouble.min(tidings_core::ERROR_BYTES_MAX));
    };
    let payloads =
        effects.events.iter().map(|event| event.envelope.payload().map_or(0, |bytes| bytes.len() + 64));
    let claim = accepted.delivery.claim.as_ref().map_or(0, |_| 2);
    (effects.events.len() + effects.writes.len() + claim + 2, payloads.sum())
}

/// The lease under which a subscription is run.
pub(crate) fn lease_name(subscription: &str) -> Text {
    Text::from(format!("subscription/{subscription}"))
}

/// Where the rows of a subscription are kept.
pub(crate) fn rows_namespace(subscription: &str) -> Text {
    Text::from(format!("$blocked/{subscription}"))
}

#[cfg(test)]
mod tests;
