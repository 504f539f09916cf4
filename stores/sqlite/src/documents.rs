//! Documents: reading them, and writing one with its index rows.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _};
use tidings_core::{DocumentChange, DocumentKey, DocumentWrite, Text, apply_blind, index_text};
use tidings_store::{Document, DocumentQuery, Error, PAGE_EVENTS_MAX};

use crate::{fault::Step, sql, varint};

pub(crate) fn read(conn: &Connection, tenant: &str, key: &DocumentKey) -> Step<Option<Document>> {
    let mut statement = conn.prepare_cached(sql::DOCUMENT)?;
    let found = statement
        .query_row((tenant, &*key.namespace, &*key.id), |row| {
            Ok(Document { key: key.clone(), version: row.get::<_, i64>(0)? as u64, value: bytes(row, 1)? })
        })
        .optional()?;
    Ok(found)
}

/// The version of a document, 0 when it is not there.
pub(crate) fn version(conn: &Connection, tenant: &str, key: &DocumentKey) -> Step<u64> {
    let mut statement = conn.prepare_cached(sql::DOCUMENT_VERSION)?;
    let found = statement.query_row((tenant, &*key.namespace, &*key.id), |row| row.get::<_, i64>(0));
    Ok(found.optional()?.unwrap_or(0) as u64)
}

/// A column of text.
pub(crate) fn text(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Text> {
    Ok(Text::from(row.get_ref(column)?.as_str()?))
}

/// A column of bytes.
pub(crate) fn bytes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
}

/// The first text behind all that begin with `prefix`, if there is one.
fn behind(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // Between the two halves of this range lie the surrogates, which no text has.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

pub(crate) fn list(conn: &Connection, query: &DocumentQuery) -> Step<Vec<Document>> {
    let limit = query.limit.clamp(1, PAGE_EVENTS_MAX) as i64;
    let after = query.after.as_deref().unwrap_or("");
    let before = behind(&query.prefix);
    let mut found = Vec::new();
    let by_field = query.field.is_some();
    let sql = if by_field { sql::DOCUMENTS_BY_FIELD } else { sql::DOCUMENTS };
    let mut statement = conn.prepare_cached(sql)?;
    let common = (&*query.tenant.0, &*query.namespace, &*query.prefix, after, before.as_deref(), limit);
    let mut rows = match &query.field {
        None => statement.query(common)?,
        Some((field, value)) => statement
            .query((common.0, common.1, common.2, common.3, common.4, common.5, &**field, &**value))?,
    };
    while let Some(row) = rows.next()? {
        let key = DocumentKey { namespace: query.namespace.clone(), id: text(row, 0)? };
        found.push(Document { key, version: row.get::<_, i64>(1)? as u64, value: bytes(row, 2)? });
    }
    Ok(found)
}

pub(crate) fn count(conn: &Connection, query: &DocumentQuery) -> Step<u64> {
    let after = query.after.as_deref().unwrap_or("");
    let before = behind(&query.prefix);
    let (tenant, namespace, prefix) = (&*query.tenant.0, &*query.namespace, &*query.prefix);
    let before = before.as_deref();
    let many: i64 = match &query.field {
        None => conn
            .prepare_cached(sql::COUNT_DOCUMENTS)?
            .query_row((tenant, namespace, prefix, after, before), |row| row.get(0))?,
        Some((field, value)) => conn
            .prepare_cached(sql::COUNT_DOCUMENTS_BY_FIELD)?
            .query_row((tenant, namespace, prefix, after, before, &**field, &**value), |row| row.get(0))?,
    };
    Ok(many as u64)
}

/// A document's new value, made before anything is written, because a blind change may be refused.
pub(crate) fn value(conn: &Connection, tenant: &str, write: &DocumentWrite) -> Step<Option<Bytes>> {
    match &write.change {
        DocumentChange::Put(bytes) => Ok(Some(bytes.clone())),
        DocumentChange::Delete => Ok(None),
        DocumentChange::Blind(changes) => {
            let old = read(conn, tenant, &write.key)?;
            let new = apply_blind(old.as_ref().map(|document| &*document.value), changes);
            let new = new.map_err(|error| {
                Error::Refused(format!("document {}/{}: {error}", write.key.namespace, write.key.id))
            })?;
            Ok(Some(new))
        }
    }
}

/// Writes a document's new value, or removes it, and keeps its index rows in step.
pub(crate) fn write(
    conn: &Connection,
    tenant: &str,
    write: &DocumentWrite,
    value: Option<&Bytes>,
    version: i64,
) -> Step<()> {
    let (namespace, id) = (&*write.key.namespace, &*write.key.id);
    // Most documents are not indexed and never were: then one statement does it.
    if let Some(value) = value.filter(|_| write.indexed.is_empty())
        && conn
            .prepare_cached(sql::PUT_PLAIN_DOCUMENT)?
            .execute((tenant, namespace, id, version, &**value))?
            == 1
    {
        return Ok(());
    }
    let before: Option<Option<Vec<u8>>> = conn
        .prepare_cached(sql::DOCUMENT_BEFORE)?
        .query_row((tenant, namespace, id), |row| row.get(1))
        .optional()?;
    let before = before.flatten().unwrap_or_default();
    let mut fields = value.map(|value| index_text(value, &write.indexed)).unwrap_or_default();
    // A field may have been named twice.
    fields.sort();
    fields.dedup();
    let mut indexed = Vec::new();
    for (field, text) in &fields {
        varint::put_text(&mut indexed, field);
        varint::put_text(&mut indexed, text);
    }
    if before != indexed {
        for (field, text) in entries(&before)? {
            conn.prepare_cached(sql::DELETE_FIELD)?.execute((tenant, namespace, field, text, id))?;
        }
        for (field, text) in &fields {
            conn.prepare_cached(sql::INSERT_FIELD)?.execute((tenant, namespace, &**field, text, id))?;
        }
    }
    match value {
        Some(value) => {
            let indexed = (!indexed.is_empty()).then_some(indexed);
            conn.prepare_cached(sql::PUT_DOCUMENT)?
                .execute((tenant, namespace, id, version, indexed, &**value))?;
        }
        None => {
            conn.prepare_cached(sql::DELETE_DOCUMENT)?.execute((tenant, namespace, id))?;
        }
    }
    Ok(())
}

/// The fields and values a document is indexed by, as its row keeps them.
pub(crate) fn entries(indexed: &[u8]) -> Result<Vec<(&str, &str)>, Error> {
    let mut bytes = varint::Bytes(indexed);
    let mut found = Vec::new();
    while !bytes.0.is_empty() {
        let entry = bytes.text().zip(bytes.text());
        found.push(entry.ok_or_else(|| Error::Damaged("a document's index entries cannot be read".into()))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_a_prefix_lies_before_the_text_behind_it() {
        for (prefix, expected) in [
            ("a", Some("b")),
            ("az", Some("a{")),
            ("", None),
            ("\u{10ffff}", None),
            ("a\u{10ffff}", Some("b")),
            ("\u{d7ff}", Some("\u{e000}")),
        ] {
            assert_eq!(behind(prefix).as_deref(), expected, "{prefix:?}");
            if let Some(end) = behind(prefix) {
                assert!(format!("{prefix}\u{10ffff}") < end && prefix < &*end);
            }
        }
    }
}
