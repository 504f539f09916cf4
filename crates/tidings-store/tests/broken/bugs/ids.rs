//! Ids: what is known, and what the answer is then.

use std::collections::HashSet;

use tidings_core::{Append, Commit, Envelope, Text};
use tidings_store::{Applied, Error, Read, Recorded};

use super::{Bug, bug};
use crate::hooks::{Answer, Hook, Inside, now};

pub const BUGS: &[Bug] = &[
    bug("ids are not checked", &[Hook::Apply(always_new), Hook::Event(strip), Hook::Find(find_stripped)]),
    bug(
        "a repeat gets the last append's answer",
        &[Hook::Answer(|inside, _, answer| {
            if let Ok(applied) = answer
                && applied.repeated
            {
                (applied.first, applied.last) = (inside.head(), inside.head());
            }
        })],
    ),
    bug(
        "a repeat does not say that it is one",
        &[Hook::Answer(|_, _, answer| {
            if let Ok(applied) = answer {
                applied.repeated = false;
            }
        })],
    ),
    bug("a repeat of a part gets the part's positions", &[Hook::Answer(parts_positions)]),
    bug(
        "of what is partly known the rest is written",
        &[Hook::Apply(|inside, commit| match inside.apply(commit.clone()) {
            Err(Error::PartlyKnown { known, given, .. }) if known < given => {
                inside.apply(without_known(inside, commit))
            }
            answer => answer,
        })],
    ),
    bug(
        "known from two appends is a repeat",
        &[Hook::Answer(|_, _, answer| {
            if let Err(Error::PartlyKnown { known, given, .. }) = answer
                && known == given
            {
                *answer = Ok(Applied { repeated: true, ..Applied::default() });
            }
        })],
    ),
    bug(
        "some known is a repeat",
        &[Hook::Answer(|_, _, answer| {
            if let Err(Error::PartlyKnown { known, given, .. }) = answer
                && known < given
            {
                *answer = Ok(Applied { repeated: true, ..Applied::default() });
            }
        })],
    ),
    bug(
        "a conflict of ids counts one too few",
        &[Hook::Answer(|_, _, answer| {
            if let Err(Error::PartlyKnown { known, .. }) = answer {
                *known -= 1;
            }
        })],
    ),
    bug(
        "content under a known id is not compared",
        &[Hook::Answer(|inside, commit, answer| {
            reused_is_repeat(inside, commit, answer, |_, _, _| true);
        })],
    ),
    bug(
        "the stream of a known id is not compared",
        &[Hook::Answer(|inside, commit, answer| {
            reused_is_repeat(inside, commit, answer, |append, event, known| {
                append.stream != known.stream && known.envelope.same_content(event)
            });
        })],
    ),
    bug(
        "of a known id only the name and the payload are compared",
        &[Hook::Answer(|inside, commit, answer| {
            reused_is_repeat(inside, commit, answer, |append, event, known| {
                append.stream == known.stream
                    && event.name() == known.envelope.name()
                    && event.payload() == known.envelope.payload()
            });
        })],
    ),
    bug(
        "the source is no part of an id",
        &[Hook::Apply(|inside, mut commit| {
            for event in commit.appends.iter_mut().flat_map(|append| &mut append.events) {
                if &**event.source() == "/elsewhere" {
                    *event = event.edit().source("/contract").trusted();
                }
            }
            inside.apply(commit)
        })],
    ),
    bug(
        "the tenant is no part of an id",
        &[Hook::Apply(|inside, commit| {
            let read = Read::after(0).all_tenants();
            let log = now(inside.store().read(&read)).map(|page| page.events).unwrap_or_default();
            let event = commit.appends.first().and_then(|append| append.events.first());
            let known = log.iter().find(|known| {
                event.is_some_and(|event| {
                    (event.id(), event.source()) == (known.envelope.id(), known.envelope.source())
                })
            });
            match known {
                Some(known) if !super::append::ids_known(inside, &commit) => {
                    let (position, version) = (known.position, known.version);
                    Ok(Applied { repeated: true, first: position, last: position, version, revision: 0 })
                }
                _ => inside.apply(commit),
            }
        })],
    ),
    bug(
        "an event given twice in one commit is written once",
        &[Hook::Commit(|commit| {
            let mut seen = HashSet::new();
            for append in &mut commit.appends {
                append.events.retain(|event| seen.insert((event.source().clone(), event.id().clone())));
            }
            commit.appends.retain(|append| !append.events.is_empty());
        })],
    ),
    bug(
        "a repeat writes the rest of its commit again",
        &[Hook::Answer(|inside, commit, answer| {
            if answer.as_ref().is_ok_and(|applied| applied.repeated) {
                let rest = Commit { appends: vec![], checkpoints: vec![], due: vec![], ..commit.clone() };
                let _ = inside.apply(rest);
            }
        })],
    ),
    bug(
        "the ids of a commit that failed are known",
        &[Hook::Apply(|inside, commit| {
            let ids = |commit: &Commit| -> Vec<String> {
                let events = commit.appends.iter().flat_map(|append| &append.events);
                events.map(|event| format!("{} {} {}", commit.tenant.0, event.source(), event.id())).collect()
            };
            if let Some(first) = commit.appends.first().and_then(|append| append.events.first())
                && ids(&commit).iter().any(|id| inside.memo.lock().seen.contains(id))
            {
                let (id, source_uri) = (first.id().clone(), first.source().clone());
                return Err(Error::PartlyKnown { known: 1, given: 1, id, source_uri });
            }
            let answer = inside.apply(commit.clone());
            if let Err(Error::WrongVersion { .. }) = answer {
                inside.memo.lock().seen.extend(ids(&commit));
            }
            answer
        })],
    ),
    bug(
        "finding by id takes any source",
        &[Hook::Find(|inside, of, _, id| {
            inside.find(of, "/contract", id).or_else(|| inside.find(of, "/b", id))
        })],
    ),
    bug(
        "ids are found by their beginning",
        &[Hook::Find(|inside, of, source, id| {
            let log = now(inside.store().read(&Read::after(0).tenant(of.clone()))).ok()?.events;
            log.into_iter().find(|event| {
                event.envelope.source().as_ref() == source && event.envelope.id().starts_with(id)
            })
        })],
    ),
];

