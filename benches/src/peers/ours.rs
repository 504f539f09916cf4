//! Our engine behind the trait that all stores share here.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use tidings_core::{Append, Commit, Expected};
use tidings_sqlite::{Options, SqliteStore};
use tidings_store::{PAGE_EVENTS_MAX, Read, Store as _};
use uuid::Uuid;

use super::{Each, Log, Seen, bytes_in};
use crate::workload::{Sample, stream_number};

/// Our engine.
pub struct Ours {
    folder: PathBuf,
    store: Arc<SqliteStore>,
}

impl Ours {
    /// The store in the folder, with the default options.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(folder: &Path) -> Result<Self> {
        let store = Arc::new(SqliteStore::open(folder.join("events.db"), Options::default())?);
        Ok(Self { folder: folder.to_owned(), store })
    }

    /// The engine itself.
    pub fn store(&self) -> &Arc<SqliteStore> {
        &self.store
    }

    async fn read(&self, mut read: Read, each: Each<'_>) -> Result<()> {
        loop {
            let page = self.store.read(&read).await?;
            for event in &page.events {
                each(Seen {
                    id: Uuid::parse_str(event.envelope.id())?,
                    stream: stream_number(&event.stream)?,
                    version: event.version,
                    name: event.envelope.name(),
                    payload: event.envelope.payload()?,
                });
            }
            if page.end {
                return Ok(());
            }
            read = read.from(page.next);
        }
    }
}

/// The commit that appends these events, each to its stream at the version it expects.
pub fn commit(events: &[Arc<Sample>]) -> Commit {
    let append = |sample: &Arc<Sample>| {
        Append::to(sample.stream_name.clone(), vec![sample.envelope.clone()])
            .expecting(Expected::Exact(sample.version - 1))
    };
    Commit { appends: events.iter().map(append).collect(), ..Commit::default() }
}

#[async_trait]
impl Log for Ours {
    async fn append(&self, events: Vec<Arc<Sample>>) -> Result<()> {
        let applied = self.store.apply(commit(&events)).await?;
        ensure!(!applied.repeated, "an id was known already");
        Ok(())
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        self.read(Read::after(0).limit(PAGE_EVENTS_MAX), each).await
    }

    async fn read_stream(&self, stream: i64, each: Each<'_>) -> Result<()> {
        self.read(Read::stream(format!("order-{stream:08}")), each).await
    }

    async fn close(&self) -> Result<u64> {
        self.store.close().await?;
        bytes_in(&self.folder)
    }
}
