//! Rows about appending: versions, positions, and conflicts that write nothing.

use bytes::Bytes;
use tidings_core::{BlobChange, CheckpointMove, Commit, DueChange, Expected, Text};

use super::{
    Fresh,
    kit::{
        Outcome, all, append, blob, commit, commits, due, due_row, ids, nobody, put, put_json, refuses, same,
        take, write,
    },
    show::{everything, untouched},
};
use crate::{Applied, Error, Read};

table![
    "append: with nothing expected, versions count a stream's events and positions the log's" => counts,
    "append: `none` wants a stream without events" => none,
    "append: `exact` wants exactly that many events" => exact,
    "append: `exists` wants at least one event" => exists,
    "append: a conflict writes nothing of its commit" => conflict_writes_nothing,
    "append: several streams in one commit, positions in the order given" => several_streams,
    "append: a later append of a commit sees the earlier ones" => same_stream_twice,
    "append: one stream's conflict keeps the others from being written" => all_or_nothing,
    "append: streams are told apart byte by byte" => names_of_streams,
];

pub(super) fn applied(first: u64, last: u64, version: u64) -> Applied {
    Applied { first, last, version, ..Applied::default() }
}

fn wrong(stream: &str, expected: Expected, actual: u64) -> Error {
    Error::WrongVersion { stream: Text::from(stream), expected, actual }
}

fn expecting(stream: &str, ids: &[&str], expected: Expected) -> Commit {
    Commit::append(append(stream, ids).expecting(expected))
}

async fn counts(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("the head of an empty store", store.head().await?, 0)?;
    same("the version of an absent stream", store.stream_version(&nobody(), "a").await?, 0)?;
    same("the first append", store.apply(commit("a", &["1", "2"])).await?, applied(1, 2, 2))?;
    same("another stream", store.apply(commit("b", &["3"])).await?, applied(3, 3, 1))?;
    same("the first stream again", store.apply(commit("a", &["4", "5", "6"])).await?, applied(4, 6, 5))?;
    same("the head", store.head().await?, 6)?;
    same("the version of a", store.stream_version(&nobody(), "a").await?, 5)?;
    same("the version of b", store.stream_version(&nobody(), "b").await?, 1)?;
    let log = all(store, Read::after(0)).await?;
    let places: Vec<_> =
        log.iter().map(|event| (event.position, event.stream.to_string(), event.version)).collect();
    let wanted = [(1, "a", 1), (2, "a", 2), (3, "b", 1), (4, "a", 3), (5, "a", 4), (6, "a", 5)];
    same(
        "the log",
        places,
        wanted.map(|(position, stream, version)| (position, stream.to_owned(), version)).to_vec(),
    )
}

async fn none(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answer = store.apply(expecting("a", &["1"], Expected::None)).await?;
    same("on no stream", answer, applied(1, 1, 1))?;
    let answer = store.apply(expecting("a", &["2"], Expected::None)).await;
    refuses("on a stream of one", answer, &wrong("a", Expected::None, 1))?;
    same("the head", store.head().await?, 1)
}

async fn exact(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answer = store.apply(expecting("a", &["1"], Expected::Exact(1))).await;
    refuses("1 on no stream", answer, &wrong("a", Expected::Exact(1), 0))?;
    let answer = store.apply(expecting("a", &["1", "2"], Expected::Exact(0))).await?;
    same("0 on no stream", answer, applied(1, 2, 2))?;
    for expected in [0, 1, 3, u64::MAX] {
        let answer = store.apply(expecting("a", &["3"], Expected::Exact(expected))).await;
        refuses("another version", answer, &wrong("a", Expected::Exact(expected), 2))?;
    }
    let answer = store.apply(expecting("a", &["3"], Expected::Exact(2))).await?;
    same("the very version", answer, applied(3, 3, 3))
}

async fn exists(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answer = store.apply(expecting("a", &["1"], Expected::Exists)).await;
    refuses("on no stream", answer, &wrong("a", Expected::Exists, 0))?;
    store.apply(commit("b", &["1"])).await?;
    let answer = store.apply(expecting("a", &["2"], Expected::Exists)).await;
    refuses("while another stream exists", answer, &wrong("a", Expected::Exists, 0))?;
    let answer = store.apply(expecting("b", &["2"], Expected::Exists)).await?;
    same("on a stream", answer, applied(2, 2, 2))
}

