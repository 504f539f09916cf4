//! What may change while an application runs: settings of pools, workers, handlers.

mod kit;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kit::*;
use tidings::{
    ManualClock, PublishError, Settings,
    buffered::{Admission, Ended, NoRoom, Overflow, PoolConfig},
    prelude::*,
};

#[tokio::test]
async fn settings_of_pools_are_changed_while_they_run() {
    let (clock, gate) = (clock(), Gate::new(0));
    let toml = "store = \"memory:\"\n[buffered.shared]\noverflow = \"refuse\"\n\
                [buffered.shared.queue]\nworkers = 1\nevents_max = 2\n";
    let app = started(settings(toml), &clock, Module::new("orders").on(gate.handler().buffered())).await;
    let figures = || app.buffered().figures().remove(0);
    let publish = |order| app.publish(placed(order)).into_future();
    publish(1).await.expect("room");
    publish(2).await.expect("room");
    assert!(matches!(publish(3).await, Err(PublishError::Full(_))));

    let mut config = settings(toml).buffered;
    config.shared.queue.events_max = 4;
    config.shared.queue.workers = 3;
    app.buffered().configure(config.clone()).expect("valid");
    publish(3).await.expect("there is more room now");
    until(|| figures().queue.workers.len() == 3).await;

    config.shared.overflow = Overflow::DropNewest;
    app.buffered().configure(config.clone()).expect("valid");
    publish(4).await.expect("room");
    assert_eq!(publish(5).await.expect("dropped").admission(), Admission::DroppedNewest);

    // To the store, and back, although nothing was said of it when the application was built.
    config.shared.overflow = Overflow::Spill;
    app.buffered().configure(config.clone()).expect("valid");
    let of_one_key = |order| app.publish(placed(order)).key("one").into_future();
    assert_eq!(of_one_key(6).await.expect("spilled").admission(), Admission::Spilled);
    config.shared.overflow = Overflow::Refuse;
    app.buffered().configure(config.clone()).expect("valid");
    assert_eq!(
        of_one_key(7).await.expect("spilled").admission(),
        Admission::Spilled,
        "it must not overtake the other"
    );
    gate.permits.add_permits(100);
    driven_until(&clock, MS, || gate.seen().len() == 6).await;
    let mut seen = gate.seen();
    let at = |order| seen.iter().position(|one| *one == order);
    assert!(at(6) < at(7), "{seen:?}");
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 6, 7]);

    let wrong = PoolConfig { input_per_second: Some(f64::NAN), ..config.shared.clone() };
    let faults = app.buffered().configure(tidings::buffered::Config { shared: wrong, ..config.clone() });
    assert!(faults.expect_err("not a number")[0].starts_with("shared.input_per_second: "));
    config.shared.input_per_second = Some(1.0);
    app.buffered().configure(config.clone()).expect("valid");
    let refused =
        async || matches!(publish(8).await, Err(PublishError::Full(full)) if full.why == NoRoom::Rate);
    driven_until(&clock, MS, || figures().queue.events == 0).await;
    until_spilled_rows_are_gone(&app, &clock).await;
    publish(8).await.expect("one a second");
    assert!(refused().await, "and no more");
    ended(app, &clock).await;
}

/// Lets the pool see that nothing of it is in the store any more.
async fn until_spilled_rows_are_gone(app: &App, clock: &ManualClock) {
    let app = app.clone();
    let settled = tokio::spawn(async move { app.settled().await });
    driven_until(clock, MS, || settled.is_finished()).await;
    settled.await.expect("no panic").expect("read");
}

#[tokio::test]
async fn workers_are_scaled_while_they_run_and_nothing_is_lost() {
    let (clock, gate) = (clock(), Gate::new(10_000));
    let toml = "[buffered.shared.queue]\nworkers = 1\n";
    let app = started(settings(toml), &clock, Module::new("orders").on(gate.handler().buffered())).await;
    let workers = || app.buffered().figures()[0].queue.total();
    for (round, wanted) in [4, 1, 20, 2].into_iter().enumerate() {
        app.buffered().scale("", wanted).expect("a number that is allowed");
        for order in 0..100 {
            app.publish(placed(round as u64 * 100 + order)).await.expect("room");
        }
        until(|| workers() == wanted).await;
    }
    for wrong in [0, 21] {
        assert!(app.buffered().scale("", wrong).is_err());
    }
    assert!(app.buffered().scale("nobody", 2).is_err());
    until(|| gate.seen().len() == 400).await;
    ended(app, &clock).await;
}

