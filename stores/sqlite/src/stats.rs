//! Figures about a store.

use std::path::Path;

use rusqlite::Connection;
use tidings_store::StoreStats;

use crate::{decode, fault::Step, sql};

pub(crate) fn read(conn: &Connection, path: &Path) -> Step<StoreStats> {
    let one = |text: &str| -> Step<u64> {
        Ok(conn.prepare_cached(text)?.query_row([], |row| row.get::<_, i64>(0))? as u64)
    };
    let list = |text: &str| -> Step<Vec<(String, u64)>> {
        let mut statement = conn.prepare_cached(text)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    Ok(StoreStats {
        events: one(sql::COUNT_EVENTS)?,
        streams: one(sql::COUNT_STREAMS)?,
        head: decode::head(conn)? as u64,
        documents: list(sql::COUNT_DOCUMENTS_BY_NAMESPACE)?,
        due: list(sql::COUNT_DUE_BY_QUEUE)?,
        bytes: bytes(path),
        names: list(sql::COUNT_NAMES)?,
    })
}

/// Bytes of the file and of what lies beside it while it is open.
fn bytes(path: &Path) -> u64 {
    let size = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |found| found.len())
    };
    size("") + size("-wal") + size("-shm")
}
