//! Rows about recorded time.

use std::time::Duration;

use tidings_core::{Clock, Timestamp};

use super::{
    Fresh,
    kit::{Outcome, all, append, commit, commits, same},
};
use crate::{AnyStore, Read};

table![
    "time: recorded is the store's clock, to the microsecond" => the_clock,
    "time: recorded never decreases, although the clock goes back" => never_back,
    "time: a commit that fails or repeats moves no time" => only_written,
];

async fn recorded(store: &AnyStore) -> Result<Vec<i64>, super::kit::Failed> {
    let log = all(store, Read::after(0)).await?;
    Ok(log.iter().map(|event| event.recorded.as_micros()).collect())
}

async fn the_clock(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    fresh.clock.set(Timestamp::from_micros(1_700_000_000_123_457));
    store.apply(commits([append("a", &["1"]), append("b", &["2"])])).await?;
    fresh.clock.advance(Duration::from_micros(1));
    store.apply(commit("a", &["3"])).await?;
    let at = fresh.clock.now().as_micros();
    same("recorded", recorded(store).await?, [at - 1, at - 1, at])
}

async fn never_back(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let second = |n: i64| Timestamp::from_millis(n * 1_000);
    for (at, now) in [100, 50, 99, 100, 101, 7, 102].into_iter().enumerate() {
        fresh.clock.set(second(now));
        store.apply(commit("a", &[&format!("{at}")])).await?;
    }
    let wanted = [100, 100, 100, 100, 101, 101, 102].map(|n| second(n).as_micros());
    same("recorded", recorded(store).await?, wanted)?;
    fresh.clock.set(second(10));
    store.apply(commit("b", &["other"])).await?;
    same("recorded in another stream", recorded(store).await?.last().copied(), Some(second(102).as_micros()))
}

async fn only_written(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let second = |n: i64| Timestamp::from_millis(n * 1_000);
    fresh.clock.set(second(10));
    store.apply(commit("a", &["1"])).await?;
    fresh.clock.set(second(99));
    store.apply(commit("a", &["1"])).await?;
    ensure!(store.apply(commit("a", &["1", "2"])).await.is_err(), "a partly known commit was accepted");
    store.apply(super::kit::put("d", "{}")).await?;
    fresh.clock.set(second(20));
    store.apply(commit("a", &["3"])).await?;
    same("recorded", recorded(store).await?, [second(10).as_micros(), second(20).as_micros()])
}
