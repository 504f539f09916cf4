//! The shortest way through a durable subscription.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_core::{Commit, Cx, DocumentKey, Envelope, Handled, Subscribe, SystemClock, Tenant, View};
use tidings_durable::{Config, Node};
use tidings_store::{AnyStore, MemoryStore};

const COUNTS: View = View::new("counts");

async fn count(event: Envelope, cx: Cx) -> Handled {
    cx.view(COUNTS).update::<u64>(event.key().expect("key"), |n| *n += 1).await?;
    cx.view(COUNTS).add("all", "n", 1);
    if &**event.name() == "order.placed" {
        cx.publish_envelope(Envelope::build("order.counted").key(event.key().expect("key").clone()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_become_documents_and_further_events() {
    let store: AnyStore = Arc::new(MemoryStore::default());
    let seen = Arc::new(AtomicU64::new(0));
    let told = seen.clone();
    let node = Node::new(
        store.clone(),
        Arc::new(SystemClock),
        Config::default(),
        vec![count.topic("order.**").durable("count")],
        Arc::new(move |events: &[Envelope]| {
            told.fetch_add(events.len() as u64, Ordering::SeqCst);
        }),
    )
    .expect("valid");
    node.start();
    for n in 0..20_000 {
        let event = Envelope::build("order.placed").key(format!("{}", n % 100)).finish().expect("valid");
        store.apply(Commit::events([event])).await.expect("applied");
    }
    node.settled().await.expect("read");
    let get = async |id: &str| {
        let found = store.document(&Tenant::default(), &DocumentKey::new("counts", id)).await.expect("read");
        String::from_utf8(found.expect("there").value.to_vec()).expect("text")
    };
    assert_eq!(get("7").await, "400");
    assert_eq!(get("all").await, r#"{"n":40000}"#);
    assert_eq!(store.head().await, Ok(40_000));
    assert_eq!(seen.load(Ordering::SeqCst), 20_000);
    assert_eq!(node.stop(Duration::from_secs(5)).await, vec![]);
}
