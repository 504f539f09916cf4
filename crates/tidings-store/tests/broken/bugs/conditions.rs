//! Conditions on events.

use tidings_core::{Commit, EventQuery, NothingSince};
use tidings_store::{Error, Read};

use super::{Bug, bug};
use crate::hooks::{Answer, Hook, Inside, now};

pub const BUGS: &[Bug] = &[
    bug("conditions are ignored", &[Hook::Commit(|commit| commit.conditions.clear())]),
    bug("only the first condition is checked", &[Hook::Commit(|commit| commit.conditions.truncate(1))]),
    bug(
        "a condition's position is ignored",
        &[
            Hook::Commit(|commit| each(commit, |condition| condition.after = 0)),
            Hook::Match(|_, _, after| *after = 0),
        ],
    ),
    bug(
        "a condition looks from one event later",
        &[Hook::Commit(|commit| {
            each(commit, |condition| condition.after = condition.after.saturating_add(1))
        })],
    ),
    bug(
        "a first match may be at its position",
        &[Hook::Match(|_, _, after| *after = after.saturating_sub(1))],
    ),
    bug(
        "names in conditions are ignored",
        &[Hook::Commit(|commit| each(commit, |condition| condition.query.names.clear()))],
    ),
    bug(
        "only the first pattern of a condition counts",
        &[Hook::Commit(|commit| each(commit, |condition| condition.query.names.truncate(1)))],
    ),
    bug(
        "tags in conditions are ignored",
        &[Hook::Commit(|commit| each(commit, |condition| condition.query.tags.clear()))],
    ),
    bug(
        "only the last tag of a condition counts",
        &[Hook::Commit(|commit| {
            each(commit, |condition| {
                let last = condition.query.tags.pop();
                condition.query.tags = last.into_iter().collect();
            });
        })],
    ),
    bug(
        "the stream in conditions is ignored",
        &[Hook::Commit(|commit| each(commit, |condition| condition.query.stream = None))],
    ),
    bug(
        "an empty query matches nothing",
        &[Hook::Commit(|commit| {
            commit.conditions.retain(|condition| condition.query != EventQuery::default())
        })],
    ),
    bug("a commit's own events count for its conditions", &[Hook::Apply(own_events)]),
    bug("conditions see all tenants", &[Hook::Apply(all_tenants)]),
    bug(
        "a condition that does not hold keeps only the events back",
        &[Hook::Apply(|inside, commit| {
            let answer = inside.apply(commit.clone());
            if let Err(Error::Matched { .. }) = answer {
                let rest = Commit { appends: Vec::new(), conditions: Vec::new(), ..commit };
                let _ = inside.apply(rest);
            }
            answer
        })],
    ),
];

fn each(commit: &mut Commit, change: fn(&mut NothingSince)) {
    commit.conditions.iter_mut().for_each(change);
}

fn own_events(inside: &Inside, commit: Commit) -> Answer {
    let own = commit.conditions.iter().find(|condition| {
        let mut appends = commit.appends.iter();
        appends.any(|append| append.events.iter().any(|event| condition.query.matches(&append.stream, event)))
    });
    match own {
        Some(condition) => {
            let (position, after) = (inside.head() + 1, condition.after);
            // What else is wrong with it is still said.
            let probe = Commit {
                conditions: vec![NothingSince { query: EventQuery::default(), after: 0 }],
                ..commit
            };
            match inside.apply(probe) {
                Err(error @ Error::Matched { .. }) if inside.head() > 0 => Err(match error {
                    Error::Matched { position, .. } => Error::Matched { position, after },
                    other => other,
                }),
                Err(error) => Err(error),
                Ok(_) => Err(Error::Matched { position, after }),
            }
        }
        None => inside.apply(commit),
    }
}

fn all_tenants(inside: &Inside, commit: Commit) -> Answer {
    for condition in &commit.conditions {
        let read = Read::after(condition.after).all_tenants();
        let log = now(inside.store().read(&read)).map(|page| page.events).unwrap_or_default();
        if let Some(found) = log.iter().find(|event| condition.query.matches(&event.stream, &event.envelope))
        {
            return Err(Error::Matched { position: found.position, after: condition.after });
        }
    }
    inside.apply(commit)
}
