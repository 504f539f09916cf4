//! Every setting of an application does what it says: each test here fails when the field it is about is ignored.
//!
//! What may change while it runs is in `changing.rs`. Settings of queues and of durable subscriptions are tested where
//! they act: `tidings-queue/tests`, `tidings-durable/tests`; how layers are laid over each other in
//! `tidings-app/src/settings`.

mod kit;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use kit::*;
use tidings::{
    PublishError, Settings, Timestamp,
    buffered::{Admission, Ended, NoRoom},
    prelude::*,
};

#[tokio::test]
async fn name_source_and_store_are_those_of_the_model_and_of_every_event() {
    let clock = clock();
    let settings = settings("name = \"shop\"\nsource = \"/eu/shop\"\nstore = \"memory:\"\n");
    let sources = Arc::new(Mutex::new(Vec::new()));
    let noted = sources.clone();
    let note = move |event: &Envelope| noted.lock().expect("no panic").push(event.source().to_string());
    let app = started(settings, &clock, Module::new("orders").on(note.topic("order.*").buffered())).await;
    let key = tidings::DocumentKey::new(tidings::MODELS, "shop");
    let store = app.store().expect("a store").clone();
    let model = store.document(&tidings::Tenant::default(), &key).await.expect("read").expect("there");
    let model: tidings::Model = serde_json::from_slice(&model.value).expect("a model");
    assert_eq!(model, *app.model());
    app.publish(placed(1)).await.expect("published").handled().await;
    app.bus().emit(&placed(2));
    until(|| sources.lock().expect("no panic").len() == 2).await;
    assert_eq!(*sources.lock().expect("no panic"), ["/eu/shop", "/eu/shop"]);
    ended(app, &clock).await;
}

#[tokio::test]
async fn drain_is_how_long_a_shutdown_waits() {
    for (drain, before, toml) in [(500, 3_000, "drain = \"500ms\""), (3_000, 9_000, "drain = \"3s\"")] {
        let (clock, gate) = (clock(), Gate::new(0));
        let app = started(settings(toml), &clock, Module::new("orders").on(gate.handler().buffered())).await;
        let receipt = app.publish(placed(1)).await.expect("room");
        app.publish(placed(1)).await.expect("room");
        until(|| gate.begun() == 1).await;
        let ending = tokio::spawn(async move { app.shutdown().await });
        let took = driven_until(&clock, 10 * MS, || ending.is_finished()).await;
        let left = ending.await.expect("no panic");
        assert_eq!((left.pools[0].running, left.pools[0].waiting), (1, 1), "{left}");
        let waited = took.as_millis();
        assert!((drain..before).contains(&waited), "{waited} ms instead of {drain}");
        drop(receipt);
    }
}

#[tokio::test]
async fn a_payload_over_the_limit_is_refused() {
    let clock = clock();
    let module = Module::new("orders").on((|_: &OrderPlaced| {}).buffered());
    let app = started(settings("payload_bytes_max = 12"), &clock, module).await;
    // {"order":1} has 11 bytes.
    app.publish(placed(1)).await.expect("it fits");
    let Err(PublishError::TooLarge { size: 13, limit: 12, .. }) = app.publish(placed(100)).await else {
        panic!("it does not fit")
    };
    ended(app, &clock).await;
}

#[tokio::test]
async fn listeners_over_the_limit_are_warned_of() {
    for (toml, warned) in [("[bus]\nlisteners_max = 2", true), ("", false)] {
        let clock = clock();
        let app = started(settings(toml), &clock, Module::new("orders")).await;
        let guards: Vec<_> = (0..3).map(|_| app.bus().on(|_: &OrderPlaced| {})).collect();
        app.bus().emit(&placed(1));
        let leaks = app.bus().leaks();
        let leak = leaks.topics.iter().find(|leak| leak.topic == "order.placed").expect("it has listeners");
        assert_eq!((leak.limit, leak.told.is_some()), (warned.then_some(2), warned), "{leak:?}");
        drop(guards);
        ended(app, &clock).await;
    }
}

