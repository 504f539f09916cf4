//! Rows about idempotency: an append is known by the ids of its events, for ever.

use tidings_core::{Append, CheckpointMove, Commit, DueChange, Expected, Text};

use super::{
    Fresh,
    append::applied,
    kit::{
        Outcome, SOURCE, all, append, blob, commit, commits, due_row, event, ids, made, nobody, one,
        put_json, refuses, same, tenant, write,
    },
    show::{everything, recorded, untouched},
};
use crate::{Applied, Error, Read};

table![
    "ids: a repeated append gets the first answer and writes nothing" => repeated,
    "ids: a part of an earlier append gets that append's answer" => part,
    "ids: an append to several streams is known by all its ids" => several,
    "ids: some known and some not is a conflict" => partly,
    "ids: known from two appends is a conflict" => two_appends,
    "ids: the same id in another stream is a conflict" => other_stream,
    "ids: the same id with another source is another event" => other_source,
    "ids: the same id for another tenant is another event" => other_tenant,
    "ids: twice in one commit is a conflict" => twice,
    "ids: a repeat writes no document, checkpoint, due row or blob again" => everything_once,
    "ids: a commit that failed leaves its ids unknown" => failed_is_unknown,
    "ids: an event is found by tenant, source and id" => found,
];

pub(super) fn repeat(of: Applied) -> Applied {
    Applied { repeated: true, revision: 0, ..of }
}

fn partly_known(known: usize, given: usize, id: &str) -> Error {
    Error::PartlyKnown { known, given, id: Text::from(id), source_uri: Text::from(SOURCE) }
}

fn reused(id: &str) -> Error {
    Error::IdReused { id: Text::from(id), source_uri: Text::from(SOURCE) }
}

async fn repeated(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let commit = Commit::append(append("a", &["1", "2"]).expecting(Expected::None));
    let first = store.apply(commit.clone()).await?;
    same("the first answer", &first, &applied(1, 2, 2))?;
    same("at once again", store.apply(commit.clone()).await?, repeat(first.clone()))?;
    store.apply(super::kit::commit("a", &["3"])).await?;
    store.apply(super::kit::commit("b", &["4"])).await?;
    let before = everything(store).await?;
    same("after later appends", store.apply(commit.clone()).await?, repeat(first.clone()))?;
    same("and again", store.apply(commit).await?, repeat(first.clone()))?;
    let other = Commit::append(append("a", &["1", "2"]).expecting(Expected::Exact(77)));
    same("under another condition", store.apply(other).await?, repeat(first))?;
    untouched("a repeat", store, &before).await
}

async fn part(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["0"])).await?;
    let first = store.apply(commit("a", &["1", "2", "3"])).await?;
    store.apply(commit("a", &["4"])).await?;
    for part in [&["1"][..], &["2"], &["3"], &["2", "3"], &["1", "3"], &["3", "1"]] {
        same("a part", store.apply(commit("a", part)).await?, repeat(first.clone()))?;
    }
    same("the head", store.head().await?, 5)
}

async fn several(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let both = commits([append("a", &["1", "2"]), append("b", &["3"]), append("a", &["4"])]);
    let first = store.apply(both.clone()).await?;
    same("the first answer", &first, &applied(1, 4, 3))?;
    store.apply(commit("a", &["5"])).await?;
    same("again", store.apply(both).await?, repeat(first.clone()))?;
    let turned = commits([append("b", &["3"]), append("a", &["1", "2", "4"])]);
    same("in another order", store.apply(turned).await?, repeat(first.clone()))?;
    same("one stream of it", store.apply(commit("b", &["3"])).await?, repeat(first))?;
    same("the head", store.head().await?, 5)
}

async fn partly(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1", "2"])).await?;
    let before = everything(store).await?;
    let cases = [
        (commit("a", &["1", "3"]), partly_known(1, 2, "1")),
        (commit("a", &["3", "2"]), partly_known(1, 2, "2")),
        (commit("a", &["3", "2", "1"]), partly_known(2, 3, "2")),
        (commits([append("b", &["3"]), append("a", &["1"])]), partly_known(1, 2, "1")),
        (commits([append("a", &["1", "2"]), append("b", &["3", "4"])]), partly_known(2, 4, "1")),
    ];
    for (commit, wanted) in cases {
        refuses("some known", store.apply(commit).await, &wanted)?;
        untouched("a commit that is partly known", store, &before).await?;
    }
    Ok(())
}

async fn two_appends(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1", "2"])).await?;
    store.apply(commit("a", &["3"])).await?;
    let before = everything(store).await?;
    let cases = [
        (commit("a", &["1", "2", "3"]), partly_known(3, 3, "1")),
        (commit("a", &["3", "2"]), partly_known(2, 2, "3")),
        (commit("a", &["2", "3", "4"]), partly_known(2, 3, "2")),
    ];
    for (commit, wanted) in cases {
        refuses("known from two", store.apply(commit).await, &wanted)?;
    }
    untouched("a commit known from two", store, &before).await
}

