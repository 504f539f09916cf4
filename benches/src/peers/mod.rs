//! Stores that keep the same events: ours, and what somebody could use instead.
//!
//! All stand behind [`Log`], so that a job treats them alike. Each says in its [`Promise`] what it does not do; a figure
//! without that compares nothing. [`audit`](crate::audit::audit) reads back what each has acknowledged.

mod fjall;
mod group;
mod hand_sqlite;
mod ours;
mod postgres;
mod raw_log;
mod record;
mod redb;
mod server;

use std::{path::Path, sync::Arc};

use anyhow::Result;
use async_trait::async_trait;
use uuid::Uuid;

pub use self::{
    fjall::FjallLog,
    hand_sqlite::HandSqlite,
    ours::Ours,
    postgres::PostgresLog,
    raw_log::RawLog,
    redb::RedbLog,
    server::{ABSENT, Server},
};
use crate::workload::Sample;

/// An event that was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Its id.
    pub id: Uuid,
    /// The number of its stream.
    pub stream: i64,
    /// Its version in the stream.
    pub version: u64,
    /// Its name.
    pub name: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Is shown each event that is read.
pub type Each<'a> = &'a mut (dyn FnMut(Seen<'_>) + Send);

/// A store of events.
#[async_trait]
pub trait Log: Send + Sync {
    /// Appends all of `events` or none, durably when it returns.
    async fn append(&self, events: Vec<Arc<Sample>>) -> Result<()>;

    /// Shows every event, in the order of the log.
    async fn read_all(&self, each: Each<'_>) -> Result<()>;

    /// Shows every event of a stream, in order.
    async fn read_stream(&self, stream: i64, each: Each<'_>) -> Result<()>;

    /// Ends everything, and answers how many bytes are on the disk.
    async fn close(&self) -> Result<u64>;
}

/// What a store promises.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Whether an acknowledged append survives a power cut.
    pub durable: &'static str,
    /// What happens to an id that comes twice.
    pub ids: &'static str,
    /// Which order it keeps.
    pub order: &'static str,
    /// What it does not do that ours does.
    pub lacks: &'static str,
}

/// One of the stores.
#[derive(Debug, Clone)]
pub enum Peer {
    /// Ours.
    Tidings,
    /// A file that is only appended to.
    RawLog,
    /// SQLite with a table made for these events.
    HandSqlite,
    /// PostgreSQL.
    Postgres(Arc<Server>),
    /// An LSM tree.
    Fjall,
    /// A copy-on-write B-tree.
    Redb,
}

impl Peer {
    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tidings => "tidings",
            Self::RawLog => "raw log",
            Self::HandSqlite => "hand-written SQLite",
            Self::Postgres(_) => "PostgreSQL",
            Self::Fjall => "fjall 3",
            Self::Redb => "redb 4",
        }
    }

    /// What it promises.
    pub fn promise(&self) -> Promise {
        let (durable, ids, order, lacks) = match self {
            Self::Tidings => ("yes", "checked, a repetition is answered", "positions and streams", ""),
            Self::RawLog => (
                "yes",
                "not checked",
                "positions",
                "no index at all, no versions, no query; a checked record a event, one sync a group",
            ),
            Self::HandSqlite => (
                "yes",
                "unique index, a repetition is an error",
                "positions and streams",
                "no index on tags, no conditions, one refused event refuses its group; the caller gives versions and \
                 numbers of streams",
            ),
            Self::Postgres(_) => (
                "yes",
                "unique index, a repetition is an error",
                "streams; positions can become visible out of order",
                "no index on tags; the caller gives versions and numbers of streams; default settings, unix socket",
            ),
            Self::Fjall => (
                "yes",
                "not checked, overwritten",
                "positions",
                "two index entries an event, nothing is looked up before it is written",
            ),
            Self::Redb => (
                "yes",
                "checked by the entry, a repetition is an error",
                "positions",
                "two index entries an event, one refused event refuses its group",
            ),
        };
        Promise { durable, ids, order, lacks }
    }

    /// A new, empty store in the folder; `connections` is how many callers there will be at once.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn open(&self, folder: &Path, connections: usize) -> Result<Box<dyn Log>> {
        Ok(match self {
            Self::Tidings => Box::new(Ours::open(folder)?),
            Self::RawLog => Box::new(RawLog::open(folder)?),
            Self::HandSqlite => Box::new(HandSqlite::open(folder)?),
            Self::Postgres(server) => Box::new(PostgresLog::open(server.clone(), connections).await?),
            Self::Fjall => Box::new(FjallLog::open(folder)?),
            Self::Redb => Box::new(RedbLog::open(folder)?),
        })
    }
}

/// Bytes of all files in a folder, however deep.
///
/// # Errors
/// It cannot be read.
pub fn bytes_in(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        sum += if found.is_dir() { bytes_in(&entry.path())? } else { found.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
