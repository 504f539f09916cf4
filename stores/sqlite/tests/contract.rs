//! The engine passes the suite every engine passes, on both kinds of runtime: with one thread every commit goes through
//! the writer's thread, with several a lone one is written where the caller is.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tidings_core::{ManualClock, Timestamp};
use tidings_sqlite::{Options, SqliteStore};
use tidings_store::{AnyStore, contract};

async fn fresh(folder: &Path) -> contract::Fresh {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let path = folder.join(format!("{}.db", NEXT.fetch_add(1, Ordering::Relaxed)));
    let clock = ManualClock::at(Timestamp::from_millis(1_700_000_000_000));
    let open = {
        let clock = clock.clone();
        move || -> AnyStore {
            let options = Options { clock: Arc::new(clock.clone()), ..Options::default() };
            Arc::new(SqliteStore::open(&path, options).expect("a store"))
        }
    };
    contract::Fresh::new(open(), clock).reopening(move |store| {
        let open = open.clone();
        Box::pin(async move {
            store.close().await.expect("closes");
            drop(store);
            open()
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_every_promise_of_the_port() {
    let folder = tempfile::tempdir().expect("a folder");
    contract::run(|| fresh(folder.path())).await;
}

#[tokio::test]
async fn sqlite_keeps_every_promise_on_one_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    contract::run(|| fresh(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_tells_every_history_as_the_model_does() {
    let folder = tempfile::tempdir().expect("a folder");
    contract::histories(|| fresh(folder.path()), 0..40, 300).await;
}

#[tokio::test]
async fn sqlite_tells_every_history_on_one_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    contract::histories(|| fresh(folder.path()), 40..60, 300).await;
}
