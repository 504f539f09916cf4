//! An application as its users see it: what is refused before it starts, what publishing promises, how it stops.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings::{
    Expected, ManualClock, PublishError, StoreError, Timestamp,
    durable::{Config, Reason, Settled},
    prelude::*,
    store::{AnyStore, MemoryStore},
};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: u64,
    city: String,
}

#[tidings::event(name = "order.confirmed")]
struct OrderConfirmed {
    #[event(key)]
    order: u64,
}

#[derive(Default, Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Order {
    city: String,
    confirmed: bool,
}

const ORDERS: View = View::new("orders").indexed(&["city"]);

async fn confirm(placed: On<OrderPlaced>, cx: Cx) -> Handled {
    if placed.city == "nowhere" {
        return Err(Failure::permanent("no such city"));
    }
    cx.view(ORDERS).put(&placed.order.to_string(), Order { city: placed.city.clone(), confirmed: false });
    cx.publish(OrderConfirmed { order: placed.order });
    Ok(())
}

async fn confirmed(confirmed: On<OrderConfirmed>, cx: Cx) -> Handled {
    cx.view(ORDERS).update::<Order>(&confirmed.order.to_string(), |order| order.confirmed = true).await
}

fn orders() -> Module {
    Module::new("orders").on(confirm.durable("confirm")).on(confirmed.durable("mark-confirmed")).view(ORDERS)
}

fn placed(order: u64, city: &str) -> OrderPlaced {
    OrderPlaced { order, city: city.into() }
}

