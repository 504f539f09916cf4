//! Due rows.

use bytes::Bytes;
use tidings_core::{DueChange, DueRow, Tenant, Text, Timestamp};
use tidings_store::{Error, Tenants};

use super::{Bug, bug};
use crate::hooks::{Hook, Inside, now};

pub const BUGS: &[Bug] = &[
    bug("due rows come in order of their ids", &[Hook::Due(|rows| rows.sort_by(|a, b| a.1.id.cmp(&b.1.id)))]),
    bug("due rows come latest first", &[Hook::Due(|rows| rows.reverse())]),
    bug(
        "rows due at the very moment are not due",
        &[Hook::AskDue(|_, _, until, _| {
            *until = Timestamp::from_micros(until.as_micros().saturating_sub(1))
        })],
    ),
    bug("the limit of due rows is ignored", &[Hook::AskDue(|_, _, _, limit| *limit = usize::MAX)]),
    bug(
        "a due row's time is in milliseconds",
        &[Hook::Due(|rows| {
            rows.iter_mut().for_each(|(_, row)| row.due = Timestamp::from_millis(row.due.as_millis()));
        })],
    ),
    bug(
        "a due row's body is lost",
        &[Hook::Due(|rows| rows.iter_mut().for_each(|(_, row)| row.body = Bytes::new()))],
    ),
    bug(
        "a second row with the same id is ignored",
        &[Hook::Apply(|inside, mut commit| {
            let tenant = commit.tenant.clone();
            commit.due.retain(|change| match change {
                DueChange::Put(row) => !there(inside, &tenant, &row.queue, &row.id),
                _ => true,
            });
            inside.apply(commit)
        })],
    ),
    bug(
        "taking what is not there is no conflict",
        &[Hook::Commit(|commit| {
            for change in &mut commit.due {
                if let DueChange::Take { queue, id } = change {
                    *change = DueChange::Drop { queue: queue.clone(), id: id.clone() };
                }
            }
        })],
    ),
    bug(
        "taking leaves the row there",
        &[Hook::Apply(|inside, commit| {
            let taken: Vec<DueRow> = commit
                .due
                .iter()
                .filter_map(|change| match change {
                    DueChange::Take { queue, id } => row(inside, &commit.tenant, queue, id),
                    _ => None,
                })
                .collect();
            let answer = inside.apply(commit.clone())?;
            let due = taken.into_iter().map(DueChange::Put).collect();
            inside.apply(tidings_core::Commit { tenant: commit.tenant, due, ..Default::default() })?;
            Ok(answer)
        })],
    ),
    bug(
        "rows to take are looked for among those of the commit",
        &[Hook::Commit(|commit| {
            let put: Vec<Text> = commit
                .due
                .iter()
                .filter_map(
                    |change| if let DueChange::Put(row) = change { Some(row.id.clone()) } else { None },
                )
                .collect();
            for change in &mut commit.due {
                if let DueChange::Take { queue, id } = change
                    && put.contains(id)
                {
                    *change = DueChange::Drop { queue: queue.clone(), id: id.clone() };
                }
            }
        })],
    ),
    bug(
        "due rows are removed first and put then",
        &[Hook::Commit(|commit| {
            commit.due.sort_by_key(|change| matches!(change, DueChange::Put(_)));
        })],
    ),
    bug(
        "dropping what is not there is a conflict",
        &[Hook::Apply(|inside, commit| {
            for change in &commit.due {
                if let DueChange::Drop { queue, id } = change
                    && !there(inside, &commit.tenant, queue, id)
                {
                    return Err(Error::DueTaken { queue: queue.clone(), id: id.clone() });
                }
            }
            inside.apply(commit)
        })],
    ),
    bug(
        "queues are told apart without regard to case",
        &[
            Hook::Commit(|commit| {
                for change in &mut commit.due {
                    if let DueChange::Put(row) = change {
                        row.queue = Text::from(row.queue.to_lowercase());
                    }
                }
            }),
            Hook::AskDue(|_, queue, _, _| *queue = queue.to_lowercase()),
        ],
    ),
];

fn row(inside: &Inside, of: &Tenant, queue: &str, id: &str) -> Option<DueRow> {
    let rows = now(inside.store().due(&Tenants::One(of.clone()), queue, Timestamp::MAX, usize::MAX)).ok()?;
    rows.into_iter().map(|(_, row)| row).find(|row| &*row.id == id)
}

fn there(inside: &Inside, of: &Tenant, queue: &str, id: &str) -> bool {
    row(inside, of, queue, id).is_some()
}
