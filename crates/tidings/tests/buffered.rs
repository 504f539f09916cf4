//! Handlers on worker threads, as users of an application see them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings::{
    BoxFuture, Circuit, ManualClock, Priority, PublishError, Rate, Reason, Timestamp,
    buffered::{Admission, Config, Ended, NoRoom, Overflow, PoolConfig, QueueConfig},
    prelude::*,
};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: u64,
    step: u64,
}

#[tidings::event(name = "order.confirmed")]
struct OrderConfirmed {
    #[event(key)]
    order: u64,
}

fn placed(order: u64, step: u64) -> OrderPlaced {
    OrderPlaced { order, step }
}

fn pool(change: impl FnOnce(&mut PoolConfig)) -> Config {
    let mut shared = PoolConfig::default();
    change(&mut shared);
    Config { shared, ..Config::default() }
}

async fn app(module: Module, config: Config) -> App {
    let app = App::builder().module(module).buffered(config).build().await.expect("an application");
    app.start().await.expect("started");
    app
}

/// A door that handlers wait at.
#[derive(Clone, Default)]
struct Door(Arc<(AtomicBool, tokio::sync::Notify)>);

impl Door {
    fn open(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        self.0.1.notify_waiters();
    }

    async fn pass(&self) {
        loop {
            let opened = self.0.1.notified();
            if self.0.0.load(Ordering::SeqCst) {
                return;
            }
            opened.await;
        }
    }
}

#[tokio::test]
async fn one_word_moves_a_handler_to_workers_and_the_receipt_tells_how_it_ended() {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let seen = threads.clone();
    let handle = move |event: On<OrderPlaced>, cx: Cx| {
        seen.lock().expect("nobody panicked").push(std::thread::current().id());
        async move {
            match (event.step, cx.attempt()) {
                (1, 1) => Err(Failure::again(Duration::from_millis(1), "not yet")),
                (2, _) => Err(Failure::permanent("never")),
                _ => Ok(()),
            }
        }
    };
    let app = app(Module::new("orders").on(handle.buffered()), Config::default()).await;
    let receipts = [
        app.publish(placed(1, 0)).await.expect("room"),
        app.publish(placed(1, 1)).await.expect("room"),
        app.publish(placed(1, 2)).await.expect("room"),
    ];
    let mut ends = Vec::new();
    for receipt in &receipts {
        assert_eq!(receipt.admission(), Admission::Queued);
        let outcome = receipt.handled().await.remove(0);
        assert!(outcome.handler.starts_with("orders/"), "{outcome:?}");
        ends.push((outcome.attempts, outcome.ended));
    }
    let dead = Ended::Dead { reason: Reason::Permanent, error: "never".into() };
    assert_eq!(ends, [(1, Ended::Handled), (2, Ended::Handled), (1, dead)]);
    let here = std::thread::current().id();
    assert!(threads.lock().expect("nobody panicked").iter().all(|thread| *thread != here));
    let figures = app.buffered().figures().remove(0);
    assert_eq!((figures.handled, figures.failures, figures.retries, figures.dead), (2, 2, 1, 1));
    assert_eq!(figures.success_rate(), 0.5);
    assert!(app.shutdown().await.is_clean());
}

#[tokio::test]
async fn events_of_a_key_are_handled_in_order_also_when_they_are_tried_again_and_the_workers_scaled() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let handle = move |event: On<OrderPlaced>, cx: Cx| {
        let noted = noted.clone();
        async move {
            tokio::task::yield_now().await;
            if event.step % 7 == 3 && cx.attempt() == 1 {
                return Err(Failure::again(Duration::from_micros(200), "again"));
            }
            noted.lock().expect("nobody panicked").push((event.order, event.step));
            Ok(())
        }
    };
    let app = app(Module::new("orders").on(handle.buffered()), Config::default()).await;
    for step in 0..200 {
        for order in 0..10 {
            app.publish(placed(order, step)).await.expect("room");
        }
        if step % 40 == 0 {
            app.buffered().scale("", 1 + (step as usize / 40) % 4).expect("a number that is allowed");
        }
    }
    app.settled().await.expect("settled");
    let seen = seen.lock().expect("nobody panicked").clone();
    assert_eq!(seen.len(), 2_000);
    for order in 0..10 {
        let steps: Vec<_> = seen.iter().filter(|(of, _)| *of == order).map(|(_, step)| *step).collect();
        assert_eq!(steps, (0..200).collect::<Vec<_>>(), "order {order}");
    }
    assert!(app.shutdown().await.is_clean());
}

