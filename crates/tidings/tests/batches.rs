//! Handlers of batches and flows in an application: one word moves them, the model shows them, a shutdown leaves nothing.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings::{
    Cause, Clock, Commit, DocumentKey, LetterFilter, ManualClock, ModelBatches, Registration, Tenant,
    Timestamp,
    flow::{Batch, Debounce, Debouncing, Flow},
    prelude::*,
    store::{AnyStore, Read},
};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    customer: String,
    order: u64,
}

#[tidings::event(name = "order.indexed")]
struct OrderIndexed {
    order: u64,
}

const COUNTS: View = View::new("counts");

type Seen = Arc<Mutex<Vec<(Vec<u64>, Cause, u32)>>>;

/// Counts the orders of each customer, and fails for some as told.
fn index(seen: &Seen, sick: impl Fn(u64, u32) -> Option<Failure> + Send + Sync + 'static) -> Registration {
    let (seen, sick) = (seen.clone(), Arc::new(sick));
    let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
        let (seen, sick) = (seen.clone(), sick.clone());
        async move {
            let attempt = batch[0].cx.attempt();
            let orders: Vec<u64> = batch.iter().map(|one| one.event.order).collect();
            seen.lock().expect("not poisoned").push((orders.clone(), batch.cause, attempt));
            for one in &batch.items {
                let view = one.cx.view(COUNTS);
                view.update::<u64>(&one.event.customer, |count| *count += 1).await?;
                one.cx.publish(OrderIndexed { order: one.event.order });
            }
            let failed: Vec<_> = orders
                .iter()
                .enumerate()
                .filter_map(|(at, order)| Some((at, sick(*order, attempt)?)))
                .collect();
            match failed.first() {
                Some((_, failure)) => {
                    Err(Failed::<()>::at(failed.iter().map(|(at, _)| *at), failure.clone()))
                }
                None => Ok(()),
            }
        }
    };
    handler.in_batches(Batching::new().items(4).age(Duration::from_secs(2)))
}

fn well(_: u64, _: u32) -> Option<Failure> {
    None
}

struct World {
    clock: ManualClock,
    app: App,
    url: String,
    _folder: tempfile::TempDir,
}

/// An application that is not started.
async fn built(module: Module, drain: Duration) -> World {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("shop.db").display());
    let builder = App::builder().clock(Arc::new(clock.clone())).store(&url).drain(drain);
    let app = builder.module(module).build().await.expect("builds");
    World { clock, app, url, _folder: folder }
}

async fn world(module: Module, drain: Duration) -> World {
    let world = built(module, drain).await;
    world.app.start().await.expect("starts");
    world
}

impl World {
    async fn place(&self, orders: std::ops::Range<u64>) {
        for order in orders {
            let customer = ["ada", "bob"][order as usize % 2].to_owned();
            self.app.publish(OrderPlaced { customer, order }).await.expect("published");
        }
    }

    /// The store as it is after a shutdown, too.
    async fn store(&self) -> AnyStore {
        tidings::open_store(&self.url, tidings::Mode::ReadOnly).await.expect("opens")
    }

    /// How many events of this name there are.
    async fn events(&self, name: &str) -> u64 {
        let log = self.store().await.read(&Read::after(0).limit(1_000)).await.expect("read");
        log.events.iter().filter(|one| &**one.envelope.name() == name).count() as u64
    }

    async fn count(&self, customer: &str) -> u64 {
        let key = DocumentKey::new("counts", customer);
        let found = self.store().await.document(&Tenant::default(), &key).await.expect("read");
        found.map_or(0, |found| serde_json::from_slice(&found.value).expect("a number"))
    }
}

/// Lets others work until `done`; time stands still.
async fn until(mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it comes");
}

fn taken(seen: &Seen) -> Vec<(Vec<u64>, Cause, u32)> {
    seen.lock().expect("not poisoned").clone()
}

#[tokio::test]
async fn the_same_handler_gathers_on_the_bus_and_behind_a_durable_subscription() {
    for durable in [false, true] {
        let seen = Seen::default();
        let handler = index(&seen, well);
        let handler = if durable { handler.durable("index") } else { handler };
        let world = built(Module::new("search").on(handler).view(COUNTS), Duration::from_secs(10)).await;
        let shown = &world.app.model().modules[0].handlers[0];
        let settings = Batching::new().items(4).age(Duration::from_secs(2));
        assert_eq!(shown.batches, Some(ModelBatches { settings, by_key: false }));
        world.place(0..10).await;
        // All are read at once: then the last two are gathered when the others are handled.
        world.app.start().await.expect("starts");
        until(|| taken(&seen).len() == 2).await;
        let whole = |orders: std::ops::Range<u64>| (orders.collect::<Vec<_>>(), Cause::Items, 1);
        assert_eq!(taken(&seen), [whole(0..4), whole(4..8)], "durable: {durable}");
        // What waits in the open batch is handled at shutdown.
        assert!(world.app.shutdown().await.is_clean());
        assert_eq!(taken(&seen)[2], (vec![8, 9], Cause::Flush, 1));
        assert_eq!((world.count("ada").await, world.count("bob").await), (5, 5));
        assert_eq!(world.events("order.indexed").await, 10);
    }
}

