//! `tidings explain`: who gets an event and why, from what an application has written into its store.

mod kit;

use std::{path::Path, time::Duration};

use kit::Room;
use tidings::{
    buffered::{Config, Overflow, PoolConfig, QueueConfig},
    prelude::*,
};

#[tidings::event(name = "order.placed", version = 2)]
struct OrderPlaced {
    #[event(key)]
    order: u64,
}

async fn reserve(_: On<OrderPlaced>, _: Cx) -> Handled {
    Ok(())
}

async fn audit(_: Envelope, _: Cx) -> Handled {
    Ok(())
}

async fn mail(_: On<OrderPlaced>, _: Cx) -> Handled {
    Ok(())
}

async fn greet(_: On<OrderPlaced>, _: Cx) -> Handled {
    Ok(())
}

async fn index(_: Batched<Delivered<Envelope>>) {}

/// An application that starts, and ends.
fn run(store: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let slow = PoolConfig {
            queue: QueueConfig { workers: 2, events_max: 1_500, ..QueueConfig::default() },
            overflow: Overflow::DropNewest,
            ..PoolConfig::default()
        };
        let timeout = Policy::new().timeout(Duration::from_secs(7));
        let module = Module::new("orders")
            .on(greet)
            .on(reserve.durable("reserve-stock").policy(timeout))
            .on(mail.pool("mail").unordered().fallback(audit))
            .on(audit.topic("order.*").topic("stock.**").durable("audit"))
            .on(index.in_batches_by_key(Batching::new().items(1_500)).topic("parcel.*"))
            .publishes::<OrderPlaced>();
        let app = App::builder()
            .name("shop")
            .store(format!("sqlite:{}", store.display()))
            .buffered(Config { pools: [("mail".into(), slow)].into(), ..Config::default() })
            .module(module)
            .build()
            .await
            .expect("an application");
        app.start().await.expect("started");
        app.shutdown().await;
    });
}

fn room() -> Room {
    let room = Room::new();
    run(&room.path("test.db"));
    room
}

#[test]
fn an_event_is_explained_for_people() {
    let room = room();
    let said = room.ok(&["explain", "order.placed"]).out;
    for line in [
        "event         order.placed",
        "versions      2",
        "published by  module orders of shop",
        "1. orders/explain::mail",
        "   where     pool mail: 2 workers, at most 1,500 events and 52,428,800 bytes; when full: drop the newest",
        "   why       it selects order.placed",
        "   policy    timeout 30s; 4 attempts",
        "   fallback  stands in instead of giving up",
        "   promise   at most once: queued after the event is durable; a crash between the commit and the end of the call \
         loses the delivery; no order; when it is full, the delivery is dropped",
        "2. orders/explain::greet",
        "   where     the bus: ",
        "3. reserve-stock",
        "   where     durable subscription reserve-stock, at most 64 calls at once",
        "   policy    timeout 7s; 5 attempts",
        "   promise   at least once, and once in effect: ",
        "4. audit",
        "   why       it selects order.*",
    ] {
        assert!(said.lines().any(|one| one.starts_with(line)), "{line:?} in\n{said}");
    }
}

#[test]
fn an_event_is_explained_for_programs() {
    let room = room();
    let edges = room.json(&["explain", "order.placed"]);
    let all = |field: &str| edges.iter().map(|edge| edge[field].clone()).collect::<Vec<_>>();
    assert_eq!(all("handler"), ["orders/explain::mail", "orders/explain::greet", "reserve-stock", "audit"]);
    let places: Vec<_> = edges.iter().map(|edge| edge["place"]["kind"].clone()).collect();
    assert_eq!(places, ["buffered", "bus", "durable", "durable"]);
    assert_eq!(edges[0]["pool"]["overflow"], "drop-newest");
    assert_eq!((&edges[0]["fallback"], &edges[1]["fallback"]), (&true.into(), &false.into()));
    assert_eq!(edges[2]["policy"]["timeout"], "7s");
    assert_eq!(edges[3]["selected_by"], serde_json::json!(["order.*"]));
}

#[test]
fn a_handler_is_explained_by_each_of_its_names() {
    let room = room();
    for name in ["orders/explain::mail", "explain::mail", "mail"] {
        assert_eq!(room.one(&["explain", name])["handler"], "orders/explain::mail");
    }
    let audit = room.one(&["explain", "audit"]);
    assert_eq!(audit["selected_by"], serde_json::json!(["order.*", "stock.**"]));
    assert_eq!(audit["events"], serde_json::json!(["order.placed"]));
    let said = room.ok(&["explain", "audit"]).out;
    assert!(said.contains("   gets      order.placed\n"), "{said}");
}

#[test]
fn an_event_that_is_only_in_the_log_is_explained_and_an_unknown_name_has_a_hint() {
    let room = room();
    room.ingest(&kit::orders(2));
    assert_eq!(room.one(&["explain", "order.paid"])["handler"], "audit");
    room.run(&["explain", "order.plcaed"]).fails(&["\"order.plcaed\"", "did you mean order.placed"]);
    room.run(&["explain", "reserve-stok"]).fails(&["did you mean reserve-stock?"]);
    let far = room.run(&["explain", "nothing-of-the-kind"]);
    far.fails(&["there is no event and no handler"]);
    assert!(!far.err.contains("did you mean"), "{far:?}");
}

#[test]
fn of_a_handler_of_batches_it_is_said_when_they_are_complete_and_that_order_is_kept() {
    let room = room();
    let said = room.ok(&["explain", "index"]).out;
    for line in [
        "   batches   up to 1,500 events of one key, 1s after the first at the latest",
        "the end of the call loses the delivery; in order by key, one at a time",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    assert_eq!(room.json(&["explain", "index"])[0]["batches"]["by_key"], true);
}
