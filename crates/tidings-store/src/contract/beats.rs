//! Rows about signs of life.

use tokio::sync::watch;

use super::{
    Fresh,
    kit::{Failed, Outcome, commit, failed, put, same},
};
use crate::Beat;

table![
    "beats: each commit is told, with the head it left" => each_commit,
    "beats: a commit without events is told too" => without_events,
    "beats: the newest is there for whoever comes late" => newest,
    "beats: a commit that fails is not told" => failures,
];

/// Waits until a beat is as wanted.
async fn heard(
    fresh: &Fresh,
    beats: &mut watch::Receiver<Beat>,
    wanted: impl Fn(&Beat) -> bool,
) -> Result<Beat, Failed> {
    match tokio::time::timeout(fresh.patience, beats.wait_for(|beat| wanted(beat))).await {
        Ok(Ok(beat)) => Ok(*beat),
        Ok(Err(_)) => Err(failed("the beats have ended")),
        Err(_) => Err(failed("a beat is missing")),
    }
}

async fn each_commit(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let (mut beats, mut other) = (store.beats(), store.beats());
    let before = beats.borrow_and_update().commits;
    for at in 1..=5 {
        store.apply(commit("a", &[&format!("{at}")])).await?;
        for beats in [&mut beats, &mut other] {
            let beat = heard(&fresh, beats, |beat| beat.head >= at).await?;
            same("the beat", beat, Beat { head: at, commits: before + at })?;
        }
    }
    Ok(())
}

async fn without_events(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1"])).await?;
    let mut beats = store.beats();
    let before = heard(&fresh, &mut beats, |beat| beat.head == 1).await?.commits;
    store.apply(put("d", "{}")).await?;
    let beat = heard(&fresh, &mut beats, |beat| beat.commits > before).await?;
    same("the beat", beat, Beat { head: 1, commits: before + 1 })
}

async fn newest(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("of an empty store", store.beats().borrow().head, 0)?;
    let mut first = store.beats();
    store.apply(commit("a", &["1", "2", "3"])).await?;
    heard(&fresh, &mut first, |beat| beat.head == 3).await?;
    same("for a new receiver", store.beats().borrow().head, 3)
}

async fn failures(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1"])).await?;
    let mut beats = store.beats();
    let before = heard(&fresh, &mut beats, |beat| beat.head == 1).await?.commits;
    for wrong in [commit("b", &["1"]), commit("a", &["1", "2"]), commit("", &["3"])] {
        ensure!(store.apply(wrong).await.is_err(), "a commit that must fail was accepted");
    }
    store.apply(commit("a", &["4"])).await?;
    let beat = heard(&fresh, &mut beats, |beat| beat.head == 2).await?;
    same("the beat after failures", beat, Beat { head: 2, commits: before + 1 })
}
