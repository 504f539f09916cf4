//! What was handled in one call goes into one commit, without those that failed or stand on something else by now.

use std::collections::{HashSet, VecDeque};

use tidings_core::{DocumentKey, Text, Witness};

use super::{Book, Entry, Turn, Verdict, size};
use crate::{
    Reason,
    delivery::{Accepted, Outcome},
    slots::Seen,
};

/// A delivery of a batch, and what becomes of it.
#[derive(Debug)]
pub(crate) struct Offered {
    pub accepted: Accepted,
    /// Where the handler returned `Ok`: its place in the call, and what it stands on. The outcome has no effects then.
    pub witness: Option<(usize, Witness)>,
}

/// Deliveries that were handled in one call, in order of position.
#[derive(Debug)]
pub(crate) struct Group {
    pub offered: VecDeque<Offered>,
    /// Which places of the call are in the book.
    pub accepted: Vec<bool>,
}

impl Offered {
    fn size(&self) -> (usize, usize) {
        match &self.witness {
            Some((_, witness)) => {
                let effects = &witness.effects;
                let payload = |event: &tidings_core::Outgoing| {
                    event.envelope.payload().map_or(0, |bytes| bytes.len() + 64)
                };
                (effects.events.len() + effects.writes.len() + 2, effects.events.iter().map(payload).sum())
            }
            None => size(&self.accepted),
        }
    }
}

/// What is known of a group while it is taken in.
struct Taking {
    group: u64,
    /// For each delivery, whether what it read before the batch is as it was.
    fresh: VecDeque<(bool, Vec<Option<u64>>)>,
    /// What the accepted of them write.
    written: HashSet<DocumentKey>,
    /// Keys of which one has to run again: so have those after it.
    cut: HashSet<Text>,
}

impl Book {
    /// Offers what was handled together. Answers for each; what there is no room for is given back.
    ///
    /// All of it goes into one commit. Only what is more than one commit may hold goes into several.
    pub(crate) fn accept_together(&mut self, mut group: Group) -> (Vec<Verdict>, Option<Group>) {
        let only = match group.offered.iter().next() {
            Some(first) if group.offered.len() == 1 => Some(first.accepted.delivery.position()),
            _ => None,
        };
        if self.one_by_one || self.alone.is_some_and(|alone| only != Some(alone)) {
            return (Vec::new(), Some(group));
        }
        let mut fits = 0;
        let (mut writes, mut bytes) = (self.open_writes, self.open_bytes);
        for one in &group.offered {
            let (more_writes, more_bytes) = one.size();
            writes += more_writes + 1;
            bytes += more_bytes;
            let is_over = self.open.len() + fits >= self.config.batch
                || writes + 4 > self.config.writes
                || bytes > self.config.bytes;
            if is_over {
                break;
            }
            fits += 1;
        }
        if fits < group.offered.len() && !self.open.is_empty() {
            return (Vec::new(), Some(group));
        }
        let rest = group.offered.split_off(fits.max(1).min(group.offered.len()));
        if !rest.is_empty() {
            let left = rest.len();
            tracing::warn!(subscription = %self.name, left, "a batch is more than one commit may hold");
        }
        self.groups += 1;
        let mut taking = Taking {
            group: self.groups,
            fresh: group.offered.iter().map(|one| self.look(one)).collect(),
            written: HashSet::new(),
            cut: HashSet::new(),
        };
        let mut verdicts = Vec::new();
        for one in std::mem::take(&mut group.offered) {
            verdicts.push(self.take(one, &mut taking, &mut group.accepted));
        }
        let rest = (!rest.is_empty()).then_some(Group { offered: rest, ..group });
        (verdicts, rest)
    }

