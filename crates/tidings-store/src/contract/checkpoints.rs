//! Rows about checkpoints: moved from the revision that was read, or not at all.

use tidings_core::{CheckpointMove, Commit, Text};

use super::{
    Fresh,
    kit::{Outcome, append, put, refuses, same},
    show::{everything, untouched},
};
use crate::{Checkpoint, Error};

table![
    "checkpoints: one that was never moved is at the beginning" => absent,
    "checkpoints: a move adds one to the revision it expects" => moved,
    "checkpoints: a move from another revision writes nothing" => conflict,
    "checkpoints: settled positions above the watermark are kept, in order" => settled,
    "checkpoints: a watermark may be moved back" => back,
    "checkpoints: several in one commit, all or none" => several,
    "checkpoints: listed in order of their names" => listed,
];

pub(super) fn move_to(name: &str, revision: u64, watermark: u64, settled: &[u64]) -> CheckpointMove {
    CheckpointMove {
        name: Text::from(name),
        expected_revision: revision,
        watermark,
        settled: settled.to_vec(),
    }
}

pub(super) fn moving(moves: impl Into<Vec<CheckpointMove>>) -> Commit {
    Commit { checkpoints: moves.into(), ..Commit::default() }
}

fn at(revision: u64, watermark: u64, settled: &[u64]) -> Checkpoint {
    Checkpoint { revision, watermark, settled: settled.to_vec() }
}

fn stale(name: &str, expected: u64, actual: u64) -> Error {
    Error::CheckpointMoved { name: Text::from(name), expected, actual }
}

async fn absent(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("absent", store.checkpoint("sub").await?, Checkpoint::default())?;
    same("all", store.checkpoints().await?, Vec::<(Text, Checkpoint)>::new())?;
    store.apply(moving([move_to("sub", 0, 0, &[])])).await?;
    same("moved to the beginning", store.checkpoint("sub").await?, at(1, 0, &[]))?;
    same("another", store.checkpoint("su").await?, Checkpoint::default())
}

async fn moved(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for revision in 0..5 {
        store.apply(moving([move_to("sub", revision, revision * 10, &[])])).await?;
        same("moved", store.checkpoint("sub").await?, at(revision + 1, revision * 10, &[]))?;
    }
    let far = i64::MAX.unsigned_abs();
    store.apply(moving([move_to("sub", 5, far, &[])])).await?;
    same("far ahead", store.checkpoint("sub").await?.watermark, far)
}

async fn conflict(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answer = store.apply(moving([move_to("sub", 1, 5, &[])])).await;
    refuses("from 1 where there is none", answer, &stale("sub", 1, 0))?;
    store.apply(moving([move_to("sub", 0, 5, &[7])])).await?;
    store.apply(moving([move_to("sub", 1, 6, &[8])])).await?;
    let before = everything(store).await?;
    for revision in [0, 1, 3] {
        let mut commit = moving([move_to("sub", revision, 9, &[])]);
        commit.appends.push(append("a", &["1"]));
        commit.documents = put("d", "{}").documents;
        refuses("another revision", store.apply(commit).await, &stale("sub", revision, 2))?;
    }
    untouched("a checkpoint that has moved", store, &before).await?;
    same("as it was", store.checkpoint("sub").await?, at(2, 6, &[8]))
}

async fn settled(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let many: Vec<u64> = (0..500).map(|n| 12 + n * 3).collect();
    let cases: [&[u64]; 4] = [&[12, 14, 300], &many, &[11], &[]];
    for (revision, settled) in (0..).zip(cases) {
        store.apply(moving([move_to("sub", revision, 10, settled)])).await?;
        same("settled", store.checkpoint("sub").await?, at(revision + 1, 10, settled))?;
    }
    Ok(())
}

async fn back(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(moving([move_to("sub", 0, 100, &[102])])).await?;
    store.apply(moving([move_to("sub", 1, 3, &[])])).await?;
    same("moved back", store.checkpoint("sub").await?, at(2, 3, &[]))
}

async fn several(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(moving([move_to("one", 0, 1, &[]), move_to("two", 0, 2, &[4])])).await?;
    let before = everything(store).await?;
    let answer = store.apply(moving([move_to("one", 1, 5, &[]), move_to("two", 0, 6, &[])])).await;
    refuses("the second has moved", answer, &stale("two", 0, 1))?;
    let answer = store.apply(moving([move_to("one", 0, 5, &[]), move_to("two", 7, 6, &[])])).await;
    refuses("both have moved", answer, &stale("one", 0, 1))?;
    untouched("several of which one has moved", store, &before).await?;
    same("one", store.checkpoint("one").await?, at(1, 1, &[]))?;
    same("two", store.checkpoint("two").await?, at(1, 2, &[4]))
}

async fn listed(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let mut names = ["b", "a", "B", "é", "a-10", "a-9", "~"];
    for (watermark, name) in (1..).zip(names) {
        store.apply(moving([move_to(name, 0, watermark, &[])])).await?;
    }
    let listed = store.checkpoints().await?;
    for (name, checkpoint) in &listed {
        same("listed and alone", checkpoint, &store.checkpoint(name).await?)?;
    }
    names.sort_unstable();
    same("names", listed.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(), names)
}
