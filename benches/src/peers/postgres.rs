//! PostgreSQL as somebody would use it for exactly these events: one table, three indexes, prepared statements.

use std::{pin::pin, sync::Arc};

use anyhow::{Context, Result};
use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_postgres::{Client, Statement, binary_copy::BinaryCopyInWriter, types::ToSql, types::Type};

use super::{Each, Log, Seen, Server};
use crate::workload::Sample;

const SCHEMA: &str = "
    DROP TABLE IF EXISTS events;
    CREATE TABLE events (
        position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id BIGINT NOT NULL, version BIGINT NOT NULL,
        id UUID NOT NULL UNIQUE, name TEXT NOT NULL, time BIGINT NOT NULL, metadata BYTEA NOT NULL,
        payload BYTEA NOT NULL, UNIQUE (stream_id, version)
    );
    CREATE INDEX events_by_name ON events (name);
    CHECKPOINT;";
const INSERT: &str = "INSERT INTO events (stream_id, version, id, name, time, metadata, payload)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const COPY: &str =
    "COPY events (stream_id, version, id, name, time, metadata, payload) FROM STDIN (FORMAT binary)";
const TYPES: [Type; 7] =
    [Type::INT8, Type::INT8, Type::UUID, Type::TEXT, Type::INT8, Type::BYTEA, Type::BYTEA];
const ALL: &str = "SELECT id, stream_id, version, name, payload, metadata FROM events ORDER BY position";
const STREAM: &str = "SELECT id, stream_id, version, name, payload, metadata FROM events
    WHERE stream_id = $1 ORDER BY version";

/// A table in a server, and connections to it.
pub struct PostgresLog {
    server: Arc<Server>,
    idle: Mutex<Vec<Session>>,
    free: Semaphore,
}

/// A connection with its statements prepared.
struct Session {
    client: Client,
    insert: Statement,
    all: Statement,
    stream: Statement,
}

impl Session {
    async fn begin(server: &Server) -> Result<Self> {
        let client = server.connect().await?;
        let (insert, all, stream) =
            (client.prepare(INSERT).await?, client.prepare(ALL).await?, client.prepare(STREAM).await?);
        Ok(Self { client, insert, all, stream })
    }

    async fn write(&self, events: &[Arc<Sample>]) -> Result<()> {
        if let [sample] = events {
            let version = sample.version as i64;
            self.client.execute(&self.insert, &values(sample, &version, &parts(sample))).await?;
            return Ok(());
        }
        let mut copy = pin!(BinaryCopyInWriter::new(self.client.copy_in(COPY).await?, &TYPES));
        for sample in events {
            let version = sample.version as i64;
            copy.as_mut().write(&values(sample, &version, &parts(sample))).await?;
        }
        copy.as_mut().finish().await?;
        Ok(())
    }

    async fn read(&self, statement: &Statement, parameters: &[i64], each: Each<'_>) -> Result<()> {
        let mut rows = pin!(self.client.query_raw(statement, parameters).await?);
        while let Some(row) = rows.try_next().await? {
            let version: i64 = row.try_get(2)?;
            each(Seen {
                id: row.try_get(0)?,
                stream: row.try_get(1)?,
                version: version as u64,
                name: row.try_get(3)?,
                payload: row.try_get(4)?,
            });
        }
        Ok(())
    }
}

fn parts(sample: &Sample) -> [&[u8]; 2] {
    [&sample.metadata, &sample.payload]
}

fn values<'v>(sample: &'v Sample, version: &'v i64, parts: &'v [&'v [u8]; 2]) -> [&'v (dyn ToSql + Sync); 7] {
    let [metadata, payload] = parts;
    [&sample.stream, version, &sample.id, &sample.name, &sample.time, metadata, payload]
}

impl PostgresLog {
    /// An empty table, and connections for this many callers.
    ///
    /// # Errors
    /// The server does not want to.
    pub async fn open(server: Arc<Server>, connections: usize) -> Result<Self> {
        server.connect().await?.batch_execute(SCHEMA).await?;
        let mut idle = Vec::new();
        for _ in 0..connections.clamp(1, 64) {
            idle.push(Session::begin(&server).await?);
        }
        let free = Semaphore::new(idle.len());
        Ok(Self { server, idle: Mutex::new(idle), free })
    }

    fn session(&self) -> Result<Session> {
        self.idle.lock().pop().context("a free connection is there")
    }
}

#[async_trait]
impl Log for PostgresLog {
    /// One event is inserted, more are copied; each call is a transaction.
    async fn append(&self, events: Vec<Arc<Sample>>) -> Result<()> {
        let _free = self.free.acquire().await?;
        let session = self.session()?;
        let written = session.write(&events).await;
        self.idle.lock().push(session);
        written
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        let _free = self.free.acquire().await?;
        let session = self.session()?;
        let read = session.read(&session.all, &[], each).await;
        self.idle.lock().push(session);
        read
    }

    async fn read_stream(&self, stream: i64, each: Each<'_>) -> Result<()> {
        let _free = self.free.acquire().await?;
        let session = self.session()?;
        let read = session.read(&session.stream, &[stream], each).await;
        self.idle.lock().push(session);
        read
    }

    async fn close(&self) -> Result<u64> {
        let client = self.server.connect().await?;
        client.batch_execute("CHECKPOINT").await?;
        let row = client.query_one("SELECT pg_total_relation_size('events')", &[]).await?;
        let bytes: i64 = row.try_get(0)?;
        self.idle.lock().clear();
        Ok(bytes as u64)
    }
}
