//! A process that dies of one event, twice: the event is quarantined, and nobody else.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use tidings::{Tenant, durable::Reason, prelude::*, store::Read};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    customer: String,
    order: u64,
}

const COUNTS: View = View::new("counts");

const STORE: &str = "TIDINGS_TEST_STORE";

/// The order nobody survives.
const POISON: u64 = 70;

const ORDERS: u64 = 200;

async fn count(placed: On<OrderPlaced>, cx: Cx) -> Handled {
    if placed.order.is_multiple_of(3) {
        tokio::task::yield_now().await;
    }
    if placed.order == POISON && std::env::var(STORE).is_ok() {
        std::process::abort();
    }
    cx.view(COUNTS).update::<Vec<u64>>(&placed.customer, |orders| orders.push(placed.order)).await
}

async fn app(store: &str) -> App {
    let module = Module::new("orders").on(count.durable("count")).view(COUNTS);
    App::builder().store(store).module(module).build().await.expect("builds")
}

/// Handles until it dies; only a child runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(store) = std::env::var(STORE) else { return };
    let app = app(&store).await;
    app.start().await.expect("starts");
    app.settled().await.expect("read");
    assert!(app.shutdown().await.subscriptions.iter().all(|left| left.unsettled == 0));
}

/// Runs the child; answers whether it has ended in order.
fn run(path: &Path) -> bool {
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(["child", "--exact", "--test-threads=1"])
        .env(STORE, format!("sqlite:{}", path.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("it runs").success()
}

#[tokio::test]
async fn the_event_a_process_dies_of_twice_is_quarantined_and_all_others_are_handled_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.db");
    let url = format!("sqlite:{}", path.display());
    let publisher = app(&url).await;
    for order in 0..ORDERS {
        let customer = format!("c{}", order % 7);
        publisher.publish(OrderPlaced { customer, order }).await.expect("published");
    }
    assert!(publisher.shutdown().await.is_clean());

    assert!(!run(&path), "it dies of it among others");
    assert!(!run(&path), "and again, alone");
    assert!(run(&path), "and then not any more");

    let store = tidings::open_store(&url, tidings::Mode::ReadOnly).await.expect("opens");
    let query = tidings::store::DocumentQuery::all(tidings::durable::dead_namespace("count"));
    let dead = store.documents(&query).await.expect("read");
    let [letter] = &*dead else { panic!("one was given up, not {}", dead.len()) };
    let letter: tidings::durable::DeadLetter = serde_json::from_slice(&letter.value).expect("a letter");
    assert_eq!((letter.reason, letter.attempts), (Reason::Poison, 2));
    let found = store.read(&Read::after(letter.position - 1).limit(1)).await.expect("read");
    let placed = found.events[0].envelope.decode::<OrderPlaced>().expect("an order");
    assert_eq!(placed.order, POISON);

    let mut handled = Vec::new();
    for customer in 0..7 {
        let key = tidings::DocumentKey::new("counts", format!("c{customer}"));
        let found = store.document(&Tenant::default(), &key).await.expect("read").expect("there");
        let orders = serde_json::from_slice::<Vec<u64>>(&found.value).expect("orders");
        assert!(orders.is_sorted(), "in order: {orders:?}");
        handled.extend(orders);
    }
    let once: BTreeSet<u64> = handled.iter().copied().collect();
    assert_eq!(once.len(), handled.len(), "nobody twice");
    // Its key is parked: those behind it wait for somebody to decide.
    let expected: BTreeSet<u64> =
        (0..ORDERS).filter(|order| *order < POISON || order % 7 != POISON % 7).collect();
    assert_eq!(once, expected);
}