#[tokio::test]
async fn handlers_come_and_go_while_it_runs() {
    let (clock, first, second) = (clock(), Gate::new(100), Gate::new(100));
    let module = Module::new("orders").on(first.handler().buffered());
    let app = started(settings("store = \"memory:\""), &clock, module).await;
    app.publish(placed(1)).await.expect("room").handled().await;

    let buffered = app.add("late", second.handler().pool("late").named("second")).expect("a handler");
    assert_eq!(buffered.name(), "late/second");
    let on_bus = app.add("late", second.handler().named("on-bus")).expect("a handler");
    app.publish(placed(2)).await.expect("room").handled().await;
    until(|| second.seen().len() == 2).await;
    app.bus().emit(&placed(3));
    until(|| second.seen().len() == 4 && first.seen().len() == 3).await;

    drop(on_bus);
    buffered.remove();
    assert_eq!(app.publish(placed(4)).await.expect("room").handled().await.len(), 1);
    assert_eq!((first.seen(), second.seen().len()), (vec![1, 2, 3, 4], 4));

    // What waits for a handler that goes is dropped, and its publisher learns it.
    let slow = Gate::new(0);
    let going = app.add("late", slow.handler().pool("late")).expect("a handler");
    let begun = app.publish(placed(5)).await.expect("room");
    until(|| slow.begun() == 1).await;
    let waits = app.publish(placed(5)).await.expect("room");
    going.remove();
    slow.permits.add_permits(2);
    let ends = |outcomes: Vec<tidings::buffered::Outcome>| {
        let late = outcomes.into_iter().find(|outcome| outcome.handler.starts_with("late"));
        late.map(|outcome| outcome.ended)
    };
    assert_eq!(ends(begun.handled().await), Some(Ended::Handled));
    assert_eq!(ends(waits.handled().await), Some(Ended::Dropped("its handler was taken away")));

    app.add("late", first.handler().pool("late")).expect("a handler").forever();
    assert_eq!(app.publish(placed(6)).await.expect("room").handled().await.len(), 2);
    let durable = app.add("late", first.handler().durable("late"));
    assert!(durable.expect_err("not now").faults[0].contains("from the start"));
    ended(app, &clock).await;
}

#[tokio::test]
async fn a_pool_that_begins_late_brings_back_what_it_spilled() {
    let (clock, gate) = (clock(), Gate::new(0));
    let toml =
        "store = \"memory:\"\n[buffered.pools.late]\noverflow = \"spill\"\nqueue = { events_max = 1 }\n";
    let app = started(settings(toml), &clock, Module::new("orders")).await;
    app.add("late", gate.handler().pool("late")).expect("a handler").forever();
    let mut spilled = 0;
    for order in 0..5 {
        let receipt = app.publish(placed(order)).await.expect("room, or the store");
        spilled += usize::from(receipt.admission() == Admission::Spilled);
    }
    assert!(spilled >= 4, "{spilled}");
    gate.permits.add_permits(100);
    driven_until(&clock, MS, || gate.seen().len() == 5).await;
    assert_eq!(gate.seen(), [0, 1, 2, 3, 4]);
    ended(app, &clock).await;
}

#[tokio::test]
async fn what_a_listener_emits_while_an_event_is_published_reaches_buffered_handlers() {
    let (clock, gate) = (clock(), Gate::new(100));
    let app = started(Settings::default(), &clock, Module::new("orders").on(gate.handler().buffered())).await;
    let bus = app.bus().clone();
    let repeat = move |placed: &OrderPlaced| {
        if placed.order == 1 {
            bus.emit(&OrderPlaced { order: 2 });
        }
    };
    app.bus().on(repeat).forever();
    app.publish(placed(1)).await.expect("room");
    until(|| gate.seen().len() == 2).await;
    assert_eq!(ended(app, &clock).await, tidings::Drained::default());
    let mut seen = gate.seen();
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);
}

#[tokio::test]
async fn dead_letters_of_a_handler_that_came_later_are_replayed_to_it() {
    let (clock, calls) = (clock(), Arc::new(AtomicU64::new(0)));
    let app = started(Settings::default(), &clock, Module::new("orders")).await;
    let counted = calls.clone();
    let handle = move |_: &OrderPlaced| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Err(Failure::permanent("not yet")),
        _ => Ok(()),
    };
    let added = app.add("late", handle.buffered()).expect("a handler");
    let ends = app.publish(placed(1)).await.expect("room").handled().await;
    assert!(matches!(ends[0].ended, Ended::Dead { .. }), "{ends:?}");
    let all = tidings::LetterFilter::default();
    app.dead_letters().replay_all(&all, None).await.expect("in memory");
    driven_until(&clock, 10 * MS, || calls.load(Ordering::SeqCst) == 2).await;
    while app.dead_letters().count(&all).await.expect("in memory") > 0 {
        clock.advance(10 * MS);
        tokio::task::yield_now().await;
    }
    added.forever();
    ended(app, &clock).await;
}
