//! What is wrong with a commit whatever the state of the store: one place for every engine.

use std::collections::HashSet;

use tidings_core::{
    COMMIT_BYTES_MAX, Commit, DOCUMENT_ID_BYTES_MAX, DueChange, Envelope, PAYLOAD_BYTES_MAX, TEXT_BYTES_MAX,
    WRITES_MAX,
};

use crate::Error;

/// Limits an engine keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most writes in one commit.
    pub writes: usize,
    /// The most bytes in one commit.
    pub bytes: usize,
    /// The largest payload, in bytes.
    pub payload_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { writes: WRITES_MAX, bytes: COMMIT_BYTES_MAX, payload_bytes: PAYLOAD_BYTES_MAX }
    }
}

/// Checks a commit on its own.
///
/// # Errors
/// The first fault.
pub fn check(commit: &Commit, limits: &Limits) -> Result<(), Error> {
    let writes = commit.writes();
    if writes > limits.writes {
        return Err(too_large("a commit", format!("{writes} writes"), format!("{} writes", limits.writes)));
    }
    let refused = |why: String| Err(Error::Refused(why));
    let mut ids = HashSet::new();
    for append in &commit.appends {
        if append.events.is_empty() {
            return refused(format!("an append to {} without events", append.stream));
        }
        if append.stream.is_empty() || append.stream.len() > TEXT_BYTES_MAX {
            return refused(format!("a stream's name has 1 to {TEXT_BYTES_MAX} bytes"));
        }
        for event in &append.events {
            check_event(event, limits)?;
            if !ids.insert((event.source(), event.id())) {
                return Err(Error::IdReused { id: event.id().clone(), source_uri: event.source().clone() });
            }
        }
    }
    let mut documents = HashSet::new();
    for write in &commit.documents {
        if !documents.insert(&write.key) {
            return refused(format!("document {}/{} is written twice", write.key.namespace, write.key.id));
        }
        if write.key.namespace.is_empty()
            || write.key.id.is_empty()
            || write.key.id.len() > DOCUMENT_ID_BYTES_MAX
        {
            return refused(format!(
                "a document's id has 1 to {DOCUMENT_ID_BYTES_MAX} bytes, its namespace at least 1"
            ));
        }
    }
    let mut names = HashSet::new();
    for checkpoint in &commit.checkpoints {
        if !names.insert(&checkpoint.name) {
            return refused(format!("checkpoint {} is moved twice", checkpoint.name));
        }
        let settled = &checkpoint.settled;
        let ascending = settled.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || settled.first().is_some_and(|first| *first <= checkpoint.watermark) {
            return refused(format!(
                "checkpoint {}: settled positions must ascend above the watermark",
                checkpoint.name
            ));
        }
    }
    let mut taken = HashSet::new();
    for change in &commit.due {
        if let DueChange::Take { queue, id } = change
            && !taken.insert((queue, id))
        {
            return refused(format!("row {id} of queue {queue} is taken twice"));
        }
    }
    let bytes = commit.bytes();
    if bytes > limits.bytes {
        return Err(too_large("a commit", format!("{bytes} bytes"), format!("{} bytes", limits.bytes)));
    }
    Ok(())
}

fn check_event(event: &Envelope, limits: &Limits) -> Result<(), Error> {
    let payload = event.payload().map_err(|error| Error::Refused(error.to_string()))?;
    if payload.len() > limits.payload_bytes {
        let what = format!("event {} ({})", event.id(), event.name());
        return Err(too_large(
            &what,
            format!("{} bytes", payload.len()),
            format!("{} bytes", limits.payload_bytes),
        ));
    }
    Ok(())
}

fn too_large(what: &str, size: String, limit: String) -> Error {
    Error::TooLarge { what: what.to_owned(), size, limit }
}
