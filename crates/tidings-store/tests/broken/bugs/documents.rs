//! Documents, blind changes, checkpoints and blobs.

use bytes::Bytes;
use tidings_core::{BlindChange, BlobChange, Commit, DocumentChange, DocumentWrite, Tenant};
use tidings_store::{Checkpoint, Document, Error};

use super::{Bug, bug, ids::lower};
use crate::hooks::{Answer, Hook, Inside, now};

pub const BUGS: &[Bug] = &[
    bug(
        "a document's JSON is written anew",
        &[Hook::Document(|inside, of, key| {
            let mut found = inside.document(of, key)?;
            if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&found.value) {
                found.value = Bytes::from(value.to_string());
            }
            Some(found)
        })],
    ),
    bug(
        "writing the same value again writes nothing",
        &[Hook::Apply(|inside, mut commit| {
            commit.documents.retain(|write| match &write.change {
                DocumentChange::Put(bytes) => {
                    inside.document(&commit.tenant, &write.key).is_none_or(|found| found.value != *bytes)
                }
                _ => true,
            });
            inside.apply(commit)
        })],
    ),
    bug(
        "a document's version begins again after a delete",
        &[Hook::Answer(count_versions), Hook::Document(counted)],
    ),
    bug(
        "deleting what is not there is a conflict",
        &[Hook::Apply(|inside, commit| {
            let absent = commit.documents.iter().find(|write| {
                write.change == DocumentChange::Delete
                    && inside.document(&commit.tenant, &write.key).is_none()
            });
            match absent {
                Some(write) => Err(Error::DocumentChanged { key: write.key.clone(), expected: 1, actual: 0 }),
                None => inside.apply(commit),
            }
        })],
    ),
    bug(
        "deletes are forgotten",
        &[Hook::Commit(|commit| {
            commit.documents.retain(|write| write.change != DocumentChange::Delete);
        })],
    ),
    bug(
        "expected versions of documents are forgotten",
        &[Hook::Commit(|commit| {
            commit.documents.iter_mut().for_each(|write| write.expected = None);
        })],
    ),
    bug(
        "an expected version of none is any",
        &[Hook::Commit(|commit| {
            for write in &mut commit.documents {
                write.expected = write.expected.filter(|version| *version > 0);
            }
        })],
    ),
    bug("documents that were read are not checked", &[Hook::Commit(|commit| commit.reads.clear())]),
    bug(
        "only the first document that was read is checked",
        &[Hook::Commit(|commit| commit.reads.truncate(1))],
    ),
    bug("each document of a commit is written alone", &[Hook::Apply(each_alone)]),
    bug(
        "documents are told apart without regard to case",
        &[
            Hook::Commit(|commit| {
                for write in &mut commit.documents {
                    write.key.id = lower(&write.key.id);
                }
            }),
            Hook::Document(|inside, of, key| {
                let mut low = key.clone();
                low.id = lower(&low.id);
                inside.document(of, &low).map(|found| Document { key: key.clone(), ..found })
            }),
        ],
    ),
    bug(
        "blind additions are lost",
        &[Hook::Commit(|commit| {
            blind(commit, |changes| changes.retain(|change| !matches!(change, BlindChange::Add { .. })));
        })],
    ),
    bug(
        "a blind maximum sets",
        &[Hook::Commit(|commit| {
            blind(commit, |changes| {
                for change in changes {
                    if let BlindChange::Max { field, to } = change {
                        *change = BlindChange::Merge(Bytes::from(format!("{{{field:?}:{to}}}")));
                    }
                }
            });
        })],
    ),
    bug(
        "a blind merge replaces the document",
        &[Hook::Commit(|commit| {
            for write in &mut commit.documents {
                let DocumentChange::Blind(changes) = &write.change else { continue };
                if let [BlindChange::Merge(patch)] = &**changes
                    && patch.len() > 2
                {
                    write.change = DocumentChange::Put(patch.clone());
                }
            }
        })],
    ),
    bug(
        "blind changes apply in the reverse order",
        &[Hook::Commit(|commit| blind(commit, |changes| changes.reverse()))],
    ),
    bug(
        "a blind change that changes nothing writes nothing",
        &[Hook::Apply(|inside, mut commit| {
            commit.documents.retain(|write| {
                write.change != DocumentChange::Blind(Vec::new())
                    || inside.document(&commit.tenant, &write.key).is_none()
            });
            inside.apply(commit)
        })],
    ),
    bug(
        "a blind change that cannot be applied is skipped",
        &[Hook::Apply(|inside, commit| match inside.apply(commit.clone()) {
            Err(Error::Refused(why)) if why.starts_with("document ") && !why.contains("twice") => {
                let mut rest = commit;
                rest.documents.retain(|write| !matches!(write.change, DocumentChange::Blind(_)));
                inside.apply(rest)
            }
            answer => answer,
        })],
    ),
    bug(
        "revisions of checkpoints are not compared",
        &[Hook::Apply(|inside, mut commit| {
            for moved in &mut commit.checkpoints {
                let now = now(inside.store().checkpoint(&moved.name)).unwrap_or_default();
                moved.expected_revision = now.revision;
            }
            inside.apply(commit)
        })],
    ),
    bug("settled positions are lost", &[Hook::Checkpoint(|checkpoint| checkpoint.settled.clear())]),
    bug(
        "at most a hundred settled positions are kept",
        &[Hook::Checkpoint(|checkpoint| checkpoint.settled.truncate(100))],
    ),
    bug(
        "a checkpoint's revision counts from nought",
        &[Hook::Checkpoint(|checkpoint| checkpoint.revision = checkpoint.revision.saturating_sub(1))],
    ),
    bug(
        "a checkpoint that was never moved is after the first event",
        &[Hook::Checkpoint(|checkpoint| {
            if *checkpoint == Checkpoint::default() {
                checkpoint.watermark = 1;
            }
        })],
    ),
    bug(
        "a watermark never goes back",
        &[
            Hook::Commit(|_| {}),
            Hook::Apply(|inside, mut commit| {
                for moved in &mut commit.checkpoints {
                    let now = now(inside.store().checkpoint(&moved.name)).unwrap_or_default();
                    if moved.expected_revision == now.revision {
                        moved.watermark = moved.watermark.max(now.watermark);
                        moved.settled.retain(|position| *position > moved.watermark);
                    }
                }
                inside.apply(commit)
            }),
        ],
    ),
    bug("checkpoints are listed newest first", &[Hook::Checkpoints(|list| list.reverse())]),
    bug(
        "of several checkpoints only the first is moved",
        &[Hook::Commit(|commit| commit.checkpoints.truncate(1))],
    ),
    bug(
        "a blob once put stays as it is",
        &[Hook::Apply(|inside, mut commit| {
            commit.blobs.retain(|change| match change {
                BlobChange::Put { key, .. } => {
                    now(inside.store().blob(&commit.tenant, key)).is_ok_and(|at| at.is_none())
                }
                BlobChange::Delete { .. } => true,
            });
            inside.apply(commit)
        })],
    ),
    bug(
        "blobs are never deleted",
        &[Hook::Commit(|commit| {
            commit.blobs.retain(|change| !matches!(change, BlobChange::Delete { .. }));
        })],
    ),
    bug(
        "blobs are deleted first and put then",
        &[Hook::Commit(|commit| {
            commit.blobs.sort_by_key(|change| matches!(change, BlobChange::Put { .. }));
        })],
    ),
];

