//! Appends, the order of checks, limits.

use tidings_core::{BlobChange, Commit, DocumentChange, DueChange, Expected, Text};
use tidings_store::{Error, ErrorKind};

use super::{Bug, bug};
use crate::hooks::{Answer, Hook, Inside};

pub const BUGS: &[Bug] = &[
    bug("expected versions are forgotten", &[Hook::Commit(|commit| expecting(commit, |_| Expected::Any))]),
    bug(
        "`none` is taken for any",
        &[Hook::Commit(|commit| {
            expecting(commit, |was| if was == Expected::None { Expected::Any } else { was })
        })],
    ),
    bug(
        "`exists` is taken for any",
        &[Hook::Commit(|commit| {
            expecting(commit, |was| if was == Expected::Exists { Expected::Any } else { was })
        })],
    ),
    bug("`exact` is taken for at least", &[Hook::Apply(at_least)]),
    bug("an answer's version is that of the first event", &[Hook::Answer(first_version)]),
    bug(
        "an answer's positions count from nought",
        &[Hook::Answer(|_, _, answer| {
            if let Ok(applied) = answer {
                applied.first = applied.first.saturating_sub(1);
            }
        })],
    ),
    bug(
        "a conflict does not say the version",
        &[Hook::Answer(|_, _, answer| {
            if let Err(Error::WrongVersion { actual, .. }) = answer {
                *actual = 0;
            }
        })],
    ),
    bug(
        "after a conflict the documents are written",
        &[Hook::Apply(|inside, commit| {
            after_conflict(inside, &commit, |from| Commit { documents: from.documents, ..Commit::default() })
        })],
    ),
    bug(
        "after a conflict the due rows are written",
        &[Hook::Apply(|inside, commit| {
            after_conflict(inside, &commit, |from| Commit { due: from.due, ..Commit::default() })
        })],
    ),
    bug(
        "after a conflict the blobs are written",
        &[Hook::Apply(|inside, commit| {
            after_conflict(inside, &commit, |from| Commit { blobs: from.blobs, ..Commit::default() })
        })],
    ),
    bug(
        "after a conflict the checkpoint is moved",
        &[Hook::Apply(|inside, commit| {
            after_conflict(inside, &commit, |from| Commit {
                checkpoints: from.checkpoints,
                ..Commit::default()
            })
        })],
    ),
    bug("each append of a commit is written alone", &[Hook::Apply(one_by_one)]),
    bug("each append of a commit is checked against the stream before it", &[Hook::Apply(checked_before)]),
    bug(
        "streams are told apart without regard to case",
        &[
            Hook::Commit(|commit| {
                for append in &mut commit.appends {
                    append.stream = Text::from(append.stream.to_lowercase());
                }
            }),
            Hook::Ask(|_, read| {
                read.stream = read.stream.as_ref().map(|stream| Text::from(stream.to_lowercase()))
            }),
        ],
    ),
    bug(
        "known ids speak before fences",
        &[Hook::Apply(|inside, commit| {
            let unfenced = Commit { fences: Vec::new(), ..commit.clone() };
            if ids_known(inside, &unfenced) { inside.apply(unfenced) } else { inside.apply(commit) }
        })],
    ),
    bug(
        "checkpoints speak before known ids",
        &[Hook::Apply(|inside, commit| {
            let only = Commit {
                fences: commit.fences.clone(),
                checkpoints: commit.checkpoints.clone(),
                due: vec![DueChange::Take {
                    queue: Text::from("no such queue"),
                    id: Text::from("no such row"),
                }],
                ..Commit::default()
            };
            match inside.apply(only) {
                Err(error @ Error::CheckpointMoved { .. }) => Err(error),
                _ => inside.apply(commit),
            }
        })],
    ),
    bug(
        "conditions on documents speak before stream versions",
        &[Hook::Apply(|inside, commit| {
            let only = Commit {
                tenant: commit.tenant.clone(),
                fences: commit.fences.clone(),
                reads: commit.reads.clone(),
                due: vec![DueChange::Take {
                    queue: Text::from("no such queue"),
                    id: Text::from("no such row"),
                }],
                ..Commit::default()
            };
            match inside.apply(only) {
                Err(error @ Error::DocumentChanged { .. }) if !ids_known(inside, &commit) => Err(error),
                _ => inside.apply(commit),
            }
        })],
    ),
    bug(
        "fences speak before nonsense",
        &[Hook::Apply(|inside, commit| {
            inside.apply(Commit { fences: commit.fences.clone(), ..Commit::default() })?;
            inside.apply(commit)
        })],
    ),
    bug("a payload may be of any size", &[Hook::Limits(|limits| limits.payload_bytes = usize::MAX)]),
    bug("a payload at the limit is refused", &[Hook::Limits(|limits| limits.payload_bytes -= 1)]),
    bug("a commit may have any number of writes", &[Hook::Limits(|limits| limits.writes = usize::MAX)]),
    bug("a commit may have any number of bytes", &[Hook::Limits(|limits| limits.bytes = usize::MAX)]),
    bug("a commit's bytes at the limit are refused", &[Hook::Limits(|limits| limits.bytes -= 1)]),
    bug(
        "a document written twice is written as it was last",
        &[Hook::Commit(|commit| {
            let mut later = commit.documents.split_off(commit.documents.len().min(1));
            later.retain(|write| commit.documents.first().is_none_or(|first| first.key != write.key));
            commit.documents.extend(later);
        })],
    ),
    bug(
        "settled positions are put in order",
        &[Hook::Commit(|commit| {
            for moved in &mut commit.checkpoints {
                moved.settled.sort_unstable();
            }
        })],
    ),
    bug(
        "appends without events are left out",
        &[Hook::Commit(|commit| {
            commit.appends.retain(|append| !append.events.is_empty());
        })],
    ),
    bug(
        "a due row taken twice in one commit is taken once",
        &[Hook::Commit(|commit| {
            commit.due.dedup();
        })],
    ),
];

