//! From a row of the log to a recorded event.

use rusqlite::{Connection, OptionalExtension as _, Row};
use tidings_core::Timestamp;
use tidings_store::{Error, Recorded};

use crate::{
    caches::Caches,
    codec::{self, Around},
    fault::Step,
    sql,
};

/// A row of `events`, as the statements that read it name its columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'r> {
    pub(crate) position: i64,
    pub(crate) stream_id: i64,
    pub(crate) version: i64,
    pub(crate) name_id: i64,
    pub(crate) recorded: i64,
    pub(crate) time: Option<i64>,
    pub(crate) header: &'r [u8],
    pub(crate) payload: &'r [u8],
}

impl<'r> Raw<'r> {
    pub(crate) fn of(row: &'r Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            position: row.get(0)?,
            stream_id: row.get(1)?,
            version: row.get(2)?,
            name_id: row.get(3)?,
            recorded: row.get(4)?,
            time: row.get(5)?,
            header: row.get_ref(6)?.as_blob()?,
            payload: row.get_ref(7)?.as_blob()?,
        })
    }

    /// The event's own time.
    pub(crate) fn at(&self) -> Option<i64> {
        self.time.map(|less_recorded| self.recorded.wrapping_add(less_recorded))
    }

    pub(crate) fn content(&self) -> u64 {
        codec::content_hash(self.header, self.payload, self.stream_id, self.name_id, self.at())
    }

    /// Whether the row is as it was written.
    pub(crate) fn is_sound(&self) -> bool {
        let sum = codec::checksum(self.content(), self.position, self.version, self.recorded);
        self.header.get(..codec::CHECKSUM) == Some(&sum)
    }

    fn damaged(&self, what: &str) -> Error {
        Error::Damaged(format!("the event at position {}: {what}", self.position))
    }

    /// The event, with the id of its tenant.
    pub(crate) fn decode(&self, conn: &Connection, caches: &mut Caches) -> Step<(i64, Recorded)> {
        let Some(name) = caches.name(conn, self.name_id)? else {
            return Err(self.damaged("its name is not known").into());
        };
        let source = match codec::source_id(self.header) {
            None => return Err(self.damaged("its header cannot be read").into()),
            Some(id) => caches.source(conn, id)?,
        };
        let Some(source) = source else {
            return Err(self.damaged("its source is not known").into());
        };
        let Some((stream, payloads)) = caches.stream(conn, self.stream_id)? else {
            return Err(self.damaged("its stream is not known").into());
        };
        let payload = payloads.keep(self.payload);
        let around = Around { name: &name, stream: &stream.name, key: stream.key.as_ref(), time: self.at() };
        let Some(envelope) = codec::decode(self.header, payload, &around, source) else {
            return Err(self.damaged("its header cannot be read").into());
        };
        let recorded = Recorded {
            position: self.position as u64,
            version: self.version as u64,
            recorded: Timestamp::from_micros(self.recorded),
            stream: stream.name.clone(),
            envelope,
        };
        Ok((stream.tenant, recorded))
    }
}

/// The event at a position, if it is there.
pub(crate) fn event(conn: &Connection, caches: &mut Caches, position: i64) -> Step<Option<(i64, Recorded)>> {
    let mut statement = conn.prepare_cached(sql::EVENT)?;
    let mut rows = statement.query([position])?;
    match rows.next()? {
        None => Ok(None),
        Some(row) => Raw::of(row)?.decode(conn, caches).map(Some),
    }
}

/// The last position, 0 when there is none.
pub(crate) fn head(conn: &Connection) -> Step<i64> {
    let mut statement = conn.prepare_cached(sql::HEAD)?;
    Ok(statement.query_row([], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten().unwrap_or(0))
}
