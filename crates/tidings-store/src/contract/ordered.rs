//! Rows about which check of a commit speaks first.

use std::time::Duration;

use tidings_core::{CheckpointMove, Commit, DocumentRead, EventQuery, Expected, Fence, NothingSince, Text};

use super::{
    Fresh,
    append::applied,
    ids::repeat,
    kit::{
        Failed, Outcome, SOURCE, append, commit, due, due_row, key, put, put_json, refuses, same, take, write,
    },
    show::{everything, untouched},
};
use crate::{AnyStore, Error, Lease};

table![
    "order of checks: each fault of a commit is reported in its turn" => in_turn,
    "order of checks: known ids speak before what the first time has changed since" => repeat_first,
    "order of checks: a fence speaks before known ids" => fence_first,
    "order of checks: a commit that makes no sense is refused before the store is asked" => nonsense_first,
];

/// A store in which the commit of [`faulty`] fails for every reason there is.
async fn prepared(fresh: &Fresh) -> Result<AnyStore, Failed> {
    let store = &fresh.store;
    store.apply(commit("a", &["1"])).await?;
    store.apply(put("read", "{}")).await?;
    store.apply(put("written", "{}")).await?;
    let moved =
        CheckpointMove { name: Text::from("sub"), expected_revision: 0, watermark: 1, settled: vec![] };
    store.apply(Commit { checkpoints: vec![moved], ..Commit::default() }).await?;
    let granted = store.lease("l0", "me", Duration::from_secs(60)).await?;
    ensure!(granted == Lease::Granted { epoch: 1 }, "a first lease was answered {granted:?}");
    Ok(store.clone())
}

fn faulty() -> Commit {
    Commit {
        tenant: tidings_core::Tenant::default(),
        fences: vec![Fence { lease: Text::from("l0"), epoch: 7 }],
        appends: vec![append("a", &["1", "new"]).expecting(Expected::None)],
        conditions: vec![NothingSince { query: EventQuery::default(), after: 0 }],
        reads: vec![DocumentRead { key: key("read"), version: 0 }],
        documents: vec![tidings_core::DocumentWrite {
            expected: Some(0),
            ..write("written", put_json("{}"))
        }],
        checkpoints: vec![CheckpointMove {
            name: Text::from("sub"),
            expected_revision: 0,
            watermark: 2,
            settled: vec![],
        }],
        due: vec![take("absent")],
        blobs: vec![],
    }
}

async fn in_turn(fresh: Fresh) -> Outcome {
    let store = &prepared(&fresh).await?;
    let before = everything(store).await?;
    let mut commit = faulty();
    let fenced = Error::Fenced { lease: Text::from("l0"), epoch: 7, actual: 1 };
    refuses("everything wrong", store.apply(commit.clone()).await, &fenced)?;
    commit.fences[0].epoch = 1;
    let known =
        Error::PartlyKnown { known: 1, given: 2, id: Text::from("1"), source_uri: Text::from(SOURCE) };
    refuses("all but the fence", store.apply(commit.clone()).await, &known)?;
    commit.appends = vec![append("a", &["new"]).expecting(Expected::None)];
    let moved = Error::CheckpointMoved { name: Text::from("sub"), expected: 0, actual: 1 };
    refuses("from the checkpoint on", store.apply(commit.clone()).await, &moved)?;
    commit.checkpoints[0].expected_revision = 1;
    let wrong = Error::WrongVersion { stream: Text::from("a"), expected: Expected::None, actual: 1 };
    refuses("from the stream's version on", store.apply(commit.clone()).await, &wrong)?;
    commit.appends[0].expected = Expected::Exact(1);
    let matched = Error::Matched { position: 1, after: 0 };
    refuses("from the condition on", store.apply(commit.clone()).await, &matched)?;
    commit.conditions[0].after = 1;
    let read = Error::DocumentChanged { key: key("read"), expected: 0, actual: 1 };
    refuses("from the document read on", store.apply(commit.clone()).await, &read)?;
    commit.reads[0].version = 1;
    let written = Error::DocumentChanged { key: key("written"), expected: 0, actual: 2 };
    refuses("from the document written on", store.apply(commit.clone()).await, &written)?;
    commit.documents[0].expected = Some(2);
    let taken = Error::DueTaken { queue: Text::from("timers"), id: Text::from("absent") };
    refuses("only the due row", store.apply(commit.clone()).await, &taken)?;
    untouched("a commit with faults", store, &before).await?;
    store.apply(due([tidings_core::DueChange::Put(due_row("absent", 1))])).await?;
    let answer = store.apply(commit).await?;
    same("nothing wrong", (answer.first, answer.version, answer.repeated), (2, 2, false))
}

async fn repeat_first(fresh: Fresh) -> Outcome {
    let store = &prepared(&fresh).await?;
    let known =
        Commit { fences: vec![], appends: vec![append("a", &["1"]).expecting(Expected::None)], ..faulty() };
    let before = everything(store).await?;
    same("a repeat", store.apply(known).await?, repeat(applied(1, 1, 1)))?;
    untouched("a repeat", store, &before).await
}

async fn fence_first(fresh: Fresh) -> Outcome {
    let store = &prepared(&fresh).await?;
    let fences = vec![Fence { lease: Text::from("l0"), epoch: 2 }];
    let answer = store.apply(Commit { fences, ..commit("a", &["1"]) }).await;
    refuses(
        "a repeat under another epoch",
        answer,
        &Error::Fenced { lease: Text::from("l0"), epoch: 2, actual: 1 },
    )
}

async fn nonsense_first(fresh: Fresh) -> Outcome {
    let store = &prepared(&fresh).await?;
    let nonsense = Commit { appends: vec![append("a", &[])], ..faulty() };
    let answer = store.apply(nonsense).await;
    ensure!(matches!(answer, Err(Error::Refused(_))), "an empty append among faults was answered {answer:?}");
    Ok(())
}
