//! Handlers of batches in memory, where they run: order, bounds, what is published, and how it ends.

// Why this long: the same handlers, doors and places serve all of these, on the bus and in a pool.

mod kit;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kit::{At, BOTH};
use tidings::{
    Clock, LetterFilter, ManualClock, PublishError, Reason, Registration, Timestamp,
    buffered::{Admission, Config, Ended, HELD_MAX, NoRoom, Overflow, PoolConfig, QueueConfig},
    prelude::*,
    store::MemoryStore,
};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    customer: u64,
    order: u64,
}

const COUNTS: View = View::new("counts");

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Batches of at most so many, that wait for two milliseconds.
fn soon(items: usize) -> Batching {
    Batching::new().items(items).age(ms(2))
}

fn settings(events_max: usize, overflow: Overflow) -> Config {
    let queue = QueueConfig { events_max, workers: 2, ..QueueConfig::default() };
    Config { shared: PoolConfig { queue, overflow, ..PoolConfig::default() }, ..Config::default() }
}

async fn app(handler: Registration) -> App {
    let builder = App::builder().open_store(Arc::new(MemoryStore::default()));
    let module = Module::new("search").on(handler).view(COUNTS);
    let app = builder.module(module).build().await.expect("builds");
    app.start().await.expect("starts");
    app
}

async fn place(app: &App, customer: u64, order: u64) -> tidings::Receipt {
    app.publish(OrderPlaced { customer, order }).await.expect("published")
}

/// Lets others work until `done`.
async fn until(mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it comes");
}

async fn ended(app: &App, many: u64) {
    until(|| app.batches().iter().map(tidings::buffered::Gatherer::ended).sum::<u64>() == many).await;
}

type Seen = Arc<Mutex<Vec<(u64, u64)>>>;

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_key_are_handled_in_order_also_when_some_are_tried_again() {
    for at in BOTH {
        for by_key in [false, true] {
            let seen = Seen::default();
            let noted = seen.clone();
            let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
                let noted = noted.clone();
                async move {
                    tokio::task::yield_now().await;
                    let sick =
                        |one: &Delivered<On<OrderPlaced>>| one.event.order % 7 == 3 && one.cx.attempt() == 1;
                    let failed: Vec<usize> = (0..batch.len()).filter(|at| sick(&batch[*at])).collect();
                    let mut stopped = HashSet::new();
                    for one in batch.iter() {
                        // Those behind one that failed come again.
                        if sick(one) || stopped.contains(&one.event.customer) {
                            stopped.insert(one.event.customer);
                            continue;
                        }
                        noted.lock().expect("nobody panicked").push((one.event.customer, one.event.order));
                    }
                    match failed.is_empty() {
                        true => Ok(()),
                        false => {
                            Err(Failed::<()>::at(failed, Failure::again(Duration::from_micros(200), "again")))
                        }
                    }
                }
            };
            let handler =
                if by_key { handler.in_batches_by_key(soon(8)) } else { handler.in_batches(soon(8)) };
            let app = app(at.place(handler)).await;
            for order in 0..60 {
                for customer in 0..10 {
                    place(&app, customer, order).await;
                }
            }
            ended(&app, 600).await;
            let seen = seen.lock().expect("nobody panicked").clone();
            assert_eq!(seen.len(), 600, "{at:?} by key: {by_key}");
            for customer in 0..10 {
                let orders: Vec<_> = seen.iter().filter(|one| one.0 == customer).map(|one| one.1).collect();
                assert_eq!(
                    orders,
                    (0..60).collect::<Vec<_>>(),
                    "{at:?} by key: {by_key}, customer {customer}"
                );
            }
            let figures = app.batches()[0].figures();
            assert!(figures.calls < 600 && figures.retries >= 80, "{at:?}: {figures:?}");
            assert!(app.shutdown().await.is_clean());
        }
    }
}

/// A handler that notes what it is called with and then waits until it is opened.
#[derive(Clone, Default)]
struct Door {
    open: Arc<AtomicBool>,
    running: Arc<AtomicUsize>,
    handled: Arc<Mutex<Vec<u64>>>,
}

impl Door {
    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn handled(&self) -> Vec<u64> {
        self.handled.lock().expect("nobody panicked").clone()
    }

