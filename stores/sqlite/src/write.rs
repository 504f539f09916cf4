//! The writes of a commit that has passed its checks.

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection};
use tidings_core::{Append, Commit, DocumentKey, Tenant, Text, Timestamp};
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

impl StreamHead {
    /// A stream that is known not to be there.
    const NONE: Self = Self { id: 0, version: 0 };

    fn exists(self) -> bool {
        self.id != Self::NONE.id
    }
}

/// The event times of the block the log is in, as far as they are known without looking.
#[derive(Debug, Clone, Copy)]
struct Zone {
    block: i64,
    low: i64,
    high: i64,
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
    /// Versions of documents, 0 of those that are not there.
    documents: Generations<(Text, DocumentKey), u64>,
    /// `None` when the block was begun by somebody else.
    zone: Option<Zone>,
    /// Blocks that are complete and not in the file yet.
    blocks: Vec<(i64, Option<Zone>)>,
    /// What has been written in the open transaction.
    pub(crate) fresh: Vec<(Tenant, Recorded)>,
    header: Vec<u8>,
}

/// Streams whose version is remembered.
const STREAMS: usize = 131_072;

/// Documents whose version is remembered.
const DOCUMENTS: usize = 65_536;

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
            documents: Generations::holding(DOCUMENTS),
            zone: None,
            blocks: Vec::new(),
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
        let head = match self.streams.get(&key) {
            Some(head) => head,
            None => {
                let head = match stream_id(conn, tenant, stream)? {
                    Some(id) => StreamHead { id, version: stream_head(conn, id)? },
                    // Whoever asks is about to write it, and asks again.
                    None => StreamHead::NONE,
                };
                self.streams.put(key, head);
                head
            }
        };
        Ok(head.exists().then_some(head))
    }

    /// The version of a document, 0 when it is not there.
    pub(crate) fn document(&mut self, conn: &Connection, tenant: &Text, key: &DocumentKey) -> Step<u64> {
        let place = (tenant.clone(), key.clone());
        if let Some(version) = self.documents.get(&place) {
            return Ok(version);
        }
        let version = documents::version(conn, tenant, key)?;
        self.documents.put(place, version);
        Ok(version)
    }

    /// Writes what is kept back until the transaction ends, because several commits change it.
    pub(crate) fn flush(&mut self, conn: &Connection) -> Step<()> {
        for (block, zone) in std::mem::take(&mut self.blocks) {
            let (low, high) = match zone {
                Some(zone) => (zone.low, zone.high),
                None => times(conn, block)?,
            };
            conn.prepare_cached(sql::WIDEN_ZONE)?.execute((block, low, high))?;
        }
        if self.revision != self.revision_written {
            conn.prepare_cached(sql::SET_REVISION)?.execute([self.revision])?;
            self.revision_written = self.revision;
        }
        Ok(())
    }

    /// Notes the event time of the next position. A block is written when it is complete, and once: the one the log is
    /// in is looked at by every search, so that not every commit has to change it.
    fn widen(&mut self, position: i64, at: i64) {
        let block = pages::block(position);
        let (first, behind) = pages::positions(block);
        if position == first.max(1) {
            self.zone = Some(Zone { block, low: at, high: at });
        } else if let Some(zone) = &mut self.zone {
            debug_assert_eq!(zone.block, block, "positions follow each other");
            (zone.low, zone.high) = (zone.low.min(at), zone.high.max(at));
        }
        if position + 1 == behind {
            self.blocks.push((block, self.zone.take()));
        }
    }
}

/// The earliest and latest event time in a block, from its events.
fn times(conn: &Connection, block: i64) -> Step<(i64, i64)> {
    let mut statement = conn.prepare_cached(sql::TIMES_BETWEEN)?;
    let mut rows = statement.query(pages::positions(block))?;
    let (mut low, mut high) = (i64::MAX, i64::MIN);
    while let Some(row) = rows.next()? {
        let (recorded, time): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        let at = recorded.wrapping_add(time.unwrap_or(0));
        (low, high) = (low.min(at), high.max(at));
    }
    Ok((low, high))
}

/// The statements an event needs, held for a whole transaction.
pub(crate) struct Inserts<'c> {
    event: CachedStatement<'c>,
    id: CachedStatement<'c>,
    term: CachedStatement<'c>,
}

impl<'c> Inserts<'c> {
    pub(crate) fn prepare(conn: &'c Connection) -> Step<Self> {
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

/// A commit whose checks have passed, and what has been found out about it.
pub(crate) struct Writing<'a> {
    pub(crate) commit: &'a Commit,
    pub(crate) identities: &'a [Identity],
    pub(crate) values: &'a [Option<Bytes>],
    pub(crate) now: Timestamp,
}

/// Writes a commit.
pub(crate) fn write<'c>(
    conn: &'c Connection,
    caches: &mut Caches,
    log: &mut Log,
    inserts: &mut Option<Inserts<'c>>,
    writing: Writing<'_>,
) -> Step<Applied> {
    let Writing { commit, identities, values, now } = writing;
    let tenant = &commit.tenant.0;
    let mut applied = Applied::default();
    if !identities.is_empty() {
        log.recorded = log.recorded.max(now.as_micros());
        applied.first = log.head as u64 + 1;
        applied.last = log.head as u64 + identities.len() as u64;
        let tenant_id = caches.intern_tenant(conn, tenant)?;
        let inserts = match inserts {
            Some(inserts) => inserts,
            none => none.insert(Inserts::prepare(conn)?),
        };
        let mut identities = identities.iter();
        for append in &commit.appends {
            let span = (applied.first as i64, applied.last as i64);
            let mut appending = Appending { conn, caches, log, tenant_id, tenant: &commit.tenant, span };
            applied.version = appending.append(inserts, append, &mut identities)? as u64;
        }
    }
    if !commit.documents.is_empty() {
        log.revision += 1;
        applied.revision = log.revision as u64;
    }
    for (write, value) in commit.documents.iter().zip(values) {
        documents::write(conn, tenant, write, value.as_ref(), log.revision)?;
        let version = if value.is_some() { applied.revision } else { 0 };
        log.documents.put((tenant.clone(), write.key.clone()), version);
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