async fn other_stream(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1", "2"])).await?;
    let before = everything(store).await?;
    refuses("another stream", store.apply(commit("b", &["1"])).await, &reused("1"))?;
    refuses("both to another", store.apply(commit("b", &["1", "2"])).await, &reused("1"))?;
    refuses("beside a new one", store.apply(commit("b", &["3", "2"])).await, &reused("2"))?;
    untouched("an id in another stream", store, &before).await
}

async fn other_source(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(one("a", event("1"))).await?;
    let answer = store.apply(one("a", event("1").source("/elsewhere"))).await?;
    same("another source", answer, applied(2, 2, 2))?;
    let both = vec![made(event("2")), made(event("2").source("/elsewhere"))];
    let answer = store.apply(Commit::append(Append::to("a", both))).await?;
    same("two sources in one commit", answer, applied(3, 4, 4))?;
    let answer = store.apply(one("a", event("1").source("/elsewhere"))).await?;
    same("a repeat", answer, repeat(applied(2, 2, 2)))?;
    let known = vec![made(event("1")), made(event("1").source("/elsewhere"))];
    let answer = store.apply(Commit::append(Append::to("a", known))).await;
    refuses("both, from two appends", answer, &partly_known(2, 2, "1"))
}

async fn other_tenant(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let of = |name: &str| Commit { tenant: tenant(name), ..commit("a", &["1"]) };
    same("one tenant", store.apply(of("acme")).await?, applied(1, 1, 1))?;
    same("another tenant", store.apply(of("other")).await?, applied(2, 2, 1))?;
    same("no tenant", store.apply(of("")).await?, applied(3, 3, 1))?;
    same("the second again", store.apply(of("other")).await?, repeat(applied(2, 2, 1)))
}

async fn twice(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let before = everything(store).await?;
    refuses("in one append", store.apply(commit("a", &["1", "2", "1"])).await, &reused("1"))?;
    let answer = store.apply(commits([append("a", &["1"]), append("b", &["1"])])).await;
    refuses("in two appends", answer, &reused("1"))?;
    untouched("an id twice", store, &before).await?;
    store.apply(commit("a", &["1"])).await?;
    refuses("known and twice", store.apply(commit("a", &["1", "1"])).await, &reused("1"))
}

async fn everything_once(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let mut commit = commit("a", &["1"]);
    commit.documents = vec![write("d", put_json(r#"{"n":1}"#))];
    commit.checkpoints = vec![CheckpointMove {
        name: Text::from("sub"),
        expected_revision: 0,
        watermark: 4,
        settled: Vec::new(),
    }];
    commit.due = vec![DueChange::Put(due_row("t", 5))];
    commit.blobs = blob("b0", b"first").blobs;
    let first = store.apply(commit.clone()).await?;
    ensure!(!first.repeated && first.revision > 0, "the first answer is {first:?}");
    let before = everything(store).await?;
    same("the very same again", store.apply(commit.clone()).await?, repeat(first.clone()))?;
    untouched("a repeat", store, &before).await?;
    let other = Commit {
        documents: vec![write("d", put_json("{}")), write("e", put_json("{}"))],
        due: vec![DueChange::Put(due_row("u", 5)), super::kit::take("t")],
        blobs: blob("b1", b"second").blobs,
        ..commit
    };
    same("its ids with other rows", store.apply(other).await?, repeat(first))?;
    untouched("a repeat with other rows", store, &before).await
}

async fn failed_is_unknown(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let wrong = Commit::append(append("a", &["1", "2"]).expecting(Expected::Exists));
    ensure!(store.apply(wrong).await.is_err(), "an append to a stream that must exist was accepted");
    same("find", store.find(&nobody(), SOURCE, "1").await?.map(|found| found.position), None::<u64>)?;
    same("the id alone", store.apply(commit("b", &["2"])).await?, applied(1, 1, 1))?;
    same("the other id", store.apply(commit("a", &["1"])).await?, applied(2, 2, 1))
}

async fn found(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let of = |name: &str, id: &str| Commit { tenant: tenant(name), ..commit("a", &[id]) };
    store.apply(of("", "0")).await?;
    store.apply(of("acme", "1")).await?;
    store.apply(of("other", "1")).await?;
    let log = all(store, Read::after(0).all_tenants()).await?;
    let place = |of: &str, source: &'static str, id: &'static str| {
        let of = tenant(of);
        async move { store.find(&of, source, id).await.map(|found| found.map(|found| recorded(&found))) }
    };
    same("ids in order", ids(&log), ["0", "1", "1"])?;
    for (event, (of, id)) in log.iter().zip([("", "0"), ("acme", "1"), ("other", "1")]) {
        same(of, place(of, SOURCE, id).await?, Some(recorded(event)))?;
    }
    for (of, source, id) in [
        ("", SOURCE, "1"),
        ("acme", SOURCE, "0"),
        ("acme", "/elsewhere", "1"),
        ("", SOURCE, ""),
        ("", SOURCE, "00"),
    ] {
        same("what is not there", place(of, source, id).await?, None::<String>)?;
    }
    Ok(())
}
