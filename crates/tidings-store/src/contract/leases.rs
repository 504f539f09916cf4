//! Rows about leases, their epochs, and commits that are fenced by them.

use std::time::Duration;

use tidings_core::{Clock, Commit, Fence, Text, Timestamp};

use super::{
    Fresh,
    kit::{Failed, Outcome, append, commit, failed, put, refuses, same},
    show::{everything, untouched},
};
use crate::{AnyStore, Error, Lease};

table![
    "leases: the first to ask gets it, at epoch 1" => granted,
    "leases: held by another until it runs out" => held,
    "leases: who has it renews it at the same epoch" => renewed,
    "leases: the epoch grows each time it changes hands" => epochs,
    "leases: let go by its holder it is free, its epoch stays" => released,
    "leases: nobody else can let it go" => not_yours,
    "leases: one that ran out belongs to nobody, until somebody asks" => ran_out,
    "leases: told apart by name" => names,
    "fences: a commit under the epoch now is written" => fence_holds,
    "fences: a commit under another epoch writes nothing" => fenced,
    "fences: several, each must hold" => several,
];

const SPAN: Duration = Duration::from_secs(10);

async fn epoch(store: &AnyStore, name: &str, owner: &str) -> Result<u64, Failed> {
    match store.lease(name, owner, SPAN).await? {
        Lease::Granted { epoch } => Ok(epoch),
        Lease::Held { by, .. } => Err(failed(&format!("{owner} was not granted {name}: held by {by}"))),
    }
}

async fn holder(store: &AnyStore, name: &str) -> Result<Option<String>, Failed> {
    Ok(store.holder(name).await?.map(|holder| holder.to_string()))
}

async fn granted(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("before", holder(store, "l0").await?, None::<String>)?;
    same("the answer", store.lease("l0", "me", SPAN).await?, Lease::Granted { epoch: 1 })?;
    same("after", holder(store, "l0").await?.as_deref(), Some("me"))
}

async fn held(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    fresh.clock.set(Timestamp::from_millis(5_000));
    epoch(store, "l0", "me").await?;
    let until = Timestamp::from_millis(15_000);
    let by = Lease::Held { by: Text::from("me"), until };
    same("at once", store.lease("l0", "you", SPAN).await?, by.clone())?;
    fresh.clock.set(Timestamp::from_micros(until.as_micros() - 1));
    same("just before", store.lease("l0", "you", SPAN).await?, by)?;
    same("its holder", holder(store, "l0").await?.as_deref(), Some("me"))?;
    fresh.clock.set(until);
    same("when it has run out", store.lease("l0", "you", SPAN).await?, Lease::Granted { epoch: 2 })?;
    same("its new holder", holder(store, "l0").await?.as_deref(), Some("you"))?;
    let until = until.after(SPAN);
    same("for the first", store.lease("l0", "me", SPAN).await?, Lease::Held { by: Text::from("you"), until })
}

async fn renewed(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    fresh.clock.set(Timestamp::from_millis(0));
    for second in [0, 4, 9] {
        fresh.clock.set(Timestamp::from_millis(second * 1_000));
        same("the epoch", epoch(store, "l0", "me").await?, 1)?;
    }
    fresh.clock.set(Timestamp::from_millis(18_999));
    let by = Lease::Held { by: Text::from("me"), until: Timestamp::from_millis(19_000) };
    same("until the last renewal's end", store.lease("l0", "you", SPAN).await?, by)?;
    same("shortened", store.lease("l0", "me", Duration::ZERO).await?, Lease::Granted { epoch: 1 })?;
    same("and so run out", epoch(store, "l0", "you").await?, 2)
}

async fn epochs(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for (wanted, owner) in (1..).zip(["me", "you", "me", "you", "she"]) {
        same(owner, epoch(store, "l0", owner).await?, wanted)?;
        same("again", epoch(store, "l0", owner).await?, wanted)?;
        fresh.clock.advance(SPAN);
    }
    Ok(())
}

