//! Dead letters of an application, wherever its handlers run and wherever the letters are kept.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidings::{
    Dead, DeadLetter, DeadLetterSettings, LetterFilter, ManualClock, Ran, Reason, Registration, Settings,
    Text, Then, Timestamp, cloudevents,
    prelude::*,
    store::{AnyStore, MemoryStore},
};

#[tidings::event(name = "order.paid")]
struct Paid {
    #[event(key)]
    order: u64,
    #[event(redact)]
    card: String,
    cents: u64,
}

fn paid(order: u64, cents: u64) -> Paid {
    Paid { order, card: "4711-0815".into(), cents }
}

/// A shop whose bank is closed until it is opened, and never takes 13 cents.
#[derive(Clone, Default)]
struct Bank {
    open: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<(u64, u64, u32)>>>,
}

impl Bank {
    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn seen(&self) -> Vec<(u64, u64, u32)> {
        self.seen.lock().expect("nobody panicked").clone()
    }

    fn handler(
        &self,
    ) -> impl Fn(On<Paid>, Cx) -> std::future::Ready<Handled> + Clone + Send + Sync + 'static {
        let bank = self.clone();
        move |event: On<Paid>, cx: Cx| {
            bank.seen.lock().expect("nobody panicked").push((event.order, event.cents, cx.attempt()));
            std::future::ready(match (bank.open.load(Ordering::SeqCst), event.cents) {
                (true, 13) | (false, _) => Err(Failure::permanent(format!("no to card {}", event.card))),
                (true, _) => Ok(()),
            })
        }
    }

    /// The same with many at once, of which those that fail are named.
    fn batches(&self) -> Registration {
        let one = self.handler();
        let many = move |batch: Batched<Delivered<On<Paid>>>| {
            let mut failed = (Vec::new(), None);
            for (at, Delivered { event, cx }) in batch.items.into_iter().enumerate() {
                if let Err(failure) = one(event, cx).into_inner() {
                    failed.0.push(at);
                    failed.1 = Some(failure);
                }
            }
            std::future::ready(failed.1.map_or(Ok(()), |failure| Err(Failed::<()>::at(failed.0, failure))))
        };
        many.in_batches(Batching::new().items(3).age(Duration::from_millis(2)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Where {
    Bus,
    Buffered,
    Durable,
    BatchesOnBus,
    BatchesInPool,
}

impl Where {
    fn ran(self) -> Ran {
        match self {
            Self::Bus | Self::BatchesOnBus => Ran::Bus,
            Self::Buffered | Self::BatchesInPool => Ran::Buffered,
            Self::Durable => Ran::Durable,
        }
    }
}

/// Every place a handler may run, with and without a store.
const ALL: [(Where, bool); 9] = [
    (Where::Bus, false),
    (Where::Buffered, false),
    (Where::BatchesOnBus, false),
    (Where::BatchesInPool, false),
    (Where::Bus, true),
    (Where::Buffered, true),
    (Where::BatchesOnBus, true),
    (Where::BatchesInPool, true),
    (Where::Durable, true),
];

struct Shop {
    app: App,
    bank: Bank,
    handler: Text,
}

async fn shop(place: Where, store: Option<AnyStore>, policy: Policy, settings: Settings) -> Shop {
    let bank = Bank::default();
    let mut builder = App::builder().settings(settings).module(module(place, &bank, policy));
    if let Some(store) = store {
        builder = builder.open_store(store);
    }
    begun(builder.build().await.expect("an application"), bank, place).await
}

fn module(place: Where, bank: &Bank, policy: Policy) -> Module {
    let handler = bank.handler();
    let registration = match place {
        Where::Bus => handler.registration(),
        Where::Buffered => handler.buffered(),
        Where::Durable => handler.durable("pay"),
        Where::BatchesOnBus => bank.batches(),
        Where::BatchesInPool => bank.batches().buffered(),
    };
    Module::new("shop").on(registration.policy(policy))
}

async fn begun(app: App, bank: Bank, place: Where) -> Shop {
    app.start().await.expect("started");
    let handler = match place {
        Where::Durable => "pay".into(),
        _ => format!("shop/{}", app.model().modules[0].handlers[0].function).into(),
    };
    Shop { app, bank, handler }
}

async fn plain((place, has_store): (Where, bool)) -> Shop {
    let store = has_store.then(|| Arc::new(MemoryStore::default()) as AnyStore);
    shop(place, store, Policy::new(), Settings::default()).await
}

impl Shop {
    async fn pay(&self, order: u64, cents: u64) {
        self.app.publish(paid(order, cents)).await.expect("published");
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        let filter = LetterFilter::handler(self.handler.clone());
        self.app.dead_letters().list(&filter, 1_000).await.expect("listed")
    }

    async fn count(&self) -> u64 {
        self.app.dead_letters().count(&LetterFilter::default()).await.expect("counted")
    }

    async fn has(&self, many: u64) {
        until(|| async { self.count().await == many }).await;
    }
}

/// Waits for what happens on other threads.
async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < patience, "it did not happen");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_the_same_wherever_the_handler_ran() {
    for at in ALL {
        let shop = plain(at).await;
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let publish = shop.app.publish(paid(1, 100));
        publish.envelope(|event| event.correlation("chain").trace_parent(trace)).await.expect("published");
        shop.has(1).await;
        let letter = shop.letters().await.remove(0);
        assert_eq!((&*letter.handler, &*letter.destination), (&*shop.handler, &*shop.handler), "{at:?}");
        assert_eq!(
            (&*letter.name, letter.key.as_deref(), &*letter.stream),
            ("order.paid", Some("1"), "order-1")
        );
        assert_eq!(
            (letter.reason, letter.attempts, letter.history.len()),
            (Reason::Permanent, 1, 1),
            "{at:?}"
        );
        let durable = at.0 == Where::Durable;
        assert_eq!((letter.place, letter.position > 0, letter.replays), (at.0.ran(), durable, 0));
        assert!(letter.first_at <= letter.history[0].at && letter.history[0].at <= letter.last_at);
        assert_eq!(
            (letter.correlation.as_deref(), letter.trace_parent.as_deref()),
            (Some("chain"), Some(trace))
        );
        assert_eq!(&*letter.source, "/tidings");
        shop.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_field_is_in_no_listing_and_no_error_text() {
    for at in ALL {
        let shop = plain(at).await;
        shop.pay(1, 100).await;
        shop.has(1).await;
        let letter = shop.letters().await.remove(0);
        assert_eq!(letter.error, "no to card [redacted]");
        let shown = format!("{letter:?}{}", serde_json::to_string(&letter).expect("JSON"));
        assert!(!shown.contains("4711"), "{at:?}: {shown}");
        let (whole, event) =
            shop.app.dead_letters().get(&shop.handler, &letter.entry).await.expect("read").expect("there");
        assert!(!format!("{whole:?}").contains("4711"), "{whole:?}");
        assert_eq!(event.expect("its event").decode::<Paid>().expect("as it was").card, "4711-0815");
        shop.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_to_the_failed_handler_only_and_in_order_and_what_succeeds_is_gone() {
    for at in ALL {
        let (bank, other) = (Bank::default(), Bank::default());
        let noted = other.clone();
        // Another function, and so another handler.
        let listener = move |event: On<Paid>, cx: Cx| {
            noted.seen.lock().expect("nobody panicked").push((event.order, event.cents, cx.attempt()));
            std::future::ready(Ok(()))
        };
        let mut module = module(at.0, &bank, Policy::new());
        module = match at.0.ran() {
            Ran::Bus => module.on(listener.registration()),
            Ran::Buffered => module.on(listener.buffered()),
            Ran::Durable => module.on(listener.durable("audit")),
        };
        let mut builder = App::builder().module(module);
        if at.1 {
            builder = builder.open_store(Arc::new(MemoryStore::default()));
        }
        let shop = begun(builder.build().await.expect("an application"), bank, at.0).await;
        for cents in 20..40 {
            shop.pay(cents % 3, cents).await;
        }
        let most = if at.0 == Where::Durable { 3 } else { 20 };
        until(|| async { other.seen().len() == 20 && shop.letters().await.len() == most }).await;
        // On the bus calls are concurrent, also of one key, and those of a batch are given up at once: there the order is
        // that of giving up.
        let mut occurred: Vec<u64> = (20..40).collect();
        if !matches!(at.0, Where::Buffered | Where::Durable) {
            occurred.clear();
            for letter in shop.letters().await {
                let found = shop.app.dead_letters().get(&shop.handler, &letter.entry).await.expect("read");
                let event = found.and_then(|(_, event)| event).expect("its event");
                occurred.push(event.decode::<Paid>().expect("as it was").cents);
            }
        }
        shop.bank.open();
        shop.bank.seen.lock().expect("nobody panicked").clear();
        let all = LetterFilter::handler(shop.handler.clone());
        let decided = shop.app.dead_letters().replay_all(&all, None).await.expect("written");
        assert_eq!((decided.done, decided.refused.len(), decided.waiting), (most as u64, 0, false), "{at:?}");
        until(|| async { shop.bank.seen().len() == 20 && shop.letters().await.is_empty() }).await;
        let seen = shop.bank.seen();
        for order in 0..3 {
            let cents: Vec<u64> = seen.iter().filter(|one| one.0 == order).map(|one| one.1).collect();
            let expected = occurred.iter().copied().filter(|cents| cents % 3 == order);
            assert_eq!(cents, expected.collect::<Vec<_>>(), "{at:?}");
        }
        assert_eq!(other.seen().len(), 20, "{at:?}: nobody else is called again");
        shop.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_replay_does_not_double_the_entry() {
    for at in ALL {
        let shop = plain(at).await;
        shop.pay(1, 13).await;
        shop.has(1).await;
        let before = shop.letters().await.remove(0);
        for round in 1..=3 {
            let replayed = shop.app.dead_letters().replay(&shop.handler, [before.entry.clone()], None).await;
            assert_eq!(replayed.expect("written").done, 1);
            until(|| async { shop.letters().await[0].replays == round }).await;
            let letters = shop.letters().await;
            assert_eq!((letters.len(), shop.count().await), (1, 1), "{at:?}");
            assert_eq!((&letters[0].entry, letters[0].attempts), (&before.entry, round + 1), "{at:?}");
            assert_eq!(
                (letters[0].first_at, letters[0].history.len()),
                (before.first_at, round as usize + 1)
            );
            shop.app.settled().await.expect("settled");
        }
        assert_eq!(shop.bank.seen().iter().map(|one| one.2).collect::<Vec<_>>(), [1, 2, 3, 4], "{at:?}");
        shop.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_payload_is_what_is_replayed_and_who_edited_it_is_kept() {
    for at in ALL {
        let shop = plain(at).await;
        shop.bank.open();
        shop.pay(1, 13).await;
        shop.has(1).await;
        let (letters, entry) = (shop.app.dead_letters(), shop.letters().await[0].entry.clone());
        let torn = letters.edit(&shop.handler, &entry, r#"{"order":"#, "ann").await;
        assert!(torn.expect_err("no JSON").is_permanent());
        assert!(letters.edit(&shop.handler, "0", "{}", "ann").await.is_err(), "it is not there");
        for cents in [13, 14] {
            let payload = format!(r#"{{"order":1,"card":"0815","cents":{cents}}}"#);
            letters.edit(&shop.handler, &entry, payload, "ann").await.expect("edited");
        }
        let (letter, _) = letters.get(&shop.handler, &entry).await.expect("read").expect("there");
        let by: Vec<&str> = letter.edits.iter().map(|edit| &*edit.by).collect();
        assert_eq!(by, ["ann", "ann"], "{at:?}");
        assert!(letter.edits[0].before.0.contains("4711-0815") && letter.edits[1].before.0.contains("0815"));
        assert!(letter.edits[0].at >= letter.last_at);
        letters.replay(&shop.handler, [entry], None).await.expect("written");
        shop.has(0).await;
        assert_eq!(shop.bank.seen().iter().map(|one| one.1).collect::<Vec<_>>(), [13, 14], "{at:?}");
        shop.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_filtered_counted_exported_discarded_and_purged() {
    for at in ALL {
        let shop = plain(at).await;
        for order in 0..6 {
            shop.pay(order, 100 + order).await;
        }
        shop.has(6).await;
        let letters = shop.app.dead_letters();
        let all = LetterFilter::handler(shop.handler.clone());
        let of_key = LetterFilter { key: Some("3".into()), ..LetterFilter::default() };
        let last = shop.letters().await.iter().map(|letter| letter.last_at).max().expect("six");
        for (filter, many) in [
            (LetterFilter::default(), 6),
            (all.clone(), 6),
            (LetterFilter::handler("nobody"), 0),
            (of_key.clone(), 1),
            (LetterFilter { name: Some("order.paid".into()), key: Some("9".into()), ..all.clone() }, 0),
            (LetterFilter { reason: Some(Reason::Permanent), ..all.clone() }, 6),
            (LetterFilter { reason: Some(Reason::Shed), ..all.clone() }, 0),
            (LetterFilter { destination: Some(shop.handler.clone()), ..all.clone() }, 6),
            (LetterFilter { destination: Some("elsewhere".into()), ..all.clone() }, 0),
            (LetterFilter { since: Some(last.after(Duration::from_micros(1))), ..all.clone() }, 0),
            (LetterFilter { until: Some(last.after(Duration::from_micros(1))), ..all.clone() }, 6),
        ] {
            assert_eq!(letters.count(&filter).await.expect("counted"), many, "{at:?} {filter:?}");
            assert_eq!(letters.list(&filter, 100).await.expect("listed").len() as u64, many, "{filter:?}");
        }
        let page = letters.page(&shop.handler, &all, None, 4).await.expect("a page");
        let rest = letters.page(&shop.handler, &all, page.next.as_deref(), 4).await.expect("a page");
        assert_eq!((page.letters.len(), rest.letters.len(), rest.next), (4, 2, None), "{at:?}");
        let mut lines = Vec::new();
        let kept = |line: &str| {
            lines.push(line.to_owned());
            Ok(())
        };
        assert_eq!(letters.export(&of_key, kept).await.expect("exported"), 1);
        let event = cloudevents::read(lines[0].as_bytes()).expect("a CloudEvent").envelope;
        let Some(tidings::Attribute::Text(record)) = event.attribute("deadletter") else {
            panic!("a record")
        };
        let record: DeadLetter = serde_json::from_str(record).expect("the record");
        assert_eq!((record.key.as_deref(), event.key().map(|key| &**key)), (Some("3"), Some("3")));
        assert_eq!(letters.discard_all(&of_key).await.expect("written").done, 1);
        assert_eq!(letters.purge(&all, Duration::from_secs(3_600)).await.expect("written").done, 0);
        assert_eq!(letters.purge(&all, Duration::ZERO).await.expect("written").done, 5, "{at:?}");
        let again = letters.discard(&shop.handler, [page.letters[0].entry.clone()]).await.expect("written");
        assert_eq!((again.done, again.refused.len(), shop.count().await), (0, 1, 0));
        shop.app.shutdown().await;
    }
}

fn on_clock() -> (Arc<ManualClock>, Timestamp) {
    let dawn = Timestamp::from_millis(1_000_000);
    (Arc::new(ManualClock::at(dawn)), dawn)
}

async fn timed(at: (Where, bool), policy: Policy) -> (Shop, Arc<ManualClock>) {
    let bank = Bank::default();
    let (clock, _) = on_clock();
    let mut builder = App::builder().module(module(at.0, &bank, policy)).clock(clock.clone());
    if at.1 {
        builder = builder.open_store(Arc::new(MemoryStore::default()));
    }
    (begun(builder.build().await.expect("an application"), bank, at.0).await, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_no_faster_than_its_rate() {
    for at in [(Where::Bus, false), (Where::Buffered, false), (Where::Bus, true), (Where::Buffered, true)] {
        let (shop, clock) = timed(at, Policy::new()).await;
        for order in 0..5 {
            shop.pay(order, 100 + order).await;
        }
        shop.has(5).await;
        shop.bank.open();
        shop.bank.seen.lock().expect("nobody panicked").clear();
        let letters = shop.app.dead_letters();
        assert!(letters.replay_all(&LetterFilter::default(), Some(0.0)).await.is_err(), "no rate");
        let all = letters.replay_all(&LetterFilter::default(), Some(2.0)).await;
        assert_eq!(all.expect("written").done, 5);
        for (second, handled) in [(0, 1), (1, 3), (2, 5)] {
            if second > 0 {
                clock.advance(Duration::from_millis(500));
                shop.has(7 - handled - 1).await;
                clock.advance(Duration::from_millis(500));
            }
            shop.has(5 - handled).await;
            assert_eq!(shop.bank.seen().len() as u64, handled, "{at:?} after {second} seconds");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_replay_so_often_after_a_time_then_hold_and_discard_by_themselves() {
    for at in [(Where::Bus, false), (Where::Buffered, false), (Where::Bus, true), (Where::Buffered, true)] {
        let after = Duration::from_secs(600);
        let dead = Dead::to("payments-dead").on(Reason::Permanent, Then::Replay { after, times: 2 });
        let (shop, clock) = timed(at, Policy::new().dead(dead)).await;
        shop.pay(1, 13).await;
        shop.has(1).await;
        assert_eq!(&*shop.letters().await[0].destination, "payments-dead");
        for round in 1..=2 {
            assert!(shop.letters().await[0].due.is_some());
            clock.advance(Duration::from_secs(599));
            assert_eq!(shop.bank.seen().len(), round as usize, "{at:?}: not yet");
            clock.advance(Duration::from_secs(1));
            until(|| async { shop.letters().await[0].replays == round }).await;
        }
        assert_eq!(shop.letters().await[0].due, None, "{at:?}: it is held now");
        clock.advance(after);
        assert_eq!((shop.bank.seen().len(), shop.count().await), (3, 1));
        let thrown = Dead::default().on(Reason::Permanent, Then::Discard);
        let (shop, _) = timed(at, Policy::new().dead(thrown)).await;
        shop.pay(1, 13).await;
        until(|| async { shop.app.dead_letters().figures().discarded == 1 }).await;
        assert_eq!(shop.count().await, 0, "{at:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_due_survives_a_restart() {
    for place in [Where::Bus, Where::Buffered, Where::Durable, Where::BatchesOnBus, Where::BatchesInPool] {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("shop.db").display());
        let after = Duration::from_secs(600);
        let policy = Policy::new().dead(Dead::default().on(Reason::Permanent, Then::replay(after)));
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000)));
        for run in 1..=2 {
            let bank = Bank::default();
            if run == 2 {
                // Time has flown while the first run ended: it may be due at once.
                bank.open();
            }
            let builder = App::builder().module(module(place, &bank, policy.clone())).clock(clock.clone());
            let app = builder.store(&url).drain(Duration::ZERO).build().await.expect("an application");
            let shop = begun(app, bank, place).await;
            if run == 1 {
                shop.pay(1, 100).await;
                until(|| async {
                    // What is gathered waits for its age.
                    clock.advance(Duration::from_millis(2));
                    shop.count().await == 1
                })
                .await;
            } else {
                clock.advance(after);
                until(|| async {
                    // wait: some of what it does waits a moment before it looks again
                    clock.advance(Duration::from_millis(50));
                    shop.count().await == 0
                })
                .await;
                assert_eq!(shop.bank.seen(), [(1, 100, 2)], "{place:?}");
            }
            let app = shop.app.clone();
            let down = tokio::spawn(async move { app.shutdown().await });
            until(|| async {
                clock.advance(Duration::from_millis(50));
                down.is_finished()
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alert_is_told_once_and_once_when_it_is_over() {
    for has_store in [false, true] {
        let dead_letters = DeadLetterSettings { alert_over: 3, ..DeadLetterSettings::default() };
        let settings = Settings { dead_letters, ..Settings::default() };
        let store = has_store.then(|| Arc::new(MemoryStore::default()) as AnyStore);
        let shop = shop(Where::Buffered, store, Policy::new(), settings).await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = told.clone();
        let listener = move |event: &Envelope| -> Handled {
            noted.lock().expect("nobody panicked").push(event.name().to_string());
            Ok(())
        };
        shop.app.bus().subscribe("tidings.dead-letters.*", listener).expect("a pattern").forever();
        let told = || told.lock().expect("nobody panicked").clone();
        for order in 0..3 {
            shop.pay(order, 100).await;
        }
        shop.has(3).await;
        assert!(told().is_empty(), "three are not over three");
        shop.pay(3, 100).await;
        until(|| async { told() == ["tidings.dead-letters.over"] }).await;
        for order in 4..8 {
            shop.pay(order, 100).await;
        }
        shop.has(8).await;
        let all = LetterFilter::default();
        assert_eq!(shop.app.dead_letters().discard_all(&all).await.expect("written").done, 8);
        until(|| async { told() == ["tidings.dead-letters.over", "tidings.dead-letters.under"] }).await;
        shop.app.shutdown().await;
    }
}

/// An alert over 100 that looked at a page of at most 100 never came.
#[tokio::test(flavor = "multi_thread")]
async fn totals_are_true_at_100_000_and_the_alert_looks_at_them() {
    use tidings::{DeadLetters as _, GivenUp, LetterKeeper as _, buffered::MemoryDeadLetters};
    let letters = MemoryDeadLetters::new(100_000, Arc::new(tidings::SystemClock));
    for order in 0..100_010_u64 {
        let envelope = Envelope::build("order.paid").key((order % 7).to_string()).finish().expect("an event");
        let given_up = GivenUp {
            envelope,
            handler: "shop/pay".into(),
            place: Ran::Buffered,
            reason: Reason::Shed,
            calls: 0,
            first_at: Timestamp::default(),
            at: Timestamp::default(),
            attempts: Vec::new(),
            dead: Dead::default(),
            before: None,
        };
        letters.keep(given_up, &[]).await.expect("kept");
    }
    assert_eq!(letters.count(&LetterFilter::default()).await.expect("counted"), 100_000);
    assert_eq!((letters.figures().kept, letters.figures().dropped), (100_010, 10));
    let few = DeadLetterSettings { memory_max: 100, alert_over: 100 };
    let settings = Settings { dead_letters: few, ..Settings::default() };
    let refused = App::builder().settings(settings).build().await.expect_err("it would never be told");
    assert!(refused.to_string().contains("dead_letters.alert_over"), "{refused}");
}
