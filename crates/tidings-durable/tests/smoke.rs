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

const LISTS: View = View::new("lists");

/// Threads run freely here, so that what is not guarded shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_keep_their_order_and_documents_their_sums_on_many_threads() {
    for round in 0..5 {
        let store: AnyStore = Arc::new(MemoryStore::default());
        let handler = async |event: Envelope, cx: Cx| {
            if event.id().ends_with('7') && cx.attempt() == 1 {
                return Err(tidings_core::Failure::transient("not at first"));
            }
            let id = event.id().to_string();
            let key = event.key().expect("key").clone();
            if id.ends_with('3') {
                tokio::task::yield_now().await;
            }
            cx.view(COUNTS).update::<u64>("sum", |sum| *sum += 1).await?;
            cx.view(LISTS).update::<Vec<String>>(&key, |list| list.push(id)).await
        };
        let handler =
            move |event: Envelope, cx: Cx| -> std::pin::Pin<Box<dyn Future<Output = Handled> + Send>> {
                Box::pin(handler(event, cx))
            };
        let retry = tidings_core::Retry::constant(Duration::from_millis(1)).attempts(3);
        let policy = tidings_core::Policy::new().retry(retry);
        // Some waits are rows, some are not.
        let short_wait = Duration::from_micros([0, 1_000, 10_000][round % 3]);
        let config = Config { lanes: 4, short_wait, batch: 50, ..Config::default() };
        let registration = handler.topic("order.**").durable("s").policy(policy);
        let node =
            Node::new(store.clone(), Arc::new(SystemClock), config, vec![registration], Arc::new(|_| {}))
                .expect("valid");
        node.start();
        for n in 0..2_000 {
            let event = Envelope::build("order.placed").key(format!("{}", n % 40)).id(n.to_string());
            store.apply(Commit::events([event.finish().expect("valid")])).await.expect("applied");
        }
        node.settled().await.expect("read");
        let get = async |view: &str, id: &str| {
            let found = store.document(&Tenant::default(), &DocumentKey::new(view, id)).await.expect("read");
            String::from_utf8(found.expect("there").value.to_vec()).expect("text")
        };
        assert_eq!(get("counts", "sum").await, "2000");
        for key in 0..40 {
            let expected: Vec<_> = (0..50).map(|n| (n * 40 + key).to_string()).collect();
            let list: Vec<String> =
                serde_json::from_str(&get("lists", &key.to_string()).await).expect("a list");
            assert_eq!(list, expected);
        }
        assert_eq!(node.stop(Duration::from_secs(5)).await, vec![]);
    }
}