#[tokio::test]
async fn what_is_emitted_on_the_bus_reaches_buffered_handlers_once_and_so_does_what_is_published() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let handle = move |event: &Envelope| {
        // `**` is also what the platform tells about itself, such as that a worker has started.
        if event.name().starts_with("order.") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    };
    let module =
        Module::new("orders").on(handle.topic("order.*").topic("order.placed").topic("**").buffered());
    let app = app(module, Config::default()).await;
    app.bus().emit(&placed(1, 1));
    app.settled().await.expect("settled");
    assert_eq!(calls.load(Ordering::SeqCst), 1, "three of its patterns select the event");
    app.publish(placed(1, 2)).await.expect("room");
    app.settled().await.expect("settled");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    app.shutdown().await;
}

/// A handler that waits at the door and then notes the step.
fn behind(
    door: &Door,
    seen: &Arc<Mutex<Vec<u64>>>,
) -> impl Fn(On<OrderPlaced>, Cx) -> BoxFuture<'static, Handled> + Send + Sync + 'static {
    let (door, seen) = (door.clone(), seen.clone());
    move |event, _| {
        let (door, seen) = (door.clone(), seen.clone());
        Box::pin(async move {
            door.pass().await;
            seen.lock().expect("nobody panicked").push(event.step);
            Ok(())
        })
    }
}

async fn full(overflow: Overflow, keep_dropped: bool) -> (App, Door, Arc<Mutex<Vec<u64>>>) {
    let (door, seen) = (Door::default(), Arc::new(Mutex::new(Vec::new())));
    let handle = behind(&door, &seen);
    let config = pool(|pool| {
        pool.queue = QueueConfig { workers: 1, events_max: 4, ..QueueConfig::default() };
        pool.overflow = overflow;
        pool.keep_dropped = keep_dropped;
    });
    let app = app(Module::new("orders").on(handle.buffered()), config).await;
    for step in 0..4 {
        // One key: the first runs, three wait behind it.
        assert_eq!(app.publish(placed(1, step)).await.expect("room").admission(), Admission::Queued);
    }
    while app.buffered().figures()[0].queue.workers.iter().all(|worker| worker.in_flight == 0) {
        tokio::task::yield_now().await;
    }
    (app, door, seen)
}

