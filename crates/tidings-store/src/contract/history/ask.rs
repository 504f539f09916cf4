//! Asks a store one question of a history, and writes the answer as text.

use std::fmt::Debug;

use super::plan::Op;
use crate::{
    AnyStore, Error,
    contract::{kit::all, show},
};

/// The answer as text. Refusals are compared by what they are: their words are for people.
pub(super) async fn ask(store: &AnyStore, op: &Op) -> String {
    match op {
        Op::Apply(commit) => plain(store.apply((**commit).clone()).await),
        Op::Read(read) => match store.read(read).await {
            Err(error) => refusal(&error),
            Ok(_) => match all(store, (**read).clone()).await {
                Ok(events) => list(events.iter().map(show::recorded)),
                Err(failed) => failed.0,
            },
        },
        Op::Head => plain(store.head().await),
        Op::StreamVersion(of, stream) => plain(store.stream_version(of, stream).await),
        Op::Find(of, source, id) => answer(store.find(of, source, id).await, |found| {
            format!("{:?}", found.as_ref().map(show::recorded))
        }),
        Op::FirstMatch(of, query, after) => plain(store.first_match(of, query, *after).await),
        Op::Document(of, key) => {
            answer(store.document(of, key).await, |found| format!("{:?}", found.as_ref().map(show::document)))
        }
        Op::Documents(query) => {
            answer(store.documents(query).await, |found| list(found.iter().map(show::document)))
        }
        Op::Count(query) => plain(store.count_documents(query).await),
        Op::Checkpoint(name) => plain(store.checkpoint(name).await),
        Op::Checkpoints => plain(store.checkpoints().await),
        Op::Lease(name, owner, span) => plain(store.lease(name, owner, *span).await),
        Op::Release(name, owner) => plain(store.release(name, owner).await),
        Op::Holder(name) => plain(store.holder(name).await),
        Op::Due(tenants, queue, until, limit) => plain(store.due(tenants, queue, *until, *limit).await),
        Op::Blob(of, key) => plain(store.blob(of, key).await),
        Op::Stats => answer(store.stats().await, |figures| show::stats(&figures)),
        Op::Verify => plain(store.verify(&|_, _| {}).await),
        Op::Clock(now) => format!("{now}"),
        Op::Restart => String::new(),
    }
}

fn answer<T>(answer: Result<T, Error>, text: impl Fn(T) -> String) -> String {
    answer.map_or_else(|error| refusal(&error), text)
}

fn plain<T: Debug>(given: Result<T, Error>) -> String {
    answer(given, |given| format!("{given:?}"))
}

fn refusal(error: &Error) -> String {
    match error {
        Error::Refused(_) => "Error Refused".into(),
        other => format!("Error {other:?}"),
    }
}

fn list(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.collect();
    format!("{} found\n    {}", lines.len(), lines.join("\n    "))
}

/// The question as text, for a report.
pub(super) fn question(op: &Op) -> String {
    let Op::Apply(commit) = op else { return format!("{op:?}") };
    let mut text = format!("{op:?}");
    for event in commit.appends.iter().flat_map(|append| &append.events) {
        text.push_str("\n          with ");
        text.push_str(&show::envelope(event));
    }
    text
}

/// What kind of answer it was.
pub(super) fn label(op: &Op, answer: &str) -> String {
    let word = |text: &str| text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
    if let Some(error) = answer.strip_prefix("Error ") {
        return word(error);
    }
    match op {
        Op::Apply(_) if answer.contains("repeated: true") => "repeated".into(),
        Op::Apply(_) => "applied".into(),
        _ => word(&format!("{op:?}")),
    }
}
