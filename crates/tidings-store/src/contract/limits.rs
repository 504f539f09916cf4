//! Rows about limits and nonsense: refused with size and limit, and nothing is cut.

use bytes::Bytes;
use tidings_core::{
    Append, BlobChange, COMMIT_BYTES_MAX, CheckpointMove, Commit, DOCUMENT_ID_BYTES_MAX, Envelope,
    PAYLOAD_BYTES_MAX, PayloadForm, TEXT_BYTES_MAX, Text, WRITES_MAX,
};

use super::{
    Fresh,
    kit::{
        Outcome, all, append, blob, commit, due, event, made, one, put, put_json, refuses, same, take, write,
    },
    show::{everything, untouched},
};
use crate::{AnyStore, Error, Read};

table![
    "limits: a payload at the limit is kept whole, one over it refused with both sizes" => payload,
    "limits: a commit's writes at the limit are made, over it refused with both numbers" => writes,
    "limits: a commit's bytes at the limit are written, over it refused with both sizes" => bytes,
    "limits: what makes no sense is refused and writes nothing" => nonsense,
];

fn too_large(what: &str, size: usize, limit: usize, unit: &str) -> Error {
    Error::TooLarge {
        what: what.to_owned(),
        size: format!("{size} {unit}"),
        limit: format!("{limit} {unit}"),
    }
}

async fn payload(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let sized = |id: &str, size: usize| event(id).payload(PayloadForm::Binary, vec![b'x'; size]);
    store.apply(one("a", sized("1", PAYLOAD_BYTES_MAX))).await?;
    let before = everything(store).await?;
    let answer = store.apply(one("a", sized("2", PAYLOAD_BYTES_MAX + 1))).await;
    let wanted = too_large("event 2 (order.placed)", PAYLOAD_BYTES_MAX + 1, PAYLOAD_BYTES_MAX, "bytes");
    refuses("one byte more", answer, &wanted)?;
    let beside = vec![made(event("3")), made(sized("4", PAYLOAD_BYTES_MAX * 2))];
    let answer = store.apply(Commit::append(Append::to("a", beside))).await;
    ensure!(matches!(answer, Err(Error::TooLarge { .. })), "beside a small one it was answered {answer:?}");
    untouched("a payload over the limit", store, &before).await?;
    let log = all(store, Read::after(0)).await?;
    let kept = log.first().map(|event| event.envelope.payload().map(Bytes::len));
    same("what is kept", kept, Some(Ok(PAYLOAD_BYTES_MAX)))
}

async fn writes(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let events = |from: usize, n: usize| -> Vec<Envelope> {
        (from..from + n).map(|at| made(event(&format!("{at}")))).collect()
    };
    let before = everything(store).await?;
    let over = Commit {
        documents: put("d", "{}").documents,
        ..Commit::append(Append::to("a", events(0, WRITES_MAX)))
    };
    let wanted = too_large("a commit", WRITES_MAX + 1, WRITES_MAX, "writes");
    refuses("one write more", store.apply(over).await, &wanted)?;
    untouched("a commit over the limit", store, &before).await?;
    let rows = (0..5_000).map(|at| super::kit::due_row(&format!("{at}"), at));
    let full = Commit {
        due: rows.map(tidings_core::DueChange::Put).collect(),
        ..Commit::append(Append::to("a", events(0, WRITES_MAX - 5_000)))
    };
    let answer = store.apply(full).await?;
    same("at the limit", (answer.first, answer.last), (1, 5_000))?;
    same("the due rows", store.stats().await?.due, [("timers".to_owned(), 5_000)])
}

async fn bytes(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let chunk = Bytes::from(vec![b'x'; COMMIT_BYTES_MAX / 4]);
    let blobs = |keys: &[&str]| Commit {
        blobs: keys
            .iter()
            .map(|key| BlobChange::Put { key: Text::from(*key), bytes: chunk.clone() })
            .collect(),
        ..Commit::default()
    };
    let before = everything(store).await?;
    let over = Commit { documents: put("d", "1").documents, ..blobs(&["b0", "b1", "b2", "big"]) };
    let wanted = too_large("a commit", COMMIT_BYTES_MAX + 1, COMMIT_BYTES_MAX, "bytes");
    refuses("one byte more", store.apply(over).await, &wanted)?;
    untouched("a commit over the limit", store, &before).await?;
    store.apply(blobs(&["b0", "b1", "b2", "big"])).await?;
    for key in ["b0", "b1", "b2", "big"] {
        let back = store.blob(&tidings_core::Tenant::default(), key).await?;
        ensure!(
            back.as_ref() == Some(&chunk),
            "a large blob came back with {:?} bytes",
            back.map(|b| b.len())
        );
    }
    Ok(())
}

fn checkpoint(name: &str, watermark: u64, settled: &[u64]) -> CheckpointMove {
    CheckpointMove { name: Text::from(name), expected_revision: 0, watermark, settled: settled.to_vec() }
}

async fn refused(store: &AnyStore, what: &str, nonsense: Commit) -> Outcome {
    let before = everything(store).await?;
    // Sound parts beside it must not be written either.
    let mut nonsense = nonsense;
    nonsense.blobs.extend(blob("b0", b"x").blobs);
    nonsense.appends.insert(0, append("sound", &["sound"]));
    let answer = store.apply(nonsense).await;
    ensure!(matches!(answer, Err(Error::Refused(_))), "{what} was answered {answer:?}");
    untouched(what, store, &before).await
}

async fn nonsense(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let documents = |writes| Commit { documents: writes, ..Commit::default() };
    let checkpoints = |moves| Commit { checkpoints: moves, ..Commit::default() };
    let put = |id: &str| write(id, put_json("{}"));
    store.apply(due([tidings_core::DueChange::Put(super::kit::due_row("t", 1))])).await?;
    refused(store, "an append without events", commit("a", &[])).await?;
    refused(store, "a stream without a name", commit("", &["1"])).await?;
    refused(store, "a stream's name over the limit", commit(&"s".repeat(TEXT_BYTES_MAX + 1), &["1"])).await?;
    refused(store, "a document written twice", documents(vec![put("d"), put("e"), put("d")])).await?;
    refused(store, "a document without an id", documents(vec![put("")])).await?;
    let long = "d".repeat(DOCUMENT_ID_BYTES_MAX + 1);
    refused(store, "a document's id over the limit", documents(vec![put(&long)])).await?;
    let mut nowhere = put("d");
    nowhere.key.namespace = Text::from("");
    refused(store, "a document without a namespace", documents(vec![nowhere])).await?;
    let twice = vec![checkpoint("sub", 1, &[]), checkpoint("sub", 2, &[])];
    refused(store, "a checkpoint moved twice", checkpoints(twice)).await?;
    for settled in [&[5, 4][..], &[4, 4], &[3], &[2, 5]] {
        let moved = vec![checkpoint("sub", 3, settled)];
        refused(store, "settled positions that do not ascend above the watermark", checkpoints(moved))
            .await?;
    }
    refused(store, "a due row taken twice", due([take("t"), take("t")])).await
}
