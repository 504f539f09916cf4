//! Checkpoints, due rows and blobs.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row};
use tidings_core::{BlobChange, CheckpointMove, DueChange, DueRow, Tenant, Text, Timestamp};
use tidings_store::{Checkpoint, Error, Tenants};

use crate::{
    documents::{bytes, text},
    fault::Step,
    sql, varint,
};

fn checkpoint_of(row: &Row<'_>, first: usize) -> Step<Checkpoint> {
    let watermark = row.get::<_, i64>(first + 1)? as u64;
    let settled = unpack(watermark, row.get_ref(first + 2)?.as_blob().map_err(rusqlite::Error::from)?)
        .ok_or_else(|| Error::Damaged("a checkpoint's settled positions cannot be read".into()))?;
    Ok(Checkpoint { revision: row.get::<_, i64>(first)? as u64, watermark, settled })
}

/// Positions above a watermark as the distances between them.
fn pack(watermark: u64, settled: &[u64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(settled.len());
    let mut last = watermark;
    for position in settled {
        varint::put(&mut out, position.wrapping_sub(last));
        last = *position;
    }
    out
}

fn unpack(watermark: u64, packed: &[u8]) -> Option<Vec<u64>> {
    let mut bytes = varint::Bytes(packed);
    let mut settled = Vec::new();
    let mut last = watermark;
    while !bytes.0.is_empty() {
        last = last.checked_add(bytes.number()?)?;
        settled.push(last);
    }
    Some(settled)
}

pub(crate) fn checkpoint(conn: &Connection, name: &str) -> Step<Checkpoint> {
    let mut statement = conn.prepare_cached(sql::CHECKPOINT)?;
    let mut rows = statement.query([name])?;
    match rows.next()? {
        None => Ok(Checkpoint::default()),
        Some(row) => checkpoint_of(row, 0),
    }
}

pub(crate) fn checkpoint_revision(conn: &Connection, name: &str) -> Step<u64> {
    let mut statement = conn.prepare_cached(sql::CHECKPOINT_REVISION)?;
    Ok(statement.query_row([name], |row| row.get::<_, i64>(0)).optional()?.unwrap_or(0) as u64)
}

pub(crate) fn checkpoints(conn: &Connection) -> Step<Vec<(Text, Checkpoint)>> {
    let mut statement = conn.prepare_cached(sql::CHECKPOINTS)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((text(row, 0)?, checkpoint_of(row, 1)?));
    }
    Ok(found)
}

pub(crate) fn move_checkpoint(conn: &Connection, moved: &CheckpointMove) -> Step<()> {
    let settled = pack(moved.watermark, &moved.settled);
    conn.prepare_cached(sql::PUT_CHECKPOINT)?.execute((
        &*moved.name,
        (moved.expected_revision + 1) as i64,
        moved.watermark as i64,
        settled,
    ))?;
    Ok(())
}

pub(crate) fn due(
    conn: &Connection,
    tenants: &Tenants,
    queue: &str,
    until: Timestamp,
    limit: usize,
) -> Step<Vec<(Tenant, DueRow)>> {
    let tenant = match tenants {
        Tenants::All => None,
        Tenants::One(tenant) => Some(&*tenant.0),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(sql::DUE)?;
    let mut rows = statement.query((queue, until.as_micros(), tenant, limit))?;
    let mut found = Vec::new();
    let queue = Text::from(queue);
    while let Some(row) = rows.next()? {
        let due = DueRow {
            queue: queue.clone(),
            id: text(row, 1)?,
            due: Timestamp::from_micros(row.get(2)?),
            body: bytes(row, 3)?,
        };
        found.push((Tenant(text(row, 0)?), due));
    }
    Ok(found)
}

pub(crate) fn due_exists(conn: &Connection, tenant: &str, queue: &str, id: &str) -> Step<bool> {
    Ok(conn.prepare_cached(sql::DUE_EXISTS)?.exists((tenant, queue, id))?)
}

pub(crate) fn change_due(conn: &Connection, tenant: &str, change: &DueChange) -> Step<()> {
    match change {
        DueChange::Put(row) => conn.prepare_cached(sql::PUT_DUE)?.execute((
            tenant,
            &*row.queue,
            &*row.id,
            row.due.as_micros(),
            &*row.body,
        ))?,
        DueChange::Take { queue, id } | DueChange::Drop { queue, id } => {
            conn.prepare_cached(sql::DELETE_DUE)?.execute((tenant, &**queue, &**id))?
        }
    };
    Ok(())
}

pub(crate) fn blob(conn: &Connection, tenant: &str, key: &str) -> Step<Option<Bytes>> {
    let mut statement = conn.prepare_cached(sql::BLOB)?;
    Ok(statement.query_row((tenant, key), |row| bytes(row, 0)).optional()?)
}

pub(crate) fn change_blob(conn: &Connection, tenant: &str, change: &BlobChange) -> Step<()> {
    match change {
        BlobChange::Put { key, bytes } => {
            conn.prepare_cached(sql::PUT_BLOB)?.execute((tenant, &**key, &**bytes))?
        }
        BlobChange::Delete { key } => conn.prepare_cached(sql::DELETE_BLOB)?.execute((tenant, &**key))?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_positions_come_back_as_they_went_in() {
        for (watermark, settled) in
            [(0, vec![]), (7, vec![9, 10, 400, 1 << 40]), (u64::MAX - 2, vec![u64::MAX - 1, u64::MAX])]
        {
            assert_eq!(unpack(watermark, &pack(watermark, &settled)), Some(settled));
        }
        assert_eq!(unpack(1, &[0x80]), None);
        assert_eq!(unpack(u64::MAX, &[1]), None);
    }
}