    /// Whether what a delivery read before the batch is as it was, and the versions that stands on; before anything of
    /// the batch is taken in.
    fn look(&mut self, one: &Offered) -> (bool, Vec<Option<u64>>) {
        let Some((_, witness)) = &one.witness else { return (true, Vec::new()) };
        let reads = &witness.effects.reads;
        let fresh = self.slots.check(reads) == Seen::Fresh;
        let bases: Vec<_> = reads.iter().map(|(key, _)| self.slots.stands_on(key)).collect();
        if fresh {
            // Here, for others of the batch may change the document without having read it.
            reads
                .iter()
                .filter(|(key, _)| witness.rests_on_base(key))
                .for_each(|(key, _)| self.slots.read(key));
        }
        (fresh, bases)
    }

    fn take(&mut self, one: Offered, taking: &mut Taking, places: &mut [bool]) -> Verdict {
        let (writes, bytes) = one.size();
        let Offered { mut accepted, witness } = one;
        let (fresh, mut bases) = taking.fresh.pop_front().unwrap_or_default();
        let position = accepted.delivery.position();
        let key = accepted.delivery.key.clone();
        let earlier = key.as_ref().and_then(|key| self.redo.get(key)?.first());
        if earlier.is_some_and(|first| *first < position)
            || key.as_ref().is_some_and(|key| taking.cut.contains(key))
        {
            taking.cut.extend(key);
            self.not_alone(position);
            return Verdict::Behind(Box::new(accepted.delivery));
        }
        let mut done = None;
        match (self.turn(&accepted.delivery), witness) {
            (Turn::Gone, _) => {
                self.gone(&accepted.delivery);
                return Verdict::Gone;
            }
            (Turn::Behind, _) => accepted.outcome = Outcome::Follow,
            (Turn::Now, witness) => done = witness,
        }
        if writes + 4 > self.config.writes || bytes > self.config.bytes {
            let limit = format!("{} writes and {} bytes", self.config.writes, self.config.bytes);
            let trouble = format!("its commit has {writes} writes and {bytes} bytes, more than {limit}");
            accepted.delivery.trouble = Some(trouble);
            accepted.outcome = Outcome::Dead { reason: Reason::Refused, path: Vec::new() };
            done = None;
        }
        if matches!(accepted.outcome, Outcome::Follow) && self.rows.get(&accepted.delivery.row_id()).is_none()
        {
            // The key is free again: it has nobody to follow.
            taking.cut.extend(key);
            return Verdict::Stale(Box::new(accepted.delivery));
        }
        if let Some((place, witness)) = done {
            if !fresh || !witness.stands(places, &taking.written) {
                self.counts.reruns += 1;
                accepted.delivery.conflicts += 1;
                taking.cut.extend(key);
                return Verdict::Stale(Box::new(accepted.delivery));
            }
            let (mut effects, of_batch) = witness.into_parts();
            if let Err(failure) = self.slots.check_writes(&effects.writes) {
                accepted.delivery.trouble = Some(failure.describe());
                accepted.outcome = Outcome::Dead { reason: Reason::Permanent, path: Vec::new() };
            } else {
                // These stand on deliveries before it.
                bases.extend(of_batch.iter().map(|_| None));
                effects.reads.extend(of_batch.into_iter().map(|key| (key, 0)));
                taking.written.extend(effects.writes.iter().map(|write| write.key.clone()));
                accepted.outcome = Outcome::Handled(effects);
                if let Some(accepted) = places.get_mut(place) {
                    *accepted = true;
                }
            }
        }
        if !matches!(accepted.outcome, Outcome::Handled(_)) {
            bases.clear();
        }
        self.done_again(&accepted.delivery);
        self.fold(Entry { accepted, bases, group: Some(taking.group) }, true);
        Verdict::Accepted
    }

    /// Whether a delivery of this key has to run before the one at `position`, and is on its way.
    pub(crate) fn is_behind(&self, key: &str, position: tidings_core::Position) -> bool {
        self.redo.get(key).and_then(|waiting| waiting.first()).is_some_and(|first| *first < position)
    }
}
