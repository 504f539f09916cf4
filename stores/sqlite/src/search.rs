//! Which indexes answer a question, and the first event that answers a condition.

use std::collections::BTreeSet;

use rusqlite::Connection;
use tidings_core::{EventQuery, Pattern, Text, category};
use tidings_store::{Direction, Filter, Tenants, stream_category};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    caches::{Caches, stream_id},
    candidates::{Conjunction, Found, List, Union},
    codec, decode,
    fault::Step,
};

/// The kinds of terms that are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tag = b't' as isize,
    Category = b'c' as isize,
    Key = b'k' as isize,
}

/// The term of a tag, category or key in a tenant: always negative, so that it never is a name's id.
pub(crate) fn term(tenant: i64, kind: Kind, text: &str) -> i64 {
    let mut hasher = Xxh3::new();
    hasher.update(&[kind as u8]);
    hasher.update(&tenant.to_le_bytes());
    hasher.update(text.as_bytes());
    (hasher.digest() | (1 << 63)) as i64
}

/// The hashed terms of an event; its name's id is a term too.
pub(crate) fn terms(tenant: i64, stream: &str, event: &tidings_core::Envelope, mut found: impl FnMut(i64)) {
    for tag in event.tags() {
        found(term(tenant, Kind::Tag, tag));
    }
    let of_stream = stream_category(stream);
    if of_stream != category(event.name()) {
        found(term(tenant, Kind::Category, of_stream));
    }
    if let Some(key) = event.key()
        && codec::suffix(stream, event.name()) != Some(&**key)
    {
        found(term(tenant, Kind::Key, key));
    }
}

/// The tenants a read sees, by id; more than [`LISTS_MAX`] are not looked up one by one.
pub(crate) fn tenant_ids(conn: &Connection, caches: &mut Caches, tenants: &Tenants) -> Step<Vec<i64>> {
    match tenants {
        Tenants::One(tenant) => Ok(caches.tenant_id(conn, &tenant.0)?.into_iter().collect()),
        Tenants::All => Ok(caches.tenants(conn)?.iter().map(|(id, _)| *id).collect()),
    }
}

/// A union of more lists than this is slower than looking at every event.
const LISTS_MAX: usize = 256;

fn names_matching(
    conn: &Connection,
    caches: &mut Caches,
    tenants: &[i64],
    names: &[Pattern],
) -> Step<Vec<i64>> {
    let matching = caches.names(conn)?.iter().filter(|name| {
        tenants.contains(&name.tenant)
            && (names.is_empty() || names.iter().any(|pattern| pattern.matches(&name.name)))
    });
    Ok(matching.map(|name| name.id).collect())
}

fn tags(tenants: &[i64], tags: &[Text]) -> Vec<Union> {
    let list = |tenant: &i64, tag: &Text| List::Term(term(*tenant, Kind::Tag, tag));
    tags.iter().map(|tag| Union::of(tenants.iter().map(|tenant| list(tenant, tag)))).collect()
}

/// A union that has nothing.
pub(crate) fn nothing() -> Union {
    Union::of([])
}

/// How a filter is answered.
#[derive(Debug)]
pub(crate) enum Plan {
    /// By looking at every event.
    Scan,
    /// By looking at the candidates.
    Candidates(Conjunction),
}

/// How to find the events a filter wants.
pub(crate) fn plan(conn: &Connection, caches: &mut Caches, tenants: &[i64], filter: &Filter) -> Step<Plan> {
    if tenants.len() > LISTS_MAX {
        return Ok(Plan::Scan);
    }
    let mut unions = tags(tenants, &filter.tags);
    if let Some(key) = &filter.key
        && let Some(lists) = key_lists(conn, caches, tenants, key)?
    {
        unions.push(Union::of(lists));
    }
    if let Some(wanted) = &filter.category {
        let of_name = caches.names(conn)?.iter();
        let of_name =
            of_name.filter(|name| tenants.contains(&name.tenant) && category(&name.name) == &**wanted);
        let mut lists: Vec<_> = of_name.map(|name| List::Term(name.id)).collect();
        lists.extend(tenants.iter().map(|tenant| List::Term(term(*tenant, Kind::Category, wanted))));
        if lists.len() <= LISTS_MAX {
            unions.push(Union::of(lists));
        }
    }
    if !filter.names.is_empty() && !filter.names.iter().any(Pattern::is_all) {
        let names = names_matching(conn, caches, tenants, &filter.names)?;
        let all = caches.names(conn)?.iter().filter(|name| tenants.contains(&name.tenant)).count();
        // What every event has narrows nothing.
        if names.len() <= LISTS_MAX && names.len() < all {
            unions.push(Union::of(names.into_iter().map(List::Term)));
        }
    }
    Ok(if unions.is_empty() { Plan::Scan } else { Plan::Candidates(Conjunction(unions)) })
}

/// Where events with a key are: the default streams of that key, and those that were written down as having it.
fn key_lists(conn: &Connection, caches: &mut Caches, tenants: &[i64], key: &Text) -> Step<Option<Vec<List>>> {
    let names = caches.names(conn)?.iter().filter(|name| tenants.contains(&name.tenant));
    let categories: BTreeSet<(i64, &str)> = names.map(|name| (name.tenant, category(&name.name))).collect();
    if categories.len() + tenants.len() > LISTS_MAX {
        return Ok(None);
    }
    let mut lists: Vec<_> = tenants.iter().map(|tenant| List::Term(term(*tenant, Kind::Key, key))).collect();
    for (tenant, category) in categories {
        if let Some(id) = stream_id(conn, tenant, &format!("{category}-{key}"))? {
            lists.push(List::Stream(id));
        }
    }
    Ok(Some(lists))
}

/// The first event after `after` in a tenant that answers `query`.
pub(crate) fn first_match(
    conn: &Connection,
    caches: &mut Caches,
    tenant: &str,
    query: &EventQuery,
    after: i64,
) -> Step<Option<i64>> {
    let Some(tenant) = caches.tenant_id(conn, tenant)? else { return Ok(None) };
    let mut unions = tags(&[tenant], &query.tags);
    if let Some(stream) = &query.stream {
        let Some(id) = stream_id(conn, tenant, stream)? else { return Ok(None) };
        unions.push(Union::of([List::Stream(id)]));
    }
    let any_name = query.names.is_empty() || query.names.iter().any(Pattern::is_all);
    if !any_name || unions.is_empty() {
        let names = names_matching(conn, caches, &[tenant], if any_name { &[] } else { &query.names })?;
        // Many names beside a tag or a stream are told faster by looking at the event.
        if unions.is_empty() || names.len() <= LISTS_MAX {
            unions.push(Union::of(names.into_iter().map(List::Term)));
        }
    }
    let mut candidates = Conjunction(unions);
    let mut at = after.saturating_add(1);
    loop {
        match candidates.seek(conn, at, Direction::Forward, &mut usize::MAX.clone())? {
            Found::Nothing | Found::Paused(_) => return Ok(None),
            Found::At(position) => {
                if let Some((owner, event)) = decode::event(conn, caches, position)?
                    && owner == tenant
                    && query.matches(&event.stream, &event.envelope)
                {
                    return Ok(Some(position));
                }
                at = position.saturating_add(1);
            }
        }
    }
}
