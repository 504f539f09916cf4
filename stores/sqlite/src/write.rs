//! The writes of a commit that has passed its checks.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection};
use tidings_core::{Append, Commit, Tenant, Text, Timestamp};
use tidings_store::{Applied, Error, Recorded};

use crate::{
    caches::{Caches, Generations, stream_head, stream_id},
    codec, documents,
    fault::Step,
    ids::Identity,
    marks, pages, search, sql,
};

/// A stream and the version of its last event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamHead {
    pub(crate) id: i64,
    pub(crate) version: i64,
}

/// Where the log ends, in memory: true within a transaction in which nobody else has written since it was read.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) head: i64,
    recorded: i64,
    revision: i64,
    revision_written: i64,
    /// No id has a larger key.
    pub(crate) largest_id_key: i64,
    streams: Generations<(i64, Text), StreamHead>,
    /// Event times of the blocks written to, not in the file yet.
    zones: BTreeMap<i64, (i64, i64)>,
    /// What has been written in the open transaction.
    pub(crate) fresh: Vec<(Tenant, Recorded)>,
    header: Vec<u8>,
}

/// Streams whose version is remembered.
const STREAMS: usize = 131_072;

impl Log {
    pub(crate) fn read(conn: &Connection) -> Step<Self> {
        let mut statement = conn.prepare_cached(sql::LAST_RECORDED)?;
        let mut rows = statement.query([])?;
        let (head, recorded) = match rows.next()? {
            None => (0, i64::MIN),
            Some(row) => (row.get(0)?, row.get(1)?),
        };
        let revision = conn.prepare_cached(sql::REVISION)?.query_row([], |row| row.get(0))?;
        let largest: Option<i64> =
            conn.prepare_cached(sql::LARGEST_ID_KEY)?.query_row([], |row| row.get(0))?;
        Ok(Self {
            head,
            recorded,
            revision,
            revision_written: revision,
            largest_id_key: largest.unwrap_or(i64::MIN),
            streams: Generations::holding(STREAMS),
            zones: BTreeMap::new(),
            fresh: Vec::new(),
            header: Vec::new(),
        })
    }

    /// The head of a stream, if it has events.
    pub(crate) fn stream(
        &mut self,
        conn: &Connection,
        tenant: i64,
        stream: &Text,
    ) -> Step<Option<StreamHead>> {
        let key = (tenant, stream.clone());
        if let Some(head) = self.streams.get(&key) {
            return Ok(Some(head));
        }
        let Some(id) = stream_id(conn, tenant, stream)? else { return Ok(None) };
        let head = StreamHead { id, version: stream_head(conn, id)? };
        self.streams.put(key, head);
        Ok(Some(head))
    }

    /// Writes what is kept back until the transaction ends, because several commits change it.
    pub(crate) fn flush(&mut self, conn: &Connection) -> Step<()> {
        for (block, (low, high)) in std::mem::take(&mut self.zones) {
            conn.prepare_cached(sql::WIDEN_ZONE)?.execute((block, low, high))?;
        }
        if self.revision != self.revision_written {
            conn.prepare_cached(sql::SET_REVISION)?.execute([self.revision])?;
            self.revision_written = self.revision;
        }
        Ok(())
    }

    fn widen(&mut self, position: i64, at: i64) {
        let zone = self.zones.entry(pages::block(position)).or_insert((at, at));
        *zone = (zone.0.min(at), zone.1.max(at));
    }
}

/// The statements an event needs, held for a whole transaction.
struct Inserts<'c> {
    event: CachedStatement<'c>,
    id: CachedStatement<'c>,
    term: CachedStatement<'c>,
}

impl<'c> Inserts<'c> {
    fn prepare(conn: &'c Connection) -> Step<Self> {
        Ok(Self {
            event: conn.prepare_cached(sql::INSERT_EVENT)?,
            id: conn.prepare_cached(sql::INSERT_ID)?,
            term: conn.prepare_cached(sql::INSERT_TERM)?,
        })
    }
}

/// The values of the documents a commit writes: made before anything is changed, because they may be refused.
pub(crate) fn values(conn: &Connection, commit: &Commit) -> Step<Vec<Option<Bytes>>> {
    for event in commit.appends.iter().flat_map(|append| &append.events) {
        event.payload().map_err(|error| Error::Refused(error.to_string()))?;
    }
    commit.documents.iter().map(|write| documents::value(conn, &commit.tenant.0, write)).collect()
}