#[tokio::test]
async fn every_fault_is_reported_at_once() {
    let anything = |_: &Envelope| {};
    let zero = Policy::new().timeout(Duration::ZERO);
    let built = App::builder()
        .store("carrier-pigeon:coop")
        .source("")
        .module(Module::new("orders").on(confirm.durable("same")).on(confirmed.durable("same")))
        .module(Module::new("orders").on(anything).view(View::new("$mine")))
        .module(Module::new("more").on(confirm.topic("order.pl*ced").durable("pattern")))
        .module(
            Module::new("last")
                .on(confirm.durable("hasty").policy(zero))
                .on(confirm.durable("idle").concurrency(0)),
        )
        .build()
        .await;
    let faults = built.expect_err("nothing of this can start").faults;
    let expected = [
        "module \"orders\" is there twice",
        "view \"$mine\"",
        "source: must not be empty",
        "no engine for \"carrier-pigeon\" URLs",
        "the name is used twice",
        "at column 9",
        "timeout: must not be 0",
        "concurrency: must be at least 1",
        "say which with `.topic",
    ];
    for part in expected {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part:?} is missing in {faults:#?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[tokio::test]
async fn a_durable_handler_needs_a_store() {
    let error = App::builder().module(orders()).build().await.expect_err("there is no store");
    assert!(error.to_string().contains("\"confirm\" is durable, which needs a store"), "{error}");
}

#[tokio::test]
async fn an_event_reaches_the_bus_after_it_is_durable_and_handlers_events_do_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let app = App::builder()
        .store(format!("sqlite:{}", dir.path().join("app.db").display()))
        .module(orders())
        .build()
        .await
        .expect("builds");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (list, store) = (heard.clone(), app.store().expect("a store").clone());
    app.bus()
        .subscribe("order.*", move |event: &Envelope| {
            let durable = store.beats().borrow().head;
            list.lock().expect("not poisoned").push((event.name().to_string(), durable));
        })
        .expect("a valid pattern")
        .forever();
    app.start().await.expect("starts");
    let receipt = app.publish(placed(1, "Delft")).await.expect("published");
    assert_eq!((receipt.position(), receipt.version()), (Some(1), Some(1)));
    assert_eq!(receipt.settled().await.expect("read"), [("confirm".into(), Settled::Handled)]);
    app.settled().await.expect("read");
    let heard = heard.lock().expect("not poisoned").clone();
    assert_eq!(
        heard.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["order.placed", "order.confirmed"]
    );
    assert!(heard[0].1 >= 1 && heard[1].1 >= 2, "heard before it was durable: {heard:?}");
    let view = app.view(ORDERS).expect("a store");
    assert_eq!(view.get("1").await.expect("read"), Some(Order { city: "Delft".into(), confirmed: true }));
    assert!(app.shutdown().await.is_clean());
}

#[tokio::test]
async fn a_receipt_tells_what_became_of_the_event() {
    let app = App::builder().store("memory:").module(orders()).build().await.expect("builds");
    app.start().await.expect("starts");
    let bad = app.publish(placed(1, "nowhere")).await.expect("published");
    let behind = app.publish(placed(1, "Delft")).await.expect("published");
    let Settled::DeadLettered(letter) = bad.settled().await.expect("read").remove(0).1 else {
        panic!("it was not given up");
    };
    assert_eq!((letter.reason, letter.attempts, &*letter.error), (Reason::Permanent, 1, "no such city"));
    assert_eq!(behind.settled().await.expect("read"), [("confirm".into(), Settled::Behind(1))]);
    let left = app.shutdown().await;
    assert_eq!(left.subscriptions.len(), 1);
    assert_eq!((left.subscriptions[0].parked, left.subscriptions[0].unsettled), (1, 0));
    assert!(left.to_string().contains("confirm: 0 running, 0 not settled, 0 waiting, 1 parked"), "{left}");
}

#[tokio::test]
async fn views_are_listed_by_prefix_and_by_indexed_field() {
    let app = App::builder().store("memory:").module(orders()).build().await.expect("builds");
    app.start().await.expect("starts");
    for (order, city) in [(10, "Delft"), (11, "Gouda"), (20, "Delft")] {
        app.publish(placed(order, city)).await.expect("published");
    }
    app.settled().await.expect("read");
    let view = app.view(ORDERS).expect("a store");
    let ids = |list: Vec<(tidings::Text, Order)>| {
        list.into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(view.list("1").await.expect("read")), ["10", "11"]);
    assert_eq!(ids(view.by("city", "Delft").await.expect("read")), ["10", "20"]);
    assert_eq!(view.count().await.expect("read"), 3);
    let error = view.by::<Order>("confirmed", "true").await.expect_err("no index is kept on it");
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    app.shutdown().await;
}

#[tokio::test]
async fn publishing_is_idempotent_by_id_conditional_by_version_and_bounded_in_size() {
    let app = App::builder().store("memory:").payload_bytes_max(100).build().await.expect("builds");
    let first = app.publish(placed(1, "Delft")).id("a").await.expect("published");
    let again = app.publish(placed(1, "Delft")).id("a").envelope(|e| e).await;
    // The time is part of the content: what says it happened at another time is another event.
    assert!(matches!(again, Err(PublishError::Store(StoreError::IdReused { .. }))), "{again:?}");
    let at = Timestamp::from_millis(5);
    let second = app.publish(placed(2, "Delft")).id("b").envelope(|e| e.time(at)).await.expect("published");
    let same = app.publish(placed(2, "Delft")).id("b").envelope(|e| e.time(at)).await.expect("known");
    assert_eq!(second.position(), same.position());
    assert_ne!(first.position(), second.position());
    let refused = app.publish(placed(1, "Delft")).expecting(Expected::None).await;
    assert!(
        matches!(refused, Err(PublishError::Store(StoreError::WrongVersion { actual: 1, .. }))),
        "{refused:?}"
    );
    let large = app.publish(placed(3, &"x".repeat(100))).await;
    assert!(matches!(large, Err(PublishError::TooLarge { size: 121, limit: 100, .. })), "{large:?}");
    app.shutdown().await;
    assert!(matches!(app.publish(placed(4, "Delft")).await, Err(PublishError::Closed)));
}

#[tokio::test]
async fn a_scheduled_event_is_published_when_it_is_due_and_not_when_it_was_cancelled() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let store: AnyStore = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
    let app = App::builder()
        .open_store(store.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .await
        .expect("builds");
    app.start().await.expect("starts");
    let kept = app.publish(placed(1, "Delft")).after(Duration::from_secs(60)).await.expect("scheduled");
    let cancelled = app.publish(placed(2, "Delft")).after(Duration::from_secs(60)).await.expect("scheduled");
    assert_eq!(kept.position(), None);
    assert!(cancelled.clone().cancel().await.expect("written"));
    assert!(!cancelled.cancel().await.expect("written"));
    assert_eq!(store.head().await, Ok(0));
    let mut beats = store.beats();
    // The scheduler sleeps until the minute is over; the clock may only move when it does.
    while clock.next_wake().is_none_or(|span| span > Duration::from_secs(60)) {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(61));
    while beats.borrow_and_update().head == 0 {
        beats.changed().await.expect("the store is open");
    }
    let found = store.find(&tidings::Tenant::default(), "/tidings", kept.id()).await.expect("read");
    assert_eq!(found.map(|event| event.position), Some(1));
    assert_eq!(store.head().await, Ok(1));
    tokio::select! {
        _ = app.shutdown() => {}
        () = async { loop { clock.advance(Duration::from_secs(1)); tokio::task::yield_now().await; } } => {}
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_handlers_up_to_its_deadline_and_says_what_was_left() {
    let started = Arc::new(AtomicU64::new(0));
    let counter = started.clone();
    let hangs = move |_: Envelope, _: Cx| {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Handled>()
    };
    let app = App::builder()
        .store("memory:")
        .drain(Duration::from_millis(50))
        .durable(Config { lanes: 1, ..Config::default() })
        .module(
            Module::new("slow")
                .on(hangs.clone().topic("order.**").durable("hangs"))
                .on(hangs.topic("order.**")),
        )
        .build()
        .await
        .expect("builds");
    let notices = Arc::new(Mutex::new(Vec::new()));
    let list = notices.clone();
    app.bus()
        .subscribe("tidings.**", move |notice: &Envelope| {
            list.lock().expect("not poisoned").push(notice.name().to_string())
        })
        .expect("a valid pattern")
        .forever();
    app.start().await.expect("starts");
    app.publish(placed(1, "Delft")).await.expect("published");
    while started.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let left = app.shutdown().await;
    assert_eq!(left.bus_calls, 1);
    assert_eq!(left.subscriptions.len(), 1);
    assert_eq!((left.subscriptions[0].running, left.subscriptions[0].unsettled), (1, 1));
    assert_eq!(*notices.lock().expect("not poisoned"), ["tidings.shutting_down", "tidings.shut_down"]);
}

#[tokio::test]
async fn handlers_on_the_bus_publish_and_write_through_their_context_too() {
    let module = Module::new("bus").on(confirm).view(ORDERS);
    let app = App::builder().store("memory:").module(module).build().await.expect("builds");
    let confirmed = Arc::new(AtomicU64::new(0));
    let count = confirmed.clone();
    app.bus()
        .on(move |_: &OrderConfirmed| {
            count.fetch_add(1, Ordering::SeqCst);
        })
        .forever();
    app.start().await.expect("starts");
    app.publish(placed(7, "Delft")).await.expect("published");
    let view = app.view(ORDERS).expect("a store");
    while view.get::<Order>("7").await.expect("read").is_none() || confirmed.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let confirmed =
        app.store().expect("a store").stream_version(&tidings::Tenant::default(), "order-7").await;
    assert_eq!(confirmed, Ok(2));
    assert!(app.shutdown().await.is_clean());
}
