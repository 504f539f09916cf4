//! Rows about documents: versions, expectations, and reads that a commit depends on.

use bytes::Bytes;
use tidings_core::{Commit, DocumentChange, DocumentRead, DocumentWrite};

use super::{
    Fresh,
    kit::{Failed, Outcome, commit, key, nobody, put, put_json, refuses, same, write},
    show::{everything, untouched},
};
use crate::{AnyStore, Document, Error};

table![
    "documents: a put is read back byte by byte, and replaced whole" => put_and_read,
    "documents: a version is the answer's revision, and grows with every write" => versions,
    "documents: a delete removes, and what is not there may be deleted" => deleted,
    "documents: a version never comes back, not even after a delete" => never_back,
    "documents: an expected version must be the very one, 0 for none" => expected,
    "documents: what a commit has read must not have changed" => reads,
    "documents: several in one commit are written together" => several,
    "documents: a conflict on one keeps the others and the events from being written" => conflict,
    "documents: ids and namespaces are told apart byte by byte" => names,
];

pub(super) async fn get(store: &AnyStore, id: &str) -> Result<Option<(u64, String)>, Failed> {
    let found = store.document(&nobody(), &key(id)).await?;
    Ok(found.map(|found| (found.version, String::from_utf8_lossy(&found.value).into_owned())))
}

pub(super) async fn value(store: &AnyStore, id: &str) -> Result<Option<String>, Failed> {
    Ok(get(store, id).await?.map(|(_, value)| value))
}

fn delete(id: &str) -> Commit {
    Commit { documents: vec![write(id, DocumentChange::Delete)], ..Commit::default() }
}

fn expecting(id: &str, change: DocumentChange, version: u64) -> Commit {
    let write = DocumentWrite { expected: Some(version), ..write(id, change) };
    Commit { documents: vec![write], ..Commit::default() }
}

pub(super) fn changed(id: &str, expected: u64, actual: u64) -> Error {
    Error::DocumentChanged { key: key(id), expected, actual }
}

async fn put_and_read(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("before", get(store, "d").await?, None::<(u64, String)>)?;
    for json in [r#"{ "b":1,  "a":"ü" }"#, "[1]", "null", "{}", r#"{"b":null}"#] {
        let revision = store.apply(put("d", json)).await?.revision;
        same("the document", get(store, "d").await?, Some((revision, json.to_owned())))?;
    }
    let large = Bytes::from(format!("\"{}\"", "x".repeat(300_000)));
    let change = DocumentChange::Put(large.clone());
    let revision =
        store.apply(Commit { documents: vec![write("large", change)], ..Commit::default() }).await?.revision;
    let back = store.document(&nobody(), &key("large")).await?;
    ensure!(
        back == Some(Document { key: key("large"), version: revision, value: large }),
        "a large one changed"
    );
    Ok(())
}

async fn versions(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("the revision without a document", store.apply(commit("a", &["1"])).await?.revision, 0)?;
    let mut last = 0;
    for round in 0..5 {
        for id in ["d", "e"] {
            let revision = store.apply(put(id, &format!("{round}"))).await?.revision;
            ensure!(revision > last, "revision {revision} after {last}");
            same("the version", get(store, id).await?, Some((revision, format!("{round}"))))?;
            last = revision;
        }
    }
    let same_again = store.apply(put("e", "4")).await?.revision;
    ensure!(same_again > last, "writing the same value again left the version");
    Ok(())
}

async fn deleted(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(put("d", "{}")).await?;
    store.apply(put("e", "{}")).await?;
    store.apply(delete("d")).await?;
    same("the deleted", get(store, "d").await?, None::<(u64, String)>)?;
    ensure!(get(store, "e").await?.is_some(), "another document went with it");
    store.apply(delete("d")).await?;
    store.apply(delete("never")).await?;
    same("counted", store.stats().await?.documents, [("view".to_owned(), 1)])
}

async fn never_back(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let first = store.apply(put("d", "1")).await?.revision;
    let second = store.apply(put("d", "2")).await?.revision;
    store.apply(delete("d")).await?;
    let third = store.apply(put("d", "1")).await?.revision;
    ensure!(third > second && second > first, "versions {first}, {second}, then after a delete {third}");
    same("the version read", get(store, "d").await?, Some((third, "1".to_owned())))?;
    for old in [first, second] {
        let answer = store.apply(expecting("d", put_json("3"), old)).await;
        refuses("a version from before the delete", answer, &changed("d", old, third))?;
    }
    Ok(())
}

