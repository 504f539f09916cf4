//! What somebody would write by hand for exactly these events: SQLite with the settings of our engine, one table, three
//! indexes, cached statements, one thread that commits groups.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Row};
use uuid::Uuid;

use super::{
    Each, Log, Seen, bytes_in,
    group::{Group, Writer},
};
use crate::workload::Sample;

const SCHEMA: &str = "
    CREATE TABLE events (
        position INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL, version INTEGER NOT NULL, id BLOB NOT NULL,
        name TEXT NOT NULL, time INTEGER NOT NULL, metadata BLOB NOT NULL, payload BLOB NOT NULL
    );
    CREATE UNIQUE INDEX events_by_stream ON events (stream_id, version);
    CREATE UNIQUE INDEX events_by_id ON events (id);
    CREATE INDEX events_by_name ON events (name);";
const INSERT: &str = "INSERT INTO events (stream_id, version, id, name, time, metadata, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const ALL: &str = "SELECT position, stream_id, version, id, name, time, metadata, payload
    FROM events WHERE position > ?1 ORDER BY position";
const STREAM: &str = "SELECT position, stream_id, version, id, name, time, metadata, payload
    FROM events WHERE stream_id = ?1 ORDER BY version";

/// SQLite with a table made for these events.
pub struct HandSqlite {
    folder: PathBuf,
    group: Group,
    reader: Mutex<Option<Connection>>,
}

/// An event as a program of one's own would hand it out: owned, with its metadata still to be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Its place in the log.
    pub position: i64,
    /// Its stream.
    pub stream: i64,
    /// Its version.
    pub version: i64,
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// When it happened.
    pub time: i64,
    /// JSON.
    pub metadata: Vec<u8>,
    /// JSON.
    pub payload: Vec<u8>,
}

impl HandSqlite {
    /// A new database in the folder, or the one that is there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("events.db");
        let is_new = !path.exists();
        let conn = Connection::open(&path)?;
        conn.set_prepared_statement_cache_capacity(32);
        conn.pragma_update(None, "page_size", 8_192)?;
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "cache_size", -(32 << 10))?;
        conn.pragma_update(None, "wal_autocheckpoint", (48 << 20) / 8_192)?;
        conn.pragma_update(None, "temp_store", "memory")?;
        if is_new {
            conn.execute_batch(SCHEMA)?;
        }
        let reader = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        reader.pragma_update(None, "cache_size", -(4 << 10))?;
        let reader = Mutex::new(Some(reader));
        Ok(Self { folder: folder.to_owned(), group: Group::start(conn)?, reader })
    }

    fn read(&self, sql: &str, from: i64, mut each: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        let reader = self.reader.lock();
        let Some(conn) = &*reader else { anyhow::bail!("closed") };
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query([from])?;
        while let Some(row) = rows.next()? {
            each(row)?;
        }
        Ok(())
    }

    /// Every event, owned.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_owned(&self, mut each: impl FnMut(Owned)) -> Result<()> {
        self.read(ALL, 0, |row| {
            each(owned(row)?);
            Ok(())
        })
    }

    /// Every event of a stream, owned.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_stream_owned(&self, stream: i64) -> Result<Vec<Owned>> {
        let mut all = Vec::new();
        self.read(STREAM, stream, |row| {
            all.push(owned(row)?);
            Ok(())
        })?;
        Ok(all)
    }
}

fn owned(row: &Row<'_>) -> Result<Owned> {
    Ok(Owned {
        position: row.get(0)?,
        stream: row.get(1)?,
        version: row.get(2)?,
        id: Uuid::from_slice(row.get_ref(3)?.as_blob()?)?,
        name: row.get_ref(4)?.as_str()?.to_owned(),
        time: row.get(5)?,
        metadata: row.get_ref(6)?.as_blob()?.to_owned(),
        payload: row.get_ref(7)?.as_blob()?.to_owned(),
    })
}

fn show(row: &Row<'_>, each: &mut (dyn FnMut(Seen<'_>) + Send)) -> Result<()> {
    // Whoever reads an event reads its metadata, although nobody parses them here.
    let metadata = row.get_ref(6)?.as_blob()?;
    debug_assert!(!metadata.is_empty());
    each(Seen {
        id: Uuid::from_slice(row.get_ref(3)?.as_blob()?)?,
        stream: row.get(1)?,
        version: row.get::<_, i64>(2)? as u64,
        name: row.get_ref(4)?.as_str()?,
        payload: row.get_ref(7)?.as_blob()?,
    });
    Ok(())
}

impl Writer for Connection {
    fn write(&mut self, appends: &[Vec<Arc<Sample>>]) -> Result<()> {
        let transaction = self.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for sample in appends.iter().flatten() {
                insert.execute((
                    sample.stream,
                    sample.version as i64,
                    sample.id.as_bytes().as_slice(),
                    sample.name,
                    sample.time,
                    &*sample.metadata,
                    &*sample.payload,
                ))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

#[async_trait]
impl Log for HandSqlite {
    async fn append(&self, events: Vec<Arc<Sample>>) -> Result<()> {
        self.group.append(events).await
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        self.read(ALL, 0, |row| show(row, each))
    }

    async fn read_stream(&self, stream: i64, each: Each<'_>) -> Result<()> {
        self.read(STREAM, stream, |row| show(row, each))
    }

    async fn close(&self) -> Result<u64> {
        *self.reader.lock() = None;
        self.group.close()?;
        bytes_in(&self.folder)
    }
}
