//! Rows about what a store still knows when it has been closed and opened again. A store that cannot be reopened
//! passes them: it promises nothing of the kind.

use std::time::Duration;

use tidings_core::{BlobChange, Commit, DocumentChange, DueChange, Expected, Fence, Text, Timestamp};

use super::{
    Fresh,
    append::applied,
    checkpoints::{move_to, moving},
    ids::repeat,
    kit::{
        Outcome, SOURCE, all, append, blob, commit, commits, due, due_row, put, refuses, same, tenant, write,
    },
    show::{difference, everything},
};
use crate::{DocumentQuery, Error, Lease, Read};

table![
    "persistence: everything is there after a restart" => everything_stays,
    "persistence: positions and versions go on where they were" => goes_on,
    "persistence: ids are known after a restart" => ids_stay,
    "persistence: a deleted document's version does not come back after a restart" => versions_stay,
    "persistence: leases and their epochs outlive their process" => leases_stay,
    "persistence: recorded time does not go back over a restart" => time_stays,
    "persistence: a store opened again is sound and sends beats" => sound,
];

async fn everything_stays(mut fresh: Fresh) -> Outcome {
    for of in ["", "acme"] {
        let store = &fresh.store;
        let both = commits([append("a", &["1", "2"]), append("b", &["3"])]);
        store.apply(Commit { tenant: tenant(of), ..both }).await?;
        store.apply(Commit { tenant: tenant(of), ..put("d", r#"{"n":1}"#) }).await?;
        store.apply(Commit { tenant: tenant(of), ..blob("b0", b"blob") }).await?;
        let rows = due([DueChange::Put(due_row("t", 5)), DueChange::Put(due_row("u", 4))]);
        store.apply(Commit { tenant: tenant(of), ..rows }).await?;
    }
    fresh.store.apply(moving([move_to("sub", 0, 3, &[5, 6])])).await?;
    let removed = vec![BlobChange::Delete { key: Text::from("b0") }];
    fresh.store.apply(Commit { blobs: removed, ..Commit::default() }).await?;
    fresh.store.lease("l0", "me", Duration::from_secs(100)).await?;
    let before = everything(&fresh.store).await?;
    for _ in 0..2 {
        if !fresh.restart().await {
            return Ok(());
        }
        let now = everything(&fresh.store).await?;
        ensure!(difference(&before, &now).is_none(), "after a restart {:?}", difference(&before, &now));
    }
    Ok(())
}

async fn goes_on(mut fresh: Fresh) -> Outcome {
    fresh.store.apply(commit("a", &["1", "2"])).await?;
    fresh.store.apply(commit("b", &["3"])).await?;
    if !fresh.restart().await {
        return Ok(());
    }
    let store = &fresh.store;
    same("the head", store.head().await?, 3)?;
    let wrong = Commit::append(append("a", &["4"]).expecting(Expected::None));
    let wanted = Error::WrongVersion { stream: Text::from("a"), expected: Expected::None, actual: 2 };
    refuses("none", store.apply(wrong).await, &wanted)?;
    let right = Commit::append(append("a", &["4"]).expecting(Expected::Exact(2)));
    same("exactly 2", store.apply(right).await?, applied(4, 4, 3))?;
    same("a new stream", store.apply(commit("c", &["5"])).await?, applied(5, 5, 1))?;
    let answer = store.apply(moving([move_to("sub", 1, 1, &[])])).await;
    refuses(
        "a checkpoint",
        answer,
        &Error::CheckpointMoved { name: Text::from("sub"), expected: 1, actual: 0 },
    )
}

async fn ids_stay(mut fresh: Fresh) -> Outcome {
    let both = commits([append("a", &["1", "2"]), append("b", &["3"])]);
    let first = fresh.store.apply(both.clone()).await?;
    fresh.store.apply(commit("a", &["4"])).await?;
    if !fresh.restart().await {
        return Ok(());
    }
    let store = &fresh.store;
    same("the whole append", store.apply(both).await?, repeat(first.clone()))?;
    same("a part", store.apply(commit("a", &["2"])).await?, repeat(first))?;
    let partly = |known, given, id| Error::PartlyKnown {
        known,
        given,
        id: Text::from(id),
        source_uri: Text::from(SOURCE),
    };
    refuses("some known", store.apply(commit("a", &["1", "5"])).await, &partly(1, 2, "1"))?;
    refuses("of two appends", store.apply(commit("a", &["4", "2"])).await, &partly(2, 2, "4"))?;
    let reused = Error::IdReused { id: Text::from("1"), source_uri: Text::from(SOURCE) };
    refuses("another stream", store.apply(commit("b", &["1"])).await, &reused)
}

async fn versions_stay(mut fresh: Fresh) -> Outcome {
    let old = fresh.store.apply(put("d", "1")).await?.revision;
    let remove = Commit { documents: vec![write("d", DocumentChange::Delete)], ..Commit::default() };
    let removed = fresh.store.apply(remove).await?.revision;
    if !fresh.restart().await {
        return Ok(());
    }
    same("listed", fresh.store.documents(&DocumentQuery::all("view")).await?.len(), 0)?;
    let new = fresh.store.apply(put("d", "1")).await?.revision;
    ensure!(new > removed && removed > old, "versions {old}, {removed}, and after a restart {new}");
    Ok(())
}

async fn leases_stay(mut fresh: Fresh) -> Outcome {
    let span = Duration::from_secs(10);
    fresh.store.lease("l0", "me", span).await?;
    fresh.store.lease("l1", "me", span).await?;
    fresh.store.release("l1", "me").await?;
    if !fresh.restart().await {
        return Ok(());
    }
    same("held", fresh.store.holder("l0").await?.as_deref(), Some("me"))?;
    same("for the same", fresh.store.lease("l0", "me", span).await?, Lease::Granted { epoch: 1 })?;
    same("let go before", fresh.store.lease("l1", "you", span).await?, Lease::Granted { epoch: 2 })?;
    let answer = fresh.store.lease("l0", "you", span).await?;
    ensure!(matches!(answer, Lease::Held { .. }), "a lease did not outlive a restart: {answer:?}");
    fresh.clock.advance(span);
    same("run out", fresh.store.lease("l0", "you", span).await?, Lease::Granted { epoch: 2 })?;
    let fences = vec![Fence { lease: Text::from("l0"), epoch: 1 }];
    let answer = fresh.store.apply(Commit { fences, ..commit("a", &["1"]) }).await;
    refuses("the old epoch", answer, &Error::Fenced { lease: Text::from("l0"), epoch: 1, actual: 2 })
}

async fn time_stays(mut fresh: Fresh) -> Outcome {
    let second = |n: i64| Timestamp::from_millis(n * 1_000);
    fresh.clock.set(second(100));
    fresh.store.apply(commit("a", &["1"])).await?;
    fresh.clock.set(second(50));
    if !fresh.restart().await {
        return Ok(());
    }
    fresh.store.apply(commit("a", &["2"])).await?;
    let log = all(&fresh.store, Read::after(0)).await?;
    same("recorded", log.iter().map(|event| event.recorded).collect::<Vec<_>>(), [second(100), second(100)])
}

async fn sound(mut fresh: Fresh) -> Outcome {
    fresh.store.apply(commit("a", &["1", "2"])).await?;
    if !fresh.restart().await {
        return Ok(());
    }
    let verified = fresh.store.verify(&|_, _| {}).await?;
    same("verified", (verified.events, verified.faults), (2, Vec::new()))?;
    let mut beats = fresh.store.beats();
    same("the newest beat", beats.borrow_and_update().head, 2)?;
    fresh.store.apply(commit("a", &["3"])).await?;
    let beat = tokio::time::timeout(fresh.patience, beats.wait_for(|beat| beat.head == 3)).await;
    ensure!(matches!(beat, Ok(Ok(_))), "no beat after a restart");
    Ok(())
}