async fn expected(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answer = store.apply(expecting("d", put_json("1"), 3)).await;
    refuses("3 where there is none", answer, &changed("d", 3, 0))?;
    let first = store.apply(expecting("d", put_json("1"), 0)).await?.revision;
    let answer = store.apply(expecting("d", put_json("2"), 0)).await;
    refuses("none where there is one", answer, &changed("d", 0, first))?;
    let second = store.apply(expecting("d", put_json("2"), first)).await?.revision;
    let add = DocumentChange::Blind(vec![tidings_core::BlindChange::Merge(Bytes::from_static(b"{}"))]);
    for change in [put_json("3"), DocumentChange::Delete, add] {
        let answer = store.apply(expecting("d", change, first)).await;
        refuses("an old version", answer, &changed("d", first, second))?;
    }
    same("what is there", get(store, "d").await?, Some((second, "2".to_owned())))?;
    store.apply(expecting("d", DocumentChange::Delete, second)).await?;
    let answer = store.apply(expecting("d", DocumentChange::Delete, second)).await;
    refuses("a version that was deleted", answer, &changed("d", second, 0))?;
    ensure!(store.apply(expecting("d", put_json("4"), 0)).await.is_ok(), "none after a delete was refused");
    Ok(())
}

fn having_read(id: &str, read: &[(&str, u64)]) -> Commit {
    let reads = read.iter().map(|(id, version)| DocumentRead { key: key(id), version: *version }).collect();
    Commit { reads, ..commit("a", &[id]) }
}

async fn reads(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let d = store.apply(put("d", "1")).await?.revision;
    let e = store.apply(put("e", "1")).await?.revision;
    same("unchanged", store.apply(having_read("1", &[("d", d), ("e", e), ("f", 0)])).await?.first, 1)?;
    let later = store.apply(put("e", "2")).await?.revision;
    let before = everything(store).await?;
    let answer = store.apply(having_read("2", &[("d", d), ("e", e)])).await;
    refuses("one has changed", answer, &changed("e", e, later))?;
    let answer = store.apply(having_read("2", &[("d", 0)])).await;
    refuses("one has come", answer, &changed("d", 0, d))?;
    let answer = store.apply(having_read("2", &[("f", 1)])).await;
    refuses("one is not there", answer, &changed("f", 1, 0))?;
    untouched("a commit on old reads", store, &before).await?;
    store.apply(delete("d")).await?;
    let answer = store.apply(having_read("2", &[("d", d)])).await;
    refuses("one has gone", answer, &changed("d", d, 0))?;
    let both = Commit { documents: put("e", "3").documents, ..having_read("2", &[("e", later), ("d", 0)]) };
    same("read and written", store.apply(both).await?.first, 2)
}

async fn several(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(put("gone", "1")).await?;
    let writes =
        vec![write("d", put_json("1")), write("e", put_json("2")), write("gone", DocumentChange::Delete)];
    let revision = store.apply(Commit { documents: writes, ..Commit::default() }).await?.revision;
    same("one", get(store, "d").await?, Some((revision, "1".to_owned())))?;
    same("another", get(store, "e").await?, Some((revision, "2".to_owned())))?;
    same("the third", get(store, "gone").await?, None::<(u64, String)>)
}

async fn conflict(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let d = store.apply(put("d", "1")).await?.revision;
    let before = everything(store).await?;
    for guilty in ["c", "d", "e"] {
        let writes = ["c", "d", "e"]
            .map(|id| DocumentWrite { expected: (id == guilty).then_some(99), ..write(id, put_json("2")) });
        let answer = store.apply(Commit { documents: writes.to_vec(), ..commit("a", &["1"]) }).await;
        refuses("three", answer, &changed(guilty, 99, if guilty == "d" { d } else { 0 }))?;
        untouched("a conflict on one document", store, &before).await?;
    }
    Ok(())
}

async fn names(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let long = "d".repeat(tidings_core::DOCUMENT_ID_BYTES_MAX);
    let ids = ["a", "A", "a ", "á", "a\u{301}", "a%", "a/b", "1", "01", &long];
    for id in ids {
        store.apply(expecting(id, put_json(&format!("{:?}", id)), 0)).await?;
    }
    for id in ids {
        same("its value", value(store, id).await?, Some(format!("{id:?}")))?;
    }
    let mut elsewhere = put("a", "2");
    elsewhere.documents[0].key.namespace = "View".into();
    elsewhere.documents[0].expected = Some(0);
    store.apply(elsewhere).await?;
    same("in another namespace", value(store, "a").await?, Some("\"a\"".to_owned()))
}
