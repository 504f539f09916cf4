//! Rows about tenants: none sees or touches another's rows.

use tidings_core::{BlobChange, Commit, DocumentChange, DueChange, EventQuery, Expected, Timestamp};

use super::{
    Fresh,
    checkpoints::{move_to, moving},
    documents::changed,
    kit::{
        Outcome, SOURCE, all, append, blob, commit, due, due_row, ids, key, put, refuses, same, take, tenant,
        write,
    },
};
use crate::{AnyStore, DocumentQuery, Error, Read, Tenants};

table![
    "tenants: each has its own streams and versions" => streams,
    "tenants: a read sees one tenant's events, or all when it asks for all" => reads,
    "tenants: each has its own documents" => documents,
    "tenants: each has its own due rows, and all are listed when asked for" => due_rows,
    "tenants: each has its own blobs" => blobs,
    "tenants: checkpoints belong to none" => checkpoints,
];

const NAMES: [&str; 3] = ["", "acme", "other"];

fn of(name: &str, commit: Commit) -> Commit {
    Commit { tenant: tenant(name), ..commit }
}

async fn streams(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for (at, name) in NAMES.iter().enumerate() {
        let first = Commit::append(append("a", &[&format!("{at}")]).expecting(Expected::None));
        same("a version", store.apply(of(name, first)).await?.version, 1)?;
    }
    store.apply(of("acme", commit("a", &["x", "y"]))).await?;
    for (name, version) in [("", 1), ("acme", 3), ("other", 1), ("never", 0)] {
        same(name, store.stream_version(&tenant(name), "a").await?, version)?;
    }
    let wrong = of("other", Commit::append(append("a", &["z"]).expecting(Expected::Exact(3))));
    let wanted = Error::WrongVersion { stream: "a".into(), expected: Expected::Exact(3), actual: 1 };
    refuses("another's version", store.apply(wrong).await, &wanted)?;
    same("streams", store.stats().await?.streams, 3)
}

async fn fill(store: &AnyStore) -> Outcome {
    for at in 0..9 {
        store.apply(of(NAMES[at % 3], commit("a", &[&format!("{at}")]))).await?;
    }
    Ok(())
}

async fn reads(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    fill(store).await?;
    for (name, wanted, next) in
        [("", ["0", "3", "6"], "4"), ("acme", ["1", "4", "7"], "5"), ("other", ["2", "5", "8"], "6")]
    {
        for read in [Read::after(0), Read::stream("a")] {
            for limit in [1, 2, 100] {
                let read = read.clone().tenant(tenant(name)).limit(limit);
                same(name, ids(&all(store, read.clone()).await?), wanted)?;
                let mut back = ids(&all(store, read.backward()).await?);
                back.reverse();
                same(name, back, wanted)?;
            }
        }
        let id = wanted[1];
        ensure!(
            store.find(&tenant(name), SOURCE, id).await?.is_some(),
            "{name:?} does not find its own {id}"
        );
        for other in NAMES.iter().filter(|other| **other != name) {
            let found = store.find(&tenant(other), SOURCE, id).await?;
            ensure!(found.is_none(), "{other:?} finds {id} of {name:?}");
        }
        let first = store.first_match(&tenant(name), &EventQuery::default(), 3).await?;
        same("the first match", first.map(|position| format!("{position}")), Some(next.to_owned()))?;
    }
    let wanted: Vec<String> = (0..9).map(|at| format!("{at}")).collect();
    for limit in [1, 4, 100] {
        same("all", ids(&all(store, Read::after(0).all_tenants().limit(limit)).await?), wanted.as_slice())?;
    }
    let nobody = all(store, Read::after(0).tenant(tenant("never"))).await?;
    same("one without events", nobody.len(), 0)
}

async fn documents(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for name in NAMES {
        store.apply(of(name, put("d", &format!("{name:?}")))).await?;
    }
    let revision = store.apply(of("acme", put("only", "{}"))).await?.revision;
    let remove = Commit { documents: vec![write("d", DocumentChange::Delete)], ..Commit::default() };
    store.apply(of("other", remove)).await?;
    for (name, wanted, listed) in [("", Some("\"\""), 1), ("acme", Some("\"acme\""), 2), ("other", None, 0)] {
        let of = tenant(name);
        let found = store.document(&of, &key("d")).await?;
        let value = found.map(|found| String::from_utf8_lossy(&found.value).into_owned());
        same(name, value.as_deref(), wanted)?;
        let query = DocumentQuery { tenant: of, ..DocumentQuery::all("view") };
        same("listed", store.documents(&query).await?.len(), listed)?;
        same("counted", store.count_documents(&query).await?, listed as u64)?;
    }
    let mut seen = of("other", put("new", "{}"));
    seen.reads = vec![tidings_core::DocumentRead { key: key("only"), version: revision }];
    refuses("another's read", store.apply(seen).await, &changed("only", revision, 0))?;
    same("all counted", store.stats().await?.documents, [("view".to_owned(), 3)])
}

async fn due_rows(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for (at, name) in (0..).zip(NAMES) {
        let rows = [DueChange::Put(due_row("same", 10)), DueChange::Put(due_row("t", 9 - at))];
        store.apply(of(name, due(rows))).await?;
    }
    let list = |tenants: Tenants| async move {
        let rows = store.due(&tenants, "timers", Timestamp::MAX, 100).await?;
        Ok::<_, super::kit::Failed>(
            rows.iter().map(|(of, row)| format!("{}/{}", of.0, row.id)).collect::<Vec<_>>(),
        )
    };
    let wanted = ["other/t", "acme/t", "/t", "/same", "acme/same", "other/same"];
    same("all, by time, id and tenant", list(Tenants::All).await?, wanted)?;
    store.apply(of("acme", due([take("same")]))).await?;
    same("of acme", list(Tenants::One(tenant("acme"))).await?, ["acme/t"])?;
    same("of the other", list(Tenants::One(tenant("other"))).await?, ["other/t", "other/same"])?;
    store.apply(of("other", due([DueChange::Drop { queue: "timers".into(), id: "t".into() }]))).await?;
    same("all that is left", list(Tenants::All).await?, ["acme/t", "/t", "/same", "other/same"])
}

async fn blobs(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(of("acme", blob("b0", b"acme"))).await?;
    store.apply(of("other", blob("b0", b"other"))).await?;
    let delete = BlobChange::Delete { key: "b0".into() };
    store.apply(of("", Commit { blobs: vec![delete.clone()], ..Commit::default() })).await?;
    for (name, wanted) in [("", None), ("acme", Some(&b"acme"[..])), ("other", Some(b"other"))] {
        same(name, store.blob(&tenant(name), "b0").await?.as_deref(), wanted)?;
    }
    store.apply(of("acme", Commit { blobs: vec![delete], ..Commit::default() })).await?;
    same("deleted", store.blob(&tenant("acme"), "b0").await?, None::<bytes::Bytes>)?;
    same("the other's", store.blob(&tenant("other"), "b0").await?.as_deref(), Some(&b"other"[..]))
}

async fn checkpoints(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(of("acme", moving([move_to("sub", 0, 5, &[])]))).await?;
    let answer = store.apply(of("other", moving([move_to("sub", 0, 6, &[])]))).await;
    refuses("of another", answer, &Error::CheckpointMoved { name: "sub".into(), expected: 0, actual: 1 })?;
    store.apply(of("other", moving([move_to("sub", 1, 7, &[])]))).await?;
    same("the checkpoint", store.checkpoint("sub").await?.watermark, 7)
}
