//! Leases: who may do what until when.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension as _};
use tidings_core::{Text, Timestamp};
use tidings_store::Lease;

use crate::{fault::Step, node, sql};

struct Held {
    epoch: i64,
    owner: Option<Text>,
    until: Timestamp,
    node: Option<Text>,
}

impl Held {
    fn read(conn: &Connection, name: &str) -> Step<Option<Self>> {
        let mut statement = conn.prepare_cached(sql::LEASE)?;
        let found = statement.query_row([name], |row| {
            Ok(Self {
                epoch: row.get(0)?,
                owner: row.get_ref(1)?.as_str_or_null()?.map(Text::from),
                until: Timestamp::from_micros(row.get(2)?),
                node: row.get_ref(3)?.as_str_or_null()?.map(Text::from),
            })
        });
        Ok(found.optional()?)
    }

    /// Who has it now: nobody, when it has run out or its process is gone.
    fn holder(&self, store: &Path, now: Timestamp) -> Option<&Text> {
        let owner = self.owner.as_ref().filter(|_| self.until > now)?;
        self.node.as_ref().is_none_or(|node| node::is_alive(store, node)).then_some(owner)
    }
}

/// Where and when a lease is asked for.
pub(crate) struct Asking<'a> {
    pub(crate) store: &'a Path,
    /// The lock file of this process.
    pub(crate) node: &'a Text,
    pub(crate) now: Timestamp,
}

pub(crate) fn lease(
    conn: &Connection,
    asking: &Asking<'_>,
    name: &str,
    owner: &str,
    span: Duration,
) -> Step<Lease> {
    let held = Held::read(conn, name)?;
    let mut epoch = held.as_ref().map_or(0, |held| held.epoch);
    if let Some(held) = &held {
        let holder = held.holder(asking.store, asking.now);
        if let Some(by) = holder.filter(|by| ***by != *owner) {
            return Ok(Lease::Held { by: by.clone(), until: held.until });
        }
    }
    if held.and_then(|held| held.owner).as_deref() != Some(owner) {
        epoch += 1;
    }
    let until = asking.now.after(span).as_micros();
    conn.prepare_cached(sql::PUT_LEASE)?.execute((name, epoch, owner, until, &**asking.node))?;
    Ok(Lease::Granted { epoch: epoch as u64 })
}

pub(crate) fn release(conn: &Connection, name: &str, owner: &str) -> Step<()> {
    conn.prepare_cached(sql::RELEASE_LEASE)?.execute((name, owner))?;
    Ok(())
}

/// Who has a lease now.
pub(crate) fn holder(conn: &Connection, store: &Path, name: &str, now: Timestamp) -> Step<Option<Text>> {
    let held = Held::read(conn, name)?;
    Ok(held.as_ref().and_then(|held| held.holder(store, now)).cloned())
}

/// Whether nobody has a lease by this lock file.
pub(crate) fn has_none(conn: &Connection, node: &str) -> Step<bool> {
    Ok(!conn.prepare_cached(sql::LEASES_OF_NODE)?.exists([node])?)
}

/// The epoch of a lease, 0 when nobody has ever had it.
pub(crate) fn epoch(conn: &Connection, name: &str) -> Step<u64> {
    Ok(Held::read(conn, name)?.map_or(0, |held| held.epoch as u64))
}