    fn handler(&self, settings: Batching) -> Registration {
        let door = self.clone();
        let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
            let door = door.clone();
            async move {
                door.running.fetch_add(1, Ordering::SeqCst);
                while !door.open.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
                door.running.fetch_sub(1, Ordering::SeqCst);
                door.handled.lock().expect("nobody panicked").extend(batch.iter().map(|one| one.event.order));
            }
        };
        handler.in_batches(settings)
    }
}

#[tokio::test]
async fn a_delivery_that_comes_when_its_key_is_due_waits_for_the_call_with_those_before_it() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let door = Door::default();
    let handler = door.handler(Batching::new().items(100).age(ms(100)));
    let builder = App::builder().clock(clock.clone()).module(Module::new("search").on(handler));
    let app = builder.build().await.expect("builds");
    let before = clock.sleepers();
    app.bus().emit(&OrderPlaced { customer: 1, order: 1 });
    until(|| clock.sleepers() > before).await;
    // Both at once: the first is due, and here is the second.
    clock.advance(ms(150));
    app.bus().emit(&OrderPlaced { customer: 1, order: 2 });
    until(|| door.running.load(Ordering::SeqCst) == 1).await;
    for _ in 0..1_000 {
        clock.advance(ms(1));
        tokio::task::yield_now().await;
    }
    assert_eq!(door.running.load(Ordering::SeqCst), 1, "no two calls with one key at once");
    door.open();
    until(|| {
        clock.advance(ms(1));
        door.handled() == [1, 2]
    })
    .await;
    assert!(app.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_waits_to_be_tried_again_holds_up_nobody_else() {
    for at in BOTH {
        let seen = Seen::default();
        let noted = seen.clone();
        let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
            let failed: Vec<usize> = (0..batch.len()).filter(|at| batch[*at].event.customer == 1).collect();
            for one in batch.iter().filter(|one| one.event.customer != 1) {
                noted.lock().expect("nobody panicked").push((one.event.customer, one.event.order));
            }
            std::future::ready(match failed.is_empty() {
                true => Ok(()),
                false => Err(Failed::<()>::at(failed, Failure::again(Duration::from_secs(3_600), "later"))),
            })
        };
        let app = app(at.place(handler.in_batches(soon(4)))).await;
        for order in 0..40 {
            place(&app, order % 4, order).await;
        }
        ended(&app, 30).await;
        assert_eq!(
            (seen.lock().expect("nobody panicked").len(), app.batches()[0].figures().held),
            (30, 10),
            "{at:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_order_calls_with_the_same_key_run_at_once_and_with_it_they_do_not() {
    for (ordered, most) in [(true, 1), (false, 3)] {
        let door = Door::default();
        let handler = door.handler(Batching::new().items(1)).buffered();
        let app = app(if ordered { handler } else { handler.unordered() }).await;
        for order in 0..3 {
            place(&app, 1, order).await;
        }
        until(|| app.batches()[0].figures().held == 3 && door.running.load(Ordering::SeqCst) == most).await;
        door.open();
        ended(&app, 3).await;
        app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pool_that_is_full_publishers_are_refused_and_what_was_taken_is_handled() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let door = Door::default();
    // They are never complete by number, and time stands still: they are for want of room.
    let handler = door.handler(Batching::new().items(1_000).age(Duration::from_secs(3_600))).buffered();
    let builder = App::builder().clock(clock).buffered(settings(8, Overflow::Refuse));
    let app = builder.module(Module::new("search").on(handler)).build().await.expect("builds");
    app.start().await.expect("starts");
    let mut taken = 0;
    let full = loop {
        match app.publish(OrderPlaced { customer: taken, order: taken }).await {
            Ok(receipt) => {
                assert_eq!(receipt.admission(), Admission::Queued);
                taken += 1;
            }
            Err(PublishError::Full(full)) => break full,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(full.why, NoRoom::Events);
    // As many as the queue may have here, and as many again there.
    assert!((8..=16).contains(&taken), "{taken}");
    door.open();
    // The last ones are in an open batch, with room beside them.
    until(|| door.handled().len() as u64 >= taken - 8).await;
    assert!(app.shutdown().await.is_clean());
    let mut handled = door.handled();
    handled.sort_unstable();
    assert_eq!(handled, (0..taken).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spilled_comes_back_in_order_into_batches() {
    let door = Door::default();
    let builder = App::builder().open_store(Arc::new(MemoryStore::default()));
    let builder = builder.buffered(settings(4, Overflow::Spill));
    let module = Module::new("search").on(door.handler(soon(3)).buffered());
    let app = builder.module(module).build().await.expect("builds");
    app.start().await.expect("starts");
    for order in 0..40 {
        place(&app, 1, order).await;
    }
    assert!(app.buffered().figures()[0].spilled >= 30, "{:?}", app.buffered().figures()[0].spilled);
    door.open();
    app.settled().await.expect("settled");
    assert_eq!(door.handled(), (0..40).collect::<Vec<_>>());
    assert!(app.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_been_spilled_and_was_not_done_at_the_end_comes_back_with_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("shop.db").display());
    let handled = Arc::new(Mutex::new(Vec::new()));
    for run in 1..=2 {
        let (noted, door) = (handled.clone(), Door::default());
        let waited = door.open.clone();
        let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
            let (noted, waited) = (noted.clone(), waited.clone());
            async move {
                while !waited.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
                for one in batch.iter() {
                    if run == 1 && one.event.order >= 10 {
                        std::future::pending::<()>().await;
                    }
                    noted.lock().expect("nobody panicked").push(one.event.order);
                }
            }
        };
        let module = Module::new("search").on(handler.in_batches(Batching::new().items(1)).buffered());
        let builder = App::builder().store(&url).buffered(settings(4, Overflow::Spill)).drain(ms(50));
        let app = builder.module(module).build().await.expect("builds");
        app.start().await.expect("starts");
        if run == 1 {
            for order in 0..20 {
                place(&app, 1, order).await;
            }
            // At most four are here and four in the queue: from the ninth on they were spilled.
            door.open();
            until(|| {
                handled.lock().expect("nobody panicked").len() == 10 && app.batches()[0].figures().held == 4
            })
            .await;
            let drained = app.shutdown().await;
            assert_eq!(drained.flows[0].outputs, 4, "{drained}");
        } else {
            door.open();
            until(|| handled.lock().expect("nobody panicked").len() == 20).await;
            assert!(app.shutdown().await.is_clean());
        }
    }
    assert_eq!(*handled.lock().expect("nobody panicked"), (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_gives_a_handler_no_more_than_it_may_hold_and_counts_what_it_refuses() {
    let door = Door::default();
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let handler = door.handler(Batching::new().items(10_000));
    let app =
        App::builder().clock(clock).module(Module::new("search").on(handler)).build().await.expect("builds");
    app.start().await.expect("starts");
    let gatherer = app.batches().remove(0);
    for order in 0..HELD_MAX as u64 {
        app.bus().emit(&OrderPlaced { customer: order, order });
    }
    assert_eq!((gatherer.figures().held, gatherer.figures().refused), (HELD_MAX, 0));
    app.bus().emit(&OrderPlaced { customer: 1, order: 1 });
    assert_eq!((gatherer.figures().held, gatherer.figures().refused), (HELD_MAX, 1));
    door.open();
    until(|| gatherer.figures().held == 0).await;
    assert_eq!((door.handled().len(), gatherer.figures().calls), (HELD_MAX, 10));
    app.shutdown().await;
}

#[tokio::test]
async fn in_a_pool_calls_run_on_a_thread_of_their_own_and_may_block_it() {
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let receive = Arc::new(Mutex::new(receive));
    let name = Arc::new(Mutex::new(String::new()));
    let noted = name.clone();
    let handler = move |_: Batched<Delivered<On<OrderPlaced>>>| {
        *noted.lock().expect("nobody panicked") =
            std::thread::current().name().unwrap_or_default().to_owned();
        let receive = receive.clone();
        async move { receive.lock().expect("nobody panicked").recv().expect("it is sent") }
    };
    let app = app(handler.in_batches(Batching::new().items(1)).pool("slow")).await;
    let receipt = place(&app, 1, 1).await;
    until(|| !name.lock().expect("nobody panicked").is_empty()).await;
    // This thread is the only one of its runtime, and goes on.
    send.send(()).expect("it waits");
    assert_eq!(receipt.handled().await[0].ended, Ended::Handled);
    assert_eq!(*name.lock().expect("nobody panicked"), "tidings-batches");
    assert_eq!(app.buffered().figures()[0].pool, "slow");
    assert!(app.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_is_given_up_alone_and_the_innocent_are_not_called_again() {
    for at in BOTH {
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                for one in &batch.items {
                    one.cx.view(COUNTS).add("all", "n", 1);
                    if one.event.order == 2 {
                        one.cx.publish_envelope(Envelope::build("order.refused").id("taken"));
                    }
                }
            }
        };
        let handler = handler.in_batches(Batching::new().items(5)).policy(Policy::new().retry(Retry::none()));
        let app = app(at.place(handler)).await;
        // The id is known with other content.
        app.publish_envelope(Envelope::build("parcel.sent").id("taken")).await.expect("published");
        for order in 0..5 {
            place(&app, order, order).await;
        }
        ended(&app, 5).await;
        let dead = app.dead_letters().list(&LetterFilter::default(), 10).await.expect("listed");
        assert_eq!(
            (dead.len(), dead[0].key.as_deref(), dead[0].reason),
            (1, Some("2"), Reason::Exhausted),
            "{at:?}"
        );
        assert!(dead[0].error.contains("other content"), "{:?}", dead[0]);
        let all: serde_json::Value =
            app.view(COUNTS).expect("a store").get("all").await.expect("read").expect("there");
        assert_eq!((&all["n"], calls.load(Ordering::SeqCst)), (&4.into(), 1), "{at:?}");
        app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_change_the_same_document_at_once_lose_no_change_and_use_no_attempt() {
    for at in BOTH {
        let most = Arc::new(AtomicU64::new(0));
        let noted = most.clone();
        let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
            for one in batch.iter() {
                noted.fetch_max(u64::from(one.cx.attempt()), Ordering::SeqCst);
            }
            async move {
                for one in &batch.items {
                    one.cx.view(COUNTS).update::<u64>("all", |all| *all += 1).await?;
                    tokio::task::yield_now().await;
                }
                Handled::Ok(())
            }
        };
        let app = app(at.place(handler.in_batches_by_key(soon(2)).policy(Policy::new().bulkhead(3)))).await;
        for order in 0..30 {
            place(&app, order % 6, order).await;
        }
        ended(&app, 30).await;
        let all = app.view(COUNTS).expect("a store").get::<u64>("all").await.expect("read");
        assert_eq!((all, most.load(Ordering::SeqCst)), (Some(30), 1), "{at:?}");
        assert!(app.shutdown().await.is_clean());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_holds_events_of_one_tenant_and_none_whose_time_is_over() {
    for at in BOTH {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let noted = calls.clone();
        let handler = move |batch: Batched<Delivered<Envelope>>| {
            let of = batch.iter().map(|one| one.event.tenant().map(ToString::to_string)).collect::<Vec<_>>();
            noted.lock().expect("nobody panicked").push(of);
            async {}
        };
        let handler = handler.in_batches(soon(100)).topic("order.*");
        let app =
            App::builder().module(Module::new("search").on(at.place(handler))).build().await.expect("builds");
        app.start().await.expect("starts");
        let event = |id: usize| Envelope::build("order.placed").id(id.to_string());
        for id in 0..6 {
            let event = if id % 2 == 0 { event(id).tenant("a") } else { event(id) };
            app.publish_envelope(event).await.expect("published");
        }
        let over = tidings::SystemClock.now();
        app.publish_envelope(event(6).expiry(over)).await.expect("published");
        // In a pool it comes no further than the queue.
        let skipped = || match at {
            At::Pool => app.buffered().figures()[0].skipped,
            At::Bus => app.batches()[0].figures().skipped,
        };
        until(|| app.batches()[0].figures().handled == 6 && skipped() == 1).await;
        let calls = calls.lock().expect("nobody panicked").clone();
        assert!(calls.iter().all(|call| call.windows(2).all(|two| two[0] == two[1])), "{at:?}: {calls:?}");
        assert_eq!(calls.concat().len(), 6, "{at:?}");
        app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_put_off_uses_no_attempt() {
    for at in BOTH {
        let handler = |batch: Batched<Delivered<On<OrderPlaced>>>| {
            std::future::ready(match batch[0].cx.attempt() {
                1 | 2 => Err(Failure::later(ms(1), "it is not its time")),
                _ => Ok(()),
            })
        };
        let app = app(at.place(handler.in_batches(soon(1)).policy(Policy::new().retry(Retry::none())))).await;
        let receipt = place(&app, 1, 1).await;
        ended(&app, 1).await;
        let figures = app.batches()[0].figures();
        assert_eq!((figures.handled, figures.failures, figures.calls), (1, 0, 3), "{at:?}");
        if at == At::Pool {
            let outcome = receipt.handled().await.remove(0);
            assert_eq!((outcome.attempts, outcome.ended), (3, Ended::Handled));
        }
        app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_has_settled_when_its_pools_hold_no_open_batch() {
    let door = Door::default();
    door.open();
    let app = app(door.handler(Batching::new().items(1_000).age(ms(20))).buffered()).await;
    for order in 0..5 {
        place(&app, order, order).await;
    }
    app.settled().await.expect("settled");
    assert_eq!(door.handled().len(), 5);
    app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_handles_what_is_in_open_batches_and_what_comes_of_that() {
    for at in BOTH {
        for has_store in [false, true] {
            let seen = Arc::new(Mutex::new(BTreeMap::<u64, u64>::new()));
            let noted = seen.clone();
            let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
                for one in batch.iter() {
                    *noted.lock().expect("nobody panicked").entry(one.event.order).or_default() += 1;
                }
                async move {
                    // Slower than all the others are ended.
                    for _ in 0..2_000 {
                        tokio::task::yield_now().await;
                    }
                    for one in batch.items.iter().filter(|one| one.event.order < 30) {
                        let customer = one.event.customer;
                        one.cx.publish(OrderPlaced { customer, order: one.event.order + 10 });
                    }
                }
            };
            // Nothing but the shutdown completes them.
            let handler = handler.in_batches(Batching::new().items(1_000).age(Duration::from_secs(3_600)));
            let mut builder = App::builder().module(Module::new("search").on(at.place(handler)));
            if has_store {
                builder = builder.open_store(Arc::new(MemoryStore::default()));
            }
            let app = builder.build().await.expect("builds");
            app.start().await.expect("starts");
            for order in 0..10 {
                place(&app, order % 3, order).await;
            }
            let drained = app.shutdown().await;
            assert!(drained.is_clean(), "{at:?}: {drained}");
            let seen = seen.lock().expect("nobody panicked").clone();
            assert_eq!(seen, (0..40).map(|order| (order, 1)).collect(), "{at:?}, store: {has_store}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shutdown_has_no_time_for_is_counted_and_its_publishers_are_told() {
    for at in BOTH {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
        let door = Door::default();
        let handler = at.place(
            door.handler(Batching::new().items(2)).policy(Policy::new().timeout(Duration::from_secs(86_400))),
        );
        let builder = App::builder().clock(clock.clone()).drain(Duration::from_secs(3));
        let app = builder.module(Module::new("search").on(handler)).build().await.expect("builds");
        app.start().await.expect("starts");
        let receipts = [place(&app, 1, 1).await, place(&app, 2, 2).await, place(&app, 3, 3).await];
        let gatherer = app.batches().remove(0);
        until(|| gatherer.figures().held == 3 && door.running.load(Ordering::SeqCst) == 1).await;
        let ending = app.clone();
        let ending = tokio::spawn(async move { ending.shutdown().await });
        until(|| {
            clock.advance(ms(100));
            ending.is_finished()
        })
        .await;
        let drained = ending.await.expect("no panic");
        assert_eq!(
            (drained.flows.len(), drained.flows[0].outputs, drained.flows[0].given_up),
            (1, 3, 0),
            "{at:?}"
        );
        until(|| gatherer.figures().dropped == 3 && gatherer.figures().held == 0).await;
        if at == At::Pool {
            for receipt in &receipts {
                assert_eq!(receipt.handled().await[0].ended, Ended::Dropped("the application ended"));
            }
        }
        assert!(door.handled().is_empty());
    }
}

#[tokio::test]
async fn no_thread_and_no_timer_outlives_an_application_that_was_not_shut_down() {
    for at in BOTH {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let door = Door::default();
        let handler = at.place(door.handler(Batching::new().items(10)));
        let builder = App::builder().clock(Arc::new(clock.clone())).module(Module::new("search").on(handler));
        let app = builder.build().await.expect("builds");
        place(&app, 1, 1).await;
        let gatherer = app.batches().remove(0);
        until(|| gatherer.figures().held == 1).await;
        drop((app, gatherer));
        // Some look at the time before they see that nobody is there.
        until(|| {
            clock.advance(ms(500));
            clock.sleepers() == 0 && Arc::strong_count(&door.handled) == 1
        })
        .await;
    }
}