async fn ends_with(app: App, door: Door, seen: Arc<Mutex<Vec<u64>>>, steps: &[u64]) {
    door.open();
    app.settled().await.expect("settled");
    assert_eq!(*seen.lock().expect("nobody panicked"), steps);
    app.shutdown().await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_gives_the_event_back() {
    let (app, door, seen) = full(Overflow::Refuse, false).await;
    let Err(PublishError::Full(full)) = app.publish(placed(1, 4)).await else { panic!("there is no room") };
    assert_eq!((full.why, full.event.key().map(|key| key.to_string())), (NoRoom::Events, Some("1".into())));
    assert_eq!(app.buffered().figures()[0].refused, 1);
    ends_with(app, door, seen, &[0, 1, 2, 3]).await;
}

#[tokio::test]
async fn a_full_queue_has_publishers_wait_up_to_a_deadline() {
    let (app, door, seen) = full(Overflow::Wait(Duration::from_millis(20)), false).await;
    assert!(matches!(app.publish(placed(1, 4)).await, Err(PublishError::Full(_))));
    let late = tokio::spawn({
        let app = app.clone();
        async move {
            // It is given as long as it takes by trying again.
            loop {
                if let Ok(receipt) = app.publish(placed(1, 5)).await {
                    return receipt.admission();
                }
            }
        }
    });
    door.open();
    let admission = late.await.expect("it comes in");
    assert!(matches!(admission, Admission::Waited | Admission::Queued), "{admission:?}");
    ends_with(app, door, seen, &[0, 1, 2, 3, 5]).await;
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_that_waits_and_never_what_runs() {
    let (app, door, seen) = full(Overflow::DropOldest, true).await;
    assert_eq!(
        app.publish(placed(1, 4)).await.expect("room is made").admission(),
        Admission::DroppedOldest(1)
    );
    assert_eq!(app.buffered().figures()[0].dropped, 1);
    ends_with(app, door, seen, &[0, 2, 3, 4]).await;
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_and_its_publisher_learns_it() {
    let (app, door, seen) = full(Overflow::DropNewest, false).await;
    let receipt = app.publish(placed(1, 4)).await.expect("it is told otherwise");
    assert_eq!(receipt.admission(), Admission::DroppedNewest);
    assert!(matches!(receipt.handled().await[0].ended, Ended::Dropped(_)));
    ends_with(app, door, seen, &[0, 1, 2, 3]).await;
}

#[tokio::test]
async fn a_full_queue_has_the_publisher_call_the_handler_itself() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (noted, door) = (calls.clone(), Door::default());
    let waited = door.clone();
    let handle = move |event: On<OrderPlaced>, _: Cx| {
        let (noted, waited) = (noted.clone(), waited.clone());
        async move {
            if event.step == 0 {
                waited.pass().await;
            }
            noted.lock().expect("nobody panicked").push((event.step, std::thread::current().id()));
            Ok(())
        }
    };
    let config = pool(|pool| {
        pool.queue = QueueConfig { workers: 1, events_max: 1, ..QueueConfig::default() };
        pool.overflow = Overflow::Inline;
    });
    let app = app(Module::new("orders").on(handle.buffered().unordered()), config).await;
    app.publish(placed(1, 0)).await.expect("room");
    let receipt = app.publish(placed(1, 1)).await.expect("it is called in place");
    assert_eq!(receipt.admission(), Admission::Inline);
    assert_eq!(*calls.lock().expect("nobody panicked"), [(1, std::thread::current().id())]);
    door.open();
    app.settled().await.expect("settled");
    assert_eq!(calls.lock().expect("nobody panicked").len(), 2);
    app.shutdown().await;
}

#[tokio::test]
async fn a_full_queue_spills_to_the_store_and_brings_back_in_order() {
    let (door, seen) = (Door::default(), Arc::new(Mutex::new(Vec::new())));
    let handle = behind(&door, &seen);
    let config = pool(|pool| {
        pool.queue = QueueConfig { workers: 1, events_max: 4, ..QueueConfig::default() };
        pool.overflow = Overflow::Spill;
    });
    let builder = App::builder().module(Module::new("orders").on(handle.buffered())).store("memory:");
    let app = builder.buffered(config).build().await.expect("an application");
    app.start().await.expect("started");
    let mut admissions = Vec::new();
    for step in 0..30 {
        admissions.push(app.publish(placed(1, step)).await.expect("room, or the store").admission());
    }
    assert_eq!(admissions.iter().filter(|admission| **admission == Admission::Spilled).count(), 26);
    assert_eq!(app.buffered().figures()[0].spilled, 26);
    door.open();
    app.settled().await.expect("settled");
    assert_eq!(*seen.lock().expect("nobody panicked"), (0..30).collect::<Vec<_>>());
    let store = app.store().expect("a store").clone();
    app.publish(placed(1, 30)).await.expect("room");
    assert!(app.shutdown().await.is_clean());
    drop(store);
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let (door, seen) = (Door::default(), Arc::new(AtomicUsize::new(0)));
    let (waited, counted) = (door.clone(), seen.clone());
    let handle = move |_: Envelope, _: Cx| {
        let (waited, counted) = (waited.clone(), counted.clone());
        async move {
            waited.pass().await;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    };
    let config = pool(|pool| {
        pool.queue.bytes_max = 10_000;
        pool.overflow = Overflow::Refuse;
    });
    let app = app(Module::new("blobs").on(handle.topic("blob.*").buffered()), config).await;
    let blob = || Envelope::build("blob.stored").json(format!("\"{}\"", "x".repeat(3_000)).into_bytes());
    let mut taken = 0;
    let full = loop {
        match app.publish_envelope(blob()).await {
            Ok(_) => taken += 1,
            Err(PublishError::Full(full)) => break full,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!((taken, full.why), (2, NoRoom::Bytes), "3,002 bytes and 512 for the rest of each");
    door.open();
    app.settled().await.expect("settled");
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    app.shutdown().await;
}

#[tokio::test]
async fn an_event_reaches_all_of_its_handlers_or_none() {
    let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let door = Door::default();
    let (first, second, waited) = (counts.clone(), counts.clone(), door.clone());
    let one = move |_: &OrderPlaced| {
        first[0].fetch_add(1, Ordering::SeqCst);
    };
    let two = move |_: On<OrderPlaced>, _: Cx| {
        let (second, waited) = (second.clone(), waited.clone());
        async move {
            waited.pass().await;
            second[1].fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    };
    let mut config = pool(|pool| pool.overflow = Overflow::Refuse);
    let narrow = PoolConfig {
        queue: QueueConfig { events_max: 1, ..QueueConfig::default() },
        overflow: Overflow::Refuse,
        ..PoolConfig::default()
    };
    config.pools.insert("narrow".into(), narrow);
    let app = app(
        Module::new("orders").on(one.buffered().named("one")).on(two.pool("narrow").named("two")),
        config,
    )
    .await;
    app.publish(placed(1, 0)).await.expect("room");
    let Err(PublishError::Full(full)) = app.publish(placed(2, 0)).await else { panic!("one pool is full") };
    assert_eq!(full.pool, "narrow");
    door.open();
    app.settled().await.expect("settled");
    assert_eq!(counts.each_ref().map(|count| count.load(Ordering::SeqCst)), [1, 1]);
    app.shutdown().await;
}

#[tokio::test]
async fn critical_events_overtake_low_ones_that_wait() {
    let (door, seen) = (Door::default(), Arc::new(Mutex::new(Vec::new())));
    let handle = behind(&door, &seen);
    let config = pool(|pool| {
        pool.queue = QueueConfig { workers: 1, concurrency: 1, ..QueueConfig::default() };
    });
    let app = app(Module::new("orders").on(handle.buffered()), config).await;
    let first = app.publish(placed(0, 0)).await.expect("room");
    while app.buffered().figures()[0].queue.workers.iter().all(|worker| worker.in_flight == 0) {
        tokio::task::yield_now().await;
    }
    for step in 1..=5 {
        app.publish(placed(step, step)).priority(Priority::Low).await.expect("room");
    }
    app.publish(placed(9, 9)).priority(Priority::Critical).await.expect("room");
    door.open();
    first.handled().await;
    app.settled().await.expect("settled");
    assert_eq!(seen.lock().expect("nobody panicked")[1], 9);
    app.shutdown().await;
}

#[tokio::test]
async fn a_fallback_stands_in_for_a_handler_that_gives_up() {
    let stood_in = Arc::new(AtomicU64::new(0));
    let counted = stood_in.clone();
    let handle = |_: On<OrderPlaced>, _: Cx| async { Err::<(), _>(Failure::permanent("never")) };
    let fallback = move |_: &OrderPlaced| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let app = app(Module::new("orders").on(handle.buffered().fallback(fallback)), Config::default()).await;
    let receipt = app.publish(placed(1, 1)).await.expect("room");
    assert_eq!(receipt.handled().await[0].ended, Ended::ByFallback);
    assert_eq!((stood_in.load(Ordering::SeqCst), app.buffered().figures()[0].dead), (1, 0));
    app.shutdown().await;
}

#[tokio::test]
async fn while_a_circuit_is_open_deliveries_wait_and_use_no_attempt() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let (broken, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let (is_broken, counted) = (broken.clone(), calls.clone());
    let handle = move |_: &OrderPlaced| -> Handled {
        counted.fetch_add(1, Ordering::SeqCst);
        if is_broken.load(Ordering::SeqCst) { Err(Failure::transient("down")) } else { Ok(()) }
    };
    let policy = Policy::new()
        .retry(Retry::constant(Duration::from_millis(1)).attempts(50))
        .circuit(Circuit::open_after(3).probe_after(Duration::from_secs(30)));
    let module = Module::new("orders").on(handle.buffered().policy(policy));
    let builder = App::builder().module(module).clock(Arc::new(clock.clone()));
    let app = builder.build().await.expect("an application");
    app.start().await.expect("started");
    let receipt = app.publish(placed(1, 1)).await.expect("room");
    // Three calls open it, and then nobody calls until a probe may.
    let mut advanced = Duration::ZERO;
    while advanced < Duration::from_secs(20) {
        clock.advance(Duration::from_millis(100));
        advanced += Duration::from_millis(100);
        tokio::task::yield_now().await;
    }
    while calls.load(Ordering::SeqCst) < 3 {
        clock.advance(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    broken.store(false, Ordering::SeqCst);
    let handled = receipt.handled();
    tokio::pin!(handled);
    let outcomes = loop {
        tokio::select! {
            biased;
            outcomes = &mut handled => break outcomes,
            () = tokio::task::yield_now() => clock.advance(Duration::from_millis(250)),
        }
    };
    assert_eq!((outcomes[0].ended.clone(), calls.load(Ordering::SeqCst)), (Ended::Handled, 4));
    app.shutdown().await;
}

#[tokio::test]
async fn on_the_bus_a_call_that_its_policy_refuses_fails_at_once() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let handle = move |_: &OrderPlaced| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let policy = Policy::new().rate(Rate::per_second(1));
    let app = app(Module::new("orders").on(handle.policy(policy)), Config::default()).await;
    let errors = Arc::new(Mutex::new(Vec::new()));
    let noted = errors.clone();
    let _guard = app.bus().errors(move |failed| {
        noted.lock().expect("nobody panicked").push(format!("{:?}", failed.fault()));
    });
    for step in 0..3 {
        app.publish(placed(1, step)).await.expect("published");
    }
    while calls.load(Ordering::SeqCst) + errors.lock().expect("nobody panicked").len() as u64 <= 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(errors.lock().expect("nobody panicked")[0].contains("rate"));
    app.shutdown().await;
}

#[tokio::test]
async fn what_a_buffered_handler_publishes_is_carried_out_when_it_has_succeeded() {
    let confirmed = Arc::new(AtomicU64::new(0));
    let counted = confirmed.clone();
    let handle = |event: On<OrderPlaced>, cx: Cx| async move {
        cx.publish(OrderConfirmed { order: event.order });
        if event.step == 1 { Err(Failure::permanent("no")) } else { Ok(()) }
    };
    let count = move |_: &OrderConfirmed| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let module =
        Module::new("orders").on(handle.buffered().named("handle")).on(count.buffered().named("count"));
    let app = app(module, Config::default()).await;
    app.publish(placed(1, 0)).await.expect("room");
    app.publish(placed(2, 1)).await.expect("room");
    app.settled().await.expect("settled");
    assert_eq!(confirmed.load(Ordering::SeqCst), 1);
    app.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_works_off_what_waits_and_refuses_what_comes() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let handle = move |_: On<OrderPlaced>, _: Cx| {
        let counted = counted.clone();
        async move {
            tokio::task::yield_now().await;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    };
    let app = app(Module::new("orders").on(handle.buffered()), Config::default()).await;
    for order in 0..1_000 {
        app.publish(placed(order, 0)).await.expect("room");
    }
    assert!(app.shutdown().await.is_clean());
    assert_eq!(calls.load(Ordering::SeqCst), 1_000);
    assert!(matches!(app.publish(placed(1, 0)).await, Err(PublishError::Closed)));
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_and_costs_no_worker() {
    let handle = |event: On<OrderPlaced>, cx: Cx| async move {
        if event.step == 1 && cx.attempt() == 1 {
            panic!("on purpose");
        }
        Ok(())
    };
    let policy = Policy::new().retry(Retry::constant(Duration::from_millis(1)));
    let app = app(Module::new("orders").on(handle.buffered().policy(policy)), Config::default()).await;
    let receipt = app.publish(placed(1, 1)).await.expect("room");
    let outcome = receipt.handled().await.remove(0);
    assert_eq!((outcome.attempts, outcome.ended), (2, Ended::Handled));
    assert!(app.buffered().figures()[0].queue.workers.iter().all(|worker| worker.restarted == 0));
    app.shutdown().await;
}
