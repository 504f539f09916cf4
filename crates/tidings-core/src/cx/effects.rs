//! What a handler asked for, as a value.

use crate::{BlindChange, DocumentKey, DocumentValue, Envelope, Failure, Handled, Timestamp, apply_blind};

/// Everything a handler asked for, in order.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// Events to publish.
    pub events: Vec<Outgoing>,
    /// Documents read, with the stamp of what was seen.
    pub reads: Vec<(DocumentKey, u64)>,
    /// Documents to write; at most one entry a document.
    pub writes: Vec<Write>,
}

/// An event a handler published.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The event.
    pub envelope: Envelope,
    /// When to publish it, if not at once.
    pub due: Option<Timestamp>,
}

/// A document a handler wrote.
#[derive(Debug, Clone)]
pub struct Write {
    /// Which.
    pub key: DocumentKey,
    /// What.
    pub change: Change,
    /// Top-level fields to keep an index on.
    pub indexed: &'static [&'static str],
}

/// What a handler does to a document.
#[derive(Debug, Clone)]
pub enum Change {
    /// Replaces it.
    Put(DocumentValue),
    /// Removes it.
    Delete,
    /// Changes it without having read it.
    Blind(Vec<BlindChange>),
}

impl Change {
    /// This, and after it `later`.
    ///
    /// # Errors
    /// A blind change that does not fit the value it would be applied to.
    pub fn then(&mut self, later: Self) -> Handled {
        let blind = |json: Option<&[u8]>, changes: &[BlindChange]| {
            let json = apply_blind(json, changes).map_err(|error| Failure::permanent(error.to_string()))?;
            Ok::<_, Failure>(Self::Put(DocumentValue::Json(json)))
        };
        match (&mut *self, later) {
            (Self::Blind(first), Self::Blind(more)) => first.extend(more),
            (Self::Put(value), Self::Blind(more)) => *self = blind(Some(&value.json()?), &more)?,
            (Self::Delete, Self::Blind(more)) => *self = blind(None, &more)?,
            (_, later) => *self = later,
        }
        Ok(())
    }
}

impl Effects {
    /// These, and after them `later`: as if one handler had asked for all.
    ///
    /// # Errors
    /// A blind change that does not fit the value it would be applied to; or a document that was read twice and was
    /// not the same. Then nothing of `later` may be committed, nor of these.
    pub fn then(&mut self, later: Self) -> Handled {
        for (key, stamp) in later.reads {
            match self.reads.iter().find(|(seen, _)| *seen == key) {
                Some((_, seen)) if *seen != stamp => {
                    let DocumentKey { namespace, id } = key;
                    return Err(Failure::transient(format!("document {namespace}/{id} changed in between")));
                }
                Some(_) => {}
                None => self.reads.push((key, stamp)),
            }
        }
        for write in later.writes {
            match self.writes.iter_mut().find(|other| other.key == write.key) {
                Some(other) => other.change.then(write.change)?,
                None => self.writes.push(write),
            }
        }
        self.events.extend(later.events);
        Ok(())
    }
}

/// Why effects must not be committed although the handler may have returned `Ok`.
#[derive(Debug, Clone)]
pub enum Refused {
    /// Something it asked for is not possible.
    Failure(Failure),
    /// It published at the end of a chain that is too long to be anything but a loop.
    Loop,
}