async fn conflict_writes_nothing(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1"])).await?;
    store.apply(put("kept", r#"{"n":1}"#)).await?;
    store.apply(blob("b0", b"kept")).await?;
    store.apply(due([DueChange::Put(due_row("kept", 5)), DueChange::Put(due_row("taken", 6))])).await?;
    let before = everything(store).await?;
    let everywhere = Commit {
        documents: vec![write("kept", put_json(r#"{"n":2}"#)), write("new", put_json("{}"))],
        checkpoints: vec![CheckpointMove {
            name: Text::from("sub"),
            expected_revision: 0,
            watermark: 1,
            settled: vec![3],
        }],
        due: vec![DueChange::Put(due_row("new", 7)), DueChange::Put(due_row("kept", 8)), take("taken")],
        blobs: vec![
            BlobChange::Put { key: Text::from("b1"), bytes: Bytes::from_static(b"new") },
            BlobChange::Delete { key: Text::from("b0") },
        ],
        ..expecting("a", &["2", "3"], Expected::Exact(7))
    };
    let answer = store.apply(everywhere).await;
    refuses("a commit of everything", answer, &wrong("a", Expected::Exact(7), 1))?;
    untouched("a conflict", store, &before).await?;
    // The ids of what was not written are free.
    same("what follows", store.apply(commit("a", &["3"])).await?, applied(2, 2, 2))
}

async fn several_streams(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("b", &["0"])).await?;
    let answer = store
        .apply(commits([
            append("b", &["1", "2"]).expecting(Expected::Exact(1)),
            append("a", &["3"]).expecting(Expected::None),
            append("c", &["4", "5"]),
        ]))
        .await?;
    same("the answer", answer, applied(2, 6, 2))?;
    same("the order of the log", ids(&all(store, Read::after(0)).await?), ["0", "1", "2", "3", "4", "5"])?;
    same("b", ids(&all(store, Read::stream("b")).await?), ["0", "1", "2"])?;
    same("c", ids(&all(store, Read::stream("c")).await?), ["4", "5"])
}

async fn same_stream_twice(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let answer = store
        .apply(commits([
            append("a", &["1"]).expecting(Expected::None),
            append("b", &["2"]),
            append("a", &["3", "4"]).expecting(Expected::Exact(1)),
            append("a", &["5"]).expecting(Expected::Exists),
        ]))
        .await?;
    same("the answer", answer, applied(1, 5, 4))?;
    same("the stream", ids(&all(store, Read::stream("a")).await?), ["1", "3", "4", "5"])?;
    let answer =
        store.apply(commits([append("c", &["6"]), append("c", &["7"]).expecting(Expected::None)])).await;
    refuses("`none` after an append of the same commit", answer, &wrong("c", Expected::None, 1))?;
    let answer = store
        .apply(commits([append("a", &["8", "9"]), append("a", &["10"]).expecting(Expected::Exact(4))]))
        .await;
    refuses("the version before the commit", answer, &wrong("a", Expected::Exact(4), 6))?;
    same("the head", store.head().await?, 5)
}

async fn all_or_nothing(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1"])).await?;
    let before = everything(store).await?;
    for guilty in 0..3 {
        let streams = [("a", "2"), ("b", "3"), ("c", "4")];
        let appends: Vec<_> = (0..3)
            .map(|at| {
                let (stream, id) = streams[at];
                let expected = if at == guilty { Expected::Exact(9) } else { Expected::Any };
                append(stream, &[id]).expecting(expected)
            })
            .collect();
        let actual = u64::from(guilty == 0);
        let answer = store.apply(commits(appends)).await;
        refuses("three appends", answer, &wrong(streams[guilty].0, Expected::Exact(9), actual))?;
        untouched("three appends, one of them in conflict,", store, &before).await?;
    }
    Ok(())
}

async fn names_of_streams(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let long = "s".repeat(tidings_core::TEXT_BYTES_MAX);
    let names = ["a", "A", "a ", " a", "á", "a\u{301}", "a%", "a_", "a'b", "a\"b", "A-1", "a-1", "🦀", &long];
    for (at, name) in names.iter().enumerate() {
        let answer =
            store.apply(Commit::append(append(name, &[&format!("{at}")]).expecting(Expected::None))).await?;
        same("the first of its stream", answer.version, 1)?;
    }
    for (at, name) in names.iter().enumerate() {
        let events = all(store, Read::stream(*name)).await?;
        same(name, ids(&events), [format!("{at}")])?;
        ensure!(events.iter().all(|event| *event.stream == **name), "the stream {name} is called otherwise");
    }
    Ok(())
}
