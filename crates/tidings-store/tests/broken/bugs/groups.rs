//! Commits that come at the same time and are written as a group.

use std::collections::BTreeMap;

use tidings_core::{BlindChange, Commit, DocumentChange, DueChange, Expected};
use tidings_store::Applied;

use super::{Bug, append::ids_known, bug};
use crate::hooks::{Answer, Hook, Inside};

pub const BUGS: &[Bug] = &[
    bug(
        "in a group, stream versions are checked once for all",
        &[Hook::Group(|inside, group| {
            following(inside, group, |commit| {
                commit.appends.iter_mut().for_each(|append| append.expected = Expected::Any);
            })
        })],
    ),
    bug(
        "in a group, conditions are checked once for all",
        &[Hook::Group(|inside, group| following(inside, group, |commit| commit.conditions.clear()))],
    ),
    bug(
        "in a group, due rows are taken by all",
        &[Hook::Group(|inside, group| {
            let rows: Vec<_> = group.iter().flat_map(|commit| commit.due.clone()).collect();
            let known = |change: &DueChange| matches!(change, DueChange::Take { id, .. } if &**id == "t");
            if group.len() == 1 || !rows.iter().any(known) {
                return each(inside, group);
            }
            following(inside, group, |commit| commit.due.clear())
        })],
    ),
    bug(
        "in a group, one that fails makes all fail",
        &[Hook::Group(|inside, group| {
            let answers = each(inside, group);
            let guilty = answers.iter().find(|answer| answer.is_err()).cloned();
            answers.into_iter().map(|answer| guilty.clone().unwrap_or(answer)).collect()
        })],
    ),
    bug(
        "in a group, one that fails keeps those after it from being written",
        &[Hook::Group(|inside, group| {
            let mut failed = None;
            group
                .into_iter()
                .map(|commit| {
                    if let Some(error) = &failed {
                        return Err(tidings_store::Error::clone(error));
                    }
                    let answer = inside.apply(commit);
                    failed = answer.as_ref().err().cloned();
                    answer
                })
                .collect()
        })],
    ),
    bug(
        "in a group, answers go to the wrong writers",
        &[Hook::Group(|inside, group| {
            let mut answers = each(inside, group);
            if answers.iter().all(Result::is_ok) {
                answers.rotate_left(1);
            }
            answers
        })],
    ),
    bug("in a group, additions to one field overwrite each other", &[Hook::Group(last_addition_wins)]),
    bug(
        "in a group, the same commit twice is two appends",
        &[Hook::Group(|inside, group| {
            let all = group.len();
            let mut answers = each(inside, group);
            if all > 1 {
                for answer in answers.iter_mut().filter_map(|answer| answer.as_mut().ok()) {
                    answer.repeated = false;
                }
            }
            answers
        })],
    ),
    bug(
        "an event shows only when a later one is there",
        &[Hook::Page(|inside, _, page| {
            // Positions are given when a writer begins, and seen when it ends.
            let head = inside.head();
            page.events.retain(|event| event.position % 100 != 50 || head > event.position + 40);
        })],
    ),
];

fn each(inside: &Inside, group: Vec<Commit>) -> Vec<Answer> {
    group.into_iter().map(|commit| inside.apply(commit)).collect()
}

/// Writes the first as it is, and those after it changed.
fn following(inside: &Inside, group: Vec<Commit>, change: fn(&mut Commit)) -> Vec<Answer> {
    let follow = |(at, mut commit): (usize, Commit)| {
        if at > 0 && !ids_known(inside, &commit) {
            change(&mut commit);
        }
        inside.apply(commit)
    };
    group.into_iter().enumerate().map(follow).collect()
}

fn last_addition_wins(inside: &Inside, group: Vec<Commit>) -> Vec<Answer> {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (at, commit) in group.iter().enumerate() {
        for write in &commit.documents {
            last.insert(format!("{:?}", write.key), at);
        }
    }
    let lose = |(at, mut commit): (usize, Commit)| -> Result<Applied, tidings_store::Error> {
        for write in &mut commit.documents {
            if let DocumentChange::Blind(changes) = &mut write.change
                && last.get(&format!("{:?}", write.key)) != Some(&at)
            {
                changes.retain(|change| !matches!(change, BlindChange::Add { .. }));
            }
        }
        inside.apply(commit)
    };
    group.into_iter().enumerate().map(lose).collect()
}