#[tokio::test]
async fn policies_are_of_the_handler_they_name_and_code_is_above_them() {
    let (clock, calls) = (clock(), Arc::new(AtomicU64::new(0)));
    let counted = calls.clone();
    async fn fail(counted: Arc<AtomicU64>) -> Handled {
        counted.fetch_add(1, Ordering::SeqCst);
        Err(Failure::transient("down"))
    }
    let handler = move |_: On<OrderPlaced>, _: Cx| fail(counted.clone());
    let probe = Module::new("orders").on(handler.clone().buffered());
    let app = started(Settings::default(), &clock, probe).await;
    let name = app.model().modules[0].handlers[0].function.clone();
    ended(app, &clock).await;
    let toml =
        format!("[policies.\"orders/{name}\".retry]\nattempts = 2\nbackoff = {{ constant = \"1ms\" }}\n");
    for (policy, attempts) in [(Policy::new(), 2), (Policy::new().retry(Retry::constant(MS).attempts(3)), 3)]
    {
        calls.store(0, Ordering::SeqCst);
        let module = Module::new("orders").on(handler.clone().buffered().policy(policy));
        let app = started(settings(&toml), &clock, module).await;
        let receipt = app.publish(placed(1)).await.expect("room");
        driven_until(&clock, MS, || app.buffered().figures()[0].dead == 1).await;
        assert_eq!(
            (receipt.handled().await[0].attempts, calls.load(Ordering::SeqCst)),
            (attempts, attempts.into())
        );
        ended(app, &clock).await;
    }
    let wrong = settings("[policies.\"orders/nobody\"]\ntimeout = \"1s\"");
    let error = App::builder().settings(wrong).build().await.expect_err("nobody has this name");
    assert_eq!(error.faults, ["policies.orders/nobody: there is no handler of this name"]);
}

#[tokio::test]
async fn a_flag_that_is_off_skips_the_handler_until_it_is_on() {
    let (clock, gate) = (clock(), Gate::new(100));
    let handler = gate.handler().buffered().policy(Policy::new().flag("packing"));
    let app =
        started(settings("[flags]\npacking = \"off\""), &clock, Module::new("orders").on(handler)).await;
    let ended_as = |receipt: tidings::Receipt| async move { receipt.handled().await.remove(0).ended };
    let skipped = ended_as(app.publish(placed(1)).await.expect("room")).await;
    assert!(matches!(skipped, Ended::Skipped(_)), "{skipped:?}");
    app.flags()
        .set("packing".into(), Some(tidings::Flag::On), "test", Timestamp::from_millis(0))
        .expect("valid");
    assert_eq!(ended_as(app.publish(placed(2)).await.expect("room")).await, Ended::Handled);
    assert_eq!(gate.seen(), [2]);
    ended(app, &clock).await;
}

#[tokio::test]
async fn more_events_a_second_than_may_come_in_are_refused() {
    let (clock, gate) = (clock(), Gate::new(1_000));
    let toml = "[buffered.shared]\ninput_per_second = 10.0\noverflow = \"refuse\"";
    let app = started(settings(toml), &clock, Module::new("orders").on(gate.handler().buffered())).await;
    let mut taken = 0;
    for millis in 0..=2_000_u64 {
        match app.publish(placed(millis)).await {
            Ok(_) => taken += 1,
            Err(PublishError::Full(full)) => assert_eq!(full.why, NoRoom::Rate),
            Err(error) => panic!("{error}"),
        }
        clock.advance(MS);
    }
    assert!((29..=31).contains(&taken), "ten at once and ten a second, not {taken}");
    let figures = app.buffered().figures().remove(0);
    assert_eq!(figures.refused, 2_001 - taken);
    ended(app, &clock).await;
}

