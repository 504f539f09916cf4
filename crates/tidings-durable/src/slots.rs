//! Documents in memory: what handlers read and write before it is committed.
//!
//! A slot holds a document as the deliveries accepted so far leave it. Reads carry a stamp; a delivery is accepted only
//! while every stamp it saw is still the newest. Changes of many deliveries to one document become one write.

use std::sync::{Arc, LazyLock};

use ahash::AHashMap;
use tidings_core::{
    BlindChange, Change, DocumentChange, DocumentKey, DocumentRead, DocumentValue, DocumentWrite, Failure,
    Handled, Text, Write, apply_blind,
};
use tidings_store::Document;

/// A document, and what is to be done to it.
#[derive(Debug)]
struct Slot {
    /// The value as accepted deliveries leave it; `None` when it is not known here.
    value: Option<Option<DocumentValue>>,
    /// Changes whenever the value does; never the same again.
    stamp: u64,
    /// The version in the store the value stands on; `None` when it is not known.
    base: Option<u64>,
    /// What the next commit writes.
    open: Open,
    /// The version the next commit must find, because a delivery has read it.
    expected: Option<u64>,
    /// What the commit on its way does to it.
    committing: Committing,
    /// A delivery has read what the commit on its way writes: the next commit must find just that.
    expect_committing: bool,
    /// It is on the list of slots the next commit has to do with.
    touched: bool,
    /// The number of the last commit that had to do with it.
    used: u64,
}

impl Slot {
    fn new(value: Option<Option<DocumentValue>>, stamp: u64, base: Option<u64>, used: u64) -> Self {
        Self {
            value,
            stamp,
            base,
            open: Open::Nothing,
            expected: None,
            committing: Committing::Nothing,
            expect_committing: false,
            touched: false,
            used,
        }
    }

    fn is_clean(&self) -> bool {
        matches!(self.open, Open::Nothing) && self.committing == Committing::Nothing
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Committing {
    Nothing,
    Put,
    Delete,
    Blind,
}

#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    Put {
        indexed: &'static [&'static str],
    },
    Delete,
    Blind {
        changes: Vec<BlindChange>,
        indexed: &'static [&'static str],
    },
}

/// What a delivery that wants to be accepted has to hear.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Fresh,
    Stale,
}

#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: AHashMap<DocumentKey, Slot>,
    /// Slots the next commit has to do with.
    touched: Vec<DocumentKey>,
    /// Slots the commit on its way writes.
    sealed: Vec<DocumentKey>,
    stamps: u64,
    /// Counts sealed commits.
    commits: u64,
    most: usize,
}

impl Slots {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// The value and its stamp, if they are known.
    pub(crate) fn get(&mut self, key: &DocumentKey) -> Option<(Option<DocumentValue>, u64)> {
        let commits = self.commits;
        let slot = self.slots.get_mut(key)?;
        slot.used = commits;
        Some((slot.value.clone()?, slot.stamp))
    }

