//! fjall 3: an LSM tree, with the event under its position and two entries that lead to it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use async_trait::async_trait;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::Mutex;

use super::{
    Each, Log, bytes_in,
    group::{Group, Writer},
    record,
};
use crate::workload::Sample;

/// An LSM tree.
pub struct FjallLog {
    folder: PathBuf,
    group: Group,
    tables: Mutex<Option<Tables>>,
}

#[derive(Clone)]
struct Tables {
    database: Database,
    events: Keyspace,
    ids: Keyspace,
    streams: Keyspace,
}

struct Appender {
    tables: Tables,
    head: u64,
}

impl FjallLog {
    /// A new database in the folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = folder.join("fjall");
        let database = Database::builder(&folder).open()?;
        let keyspace = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default);
        let (events, ids, streams) = (keyspace("events")?, keyspace("ids")?, keyspace("streams")?);
        let tables = Tables { database, events, ids, streams };
        let group = Group::start(Appender { tables: tables.clone(), head: 0 })?;
        Ok(Self { folder, group, tables: Mutex::new(Some(tables)) })
    }

    fn tables(&self) -> Result<Tables> {
        self.tables.lock().clone().context("closed")
    }
}

fn stream_key(stream: i64, version: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&stream.to_be_bytes());
    key[8..].copy_from_slice(&version.to_be_bytes());
    key
}

impl Writer for Appender {
    fn write(&mut self, appends: &[Vec<Arc<Sample>>]) -> Result<()> {
        let mut batch = self.tables.database.batch().durability(Some(PersistMode::SyncData));
        for sample in appends.iter().flatten() {
            self.head += 1;
            let position = self.head.to_be_bytes();
            let mut body = Vec::with_capacity(512);
            record::encode(&mut body, sample);
            batch.insert(&self.tables.events, position, body);
            batch.insert(&self.tables.ids, *sample.id.as_bytes(), position);
            batch.insert(&self.tables.streams, stream_key(sample.stream, sample.version), position);
        }
        Ok(batch.commit()?)
    }
}

#[async_trait]
impl Log for FjallLog {
    async fn append(&self, events: Vec<Arc<Sample>>) -> Result<()> {
        self.group.append(events).await
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        for guard in self.tables()?.events.iter() {
            each(record::decode(&guard.value()?)?);
        }
        Ok(())
    }

    async fn read_stream(&self, stream: i64, each: Each<'_>) -> Result<()> {
        let tables = self.tables()?;
        for guard in tables.streams.prefix(stream.to_be_bytes()) {
            let body = tables.events.get(guard.value()?)?.context("an entry leads nowhere")?;
            each(record::decode(&body)?);
        }
        Ok(())
    }

    async fn close(&self) -> Result<u64> {
        self.group.close()?;
        if let Some(tables) = self.tables.lock().take() {
            for keyspace in [&tables.events, &tables.ids, &tables.streams] {
                keyspace.rotate_memtable_and_wait()?;
            }
        }
        bytes_in(&self.folder)
    }
}
