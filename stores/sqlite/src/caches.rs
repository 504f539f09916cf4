//! Interned texts, remembered: names and tenants all of them, streams and sources as many as are in use.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, OptionalExtension as _};
use tidings_core::Text;

use crate::{documents::text, fault::Step, hash::QuickBuilder, sql};

/// A bounded map: when the young half is full it becomes the old one, and what was old and not asked for is forgotten.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    young: HashMap<K, V, QuickBuilder>,
    old: HashMap<K, V, QuickBuilder>,
    half: usize,
}

impl<K: Hash + Eq, V> Generations<K, V> {
    pub(crate) fn holding(most: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), half: (most / 2).max(1) }
    }

    /// Whether it has the key, which then is among the young.
    pub(crate) fn holds<Q>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.young.contains_key(key) {
            return true;
        }
        let Some((key, value)) = self.old.remove_entry(key) else { return false };
        self.put(key, value);
        true
    }

    /// What [`holds`](Self::holds) has just found.
    pub(crate) fn young<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.young.get(key)
    }

    pub(crate) fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        if self.holds(key) { self.young(key).cloned() } else { None }
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

/// Payloads that are read one after another lie one after another, in memory they share: asking for it once in a while
/// is cheaper than for each. What keeps one of them keeps at most [`SHARED`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Payloads(BytesMut);

/// How much memory payloads share.
const SHARED: usize = 16 << 10;

/// A payload over this size has memory of its own.
const SHARES_MAX: usize = SHARED / 8;

impl Payloads {
    pub(crate) fn keep(&mut self, payload: &[u8]) -> Bytes {
        if payload.len() > SHARES_MAX {
            return Bytes::copy_from_slice(payload);
        }
        if self.0.capacity() < payload.len() {
            self.0 = BytesMut::with_capacity(SHARED);
        }
        self.0.extend_from_slice(payload);
        self.0.split().freeze()
    }
}

/// A stream as readers need it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) tenant: i64,
    pub(crate) name: Text,
    /// What follows its first `-`, which mostly is the key of its events.
    pub(crate) key: Option<Text>,
}

/// A name of events, in one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) id: i64,
    pub(crate) tenant: i64,
    pub(crate) name: Text,
}

/// Streams and sources a connection remembers.
const REMEMBERED: usize = 65_536;

/// What one connection has seen; every connection has its own, so that none waits for another.
#[derive(Debug)]
pub(crate) struct Caches {
    tenants: Vec<(i64, Text)>,
    tenant_ids: HashMap<Text, i64, QuickBuilder>,
    names: Vec<Name>,
    name_ids: HashMap<(i64, Text), i64, QuickBuilder>,
    streams: Generations<i64, Stream>,
    sources: Generations<i64, Text>,
    /// The source asked for last, because most of a log comes from few.
    last_source: Option<(i64, Text)>,
    source_ids: Generations<Text, i64>,
    payloads: Payloads,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            tenants: Vec::new(),
            tenant_ids: HashMap::default(),
            names: Vec::new(),
            name_ids: HashMap::default(),
            streams: Generations::holding(REMEMBERED),
            sources: Generations::holding(REMEMBERED),
            last_source: None,
            source_ids: Generations::holding(REMEMBERED),
            payloads: Payloads::default(),
        }
    }
}

