//! redb 4: a copy-on-write B-tree, with the event under its position and two entries that lead to it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{
    Each, Log,
    group::{Group, Writer},
    record,
};
use crate::workload::Sample;

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const IDS: TableDefinition<'_, u128, u64> = TableDefinition::new("ids");
const STREAMS: TableDefinition<'_, (i64, u64), u64> = TableDefinition::new("streams");

/// A copy-on-write B-tree.
pub struct RedbLog {
    path: PathBuf,
    database: Arc<Database>,
    group: Group,
}

struct Appender {
    database: Arc<Database>,
    head: u64,
    buffer: Vec<u8>,
}

impl RedbLog {
    /// A new database in the folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("events.redb");
        let database = Arc::new(Database::create(&path)?);
        let mut appender = Appender { database: database.clone(), head: 0, buffer: Vec::new() };
        // A table is there once something has opened it for writing.
        appender.write(&[])?;
        Ok(Self { path, database, group: Group::start(appender)? })
    }
}

impl Writer for Appender {
    fn write(&mut self, appends: &[Vec<Arc<Sample>>]) -> Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut events = transaction.open_table(EVENTS)?;
            let mut ids = transaction.open_table(IDS)?;
            let mut streams = transaction.open_table(STREAMS)?;
            for sample in appends.iter().flatten() {
                self.head += 1;
                self.buffer.clear();
                record::encode(&mut self.buffer, sample);
                events.insert(self.head, self.buffer.as_slice())?;
                ensure!(ids.insert(sample.id.as_u128(), self.head)?.is_none(), "an id came twice");
                let key = (sample.stream, sample.version);
                ensure!(streams.insert(key, self.head)?.is_none(), "a version came twice");
            }
        }
        Ok(transaction.commit()?)
    }
}

#[async_trait]
impl Log for RedbLog {
    async fn append(&self, events: Vec<Arc<Sample>>) -> Result<()> {
        self.group.append(events).await
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        for entry in events.iter()? {
            each(record::decode(entry?.1.value())?);
        }
        Ok(())
    }

    async fn read_stream(&self, stream: i64, each: Each<'_>) -> Result<()> {
        let reading = self.database.begin_read()?;
        let (events, streams) = (reading.open_table(EVENTS)?, reading.open_table(STREAMS)?);
        for entry in streams.range((stream, 0)..=(stream, u64::MAX))? {
            let body = events.get(entry?.1.value())?.context("an entry leads nowhere")?;
            each(record::decode(body.value())?);
        }
        Ok(())
    }

    async fn close(&self) -> Result<u64> {
        self.group.close()?;
        Ok(std::fs::metadata(&self.path)?.len())
    }
}