    /// Whether the value can only be known after a commit, because a blind change is on its way.
    pub(crate) fn is_blind(&self, key: &DocumentKey) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.value.is_none())
    }

    /// Takes in what the store has, unless the slot knows better by now.
    pub(crate) fn load(&mut self, key: &DocumentKey, found: Option<Document>) {
        if self.slots.contains_key(key) {
            return;
        }
        self.stamps += 1;
        let base = found.as_ref().map_or(0, |document| document.version);
        let value = Some(found.map(|document| DocumentValue::Json(document.value)));
        self.slots.insert(key.clone(), Slot::new(value, self.stamps, Some(base), self.commits));
    }

    /// Whether everything that was read is still as it was.
    pub(crate) fn check(&self, reads: &[(DocumentKey, u64)]) -> Seen {
        let fresh = reads.iter().all(|(key, stamp)| {
            self.slots.get(key).is_some_and(|slot| slot.stamp == *stamp && slot.value.is_some())
        });
        if fresh { Seen::Fresh } else { Seen::Stale }
    }

    /// The read becomes a condition of the next commit, unless an accepted delivery has written the document.
    pub(crate) fn read(&mut self, key: &DocumentKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if !matches!(slot.open, Open::Nothing) || slot.expected.is_some() {
            return;
        }
        if slot.committing == Committing::Nothing {
            slot.expected = slot.base;
        } else {
            slot.expect_committing = true;
        }
        touch(&mut self.touched, key, slot);
    }

    /// A read whose value is not here any more, only the version it stood on.
    pub(crate) fn read_at(&mut self, key: &DocumentKey, base: u64) {
        let commits = self.commits;
        let slot = self.slots.entry(key.clone()).or_insert_with(|| Slot::new(None, 0, None, commits));
        if slot.is_clean() && slot.expected.is_none() {
            slot.base = Some(base);
        }
        // Also where one of the same batch changed it without having read it: then it is what both stand on.
        if slot.expected.is_none() && slot.committing == Committing::Nothing {
            slot.expected = Some(base);
        }
        touch(&mut self.touched, key, slot);
    }

    /// The version in the store a read of `key` stands on; `None` when it stands on a delivery before it.
    pub(crate) fn stands_on(&self, key: &DocumentKey) -> Option<u64> {
        self.slots.get(key).filter(|slot| slot.is_clean())?.base
    }

    /// Whether `writes` can be taken in.
    ///
    /// # Errors
    /// A blind change that does not fit the value it would be applied to.
    pub(crate) fn check_writes(&self, writes: &[Write]) -> Handled {
        for write in writes {
            let Change::Blind(more) = &write.change else { continue };
            let Some(slot) = self.slots.get(&write.key) else { continue };
            if let (Open::Put { .. } | Open::Delete, Some(value)) = (&slot.open, &slot.value) {
                let json = value.as_ref().map(DocumentValue::json).transpose()?;
                apply_blind(json.as_deref(), more).map_err(refused)?;
            }
        }
        Ok(())
    }

    /// Takes in what an accepted delivery writes.
    ///
    /// # Errors
    /// As [`check_writes`](Self::check_writes).
    pub(crate) fn write(&mut self, write: &Write) -> Handled {
        self.stamps += 1;
        let (stamp, commits, indexed) = (self.stamps, self.commits, write.indexed);
        let slot = self.slots.entry(write.key.clone()).or_insert_with(|| Slot::new(None, 0, None, commits));
        slot.stamp = stamp;
        slot.used = commits;
        touch(&mut self.touched, &write.key, slot);
        match &write.change {
            Change::Put(value) => {
                slot.value = Some(Some(value.clone()));
                slot.open = Open::Put { indexed };
            }
            Change::Delete => {
                slot.value = Some(None);
                slot.open = Open::Delete;
            }
            Change::Blind(more) => match (&mut slot.open, &mut slot.value) {
                (Open::Blind { changes, .. }, _) => fold_blind(changes, more),
                (Open::Put { .. } | Open::Delete, Some(value)) => {
                    let json = value.as_ref().map(DocumentValue::json).transpose()?;
                    let json = apply_blind(json.as_deref(), more).map_err(refused)?;
                    *value = Some(DocumentValue::Json(json));
                    slot.open = Open::Put { indexed };
                }
                _ => {
                    slot.value = None;
                    slot.open = Open::Blind { changes: more.clone(), indexed };
                }
            },
        }
        Ok(())
    }

    /// The writes and conditions of the next commit.
    ///
    /// # Errors
    /// A value that cannot be written as JSON, with its document.
    pub(crate) fn seal(&mut self) -> Result<(Vec<DocumentWrite>, Vec<DocumentRead>), (DocumentKey, Failure)> {
        self.commits += 1;
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        for key in std::mem::take(&mut self.touched) {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            slot.touched = false;
            slot.used = self.commits;
            let expected = slot.expected.take();
            let (change, committing, indexed) = match std::mem::take(&mut slot.open) {
                Open::Nothing => {
                    if slot.value.is_none() {
                        self.slots.remove(&key);
                    }
                    if let Some(version) = expected {
                        reads.push(DocumentRead { key, version });
                    }
                    continue;
                }
                Open::Delete => (DocumentChange::Delete, Committing::Delete, &[][..]),
                Open::Blind { changes, indexed } => {
                    (DocumentChange::Blind(changes), Committing::Blind, indexed)
                }
                Open::Put { indexed } => {
                    let json = match &slot.value {
                        Some(Some(value)) => value.json(),
                        _ => Err(Failure::permanent("a document without a value")),
                    };
                    match json {
                        Ok(json) => (DocumentChange::Put(json), Committing::Put, indexed),
                        Err(failure) => return Err((key, failure)),
                    }
                }
            };
            slot.committing = committing;
            let indexed = fields(indexed);
            self.sealed.push(key.clone());
            writes.push(DocumentWrite { key, change, indexed, expected });
        }
        Ok((writes, reads))
    }

    /// The commit on its way has been applied; what it wrote has this version now.
    pub(crate) fn committed(&mut self, revision: u64) {
        for key in std::mem::take(&mut self.sealed) {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let was = std::mem::replace(&mut slot.committing, Committing::Nothing);
            slot.base = Some(if was == Committing::Delete { 0 } else { revision });
            if std::mem::take(&mut slot.expect_committing) {
                slot.expected = slot.base;
            }
            // After a blind change the store knows the value, and nobody here does.
            if slot.value.is_none() && matches!(slot.open, Open::Nothing) {
                self.slots.remove(&key);
            }
        }
        if self.slots.len() > self.most {
            let commits = self.commits;
            self.slots.retain(|_, slot| slot.touched || slot.used + 1 >= commits);
        }
    }

    /// Forgets everything, so that it is read again.
    pub(crate) fn reset(&mut self) {
        self.slots.clear();
        self.touched.clear();
        self.sealed.clear();
    }
}

/// The names of indexed fields; for the many documents that have none, always the same nothing.
fn fields(indexed: &[&str]) -> Arc<[Text]> {
    static NONE: LazyLock<Arc<[Text]>> = LazyLock::new(|| Arc::from([]));
    if indexed.is_empty() { NONE.clone() } else { indexed.iter().map(|field| Text::from(*field)).collect() }
}

fn touch(touched: &mut Vec<DocumentKey>, key: &DocumentKey, slot: &mut Slot) {
    if !std::mem::replace(&mut slot.touched, true) {
        touched.push(key.clone());
    }
}

fn refused(error: tidings_core::BlindError) -> Failure {
    Failure::permanent(error.to_string())
}

/// Appends changes, adding up what can be added up.
fn fold_blind(changes: &mut Vec<BlindChange>, more: &[BlindChange]) {
    for change in more {
        match (changes.last_mut(), change) {
            (Some(BlindChange::Add { field, by }), BlindChange::Add { field: same, by: add })
                if field == same && by.checked_add(*add).is_some() =>
            {
                *by += add;
            }
            (Some(BlindChange::Max { field, to }), BlindChange::Max { field: same, to: most })
                if field == same =>
            {
                *to = (*to).max(*most);
            }
            _ => changes.push(change.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