#[tokio::test]
async fn more_events_a_second_than_may_come_in_wait_if_they_may() {
    let (clock, gate) = (clock(), Gate::new(1_000));
    let toml = "[buffered.shared]\ninput_per_second = 10.0\noverflow = { wait = \"1s\" }";
    let app = started(settings(toml), &clock, Module::new("orders").on(gate.handler().buffered())).await;
    for order in 0..10 {
        assert_eq!(app.publish(placed(order)).await.expect("room").admission(), Admission::Queued);
    }
    let publishing = tokio::spawn(app.publish(placed(10)).into_future());
    let waited = driven_until(&clock, MS, || publishing.is_finished()).await;
    let receipt = publishing.await.expect("no panic").expect("it is its turn");
    assert_eq!(receipt.admission(), Admission::Waited);
    assert!((100..130).contains(&waited.as_millis()), "{waited:?}");
    ended(app, &clock).await;
}

#[tokio::test]
async fn more_deliveries_a_second_than_may_be_processed_wait_in_the_queue() {
    let (clock, gate) = (clock(), Gate::new(1_000));
    let toml = "[buffered.shared]\nprocessing_per_second = 10.0";
    let app = started(settings(toml), &clock, Module::new("orders").on(gate.handler().buffered())).await;
    for order in 0..25 {
        app.publish(placed(order)).await.expect("room");
    }
    let took = driven_until(&clock, 5 * MS, || gate.seen().len() == 25).await;
    // Threads may be late, so that it took longer on this clock, but never less.
    assert!(took.as_millis() >= 1_500, "ten at once, and fifteen at ten a second: {took:?}");
    ended(app, &clock).await;
}

/// Has deliveries wait half a second, and answers what was told about it.
async fn told_of_waits(settings: Settings) -> Vec<serde_json::Value> {
    let (clock, gate) = (clock(), Gate::new(0));
    let app = started(settings, &clock, Module::new("orders").on(gate.handler().buffered())).await;
    let heard = Heard::of(&app);
    for _ in 0..4 {
        app.publish(placed(1)).await.expect("room");
    }
    until(|| gate.begun() == 1).await;
    clock.advance(500 * MS);
    gate.permits.add_permits(100);
    until(|| gate.seen().len() == 4).await;
    driven_until(&clock, 100 * MS, || tidings::Clock::now(&clock).as_millis() >= 1_003_000).await;
    ended(app, &clock).await;
    heard.named("tidings.queue.slow")
}

