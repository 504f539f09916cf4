//! Lists of documents, figures, verification.

use bytes::Bytes;
use tidings_core::{DocumentChange, Text};
use tidings_store::{DocumentQuery, Fault, StoreStats};

use super::{Bug, bug, ids::lower};
use crate::hooks::{Hook, Inside, now};

pub const BUGS: &[Bug] = &[
    bug(
        "documents are listed without regard to case",
        &[Hook::Listed(|_, _, found| {
            found.sort_by_key(|document| document.key.id.to_lowercase());
        })],
    ),
    bug(
        "a prefix is compared without regard to case",
        &[Hook::Listed(|inside, query, found| {
            let any = DocumentQuery { prefix: Text::from(""), ..query.clone() };
            *found = now(inside.store().documents(&any)).unwrap_or_default();
            found.retain(|document| document.key.id.to_lowercase().starts_with(&query.prefix.to_lowercase()));
        })],
    ),
    bug(
        "a prefix is a pattern",
        &[Hook::List(|_, query| {
            query.prefix = Text::from(query.prefix.split(['%', '_']).next().unwrap_or_default());
        })],
    ),
    bug(
        "a list begins with the id it should come after",
        &[Hook::Listed(|inside, query, found| {
            let Some(after) = &query.after else { return };
            let here = DocumentQuery { after: None, prefix: after.clone(), limit: 1, ..query.clone() };
            let here = now(inside.store().documents(&here)).unwrap_or_default();
            found.splice(0..0, here.into_iter().filter(|document| document.key.id == *after));
            found.truncate(query.limit.max(1));
        })],
    ),
    bug("limits of lists are ignored", &[Hook::List(|_, query| query.limit = usize::MAX)]),
    bug("an indexed field is ignored", &[Hook::List(|_, query| query.field = None)]),
    bug(
        "an indexed field is compared without regard to case",
        &[
            Hook::Commit(|commit| {
                for write in &mut commit.documents {
                    if let DocumentChange::Put(bytes) = &write.change
                        && !write.indexed.is_empty()
                    {
                        let text = String::from_utf8_lossy(bytes).replace("\"One\"", "\"one\"");
                        write.change = DocumentChange::Put(Bytes::from(text));
                    }
                }
            }),
            Hook::List(|_, query| {
                query.field = query.field.as_ref().map(|(field, value)| (field.clone(), lower(value)));
            }),
        ],
    ),
    bug(
        "a blind change leaves the index as it was",
        &[Hook::Commit(|commit| {
            for write in &mut commit.documents {
                if matches!(write.change, DocumentChange::Blind(_)) {
                    write.indexed = [].into();
                }
            }
        })],
    ),
    bug(
        "with an indexed field the prefix is ignored",
        &[Hook::List(|_, query| {
            if query.field.is_some() {
                query.prefix = Text::from("");
            }
        })],
    ),
    bug(
        "counting stops at the limit",
        &[Hook::Count(|inside, query| {
            now(inside.store().documents(query)).map_or(0, |found| found.len() as u64)
        })],
    ),
    bug(
        "namespaces are told apart without regard to case",
        &[
            Hook::Commit(|commit| {
                for write in &mut commit.documents {
                    write.key.namespace = lower(&write.key.namespace);
                }
            }),
            Hook::List(|_, query| query.namespace = lower(&query.namespace)),
        ],
    ),
    bug(
        "a list has no values",
        &[Hook::Listed(|_, _, found| {
            found.iter_mut().for_each(|document| document.value = Bytes::new());
        })],
    ),
    bug("an empty store has one event", &[Hook::Stats(|_, figures| figures.events = figures.events.max(1))]),
    bug("names are counted in their own order", &[Hook::Stats(|_, figures| figures.names.sort())]),
    bug("streams of all tenants are counted as one", &[Hook::Stats(one_for_all)]),
    bug("documents are not counted", &[Hook::Stats(|_, figures| figures.documents.clear())]),
    bug("due rows are not counted", &[Hook::Stats(|_, figures| figures.due.clear())]),
    bug(
        "repeats are counted",
        &[
            Hook::Answer(|inside, commit, answer| {
                if answer.as_ref().is_ok_and(|applied| applied.repeated) {
                    let events: usize = commit.appends.iter().map(|append| append.events.len()).sum();
                    inside.number("repeats", |n| *n += i64::try_from(events).unwrap_or(0));
                }
            }),
            Hook::Stats(|inside, figures| figures.events += inside.number("repeats", |n| n.unsigned_abs())),
        ],
    ),
    bug("the engine has no name", &[Hook::Info(|info| info.engine.clear())]),
    bug("the engine has no address", &[Hook::Info(|info| info.url = "memory".into())]),
    bug("verification looks at nothing", &[Hook::Verified(|verified| verified.events = 0)]),
    bug(
        "verification finds what is not wrong",
        &[Hook::Verified(|verified| {
            verified.faults.push(Fault { position: None, problem: "none".into() });
        })],
    ),
    bug("verification tells no progress", &[Hook::NoProgress]),
];

fn one_for_all(inside: &Inside, figures: &mut StoreStats) {
    let read = tidings_store::Read::after(0).all_tenants().limit(usize::MAX);
    let log = now(inside.store().read(&read)).map(|page| page.events).unwrap_or_default();
    let streams: std::collections::HashSet<_> = log.iter().map(|event| &event.stream).collect();
    figures.streams = streams.len() as u64;
}
