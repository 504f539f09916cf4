//! Rows about figures, what a store says of itself, and verification.

use std::sync::atomic::{AtomicU64, Ordering};

use tidings_core::{Commit, DocumentChange, DocumentKey, DueChange, DueRow, Text};

use super::{
    Fresh,
    kit::{Outcome, commit, due, due_row, named, one, put, same, take, tenant, write},
};
use crate::StoreStats;

table![
    "figures: of an empty store, nothing" => empty,
    "figures: events, streams, head and names, most first" => log,
    "figures: documents by namespace and due rows by queue" => rows,
    "figures: a repeat and a conflict count nothing" => nothing_twice,
    "figures: an engine has a name and an address" => info,
    "verify: a sound store has no faults, and every event is looked at" => verified,
];

async fn empty(fresh: Fresh) -> Outcome {
    let figures = fresh.store.stats().await?;
    same("figures", StoreStats { bytes: 0, ..figures }, StoreStats::default())
}

fn counted(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

async fn log(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for (id, stream, name, of) in [
        ("1", "a", "order.placed", ""),
        ("2", "a", "user.renamed", ""),
        ("3", "b", "order.placed", ""),
        ("4", "a", "order.placed", "acme"),
        ("5", "a", "account.opened", "acme"),
        ("6", "c", "user.renamed", "acme"),
    ] {
        store.apply(Commit { tenant: tenant(of), ..one(stream, named(id, name)) }).await?;
    }
    let figures = store.stats().await?;
    same("events, streams, head", (figures.events, figures.streams, figures.head), (6, 4, 6))?;
    let wanted = counted(&[("order.placed", 3), ("user.renamed", 2), ("account.opened", 1)]);
    same("names", figures.names, wanted)
}

async fn rows(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for (namespace, id) in [("view", "1"), ("view", "2"), ("$dead", "1"), ("a", "1")] {
        let mut put = put(id, "{}");
        put.documents[0].key = DocumentKey::new(namespace, id);
        store.apply(put).await?;
    }
    store.apply(Commit { tenant: tenant("acme"), ..put("1", "{}") }).await?;
    store.apply(put("1", "[]")).await?;
    let remove = write("2", DocumentChange::Delete);
    store.apply(Commit { documents: vec![remove], ..Commit::default() }).await?;
    let elsewhere = DueRow { queue: Text::from("parked"), ..due_row("1", 1) };
    let changes = [due_row("1", 1), due_row("2", 2), due_row("1", 3), elsewhere].map(DueChange::Put);
    store.apply(due(changes)).await?;
    store.apply(due([take("2")])).await?;
    let figures = store.stats().await?;
    same("documents", figures.documents, counted(&[("$dead", 1), ("a", 1), ("view", 2)]))?;
    same("due rows", figures.due, counted(&[("parked", 1), ("timers", 1)]))?;
    same("events, streams, head", (figures.events, figures.streams, figures.head), (0, 0, 0))
}

async fn nothing_twice(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1", "2"])).await?;
    store.apply(commit("a", &["1", "2"])).await?;
    ensure!(store.apply(commit("b", &["2", "3"])).await.is_err(), "an id in another stream was accepted");
    let figures = store.stats().await?;
    same("events, streams, head", (figures.events, figures.streams, figures.head), (2, 1, 2))?;
    same("names", figures.names, counted(&[("order.placed", 2)]))
}

async fn info(fresh: Fresh) -> Outcome {
    let info = fresh.store.info();
    ensure!(!info.engine.is_empty(), "an engine without a name");
    let scheme = info.url.split(':').next().unwrap_or_default();
    ensure!(!scheme.is_empty() && scheme.len() < info.url.len(), "{:?} is no address", info.url);
    Ok(())
}

async fn verified(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let told = AtomicU64::new(0);
    let progress = |done: u64, all: u64| {
        // What is done never exceeds the whole; a wrong report shows as a number that cannot be.
        told.store(if done <= all { done } else { u64::MAX }, Ordering::SeqCst);
    };
    same("an empty store", store.verify(&progress).await?, crate::Verified::default())?;
    for at in 0..50 {
        store.apply(commit(["a", "b"][at % 2], &[&format!("{at}"), &format!("{at}+")])).await?;
    }
    store.apply(put("d", "{}")).await?;
    store.apply(due([DueChange::Put(due_row("1", 1))])).await?;
    let verified = store.verify(&progress).await?;
    ensure!(verified.faults.is_empty(), "faults in a sound store: {:?}", verified.faults);
    same("events", verified.events, 100)?;
    same("told at the end", told.load(Ordering::SeqCst), 100)
}