/// What makes ids unique that are not checked; no id of the suite has it.
const MARK: char = '\u{1}';

fn always_new(inside: &Inside, mut commit: Commit) -> Answer {
    let mut mark = |event: &Envelope| {
        let n = inside.number("ids", |n| {
            *n += 1;
            *n
        });
        event.edit().id(format!("{}{MARK}{n}", event.id())).trusted()
    };
    for append in &mut commit.appends {
        append.events = append.events.iter().map(&mut mark).collect();
    }
    inside.apply(commit)
}

fn strip(_: &Inside, event: &mut Recorded) {
    let id = event.envelope.id().split(MARK).next().unwrap_or_default().to_owned();
    event.envelope = event.envelope.edit().id(id).trusted();
}

fn find_stripped(inside: &Inside, of: &tidings_core::Tenant, source: &str, id: &str) -> Option<Recorded> {
    let log = now(inside.store().read(&Read::after(0).tenant(of.clone()).limit(usize::MAX))).ok()?.events;
    log.into_iter().find(|event| {
        event.envelope.source().as_ref() == source && event.envelope.id().split(MARK).next() == Some(id)
    })
}

fn parts_positions(inside: &Inside, commit: &Commit, answer: &mut Answer) {
    let Ok(applied) = answer else { return };
    if !applied.repeated {
        return;
    }
    let events = commit.appends.iter().flat_map(|append| &append.events);
    let known = events.filter_map(|event| inside.find(&commit.tenant, event.source(), event.id()));
    let positions: Vec<_> = known.map(|event| event.position).collect();
    applied.first = positions.iter().min().copied().unwrap_or(0);
    applied.last = positions.iter().max().copied().unwrap_or(0);
}

fn without_known(inside: &Inside, mut commit: Commit) -> Commit {
    for append in &mut commit.appends {
        append.events.retain(|event| inside.find(&commit.tenant, event.source(), event.id()).is_none());
    }
    commit.appends.retain(|append| !append.events.is_empty());
    commit
}

/// Takes an id that is known with other content for a repeat where `same` thinks so.
fn reused_is_repeat(
    inside: &Inside,
    commit: &Commit,
    answer: &mut Answer,
    same: fn(&Append, &Envelope, &Recorded) -> bool,
) {
    let Err(Error::IdReused { id, source_uri }) = &*answer else { return };
    let Some(known) = inside.find(&commit.tenant, source_uri, id) else { return };
    let given = |append: &Append| -> Option<Envelope> {
        let is = |event: &&Envelope| (event.id(), event.source()) == (id, source_uri);
        let mut events = append.events.iter().filter(is);
        let first = events.next().cloned();
        // Twice in one commit is another matter.
        if events.next().is_some() { None } else { first }
    };
    let taken = commit.appends.iter().find_map(|append| given(append).map(|event| (append, event)));
    if taken.is_some_and(|(append, event)| same(append, &event, &known)) {
        let (position, version) = (known.position, known.version);
        *answer = Ok(Applied { repeated: true, first: position, last: position, version, revision: 0 });
    }
}

/// Texts of hooks that rename.
pub fn lower(text: &Text) -> Text {
    Text::from(text.to_lowercase())
}
