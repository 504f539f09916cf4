//! A commit that was refused: what it held is taken back, the guilty are cut out, and the rest is folded anew.

use std::collections::HashSet;

use tidings_core::{DocumentKey, Position};
use tidings_store::Error;

use super::{Book, Counts, Entry};
use crate::{
    Reason,
    delivery::{Delivery, Outcome},
};

/// What has to be cut out of what is folded anew.
#[derive(Default)]
struct Guilty {
    /// Whatever stands on this document.
    changed: Option<DocumentKey>,
    /// What comes after this delivery in its key, and what stands on what it wrote.
    given_up: Option<Position>,
    /// What it would have written.
    unwritten: Vec<DocumentKey>,
}

impl Book {
    /// A value somebody wrote cannot be made JSON: the last delivery that wrote it is given up, the rest is folded anew.
    pub(super) fn spoil(&mut self, key: &DocumentKey, error: &str) {
        let position = self.open.iter().rev().find_map(|entry| match &entry.accepted.outcome {
            Outcome::Handled(effects) if effects.writes.iter().any(|write| write.key == *key) => {
                Some(entry.accepted.delivery.position())
            }
            _ => None,
        });
        let mut entries = self.unfold();
        entries.extend(self.solo.drain(..));
        let unwritten = position
            .map(|position| give_up(&mut entries, position, Reason::Permanent, error))
            .unwrap_or_default();
        let guilty = Guilty { given_up: position, unwritten, ..Guilty::default() };
        let again = self.refold(entries, &guilty);
        self.spoiled.extend(again);
    }

    /// The store refused the commit on its way. Answers what has to run again; the rest is accepted again, and if it is
    /// not clear who is guilty, it is committed one by one.
    pub(crate) fn refused(&mut self, error: &Error) -> Vec<Delivery> {
        let mut guilty = Guilty::default();
        let only = match &*self.committing {
            [entry] => Some(entry.accepted.delivery.position()),
            _ => None,
        };
        let group = self.committing.first().and_then(|entry| entry.group);
        let is_group = group.is_some() && self.committing.iter().all(|entry| entry.group == group);
        let only = only.or_else(|| self.author_of(error));
        let mut entries = self.unfold();
        match (error, only) {
            (Error::DocumentChanged { key, .. }, _) => guilty.changed = Some(key.clone()),
            (_, Some(position)) => {
                guilty.unwritten = give_up(&mut entries, position, Reason::Refused, &error.to_string());
                guilty.given_up = Some(position);
            }
            // One of them is guilty; committed one by one, only that one fails. What was handled together stays together
            // as long as it can.
            (_, None) => {
                self.one_by_one = true;
                let guilty = entries.iter_mut().filter(|entry| is_group && entry.group == group);
                guilty.for_each(|entry| entry.group = None);
            }
        }
        entries.extend(self.solo.drain(..));
        self.refold(entries, &guilty)
    }

    /// The delivery that the store's answer is about, where it names an event that just one of them publishes.
    fn author_of(&self, error: &Error) -> Option<Position> {
        let Error::IdReused { id, .. } = error else { return None };
        let published = |entry: &&Entry| match &entry.accepted.outcome {
            Outcome::Handled(effects) => effects.events.iter().any(|event| event.envelope.id() == id),
            _ => false,
        };
        let mut authors = self.committing.iter().filter(published);
        let author = authors.next()?;
        authors.next().is_none().then(|| author.accepted.delivery.position())
    }

    /// Everything that is folded but not committed, in order, and the book as if it had not been.
    fn unfold(&mut self) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.committing);
        entries.append(&mut self.open);
        for entry in &entries {
            if !entry.accepted.delivery.from_row {
                self.window.unsettle(entry.accepted.delivery.position());
            }
        }
        let before = if self.in_flight { self.counts_committed } else { self.counts_sealed };
        self.counts = Counts { reruns: self.counts.reruns, commits: self.counts.commits, ..before };
        self.counts_sealed = self.counts;
        self.slots.reset();
        self.rows.reset();
        self.dead.clear();
        self.dead_committing.clear();
        // Whoever waits for it says it again.
        self.run = None;
        (self.open_bytes, self.open_writes) = (0, 0);
        self.in_flight = false;
        // Who runs alone begins anew, and says so again.
        self.alone = None;
        for kept in self.keeping.drain(..).chain(self.kept.drain(..)) {
            let _ = kept.send(false);
        }
        entries
    }

    /// Accepts `entries` anew without the guilty, what stands on a document they wrote, and what follows them in their
    /// key; these are answered, to be run again.
    fn refold(&mut self, entries: Vec<Entry>, guilty: &Guilty) -> Vec<Delivery> {
        let (mut written, mut cut_keys) = (HashSet::new(), HashSet::new());
        let mut stale: HashSet<DocumentKey> = guilty.changed.iter().cloned().collect();
        let mut again = Vec::new();
        for entry in entries {
            let delivery = &entry.accepted.delivery;
            let mut cut = delivery.key.as_ref().is_some_and(|key| cut_keys.contains(key));
            if let (Some(changed), Some(claim)) = (&guilty.changed, &delivery.claim) {
                cut |= claim.is_in(changed);
            }
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
                if guilty.given_up == Some(delivery.position()) {
                    stale.extend(guilty.unwritten.iter().cloned());
                    cut_keys.extend(delivery.key.clone());
                }
                if self.one_by_one {
                    self.solo.push_back(entry);
                } else {
                    self.fold(entry, false);
                }
                continue;
            }
            self.counts.reruns += 1;
            let mut delivery = entry.accepted.delivery;
            delivery.claim = None;
            if let Some(key) = &delivery.key {
                cut_keys.insert(key.clone());
                self.redo.entry(key.clone()).or_default().insert(delivery.position());
            }
            if delivery.from_row {
                self.rows.take_in_hand(&delivery.row_id(), delivery.position());
            }
            delivery.conflicts += u32::from(guilty.changed.is_some());
            again.push(delivery);
        }
        self.one_by_one &= !self.solo.is_empty();
        again
    }
}

/// Makes a dead letter of a delivery; answers which documents it would have written.
fn give_up(entries: &mut [Entry], position: Position, reason: Reason, error: &str) -> Vec<DocumentKey> {
    let mut unwritten = Vec::new();
    for entry in entries.iter_mut().filter(|entry| entry.accepted.delivery.position() == position) {
        if let Outcome::Handled(effects) = &entry.accepted.outcome {
            unwritten.extend(effects.writes.iter().map(|write| write.key.clone()));
        }
        entry.accepted.delivery.trouble = Some(error.to_owned());
        entry.accepted.outcome = Outcome::Dead { reason, path: Vec::new() };
        entry.accepted.delivery.claim = None;
        entry.bases.clear();
    }
    unwritten
}
