//! Rows about closing.

use std::{fmt::Debug, time::Duration};

use tidings_core::{Commit, EventQuery, Timestamp};

use super::{
    Fresh,
    kit::{Outcome, SOURCE, commit, failed, key, nobody, put, same},
};
use crate::{DocumentQuery, Error, Read, Tenants};

table![
    "closing: a closed store answers every call that it is closed" => closed,
    "closing: a store may be closed twice" => twice,
];

fn is_closed<T: Debug>(what: &str, answer: Result<T, Error>) -> Outcome {
    match answer {
        Err(Error::Closed) => Ok(()),
        other => Err(failed(&format!("{what} of a closed store was answered {other:?}"))),
    }
}

async fn closed(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1"])).await?;
    store.apply(put("d", "{}")).await?;
    store.close().await?;
    let of = nobody();
    is_closed("apply", store.apply(commit("a", &["2"])).await)?;
    is_closed("a repeat", store.apply(commit("a", &["1"])).await)?;
    is_closed("an empty commit", store.apply(Commit::default()).await)?;
    is_closed("read", store.read(&Read::after(0)).await)?;
    is_closed("reading a stream", store.read(&Read::stream("a")).await)?;
    is_closed("head", store.head().await)?;
    is_closed("stream_version", store.stream_version(&of, "a").await)?;
    is_closed("find", store.find(&of, SOURCE, "1").await)?;
    is_closed("first_match", store.first_match(&of, &EventQuery::default(), 0).await)?;
    is_closed("document", store.document(&of, &key("d")).await)?;
    is_closed("documents", store.documents(&DocumentQuery::all("view")).await)?;
    is_closed("count_documents", store.count_documents(&DocumentQuery::all("view")).await)?;
    is_closed("checkpoint", store.checkpoint("sub").await)?;
    is_closed("checkpoints", store.checkpoints().await)?;
    is_closed("lease", store.lease("l0", "me", Duration::from_secs(1)).await)?;
    is_closed("release", store.release("l0", "me").await)?;
    is_closed("holder", store.holder("l0").await)?;
    is_closed("due", store.due(&Tenants::All, "timers", Timestamp::MAX, 1).await)?;
    is_closed("blob", store.blob(&of, "b0").await)?;
    is_closed("stats", store.stats().await)?;
    is_closed("verify", store.verify(&|_, _| {}).await)
}

async fn twice(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(commit("a", &["1"])).await?;
    store.close().await?;
    store.close().await?;
    same("head", store.head().await, Err::<u64, _>(Error::Closed))
}
