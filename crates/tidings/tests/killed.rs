//! A process with a durable handler of batches is killed: of each call everything is in the store, or nothing.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tidings::{Tenant, prelude::*, store::Read};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    customer: String,
    order: u64,
}

#[tidings::event(name = "order.counted")]
struct OrderCounted {
    order: u64,
    /// Which call of the handler counted it, and how many it was called with.
    call: String,
    of: usize,
}

const COUNTS: View = View::new("counts");

const STORE: &str = "TIDINGS_TEST_STORE";

async fn count(batch: Batched<Delivered<On<OrderPlaced>>>) -> Result<(), Failed<()>> {
    let call = tidings::id::next().to_string();
    for one in &batch.items {
        let counts = one.cx.view(COUNTS);
        counts.update::<Vec<u64>>(&one.event.customer, |orders| orders.push(one.event.order)).await?;
        one.cx.publish(OrderCounted { order: one.event.order, call: call.clone(), of: batch.len() });
    }
    Ok(())
}

async fn app(store: &str) -> App {
    let settings = Batching::new().items(40).age(Duration::from_millis(2));
    let module = Module::new("orders").on(count.in_batches(settings).durable("count")).view(COUNTS);
    App::builder().store(store).module(module).build().await.expect("builds")
}

/// Publishes and handles until it is killed; only a child runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(store) = std::env::var(STORE) else { return };
    let app = app(&store).await;
    app.start().await.expect("starts");
    let already = app.store().expect("a store").head().await.expect("read");
    for nth in 0.. {
        // The position before it is as good a number as any, and never the same again.
        let customer = ["ada", "bob", "cas"][nth % 3].to_owned();
        let publishing = (0..8).map(|n| {
            let order = (already + nth as u64) * 8 + n;
            app.publish(OrderPlaced { customer: customer.clone(), order }).into_future()
        });
        for publish in publishing {
            publish.await.expect("published");
        }
        if nth % 10 == 9 {
            println!("\nat work");
        }
    }
}

/// Starts the child, and kills it when it has been at work for so long.
fn run_and_kill(path: &Path, rounds: usize) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(STORE, format!("sqlite:{}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let at_work = lines.map(|line| line.expect("text")).filter(|line| line == "at work").take(rounds).count();
    assert_eq!(at_work, rounds, "it was killed, and did not end");
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

#[tokio::test]
async fn of_each_call_everything_is_in_the_store_or_nothing_and_each_is_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.db");
    for rounds in [1, 3, 2, 5, 4] {
        run_and_kill(&path, rounds);
    }
    let url = format!("sqlite:{}", path.display());
    let app = app(&url).await;
    app.start().await.expect("starts");
    app.settled().await.expect("read");
    assert!(app.shutdown().await.is_clean());

    let store = tidings::open_store(&url, tidings::Mode::ReadOnly).await.expect("opens");
    let (mut placed, mut counted) = (BTreeMap::<String, Vec<u64>>::new(), Vec::new());
    let mut calls = BTreeMap::<String, (usize, usize)>::new();
    let mut after = 0;
    loop {
        let page = store.read(&Read::after(after).limit(1_000)).await.expect("read");
        for event in &page.events {
            match &**event.envelope.name() {
                "order.placed" => {
                    let order = event.envelope.decode::<OrderPlaced>().expect("an order");
                    placed.entry(order.customer.clone()).or_default().push(order.order);
                }
                _ => {
                    let one = event.envelope.decode::<OrderCounted>().expect("a count");
                    counted.push(one.order);
                    let call = calls.entry(one.call.clone()).or_insert((one.of, 0));
                    call.1 += 1;
                }
            }
        }
        after = page.next;
        if page.end {
            break;
        }
    }
    assert!(calls.len() > 5, "{}", calls.len());
    assert!(calls.values().all(|(of, found)| of == found), "{calls:?}");
    let mut orders: Vec<u64> = placed.values().flatten().copied().collect();
    orders.sort_unstable();
    counted.sort_unstable();
    assert_eq!(counted, orders);
    // In the order of each key, too.
    for (customer, orders) in placed {
        let key = tidings::DocumentKey::new("counts", customer.as_str());
        let found = store.document(&Tenant::default(), &key).await.expect("read").expect("there");
        assert_eq!(serde_json::from_slice::<Vec<u64>>(&found.value).expect("orders"), orders, "{customer}");
    }
}