#[tokio::test]
async fn on_the_bus_a_batch_is_one_commit_without_those_that_failed() {
    let seen = Seen::default();
    let sick = |order, attempt| match (order, attempt) {
        (1, 1) => Some(Failure::transient("not now")),
        _ => None,
    };
    let retry = Policy::new().retry(Retry::constant(Duration::from_secs(1)).jitter(0.0).attempts(3));
    let handler = index(&seen, sick).policy(retry);
    let world = world(Module::new("search").on(handler).view(COUNTS), Duration::from_secs(10)).await;
    world.place(0..4).await;
    until(|| taken(&seen).len() == 1 && world.clock.sleepers() > 0).await;
    while world.events("order.indexed").await < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!((world.count("ada").await, world.count("bob").await), (2, 0), "3 comes after 1");
    while taken(&seen).len() < 2 {
        world.clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    // Those that come back are gathered again.
    assert_eq!(taken(&seen)[1], (vec![1, 3], Cause::Age, 2));
    assert!(world.app.shutdown().await.is_clean());
    assert_eq!(world.count("bob").await, 2);
}

#[tokio::test]
async fn on_the_bus_nobody_is_given_up_for_what_another_did_and_who_was_is_a_dead_letter() {
    let seen = Seen::default();
    let calls = Arc::new(AtomicU64::new(0));
    let count = calls.clone();
    let sick = move |order, _| {
        count.fetch_add(1, Ordering::SeqCst);
        assert!(order != 2, "poison");
        None
    };
    let policy = Policy::new().retry(Retry::constant(Duration::from_secs(1)).jitter(0.0).attempts(2));
    let handler = index(&seen, sick).policy(policy);
    let world = world(Module::new("search").on(handler).view(COUNTS), Duration::from_secs(10)).await;
    world.place(0..4).await;
    while world.count("bob").await < 2 {
        world.clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    // Two are behind two others in their keys, and have used no attempt by the first call.
    let calls = taken(&seen);
    assert_eq!(calls[0].0, [0, 1, 2, 3]);
    for (orders, cause, attempt) in &calls {
        assert_eq!(*attempt == 2, *cause == Cause::Alone, "{calls:?}");
        assert!(*attempt == 1 || orders.len() == 1, "{calls:?}");
    }
    let letters = loop {
        let letters = world.app.dead_letters().list(&LetterFilter::default(), 10).await.expect("read");
        if !letters.is_empty() {
            break letters;
        }
        tokio::task::yield_now().await;
    };
    let letter = &letters[0];
    assert_eq!((letters.len(), letter.key.as_deref(), letter.attempts), (1, Some("ada"), 2));
    assert!(letter.error.contains("poison"), "{letter:?}");
    assert!(world.app.shutdown().await.is_clean());
    assert_eq!((world.count("ada").await, world.count("bob").await), (1, 2));
}

#[tokio::test]
async fn a_batch_on_the_bus_that_hangs_is_left_at_the_deadline_and_said_to_be() {
    let handler = |_: Batched<Delivered<On<OrderPlaced>>>| std::future::pending::<()>();
    // Time flies here while the store is closed: the call must not be over by itself.
    let patient = Policy::new().timeout(Duration::from_secs(360 * 86_400));
    let handler = handler.in_batches(Batching::new().items(2)).policy(patient);
    let world = world(Module::new("search").on(handler), Duration::from_secs(3)).await;
    world.place(0..2).await;
    let app = world.app.clone();
    let ending = tokio::spawn(async move { app.shutdown().await });
    while !ending.is_finished() {
        world.clock.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
    }
    let drained = ending.await.expect("no panic");
    assert_eq!((drained.flows.len(), drained.flows[0].outputs), (1, 2), "two deliveries");
    assert!(
        drained.flows[0].name.starts_with("search/") && drained.to_string().contains("2 not done"),
        "{drained}"
    );
}

#[tokio::test]
async fn what_a_batch_on_the_bus_publishes_may_come_back_to_it() {
    let total = Arc::new(AtomicU64::new(0));
    let count = total.clone();
    let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
        count.fetch_add(batch.len() as u64, Ordering::SeqCst);
        async move {
            for one in batch.items.iter().filter(|one| one.event.order < 20) {
                one.cx.publish(OrderPlaced { customer: "ada".into(), order: one.event.order + 4 });
            }
        }
    };
    let module = Module::new("again").on(handler.in_batches(Batching::new().items(4)));
    let world = world(module, Duration::from_secs(10)).await;
    world.place(0..4).await;
    until(|| total.load(Ordering::SeqCst) == 24).await;
    assert!(world.app.shutdown().await.is_clean());
}

#[tokio::test]
async fn flows_end_with_their_application_after_what_feeds_them_and_before_the_store() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let note = got.clone();
    let module = Module::new("search")
        .flow("typing", "order.placed", move |clock: Arc<dyn Clock>| {
            let note = note.clone();
            Flow::of(Debounce::<Envelope>::new(Debouncing::new())?).clock(clock).start(
                move |last: Arc<Envelope>| {
                    note.lock().expect("not poisoned").push(last.id().to_string());
                    async {}
                },
            )
        })
        // A durable handler that is called during the shutdown feeds the flow, too.
        .on((|event: Envelope, cx: Cx| async move {
            cx.publish_envelope(Envelope::build("order.noted").id(format!("n{}", event.id())));
            Ok(())
        })
        .topic("order.placed")
        .durable("note"));
    let world = world(module, Duration::from_secs(10)).await;
    assert_eq!(world.app.model().modules[0].flows[0].name, "typing");
    let stored = Arc::new(AtomicU64::new(0));
    let store = world.app.store().expect("a store").clone();
    let count = stored.clone();
    let flow = Flow::of(Batch::new(Batching::new()).expect("valid"))
        .clock(Arc::new(world.clock.clone()))
        .start(move |batch: Arc<Batched<Envelope>>| {
            let (store, count) = (store.clone(), count.clone());
            async move {
                // The store is still open.
                let copies = batch.iter().map(|event| {
                    Envelope::build("order.copied").source("/copy").id(event.id().clone()).finish()
                });
                store.apply(Commit::events(copies.collect::<Result<Vec<_>, _>>().permanent()?)).await?;
                count.fetch_add(batch.len() as u64, Ordering::SeqCst);
                Ok::<(), Failure>(())
            }
        })
        .expect("starts");
    world.app.bus().subscribe("order.noted", flow.listener()).expect("valid").forever();
    world.app.attach("copies", flow);
    world.place(0..3).await;
    let drained = world.app.shutdown().await;
    assert!(drained.is_clean(), "{drained}");
    assert_eq!(got.lock().expect("not poisoned").len(), 1, "the last of a burst");
    let (noted, copied) = (world.events("order.noted").await, world.events("order.copied").await);
    assert_eq!((stored.load(Ordering::SeqCst), copied), (noted, noted), "none is left behind");
}

