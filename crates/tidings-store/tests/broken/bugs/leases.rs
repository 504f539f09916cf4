//! Leases and fences.

use std::time::Duration;

use tidings_core::{Clock, Text, Timestamp};
use tidings_store::{Error, Lease};

use super::{Bug, bug, ids::lower};
use crate::hooks::{Hook, Inside, now};

pub const BUGS: &[Bug] = &[
    bug("fences are ignored", &[Hook::Commit(|commit| commit.fences.clear())]),
    bug("only the first fence is checked", &[Hook::Commit(|commit| commit.fences.truncate(1))]),
    bug(
        "a lease that ran out fences",
        &[Hook::Apply(|inside, commit| {
            for fence in &commit.fences {
                if now(inside.store().holder(&fence.lease)).is_ok_and(|holder| holder.is_none()) {
                    let (lease, epoch) = (fence.lease.clone(), fence.epoch);
                    return Err(Error::Fenced { lease, epoch, actual: epoch + 1 });
                }
            }
            inside.apply(commit)
        })],
    ),
    bug(
        "only an older epoch is fenced",
        &[Hook::Apply(|inside, mut commit| {
            let checked =
                inside.apply(tidings_core::Commit { fences: commit.fences.clone(), ..Default::default() });
            if let Err(Error::Fenced { epoch, actual, .. }) = checked
                && epoch > actual
            {
                commit.fences.clear();
            }
            inside.apply(commit)
        })],
    ),
    bug(
        "nobody's lease has an epoch of one",
        &[
            Hook::Apply(|inside, mut commit| {
                commit.fences.retain(|fence| {
                    let known = inside.number(&format!("asked for {}", fence.lease), |n| *n);
                    known > 0 || fence.epoch != 1
                });
                inside.apply(commit)
            }),
            Hook::Lease(|inside, name, owner, span| {
                inside.number(&format!("asked for {name}"), |n| *n = 1);
                grant(inside, name, owner, span)
            }),
        ],
    ),
    bug(
        "the epoch is not raised when a lease changes hands",
        &[Hook::Lease(|inside, name, owner, span| match grant(inside, name, owner, span) {
            Lease::Granted { .. } => Lease::Granted { epoch: 1 },
            held => held,
        })],
    ),
    bug(
        "epochs count from nought",
        &[Hook::Lease(|inside, name, owner, span| match grant(inside, name, owner, span) {
            Lease::Granted { epoch } => Lease::Granted { epoch: epoch - 1 },
            held => held,
        })],
    ),
    bug(
        "a lease is granted to whoever asks",
        &[Hook::Lease(|inside, name, owner, span| {
            if let Some(holder) = holder(inside, name) {
                let _ = now(inside.store().release(name, if *holder == *owner { "nobody" } else { &holder }));
            }
            grant(inside, name, owner, span)
        })],
    ),
    bug(
        "a lease never runs out",
        &[Hook::Lease(|inside, name, owner, _| grant(inside, name, owner, Duration::from_secs(1_000_000)))],
    ),
    bug(
        "a lease runs out a moment late",
        &[Hook::Lease(|inside, name, owner, span| {
            grant(inside, name, owner, span + Duration::from_micros(1))
        })],
    ),
    bug(
        "a renewal raises the epoch",
        &[Hook::Lease(|inside, name, owner, span| {
            let _ = now(inside.store().release(name, owner));
            grant(inside, name, owner, span)
        })],
    ),
    bug(
        "a renewal does not make a lease longer",
        &[Hook::Lease(|inside, name, owner, span| match holder(inside, name) {
            Some(holder) if *holder == *owner => {
                let until = inside.number(&format!("until {name}"), |until| Timestamp::from_micros(*until));
                grant(inside, name, owner, until.since(inside.clock.now()))
            }
            _ => {
                let until = inside.clock.now().after(span).as_micros();
                inside.number(&format!("until {name}"), |at| *at = until);
                grant(inside, name, owner, span)
            }
        })],
    ),
    bug(
        "who let a lease run out has it no more when asking again",
        &[Hook::Lease(|inside, name, owner, span| {
            if holder(inside, name).is_none() {
                let _ = now(inside.store().release(name, owner));
            }
            grant(inside, name, owner, span)
        })],
    ),
    bug("letting go does nothing", &[Hook::Release(|_, _, _| {})]),
    bug(
        "anybody can let a lease go",
        &[Hook::Release(|inside, name, _| {
            if let Some(holder) = holder(inside, name) {
                let _ = now(inside.store().release(name, &holder));
            }
        })],
    ),
    bug(
        "who lets go comes back at the same epoch",
        &[Hook::Release(|inside, name, owner| {
            if holder(inside, name).as_deref() == Some(owner) {
                let _ = now(inside.store().lease(name, owner, Duration::ZERO));
            }
        })],
    ),
    bug(
        "a lease that ran out still has its holder",
        &[
            Hook::Lease(|inside, name, owner, span| {
                let lease = grant(inside, name, owner, span);
                if let Lease::Granted { .. } = lease {
                    inside.memo.lock().seen.retain(|seen| !seen.starts_with(&format!("{name}=")));
                    inside.memo.lock().seen.insert(format!("{name}={owner}"));
                }
                lease
            }),
            Hook::Holder(|inside, name| {
                let seen = &inside.memo.lock().seen;
                seen.iter().find_map(|seen| seen.strip_prefix(&format!("{name}=")).map(Text::from))
            }),
        ],
    ),
    bug(
        "leases are told apart without regard to case",
        &[Hook::Lease(|inside, name, owner, span| grant(inside, &lower(&Text::from(name)), owner, span))],
    ),
    bug("a lease is looked at and taken in two steps", &[Hook::LeaseInTwoSteps]),
];

fn grant(inside: &Inside, name: &str, owner: &str, span: Duration) -> Lease {
    now(inside.store().lease(name, owner, span)).unwrap_or(Lease::Granted { epoch: 0 })
}

fn holder(inside: &Inside, name: &str) -> Option<Text> {
    now(inside.store().holder(name)).ok().flatten()
}
