//! Signs of life.

use super::{Bug, bug};
use crate::hooks::Hook;

pub const BUGS: &[Bug] = &[
    bug("no beats are sent", &[Hook::Beat(|_, _, _| false)]),
    bug(
        "a beat is sent before its commit",
        &[Hook::Beat(|_, answer, beat| {
            if let Ok(applied) = answer
                && applied.first > 0
            {
                beat.head = applied.first - 1;
            }
            answer.is_ok()
        })],
    ),
    bug(
        "a commit without events is not told",
        &[Hook::Beat(|commit, answer, _| answer.is_ok() && !commit.appends.is_empty())],
    ),
    bug(
        "commits are counted twice",
        &[Hook::Beat(|_, answer, beat| {
            beat.commits += 1;
            answer.is_ok()
        })],
    ),
    bug(
        "a commit that fails is told",
        &[Hook::Beat(|_, answer, beat| {
            beat.commits += u64::from(answer.is_err());
            true
        })],
    ),
    bug("who comes late hears nothing until the next commit", &[Hook::LateBeats]),
];