async fn released(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.release("l0", "me").await?;
    epoch(store, "l0", "me").await?;
    store.release("l0", "me").await?;
    same("its holder", holder(store, "l0").await?, None::<String>)?;
    ensure!(store.apply(under(&[("l0", 1)], "1")).await.is_ok(), "the epoch did not stay when it was let go");
    same("for another, at once", epoch(store, "l0", "you").await?, 2)?;
    store.release("l0", "you").await?;
    same("for the same, who had let it go", epoch(store, "l0", "you").await?, 3)
}

async fn not_yours(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    epoch(store, "l0", "me").await?;
    for other in ["you", "m", "Me", ""] {
        store.release("l0", other).await?;
    }
    same("its holder", holder(store, "l0").await?.as_deref(), Some("me"))?;
    let answer = store.lease("l0", "you", SPAN).await?;
    ensure!(matches!(answer, Lease::Held { .. }), "somebody else let it go: {answer:?}");
    Ok(())
}

async fn ran_out(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    epoch(store, "l0", "me").await?;
    fresh.clock.advance(SPAN);
    same("its holder", holder(store, "l0").await?, None::<String>)?;
    ensure!(
        store.apply(under(&[("l0", 1)], "1")).await.is_ok(),
        "a lease that ran out but was not taken fences"
    );
    same("for the same", epoch(store, "l0", "me").await?, 1)?;
    let ends = fresh.clock.now().after(SPAN);
    same(
        "held again",
        store.lease("l0", "you", SPAN).await?,
        Lease::Held { by: Text::from("me"), until: ends },
    )
}

async fn names(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("one", epoch(store, "l0", "me").await?, 1)?;
    for (name, owner) in [("l1", "you"), ("L0", "you"), ("l0 ", "she")] {
        same(name, epoch(store, name, owner).await?, 1)?;
    }
    same("the first", holder(store, "l0").await?.as_deref(), Some("me"))
}

fn under(fences: &[(&str, u64)], id: &str) -> Commit {
    let fences = fences.iter().map(|(lease, epoch)| Fence { lease: Text::from(*lease), epoch: *epoch });
    Commit { fences: fences.collect(), ..commit("a", &[id]) }
}

fn fence(lease: &str, epoch: u64, actual: u64) -> Error {
    Error::Fenced { lease: Text::from(lease), epoch, actual }
}

async fn fence_holds(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    epoch(store, "l0", "me").await?;
    same("the first epoch", store.apply(under(&[("l0", 1)], "1")).await?.first, 1)?;
    fresh.clock.advance(SPAN);
    epoch(store, "l0", "you").await?;
    same("the second epoch", store.apply(under(&[("l0", 2)], "2")).await?.first, 2)
}

async fn fenced(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    refuses("a lease nobody had", store.apply(under(&[("l0", 1)], "1")).await, &fence("l0", 1, 0))?;
    epoch(store, "l0", "me").await?;
    fresh.clock.advance(SPAN);
    epoch(store, "l0", "you").await?;
    let before = everything(store).await?;
    for old in [0, 1, 3] {
        let mut commit = under(&[("l0", old)], "1");
        commit.appends.push(append("b", &["2"]));
        commit.documents = put("d", "{}").documents;
        refuses("another epoch", store.apply(commit).await, &fence("l0", old, 2))?;
    }
    let fences = vec![Fence { lease: Text::from("l0"), epoch: 1 }];
    let only = Commit { fences, ..put("d", "{}") };
    refuses("without an event", store.apply(only).await, &fence("l0", 1, 2))?;
    untouched("a fenced commit", store, &before).await
}

async fn several(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    epoch(store, "l0", "me").await?;
    epoch(store, "l1", "me").await?;
    let answer = store.apply(under(&[("l0", 1), ("l1", 2)], "1")).await;
    refuses("the second does not hold", answer, &fence("l1", 2, 1))?;
    let answer = store.apply(under(&[("l0", 5), ("l1", 2)], "1")).await;
    refuses("neither holds", answer, &fence("l0", 5, 1))?;
    same("both hold", store.apply(under(&[("l0", 1), ("l1", 1)], "1")).await?.first, 1)
}
