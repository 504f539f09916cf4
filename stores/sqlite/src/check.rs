//! The checks of a commit, all of them before its first write, in the order the port states.

use std::collections::HashMap;

use rusqlite::Connection;
use tidings_core::{Commit, DueChange, Envelope, Expected, Text};
use tidings_store::{Applied, Error};

use crate::{
    caches::Caches,
    codec, decode,
    fault::Step,
    ids::{Identity, Known, reused},
    leases, marks, search,
    write::Log,
};

/// Checks `commit` against the store as it is in the open transaction. `Some` is the answer to a commit that was
/// applied before.
pub(crate) fn check(
    conn: &Connection,
    caches: &mut Caches,
    log: &mut Log,
    commit: &Commit,
    identities: &[Identity],
) -> Step<Option<Applied>> {
    for fence in &commit.fences {
        let actual = leases::epoch(conn, &fence.lease)?;
        if actual != fence.epoch {
            return Err(Error::Fenced { lease: fence.lease.clone(), epoch: fence.epoch, actual }.into());
        }
    }
    if let Some(answer) = repeated(conn, caches, log, commit, identities)? {
        return Ok(Some(answer));
    }
    for moved in &commit.checkpoints {
        let actual = marks::checkpoint_revision(conn, &moved.name)?;
        if actual != moved.expected_revision {
            let (name, expected) = (moved.name.clone(), moved.expected_revision);
            return Err(Error::CheckpointMoved { name, expected, actual }.into());
        }
    }
    check_versions(conn, caches, log, commit)?;
    for condition in &commit.conditions {
        // What lies behind the head is nothing, and needs no search.
        let Some(after) = i64::try_from(condition.after).ok().filter(|after| *after < log.head) else {
            continue;
        };
        let found = search::first_match(conn, caches, &commit.tenant.0, &condition.query, after)?;
        if let Some(position) = found {
            return Err(Error::Matched { position: position as u64, after: condition.after }.into());
        }
    }
    let reads = commit.reads.iter().map(|read| (&read.key, read.version));
    let writes = commit.documents.iter().filter_map(|write| Some((&write.key, write.expected?)));
    for (key, expected) in reads.chain(writes) {
        let actual = log.document(conn, &commit.tenant.0, key)?;
        if actual != expected {
            return Err(Error::DocumentChanged { key: key.clone(), expected, actual }.into());
        }
    }
    for change in &commit.due {
        if let DueChange::Take { queue, id } = change
            && !marks::due_exists(conn, &commit.tenant.0, queue, id)?
        {
            return Err(Error::DueTaken { queue: queue.clone(), id: id.clone() }.into());
        }
    }
    Ok(None)
}

fn check_versions(conn: &Connection, caches: &mut Caches, log: &mut Log, commit: &Commit) -> Step<()> {
    if commit.appends.iter().all(|append| append.expected == Expected::Any) {
        return Ok(());
    }
    let tenant = caches.tenant_id(conn, &commit.tenant.0)?;
    let mut versions: HashMap<&Text, u64> = HashMap::new();
    for append in &commit.appends {
        let actual = match (versions.get(&append.stream), tenant) {
            (Some(version), _) => *version,
            (None, None) => 0,
            (None, Some(tenant)) => {
                log.stream(conn, tenant, &append.stream)?.map_or(0, |head| head.version as u64)
            }
        };
        let holds = match append.expected {
            Expected::Any => true,
            Expected::None => actual == 0,
            Expected::Exact(version) => actual == version,
            Expected::Exists => actual > 0,
        };
        if !holds {
            let (stream, expected) = (append.stream.clone(), append.expected);
            return Err(Error::WrongVersion { stream, expected, actual }.into());
        }
        versions.insert(&append.stream, actual + append.events.len() as u64);
    }
    Ok(())
}

/// The answer to a commit whose ids are all known from one earlier append, or that none is known.
fn repeated(
    conn: &Connection,
    caches: &mut Caches,
    log: &mut Log,
    commit: &Commit,
    identities: &[Identity],
) -> Step<Option<Applied>> {
    let events =
        commit.appends.iter().flat_map(|append| append.events.iter().map(|event| (&append.stream, event)));
    let mut known: Option<(usize, Known, &Envelope)> = None;
    let mut of_one_append = true;
    for ((stream, event), identity) in events.zip(identities) {
        // Keys grow with time where ids do: what is beyond the largest cannot be known.
        if identity.key > log.largest_id_key {
            continue;
        }
        let Some(found) = find(conn, caches, &commit.tenant.0, event, *identity)? else { continue };
        if !is_same(conn, caches, &commit.tenant.0, &found, stream, event)? {
            return Err(reused(event.id(), event.source()).into());
        }
        match &mut known {
            None => known = Some((1, found, event)),
            Some((many, first, _)) => {
                *many += 1;
                of_one_append &= first.append == found.append;
            }
        }
    }
    let Some((many, Known { append: (first, last), .. }, event)) = known else { return Ok(None) };
    if many < identities.len() || !of_one_append {
        return Err(Error::PartlyKnown {
            known: many,
            given: identities.len(),
            id: event.id().clone(),
            source_uri: event.source().clone(),
        }
        .into());
    }
    // Once retention has removed the last event, its version is not known any more.
    let version = decode::event(conn, caches, last)?.map_or(0, |(_, event)| event.version);
    Ok(Some(Applied { repeated: true, first: first as u64, last: last as u64, version, revision: 0 }))
}

/// What is remembered of the event's id. Candidates whose event is still there are compared with it; one whose event
/// is gone is taken at the word of its hash.
pub(crate) fn find(
    conn: &Connection,
    caches: &mut Caches,
    tenant: &str,
    event: &Envelope,
    identity: Identity,
) -> Step<Option<Known>> {
    find_id(conn, caches, tenant, event.source(), event.id(), identity)
}

/// The same by source and id.
pub(crate) fn find_id(
    conn: &Connection,
    caches: &mut Caches,
    tenant: &str,
    source: &str,
    id: &str,
    identity: Identity,
) -> Step<Option<Known>> {
    for known in identity.look(conn)? {
        let is_it = match decode::event(conn, caches, known.position)? {
            None => true,
            Some((owner, found)) => {
                caches.tenant_id(conn, tenant)? == Some(owner)
                    && **found.envelope.source() == *source
                    && **found.envelope.id() == *id
            }
        };
        if is_it {
            return Ok(Some(known));
        }
    }
    Ok(None)
}

/// Whether a known id comes with the content it had.
fn is_same(
    conn: &Connection,
    caches: &mut Caches,
    tenant: &str,
    known: &Known,
    stream: &Text,
    event: &Envelope,
) -> Step<bool> {
    if let Some((_, before)) = decode::event(conn, caches, known.position)? {
        return Ok(before.envelope.same_content(event) && before.stream == *stream);
    }
    // The event is gone: its hash is compared, which needs the numbers its texts had.
    let Some(tenant) = caches.tenant_id(conn, tenant)? else { return Ok(false) };
    let stream_id = crate::caches::stream_id(conn, tenant, stream)?;
    let name_id = caches.name_id(conn, tenant, event.name())?;
    let source_id = caches.source_id(conn, event.source())?;
    let (Some(stream_id), Some(name_id), Some(source_id)) = (stream_id, name_id, source_id) else {
        return Ok(false);
    };
    let mut header = Vec::new();
    codec::encode(&mut header, event, stream, source_id);
    let payload = event.payload().map_err(|error| Error::Refused(error.to_string()))?;
    let time = event.time().map(|time| time.at().as_micros());
    Ok(codec::content_hash(&header, payload, stream_id, name_id, time) as u32 == known.content)
}