#[tokio::test]
async fn deliveries_that_wait_longer_than_the_target_are_told_of_once() {
    let told = told_of_waits(settings("[buffered.shared]\nlatency_target = \"400ms\"")).await;
    assert_eq!(told, [serde_json::json!({"pool": "", "late": 3, "of": 4, "target_us": 400_000})]);
    let told = told_of_waits(settings("[buffered.shared]\nlatency_target = \"600ms\"")).await;
    assert_eq!(told, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn publishing_that_takes_too_much_of_the_publishers_time_is_told_of() {
    for (most, told) in [("0.000001", true), ("1.0", false)] {
        let (clock, gate) = (clock(), Gate::new(10_000));
        let toml = format!("[buffered.shared]\ncaller_share_max = {most}");
        let app = started(settings(&toml), &clock, Module::new("orders").on(gate.handler().buffered())).await;
        let heard = Heard::of(&app);
        // One in 32 is timed.
        for order in 0..320 {
            app.publish(placed(order)).await.expect("room");
        }
        until(|| gate.seen().len() == 320).await;
        let slow = || heard.named("tidings.publish.slow");
        let passed = || tidings::Clock::now(&clock).as_millis() >= 1_003_000;
        driven_until(&clock, 100 * MS, || passed() || (told && !slow().is_empty())).await;
        assert_eq!(slow().len(), usize::from(told), "{:?}", slow());
        ended(app, &clock).await;
    }
}

#[tokio::test]
async fn what_is_dropped_for_want_of_room_is_kept_if_settings_say_so() {
    for keep in [true, false] {
        let (clock, gate) = (clock(), Gate::new(0));
        let toml = format!(
            "[buffered.shared]\noverflow = \"drop-newest\"\nkeep_dropped = {keep}\nqueue = {{ events_max = 1 }}"
        );
        let app = started(settings(&toml), &clock, Module::new("orders").on(gate.handler().buffered())).await;
        let heard = Heard::of(&app);
        app.publish(placed(1)).await.expect("room");
        let dropped = app.publish(placed(2)).await.expect("told otherwise");
        assert_eq!(dropped.admission(), Admission::DroppedNewest);
        let told = heard.named("tidings.delivery.dead-lettered");
        assert_eq!(told.len(), usize::from(keep));
        assert!(
            told.iter().all(|told| told["reason"] == "overflow" && told["id"] == **dropped.id()),
            "{told:?}"
        );
        gate.permits.add_permits(1);
        ended(app, &clock).await;
    }
}

#[tokio::test]
async fn a_pool_of_its_own_has_settings_of_its_own() {
    let (clock, gate) = (clock(), Gate::new(0));
    let toml = "[buffered.shared]\noverflow = \"refuse\"\n[buffered.shared.queue]\nworkers = 1\nevents_max = 3\n\
                [buffered.pools.mail]\noverflow = \"drop-newest\"\n[buffered.pools.mail.queue]\nworkers = 2\nevents_max = 1\n";
    let mail = Module::new("mail").on(gate.handler().topic("mail.*").pool("mail"));
    let orders = Module::new("orders").on(gate.handler().buffered());
    let builder = App::builder().settings(settings(toml)).clock(Arc::new(clock.clone()));
    let app = builder.module(mail).module(orders).build().await.expect("builds");
    app.start().await.expect("starts");
    let workers = |pool: &str| {
        let figures = app.buffered().figures();
        figures.iter().find(|figures| figures.pool == pool).expect("a pool").queue.workers.len()
    };
    assert_eq!((workers(""), workers("mail")), (1, 2));
    let order = || Envelope::of::<OrderPlaced>(placed(1)).finish().expect("an order");
    let mailed = || Envelope::build("mail.sent").json(order().payload().expect("JSON").to_vec());
    for admission in [Admission::Queued, Admission::DroppedNewest] {
        assert_eq!(app.publish_envelope(mailed()).await.expect("no refusal").admission(), admission);
    }
    for _ in 0..3 {
        app.publish(placed(1)).await.expect("room");
    }
    assert!(matches!(app.publish(placed(1)).await, Err(PublishError::Full(_))));
    gate.permits.add_permits(100);
    ended(app, &clock).await;
}

#[tokio::test]
async fn so_many_dead_letters_are_kept_in_memory_and_over_so_many_somebody_is_told_once() {
    for (kept, alert) in [(3, 1), (5, 4)] {
        let toml = format!("[dead_letters]\nmemory_max = {kept}\nalert_over = {alert}");
        let clock = clock();
        let fail = |_: &OrderPlaced| Err::<(), _>(Failure::permanent("never"));
        let app = started(settings(&toml), &clock, Module::new("orders").on(fail.buffered())).await;
        let heard = Heard::of(&app);
        for order in 0..6 {
            app.publish(placed(order)).await.expect("room").handled().await;
        }
        let all = tidings::LetterFilter::default();
        assert_eq!(app.dead_letters().count(&all).await.expect("in memory"), kept, "{toml}");
        until(|| !heard.named("tidings.dead-letters.over").is_empty()).await;
        app.dead_letters().discard_all(&all).await.expect("in memory");
        until(|| !heard.named("tidings.dead-letters.under").is_empty()).await;
        let over = heard.named("tidings.dead-letters.over");
        assert_eq!(over.len(), 1, "{over:?}");
        assert_eq!(over[0]["over"], alert);
        assert!(over[0]["count"].as_u64() > Some(alert), "{over:?}");
        ended(app, &clock).await;
    }
}