impl Caches {
    /// Forgets everything: what had been seen may have been rolled back.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    fn load_tenants(&mut self, conn: &Connection) -> Step<()> {
        let last = self.tenants.last().map_or(0, |(id, _)| *id);
        let mut statement = conn.prepare_cached(sql::TENANTS_AFTER)?;
        let mut rows = statement.query([last])?;
        while let Some(row) = rows.next()? {
            self.add_tenant(row.get(0)?, text(row, 1)?);
        }
        Ok(())
    }

    fn add_tenant(&mut self, id: i64, tenant: Text) {
        self.tenants.push((id, tenant.clone()));
        self.tenant_ids.insert(tenant, id);
    }

    /// All tenants there are.
    pub(crate) fn tenants(&mut self, conn: &Connection) -> Step<&[(i64, Text)]> {
        self.load_tenants(conn)?;
        Ok(&self.tenants)
    }

    pub(crate) fn tenant_id(&mut self, conn: &Connection, tenant: &str) -> Step<Option<i64>> {
        if let Some(id) = self.tenant_ids.get(tenant) {
            return Ok(Some(*id));
        }
        self.load_tenants(conn)?;
        Ok(self.tenant_ids.get(tenant).copied())
    }

    /// The tenant's id; a new one gets one.
    pub(crate) fn intern_tenant(&mut self, conn: &Connection, tenant: &Text) -> Step<i64> {
        if let Some(id) = self.tenant_id(conn, tenant)? {
            return Ok(id);
        }
        let id = self.tenants.last().map_or(0, |(id, _)| *id) + 1;
        conn.prepare_cached(sql::INSERT_TENANT)?.execute((id, &**tenant))?;
        self.add_tenant(id, tenant.clone());
        Ok(id)
    }

    fn load_names(&mut self, conn: &Connection) -> Step<()> {
        let last = self.names.last().map_or(0, |name| name.id);
        let mut statement = conn.prepare_cached(sql::NAMES_AFTER)?;
        let mut rows = statement.query([last])?;
        while let Some(row) = rows.next()? {
            let name = Name { id: row.get(0)?, tenant: row.get(1)?, name: text(row, 2)? };
            self.name_ids.insert((name.tenant, name.name.clone()), name.id);
            self.names.push(name);
        }
        Ok(())
    }

    /// All names there are.
    pub(crate) fn names(&mut self, conn: &Connection) -> Step<&[Name]> {
        self.load_names(conn)?;
        Ok(&self.names)
    }

    /// The name with this id. Ids are given without gaps, so that it is looked for where it must be.
    pub(crate) fn name(&mut self, conn: &Connection, id: i64) -> Step<Option<Text>> {
        let at = usize::try_from(id - 1).unwrap_or(usize::MAX);
        if self.names.get(at).is_none_or(|name| name.id != id) {
            self.load_names(conn)?;
        }
        let found = self.names.get(at).filter(|name| name.id == id);
        Ok(found.or_else(|| self.names.iter().find(|name| name.id == id)).map(|name| name.name.clone()))
    }

    pub(crate) fn name_id(&mut self, conn: &Connection, tenant: i64, text: &Text) -> Step<Option<i64>> {
        let key = (tenant, text.clone());
        if let Some(id) = self.name_ids.get(&key) {
            return Ok(Some(*id));
        }
        self.load_names(conn)?;
        Ok(self.name_ids.get(&key).copied())
    }

    /// The name's id; a new one gets one.
    pub(crate) fn intern_name(&mut self, conn: &Connection, tenant: i64, text: &Text) -> Step<i64> {
        if let Some(id) = self.name_id(conn, tenant, text)? {
            return Ok(id);
        }
        let id = self.names.last().map_or(0, |name| name.id) + 1;
        conn.prepare_cached(sql::INSERT_NAME)?.execute((id, tenant, &**text))?;
        self.names.push(Name { id, tenant, name: text.clone() });
        self.name_ids.insert((tenant, text.clone()), id);
        Ok(id)
    }

    pub(crate) fn source(&mut self, conn: &Connection, id: i64) -> Step<Option<Text>> {
        if let Some((_, last)) = self.last_source.as_ref().filter(|(last, _)| *last == id) {
            return Ok(Some(last.clone()));
        }
        let source = match self.sources.get(&id) {
            Some(source) => Some(source),
            None => {
                let mut statement = conn.prepare_cached(sql::SOURCE_BY_ID)?;
                statement.query_row([id], |row| text(row, 0)).optional()?
            }
        };
        if let Some(source) = &source {
            self.sources.put(id, source.clone());
            self.last_source = Some((id, source.clone()));
        }
        Ok(source)
    }

    pub(crate) fn source_id(&mut self, conn: &Connection, source: &Text) -> Step<Option<i64>> {
        if let Some(id) = self.source_ids.get(source) {
            return Ok(Some(id));
        }
        let mut statement = conn.prepare_cached(sql::SOURCE_BY_NAME)?;
        let id = statement.query_row([&**source], |row| row.get(0)).optional()?;
        if let Some(id) = id {
            self.source_ids.put(source.clone(), id);
        }
        Ok(id)
    }

    /// The source's id; a new one gets one.
    pub(crate) fn intern_source(&mut self, conn: &Connection, source: &Text) -> Step<i64> {
        if let Some(id) = self.source_id(conn, source)? {
            return Ok(id);
        }
        conn.prepare_cached(sql::INSERT_SOURCE)?.execute([&**source])?;
        let id = conn.last_insert_rowid();
        self.source_ids.put(source.clone(), id);
        Ok(id)
    }

    /// The stream with this id, and where payloads are kept.
    pub(crate) fn stream(&mut self, conn: &Connection, id: i64) -> Step<Option<(&Stream, &mut Payloads)>> {
        if !self.streams.holds(&id) {
            let mut statement = conn.prepare_cached(sql::STREAM_BY_ID)?;
            let row = statement.query_row([id], |row| Ok((row.get(0)?, text(row, 1)?)));
            let Some((tenant, name)) = row.optional()? else { return Ok(None) };
            let key = name.split_once('-').map(|(_, key)| Text::from(key));
            self.streams.put(id, Stream { tenant, name, key });
        }
        Ok(self.streams.young(&id).map(|stream| (stream, &mut self.payloads)))
    }
}

/// The id of a stream, if it has events.
pub(crate) fn stream_id(conn: &Connection, tenant: i64, stream: &str) -> Step<Option<i64>> {
    let mut statement = conn.prepare_cached(sql::STREAM_BY_NAME)?;
    Ok(statement.query_row((tenant, stream), |row| row.get(0)).optional()?)
}

/// The version of a stream's last event.
pub(crate) fn stream_head(conn: &Connection, stream_id: i64) -> Step<i64> {
    let mut statement = conn.prepare_cached(sql::STREAM_HEAD)?;
    Ok(statement.query_row([stream_id], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_map_forgets_what_is_not_asked_for_and_keeps_what_is() {
        let mut map = Generations::holding(8);
        map.put(0, "kept");
        for key in 1..1_000 {
            assert_eq!(map.get(&0), Some("kept"), "after {key}");
            map.put(key, "passing");
            assert!(map.young.len() + map.old.len() <= 8);
        }
        assert_eq!(map.get(&1), None);
    }
}