fn blind(commit: &mut Commit, change: fn(&mut Vec<BlindChange>)) {
    for write in &mut commit.documents {
        if let DocumentChange::Blind(changes) = &mut write.change {
            change(changes);
        }
    }
}

fn counter(of: &Tenant, key: &tidings_core::DocumentKey) -> String {
    format!("version {} {} {}", of.0, key.namespace, key.id)
}

fn count_versions(inside: &Inside, commit: &Commit, answer: &mut Answer) {
    let Ok(applied) = answer else { return };
    if applied.repeated {
        return;
    }
    for write in &commit.documents {
        let delete = write.change == DocumentChange::Delete;
        let version = inside.number(&counter(&commit.tenant, &write.key), |n| {
            *n = if delete { 0 } else { *n + 1 };
            *n
        });
        applied.revision = version.unsigned_abs();
    }
}

fn counted(inside: &Inside, of: &Tenant, key: &tidings_core::DocumentKey) -> Option<Document> {
    let found = inside.document(of, key)?;
    let version = inside.number(&counter(of, key), |n| n.unsigned_abs());
    Some(Document { version, ..found })
}

fn each_alone(inside: &Inside, commit: Commit) -> Answer {
    let Some((first, rest)) = commit.documents.split_first() else { return inside.apply(commit) };
    let alone = |write: &DocumentWrite| vec![write.clone()];
    let answer = inside.apply(Commit { documents: alone(first), ..commit.clone() })?;
    for write in rest {
        let more = Commit { tenant: commit.tenant.clone(), documents: alone(write), ..Commit::default() };
        inside.apply(more)?;
    }
    Ok(answer)
}
