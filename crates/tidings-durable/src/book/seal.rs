//! From deliveries that are accepted to one commit.

use bytes::Bytes;
use tidings_core::{
    CheckpointMove, Commit, DocumentChange, DocumentKey, DocumentWrite, DueChange, DueRow, Fence, Text,
};

use super::{Book, lease_name, rows_namespace};
use crate::{
    DeadLetter,
    dead::{DEAD_FIELDS, dead_namespace},
    delivery::Outcome,
    schedule::SCHEDULE,
    suspects::RUNS,
};

/// A commit, and what to remember about it.
pub(crate) struct Sealed {
    pub commit: Commit,
    pub published: Vec<tidings_core::Envelope>,
    /// A handler wants something of it written: refused, it can be given up.
    pub effects: bool,
}

impl Book {
    /// Makes the next commit of everything that is open. Only when no commit is on its way.
    pub(crate) fn seal(&mut self) -> Sealed {
        debug_assert!(!self.in_flight, "one commit at a time");
        let (documents, reads) = loop {
            if self.open.is_empty()
                && let Some(entry) = self.solo.pop_front()
            {
                let group = entry.group;
                self.fold(entry, false);
                // What was handled together is committed together.
                while let Some(next) = self.solo.pop_front_if(|next| group.is_some() && next.group == group) {
                    self.fold(next, false);
                }
            }
            match self.slots.seal() {
                Ok(sealed) => break sealed,
                Err((key, failure)) => self.spoil(&key, &failure.describe()),
            }
        };
        let (watermark, settled) = self.window.checkpoint();
        let mut commit = Commit { tenant: self.config.tenant.clone(), documents, reads, ..Commit::default() };
        commit.fences.push(Fence { lease: lease_name(&self.name), epoch: self.epoch });
        let (mut published, mut has_effects) = (Vec::new(), false);
        for entry in &self.open {
            let Outcome::Handled(effects) = &entry.accepted.outcome else { continue };
            has_effects = true;
            if let Some(claim) = &entry.accepted.delivery.claim {
                claim.finish(self.now, &mut commit);
            }
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
            let value = letter.as_ref().map(|letter| {
                serde_json::to_vec(&**letter).map(Bytes::from).expect("a letter is plain data")
            });
            self.dead_committing.insert(position, letter);
            let id = DeadLetter::document_id(position);
            commit.documents.push(plain(dead_namespace(&self.name), id, value, &DEAD_FIELDS));
        }
        if let Some(run) = self.run.take() {
            commit.documents.push(plain(RUNS.into(), self.name.clone(), Some(run), &[]));
        }
        commit.checkpoints.push(CheckpointMove {
            name: self.name.clone(),
            expected_revision: self.revision,
            watermark,
            settled,
        });
        self.committing = std::mem::take(&mut self.open);
        (self.open_bytes, self.open_writes) = (0, 0);
        self.in_flight = true;
        self.counts_committed = self.counts_sealed;
        self.counts_sealed = self.counts;
        self.keeping = std::mem::take(&mut self.kept);
        Sealed { commit, published, effects: has_effects }
    }
}

fn plain(namespace: Text, id: Text, value: Option<Bytes>, indexed: &[&str]) -> DocumentWrite {
    DocumentWrite {
        key: DocumentKey { namespace, id },
        change: value.map_or(DocumentChange::Delete, DocumentChange::Put),
        indexed: indexed.iter().map(|field| Text::from(*field)).collect(),
        expected: None,
    }
}