/// Writes a commit whose checks have passed.
pub(crate) fn write(
    conn: &Connection,
    caches: &mut Caches,
    log: &mut Log,
    commit: &Commit,
    identities: &[Identity],
    values: &[Option<Bytes>],
    now: Timestamp,
) -> Step<Applied> {
    let tenant = &commit.tenant.0;
    let mut applied = Applied::default();
    if !identities.is_empty() {
        log.recorded = log.recorded.max(now.as_micros());
        applied.first = log.head as u64 + 1;
        applied.last = log.head as u64 + identities.len() as u64;
        let tenant_id = caches.intern_tenant(conn, tenant)?;
        let mut inserts = Inserts::prepare(conn)?;
        let mut identities = identities.iter();
        for append in &commit.appends {
            let span = (applied.first as i64, applied.last as i64);
            let mut appending = Appending { conn, caches, log, tenant_id, tenant: &commit.tenant, span };
            applied.version = appending.append(&mut inserts, append, &mut identities)? as u64;
        }
    }
    if !commit.documents.is_empty() {
        log.revision += 1;
        applied.revision = log.revision as u64;
    }
    for (write, value) in commit.documents.iter().zip(values) {
        documents::write(conn, tenant, write, value.as_ref(), log.revision)?;
    }
    for moved in &commit.checkpoints {
        marks::move_checkpoint(conn, moved)?;
    }
    for change in &commit.due {
        marks::change_due(conn, tenant, change)?;
    }
    for change in &commit.blobs {
        marks::change_blob(conn, tenant, change)?;
    }
    Ok(applied)
}

struct Appending<'a> {
    conn: &'a Connection,
    caches: &'a mut Caches,
    log: &'a mut Log,
    tenant_id: i64,
    tenant: &'a Tenant,
    /// The first and last position of the whole commit.
    span: (i64, i64),
}

impl Appending<'_> {
    /// Writes the events of one append and answers the stream's version.
    fn append<'i>(
        &mut self,
        inserts: &mut Inserts<'_>,
        append: &Append,
        identities: &mut impl Iterator<Item = &'i Identity>,
    ) -> Step<i64> {
        let mut head = match self.log.stream(self.conn, self.tenant_id, &append.stream)? {
            Some(head) => head,
            None => {
                self.conn.prepare_cached(sql::INSERT_STREAM)?.execute((self.tenant_id, &*append.stream))?;
                StreamHead { id: self.conn.last_insert_rowid(), version: 0 }
            }
        };
        for (event, identity) in append.events.iter().zip(identities) {
            head.version += 1;
            self.log.head += 1;
            let recorded = Recorded {
                position: self.log.head as u64,
                version: head.version as u64,
                recorded: Timestamp::from_micros(self.log.recorded),
                stream: append.stream.clone(),
                envelope: event.clone(),
            };
            self.insert(inserts, head.id, &recorded, *identity)?;
            self.log.fresh.push((self.tenant.clone(), recorded));
        }
        self.log.streams.put((self.tenant_id, append.stream.clone()), head);
        Ok(head.version)
    }

    fn insert(
        &mut self,
        inserts: &mut Inserts<'_>,
        stream_id: i64,
        recorded: &Recorded,
        identity: Identity,
    ) -> Step<()> {
        let event = &recorded.envelope;
        let (position, version) = (recorded.position as i64, recorded.version as i64);
        let at_recording = recorded.recorded.as_micros();
        let name_id = self.caches.intern_name(self.conn, self.tenant_id, event.name())?;
        let source_id = self.caches.intern_source(self.conn, event.source())?;
        let payload = event.payload().map_err(|error| Error::Refused(error.to_string()))?;
        let time = event.time().map(|time| time.at().as_micros());
        let header = &mut self.log.header;
        codec::encode(header, event, &recorded.stream, source_id);
        let content = codec::content_hash(header, payload, stream_id, name_id, time);
        let sum = codec::checksum(content, position, version, at_recording);
        header[..codec::CHECKSUM].copy_from_slice(&sum);
        inserts.event.execute((
            position,
            stream_id,
            version,
            name_id,
            at_recording,
            time.map(|time| time.wrapping_sub(at_recording)),
            &**header,
            &**payload,
        ))?;
        self.remember(inserts, position, identity, content)?;
        inserts.term.execute((name_id, position))?;
        let mut written = Ok(0);
        search::terms(self.tenant_id, &recorded.stream, event, |term| {
            if written.is_ok() {
                written = inserts.term.execute((term, position));
            }
        });
        written?;
        self.log.widen(position, time.unwrap_or(at_recording));
        Ok(())
    }

    /// Remembers an id under the first free key.
    fn remember(
        &mut self,
        inserts: &mut Inserts<'_>,
        position: i64,
        identity: Identity,
        content: u64,
    ) -> Step<()> {
        let (before, after) = (position - self.span.0, self.span.1 - position);
        let evidence = identity.evidence(content);
        let mut key = identity.key;
        while inserts.id.execute((key, position, before, after, evidence))? == 0 {
            key = key.wrapping_add(1);
        }
        self.log.largest_id_key = self.log.largest_id_key.max(key);
        Ok(())
    }
}