fn expecting(commit: &mut Commit, change: fn(Expected) -> Expected) {
    for append in &mut commit.appends {
        append.expected = change(append.expected);
    }
}

fn at_least(inside: &Inside, mut commit: Commit) -> Answer {
    for append in &mut commit.appends {
        if let Expected::Exact(wanted) = append.expected
            && inside.stream_version(&commit.tenant, &append.stream) > wanted
        {
            append.expected = Expected::Any;
        }
    }
    inside.apply(commit)
}

fn first_version(_: &Inside, commit: &Commit, answer: &mut Answer) {
    if let (Ok(applied), Some(last)) = (answer, commit.appends.last()) {
        applied.version -= (last.events.len() as u64).min(applied.version) - 1;
    }
}

fn after_conflict(inside: &Inside, commit: &Commit, part: fn(Commit) -> Commit) -> Answer {
    let answer = inside.apply(commit.clone());
    if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
        let tenant = commit.tenant.clone();
        let mut part = Commit { tenant, ..part(commit.clone()) };
        part.documents.iter_mut().for_each(|write| write.expected = None);
        part.documents.retain(|write| !matches!(write.change, DocumentChange::Blind(_)));
        part.due.retain(|change| matches!(change, DueChange::Put(_)));
        part.blobs.retain(|change| matches!(change, BlobChange::Put { .. }));
        let _ = inside.apply(part);
    }
    answer
}

fn one_by_one(inside: &Inside, commit: Commit) -> Answer {
    let mut rest = Commit { appends: Vec::new(), ..commit.clone() };
    let Some((last, before)) = commit.appends.split_last() else { return inside.apply(commit) };
    let mut first = None;
    for append in before {
        let alone = Commit { tenant: commit.tenant.clone(), ..Commit::append(append.clone()) };
        let applied = inside.apply(alone)?;
        first = first.or(Some(applied.first));
    }
    rest.appends.push(last.clone());
    let mut applied = inside.apply(rest)?;
    applied.first = first.unwrap_or(applied.first);
    Ok(applied)
}

fn checked_before(inside: &Inside, mut commit: Commit) -> Answer {
    if ids_known(inside, &commit) {
        return inside.apply(commit);
    }
    for append in &mut commit.appends {
        let actual = inside.stream_version(&commit.tenant, &append.stream);
        let (stream, expected) = (append.stream.clone(), append.expected);
        let holds = match expected {
            Expected::Any => true,
            Expected::None => actual == 0,
            Expected::Exact(version) => actual == version,
            Expected::Exists => actual > 0,
        };
        if !holds {
            return Err(Error::WrongVersion { stream, expected, actual });
        }
        append.expected = Expected::Any;
    }
    inside.apply(commit)
}

/// Whether the store knows an id of the commit.
pub fn ids_known(inside: &Inside, commit: &Commit) -> bool {
    let mut events = commit.appends.iter().flat_map(|append| &append.events);
    events.any(|event| inside.find(&commit.tenant, event.source(), event.id()).is_some())
}