#[tokio::test]
async fn no_timer_keeps_a_flow_alive_when_it_or_its_application_is_gone() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let flow = Flow::of(Batch::new(Batching::new()).expect("valid"))
        .clock(Arc::new(clock.clone()))
        .start(|_: Arc<Batched<u32>>| async {})
        .expect("starts");
    flow.push(1).expect("taken");
    until(|| clock.sleepers() == 1).await;
    drop(flow);
    until(|| clock.sleepers() == 0).await;

    let seen = Seen::default();
    let world = world(Module::new("search").on(index(&seen, well)), Duration::from_secs(1)).await;
    let clock = world.clock.clone();
    world.app.bus().emit(&OrderPlaced { customer: "ada".into(), order: 1 });
    let asleep = clock.sleepers();
    assert!(world.app.shutdown().await.is_clean());
    drop(world);
    until(|| clock.sleepers() == 0 || asleep == 0).await;
    assert_eq!((taken(&seen).len(), clock.sleepers()), (1, 0));
}

#[tokio::test]
async fn settings_of_batches_that_mean_nothing_do_not_build() {
    for durable in [false, true] {
        let handler = |_: Batched<Delivered<On<OrderPlaced>>>| async {};
        let handler = handler.in_batches(Batching::new().items(0));
        let handler = if durable { handler.durable("index") } else { handler };
        let built = App::builder().store("memory:").module(Module::new("search").on(handler)).build().await;
        let faults = built.expect_err("it means nothing").faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("in_batches.items"), "{faults:?}");
    }
}
