//! Runs the rows, each on a store of its own, and reports all that fail.

use std::{fmt, future::Future, sync::LazyLock, time::Duration};

use tidings_core::BoxFuture;

use super::{
    Fresh, append, beats, blind, blobs, checkpoints, closing, concurrent, conditions, documents, due,
    envelopes, figures, filters, ids, leases, limits, listing, ordered, pages, persistence, read, tenants,
    times,
};

/// A row that has not ended after this long hangs.
const ROW_TIME_MAX: Duration = Duration::from_secs(120);

/// One promise of the port.
#[derive(Clone, Copy)]
pub struct Row {
    /// The promise, as `subject: sentence`.
    pub name: &'static str,
    /// Asks a fresh store whether it keeps the promise; the error says what it did instead.
    pub run: fn(Fresh) -> BoxFuture<'static, Result<(), String>>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({:?})", self.name)
    }
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    [
        append::ROWS,
        ids::ROWS,
        conditions::ROWS,
        ordered::ROWS,
        read::ROWS,
        pages::ROWS,
        filters::ROWS,
        times::ROWS,
        envelopes::ROWS,
        limits::ROWS,
        documents::ROWS,
        blind::ROWS,
        listing::ROWS,
        checkpoints::ROWS,
        leases::ROWS,
        due::ROWS,
        blobs::ROWS,
        tenants::ROWS,
        figures::ROWS,
        beats::ROWS,
        concurrent::ROWS,
        persistence::ROWS,
        closing::ROWS,
    ]
    .concat()
});

/// Every row of the contract, by subject. Rows about persistence pass a store that cannot be reopened.
pub fn rows() -> &'static [Row] {
    &ROWS
}

/// Runs every row and gives those that failed, with the reason.
///
/// The environment variable `TIDINGS_ROW` restricts it to rows whose name contains its value.
pub async fn failures<F, Fut>(factory: F) -> Vec<(&'static str, String)>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Fresh>,
{
    let only = std::env::var("TIDINGS_ROW").unwrap_or_default();
    let mut failed = Vec::new();
    for row in rows().iter().filter(|row| row.name.contains(&only)) {
        // A task of its own, so that an engine that panics fails this row only.
        let task = tokio::spawn((row.run)(factory().await));
        let abort = task.abort_handle();
        let outcome = match tokio::time::timeout(ROW_TIME_MAX, task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(format!("panicked: {panic}")),
            Err(_) => {
                abort.abort();
                Err(format!("has not ended after {ROW_TIME_MAX:?}"))
            }
        };
        if let Err(reason) = outcome {
            failed.push((row.name, reason));
        }
    }
    failed
}

/// Runs every row on a store of its own from `factory`. Best under a runtime with several threads, so that commits
/// really meet.
///
/// # Panics
/// When a row fails: with every failed row and its reason.
pub async fn run<F, Fut>(factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Fresh>,
{
    let failed = failures(factory).await;
    let report: String = failed.iter().map(|(name, reason)| format!("\n  {name}\n    {reason}")).collect();
    assert!(failed.is_empty(), "{} of {} rows failed:{report}", failed.len(), rows().len());
}
