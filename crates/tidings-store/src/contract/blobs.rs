//! Rows about blobs.

use bytes::Bytes;
use tidings_core::{BlobChange, Commit, Expected};

use super::{
    Fresh,
    kit::{Failed, Outcome, append, blob, nobody, same},
};
use crate::AnyStore;

table![
    "blobs: bytes come back, replaced whole, empty ones too" => put,
    "blobs: what is deleted is gone, and what is not there may be deleted" => deleted,
    "blobs: changes of one commit apply in their order" => in_order,
    "blobs: written with the rest of the commit or not at all" => with_the_rest,
];

async fn get(store: &AnyStore, key: &str) -> Result<Option<Bytes>, Failed> {
    Ok(store.blob(&nobody(), key).await?)
}

fn delete(key: &str) -> BlobChange {
    BlobChange::Delete { key: key.into() }
}

async fn put(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("before", get(store, "b0").await?, None::<Bytes>)?;
    for bytes in [&b"first"[..], b"second, longer", b"", b"\0\xff"] {
        store.apply(blob("b0", bytes)).await?;
        same("the blob", get(store, "b0").await?.as_deref(), Some(bytes))?;
    }
    let large: Bytes = (0..=250_u8).cycle().take(1 << 20).collect();
    let put = BlobChange::Put { key: "big".into(), bytes: large.clone() };
    store.apply(Commit { blobs: vec![put], ..Commit::default() }).await?;
    ensure!(get(store, "big").await? == Some(large), "a large blob came back changed");
    same("another key", get(store, "B0").await?, None::<Bytes>)
}

async fn deleted(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(blob("b0", b"x")).await?;
    store.apply(blob("b1", b"y")).await?;
    store.apply(Commit { blobs: vec![delete("b0"), delete("never")], ..Commit::default() }).await?;
    same("the deleted", get(store, "b0").await?, None::<Bytes>)?;
    same("the other", get(store, "b1").await?.as_deref(), Some(&b"y"[..]))
}

async fn in_order(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let mut blobs = blob("b0", b"1").blobs;
    blobs.extend(blob("b0", b"2").blobs);
    blobs.extend(blob("b1", b"1").blobs);
    blobs.push(delete("b1"));
    blobs.push(delete("b2"));
    blobs.extend(blob("b2", b"3").blobs);
    store.apply(Commit { blobs, ..Commit::default() }).await?;
    same("put twice", get(store, "b0").await?.as_deref(), Some(&b"2"[..]))?;
    same("put and deleted", get(store, "b1").await?, None::<Bytes>)?;
    same("deleted and put", get(store, "b2").await?.as_deref(), Some(&b"3"[..]))
}

async fn with_the_rest(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(blob("b0", b"kept")).await?;
    let mut blobs = blob("b1", b"new").blobs;
    blobs.push(delete("b0"));
    let wrong = append("a", &["1"]).expecting(Expected::Exists);
    let answer = store.apply(Commit { blobs: blobs.clone(), ..Commit::append(wrong) }).await;
    ensure!(answer.is_err(), "an append to a stream that must exist was accepted");
    same("kept", get(store, "b0").await?.as_deref(), Some(&b"kept"[..]))?;
    same("not put", get(store, "b1").await?, None::<Bytes>)?;
    store.apply(Commit { blobs, ..Commit::append(append("a", &["1"])) }).await?;
    same("deleted", get(store, "b0").await?, None::<Bytes>)?;
    same("put", get(store, "b1").await?.as_deref(), Some(&b"new"[..]))
}
