//! Many tasks at the same time, and what holds of a log they wrote.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    sync::Arc,
};

use tidings_core::Commit;
use tokio::sync::Barrier;

use super::kit::{Failed, Outcome, failed, same};
use crate::{AnyStore, Applied, Error, Recorded};

/// Runs one task for each of `n` at the same time, and gives their answers in order.
pub(super) async fn together<T, F, Fut>(n: usize, work: F) -> Result<Vec<T>, Failed>
where
    T: Send + 'static,
    F: Fn(usize) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
{
    let gate = Arc::new(Barrier::new(n));
    let tasks: Vec<_> = (0..n)
        .map(|at| {
            let (gate, work) = (gate.clone(), work(at));
            tokio::spawn(async move {
                gate.wait().await;
                work.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(n);
    for task in tasks {
        answers.push(task.await.map_err(|panic| failed(&format!("a writer panicked: {panic}")))?);
    }
    Ok(answers)
}

/// Applies the commits of `n` writers at the same time.
pub(super) async fn apply_all(
    store: &AnyStore,
    n: usize,
    commit: impl Fn(usize) -> Commit,
) -> Result<Vec<Result<Applied, Error>>, Failed> {
    together(n, |at| {
        let (store, commit) = (store.clone(), commit(at));
        async move { store.apply(commit).await }
    })
    .await
}

/// Where the event at a position is in a list of all; beyond it, if the position is nought.
pub(super) fn place(position: u64) -> usize {
    position.checked_sub(1).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX)
}

/// What holds of every log: positions from 1 without gaps, versions of each stream likewise, no id twice.
pub(super) fn sound(log: &[Recorded]) -> Outcome {
    let mut versions = HashMap::<&str, u64>::new();
    let mut seen = BTreeSet::new();
    for (position, event) in (1..).zip(log) {
        same("a position", event.position, position)?;
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        same(&format!("the version at position {position}"), event.version, *version)?;
        ensure!(seen.insert(event.envelope.id()), "{} is there twice", event.envelope.id());
    }
    ensure!(log.windows(2).all(|pair| pair[0].recorded <= pair[1].recorded), "recorded time decreases");
    Ok(())
}
