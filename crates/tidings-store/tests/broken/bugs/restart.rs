//! What is forgotten when a store is opened again.

use std::sync::Arc;

use tidings_core::{Commit, Expected};
use tidings_store::{Error, Fault, Lease, MemoryStore, Page};

use super::{Bug, append::ids_known, bug};
use crate::hooks::{Hook, now};

pub const BUGS: &[Bug] = &[
    bug(
        "a restart loses everything",
        &[Hook::Reopened(|inside| {
            *inside.store.lock() = Arc::new(MemoryStore::new(Arc::new(inside.clock.clone())));
        })],
    ),
    bug("a restart loses blobs", &[Hook::AfterRestart(&Hook::Blob(|_, _, _| None))]),
    bug("a restart loses due rows", &[Hook::AfterRestart(&Hook::Due(|rows| rows.clear()))]),
    bug(
        "a restart loses settled positions",
        &[Hook::AfterRestart(&Hook::Checkpoint(|checkpoint| checkpoint.settled.clear()))],
    ),
    bug(
        "a restart loses the versions of streams",
        &[Hook::AfterRestart(&Hook::Apply(|inside, mut commit| {
            for append in &mut commit.appends {
                if append.expected == Expected::None {
                    append.expected = Expected::Any;
                }
            }
            inside.apply(commit)
        }))],
    ),
    bug(
        "a restart loses which ids came together",
        &[Hook::AfterRestart(&Hook::Answer(|_, _, answer| {
            if let Ok(applied) = answer
                && applied.repeated
            {
                applied.last = applied.first;
            }
        }))],
    ),
    bug(
        "a restart loses the ids",
        &[Hook::AfterRestart(&Hook::Apply(|inside, commit| {
            if ids_known(inside, &commit) { inside.apply(Commit::default()) } else { inside.apply(commit) }
        }))],
    ),
    bug(
        "a restart begins the versions of documents again",
        &[Hook::AfterRestart(&Hook::Answer(|_, _, answer| {
            if let Ok(applied) = answer {
                applied.revision = applied.revision.min(1);
            }
        }))],
    ),
    bug("a restart loses who holds a lease", &[Hook::AfterRestart(&Hook::Holder(|_, _| None))]),
    bug(
        "a restart begins epochs again",
        &[Hook::AfterRestart(&Hook::Lease(|inside, name, owner, span| {
            match now(inside.store().lease(name, owner, span)) {
                Ok(Lease::Held { by, until }) => Lease::Held { by, until },
                _ => Lease::Granted { epoch: 1 },
            }
        }))],
    ),
    bug(
        "a restart loses the epochs that fence",
        &[Hook::AfterRestart(&Hook::Commit(|commit| commit.fences.clear()))],
    ),
    bug(
        "a restart forgets the latest recorded time",
        &[Hook::AfterRestart(&Hook::Event(|inside, event| {
            let now = tidings_core::Clock::now(&inside.clock);
            event.recorded = event.recorded.min(now);
        }))],
    ),
    bug(
        "a restart leaves a damaged store",
        &[Hook::AfterRestart(&Hook::Verified(|verified| {
            verified.faults.push(Fault { position: Some(1), problem: "damaged".into() });
        }))],
    ),
    bug("a restart ends the beats", &[Hook::AfterRestart(&Hook::Beat(|_, _, _| false))]),
    bug(
        "after a restart the log is empty",
        &[Hook::AfterRestart(&Hook::Page(|_, _, page| *page = Page { end: true, ..Page::default() }))],
    ),
    bug(
        "after a restart positions begin again",
        &[Hook::AfterRestart(&Hook::Answer(|_, _, answer| {
            if let Ok(applied) = answer
                && !applied.repeated
                && applied.first > 0
            {
                (applied.first, applied.last) = (1, applied.last - applied.first + 1);
            }
        }))],
    ),
    bug(
        "after a restart nothing can be written",
        &[Hook::AfterRestart(&Hook::Apply(|_, _| Err(Error::ReadOnly("opened again".into()))))],
    ),
];
