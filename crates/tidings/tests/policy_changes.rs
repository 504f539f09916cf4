//! Policies that change while handlers run under them: on the bus, in a pool and behind a durable subscription alike.

mod kit;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use kit::*;
use tidings::{
    Bulkhead, Circuit, Dead, Flag, Idempotency, LetterFilter, ManualClock, PolicyError, Rate, Reason,
    Registration, Settings, Shed, guard::BreakerState, prelude::*,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What the handler does with each event, and what it has seen.
#[derive(Clone, Default)]
struct Probe(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    does: Does,
    calls: u64,
    at_once: u64,
    most_at_once: u64,
    gate: Option<Arc<tokio::sync::Semaphore>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Does {
    #[default]
    Works,
    Fails,
    Refuses,
    Hangs,
    WaitsAtTheGate,
    FailsAfterTheGate,
}

impl Probe {
    fn that(does: Does) -> Self {
        let probe = Self::default();
        probe.does(does);
        probe.0.lock().expect("no panic").gate = Some(Arc::new(tokio::sync::Semaphore::new(0)));
        probe
    }

    fn does(&self, does: Does) {
        self.0.lock().expect("no panic").does = does;
    }

    fn calls(&self) -> u64 {
        self.0.lock().expect("no panic").calls
    }

    fn most_at_once(&self) -> u64 {
        self.0.lock().expect("no panic").most_at_once
    }

    fn open(&self, permits: usize) {
        let gate = self.0.lock().expect("no panic").gate.clone();
        gate.expect("made with a gate").add_permits(permits);
    }

    async fn call(self) -> Handled {
        let (does, gate) = {
            let mut seen = self.0.lock().expect("no panic");
            seen.calls += 1;
            seen.at_once += 1;
            seen.most_at_once = seen.most_at_once.max(seen.at_once);
            (seen.does, seen.gate.clone().expect("made with a gate"))
        };
        if matches!(does, Does::WaitsAtTheGate | Does::FailsAfterTheGate) {
            gate.acquire().await.transient()?.forget();
        }
        self.0.lock().expect("no panic").at_once -= 1;
        match does {
            Does::Works | Does::WaitsAtTheGate => Ok(()),
            Does::Fails | Does::FailsAfterTheGate => Err(Failure::transient("not now")),
            Does::Refuses => Err(Failure::permanent("never")),
            Does::Hangs => std::future::pending().await,
        }
    }

    fn handler(&self) -> Registration {
        let probe = self.clone();
        let handler = move |_: On<OrderPlaced>, _: Cx| probe.clone().call();
        handler.registration()
    }
}

const PLACES: [&str; 3] = ["shop/probe on the bus", "shop/probe in a pool", "probe"];

/// An application with the probe in one of the three places; also its name there.
struct World {
    app: App,
    clock: ManualClock,
    probe: Probe,
    name: &'static str,
    heard: Heard,
}

impl World {
    async fn of(place: &'static str, does: Does, policy: Policy) -> Self {
        let (clock, probe) = (clock(), Probe::that(does));
        let (name, registration) = match place {
            "shop/probe on the bus" => ("shop/probe", probe.handler().named("probe")),
            "shop/probe in a pool" => ("shop/probe", probe.handler().buffered().named("probe")),
            _ => ("probe", probe.handler().durable("probe")),
        };
        let module = Module::new("shop").on(registration.policy(policy));
        let app = started(settings("store = \"memory:\"\n[durable]\nlanes = 1"), &clock, module).await;
        let heard = Heard::of(&app);
        Self { app, clock, probe, name, heard }
    }

    fn change(&self, policy: Policy) {
        self.app.change_policy(self.name, policy).unwrap_or_else(|error| panic!("{error}"));
    }

    async fn publish(&self, orders: impl IntoIterator<Item = u64>) {
        for order in orders {
            self.app.publish(placed(order)).await.expect("published");
        }
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) -> Duration {
        driven_until(&self.clock, MS * 10, || what(self)).await
    }

    async fn letters(&self, many: u64) -> Vec<tidings::DeadLetter> {
        let letters = self.app.dead_letters();
        let all = LetterFilter::default();
        let begun = std::time::Instant::now();
        while letters.count(&all).await.expect("read") < many {
            self.clock.advance(MS);
            tokio::task::yield_now().await;
            assert!(begun.elapsed() < secs(60), "no dead letter");
        }
        letters.list(&all, 10).await.expect("read")
    }

    async fn end(self) {
        ended(self.app, &self.clock).await;
    }
}

fn once() -> Policy {
    Policy::new().retry(Retry::none())
}

#[tokio::test]
async fn a_timeout_and_a_deadline_that_are_changed_count() {
    for place in PLACES {
        // Longer than anybody drives the clock here.
        let world = World::of(place, Does::Hangs, once().timeout(secs(100_000_000))).await;
        world.change(once().timeout(secs(2)));
        world.publish([1]).await;
        let letter = world.letters(1).await.remove(0);
        assert!(letter.error.contains("no answer within 2s"), "{place}: {letter:?}");
        world.end().await;

        let slow = || Policy::new().retry(Retry::constant(secs(60)).attempts(5).jitter(0.0));
        let world = World::of(place, Does::Fails, slow()).await;
        world.change(slow().deadline(secs(50)));
        world.publish([1]).await;
        assert_eq!(world.letters(1).await[0].reason, Reason::Deadline, "{place}");
        assert_eq!(world.probe.calls(), 1);
        world.end().await;
    }
}

#[tokio::test]
async fn retries_that_are_changed_count_and_a_call_that_runs_ends_under_those_it_began_with() {
    for place in PLACES {
        let world = World::of(place, Does::FailsAfterTheGate, once()).await;
        world.publish([1]).await;
        world.until(|world| world.probe.calls() == 1).await;
        world.change(Policy::new().retry(Retry::constant(MS).attempts(3)));
        world.probe.open(1);
        let letter = world.letters(1).await.remove(0);
        assert_eq!((letter.attempts, world.probe.calls()), (1, 1), "{place}: it began without retries");
        world.probe.open(10);
        world.publish([2]).await;
        let letter = world.letters(2).await.remove(1);
        assert_eq!((letter.attempts, world.probe.calls()), (3, 4), "{place}");
        world.end().await;
    }
}

#[tokio::test]
async fn a_circuit_comes_keeps_its_state_and_goes() {
    for place in PLACES {
        let world = World::of(place, Does::Fails, once()).await;
        let circuit = || once().circuit(Circuit::open_after(1).probe_after(secs(100_000)));
        world.change(circuit());
        world.publish([1]).await;
        world.until(|world| !world.heard.named("tidings.circuit.opened").is_empty()).await;
        world.change(circuit().timeout(secs(1)));
        let state = world.app.policies().remove(0);
        assert_eq!((&*state.handler, state.circuit.expect("said").state), (world.name, BreakerState::Open));
        world.probe.does(Does::Works);
        if place == "probe" {
            // It is held back in memory until the circuit allows a probe; without a circuit it goes on at once.
            world.publish([2]).await;
            while world.app.status().await.expect("read")[0].unsettled < 1 {
                world.clock.advance(MS);
                tokio::task::yield_now().await;
            }
            world.change(once());
            world.until(|world| world.probe.calls() == 2).await;
        } else {
            world.change(once());
            world.publish([2]).await;
            world.until(|world| world.probe.calls() == 2).await;
        }
        assert_eq!(world.heard.named("tidings.circuit.closed").len(), 1, "{place}");
        assert_eq!(world.app.policies()[0].circuit, None);
        world.end().await;
    }
}

#[tokio::test]
async fn a_rate_and_a_bulkhead_that_are_changed_count() {
    for place in PLACES {
        let world = World::of(place, Does::Works, once()).await;
        world.change(once().rate(Rate::per_second(1).burst(1)));
        world.publish(1..=3).await;
        world.until(|world| !world.heard.named("tidings.rate.exceeded").is_empty()).await;
        world.end().await;

        let world = World::of(place, Does::WaitsAtTheGate, once()).await;
        world.change(once().bulkhead(Bulkhead::from(1).queue(0)));
        world.publish(1..=5).await;
        world.until(|world| world.probe.calls() == 1).await;
        let bulkhead = world.app.policies()[0].bulkhead.clone().expect("said");
        assert_eq!((bulkhead.permits, bulkhead.free), (1, 0), "{place}");
        world.probe.open(100);
        let (probe, clock) = (world.probe.clone(), world.clock.clone());
        let all = if world.name == "shop/probe" && place.ends_with("bus") { 1 } else { 5 };
        driven_until(&clock, MS * 10, || probe.calls() == all).await;
        world.end().await;
        assert_eq!((probe.calls(), probe.most_at_once()), (all, 1), "{place}");
    }
}

#[tokio::test]
async fn shedding_a_flag_and_idempotency_that_are_changed_count() {
    for place in PLACES {
        let world = World::of(place, Does::WaitsAtTheGate, once()).await;
        world.change(once().timeout(secs(60)).shed(Shed::over(MS).every(secs(10))));
        world.publish([1]).await;
        world.until(|world| world.probe.calls() == 1).await;
        world.clock.advance(secs(5));
        world.probe.open(1_000);
        // Each is called for, or refused: then that has been told.
        let is_shed = || !world.heard.named("tidings.shedding.changed").is_empty();
        for calls in 1..100 {
            world.app.publish(placed(2)).priority(tidings::Priority::Low).await.expect("published");
            until(|| is_shed() || world.probe.calls() > calls).await;
            if is_shed() {
                break;
            }
            world.clock.advance(secs(3));
        }
        assert!(is_shed(), "{place}");
        world.end().await;

        let world = World::of(place, Does::Works, once()).await;
        world.change(once().flag("beta"));
        world.app.set_flag("beta", Some(Flag::Off), "ann").await.expect("kept");
        world.publish(1..=3).await;
        let probe = world.probe.clone();
        world.end().await;
        assert_eq!(probe.calls(), 0, "{place}");

        let world = World::of(place, Does::Works, once()).await;
        world.change(once().idempotent(Idempotency::by_key().stored()));
        world.publish([7, 7, 7, 8]).await;
        let probe = world.probe.clone();
        world.until(|world| world.probe.calls() == 2).await;
        let store = world.app.store().expect("a store").clone();
        let stats = store.stats().await.expect("read");
        let claimed = stats.documents.iter().any(|(name, many)| name.starts_with("$claims") && *many > 0);
        world.end().await;
        assert_eq!((probe.calls(), claimed), (2, true), "{place}: {:?}", stats.documents);
    }
}

#[tokio::test]
async fn where_dead_letters_go_is_what_the_policy_says_when_they_are_given_up() {
    for place in PLACES {
        let world = World::of(place, Does::Refuses, once()).await;
        world.change(once().dead(Dead::to("elsewhere")));
        world.publish([1]).await;
        assert_eq!(&*world.letters(1).await[0].destination, "elsewhere", "{place}");
        world.end().await;
    }
}

#[tokio::test]
async fn what_cannot_change_is_refused_and_nothing_has_changed() {
    let idempotent = once().idempotent(Idempotency::by_id());
    for place in PLACES {
        let world = World::of(place, Does::Works, idempotent.clone()).await;
        for (policy, path) in [
            (once().idempotent(Idempotency::by_key()), "idempotency: "),
            (once().idempotent(Idempotency::by_id().stored()), "idempotency: "),
            (once().timeout(Duration::ZERO), "timeout: "),
            (once().deadline(secs(1)).timeout(secs(2)), "timeout: "),
        ] {
            let refused = world.app.change_policy(world.name, policy).expect_err("refused");
            let PolicyError::Refused { handler, faults } = refused else { panic!("{refused}") };
            assert!(handler == world.name && faults[0].starts_with(path), "{place}: {faults:?}");
            assert_eq!(world.app.policy(world.name), Some(idempotent.clone()), "{place}");
        }
        let unknown = world.app.change_policy("shop/nobody", once()).expect_err("refused");
        assert!(unknown.to_string().contains(world.name), "{unknown}");
        assert_eq!(world.app.policy("shop/nobody"), None);
        let changed = world.app.change_policy(world.name, once()).expect("it may go as a whole");
        assert_eq!((changed.before, changed.after), (idempotent.clone(), once()));
        assert_eq!(world.heard.named("tidings.policy.changed").len(), 1);
        assert_eq!(world.heard.named("tidings.policy.changed")[0]["handler"], world.name);
        world.end().await;
    }
}

#[tokio::test]
async fn a_pool_that_others_use_and_a_store_that_is_not_there_are_refused() {
    let (clock, probe) = (clock(), Probe::that(Does::Works));
    let db = |permits| once().bulkhead(Bulkhead::pool("db").permits(permits));
    let batches = |_: Batched<Delivered<On<OrderPlaced>>>| async {};
    let module = Module::new("shop")
        .on(probe.handler().buffered().named("one").policy(db(2)))
        .on(probe.handler().named("other").policy(db(2)))
        .on(batches.in_batches(Batching::new().items(10)).named("batches"));
    let app = started(Settings::default(), &clock, module).await;
    for (handler, policy, said) in [
        ("shop/one", db(3), "bulkhead.permits: the pool has 2 permits, and 1 other handlers use it"),
        ("shop/one", once().rate(Rate::per_second(1).shared()), "rate.shared: there is no store"),
        ("shop/one", once().idempotent(Idempotency::by_id().stored()), "idempotency.keep: there is no store"),
        ("shop/batches", once().quarantine_after(2), "quarantine_after: "),
        ("shop/one", once().quarantine_after(2), "quarantine_after: "),
    ] {
        let before = app.policy(handler);
        let refused = app.change_policy(handler, policy).expect_err("refused").to_string();
        assert!(refused.contains(said), "{refused}");
        assert_eq!(app.policy(handler), before);
    }
    app.change_policy("shop/other", once()).expect("it leaves the pool");
    app.change_policy("shop/one", db(3)).expect("it is alone there now");
    ended(app, &clock).await;
}

#[tokio::test]
async fn the_policy_of_a_handler_of_batches_changes_as_a_whole() {
    for place in ["bus", "buffered", "durable"] {
        batches_change(place).await;
    }
}

async fn batches_change(place: &str) {
    let (clock, calls) = (clock(), Arc::new(AtomicU64::new(0)));
    let counted = calls.clone();
    let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let failed = Failed::<()>::at(0..batch.len(), Failure::transient("not now"));
        async move { Err::<(), _>(failed) }
    };
    let policy = once().circuit(Circuit::open_after(100)).idempotent(Idempotency::by_id());
    let handler = handler.in_batches(Batching::new().items(1)).policy(policy);
    let (handler, name) = match place {
        "bus" => (handler.named("batches"), "shop/batches"),
        "buffered" => (handler.named("batches").buffered(), "shop/batches"),
        _ => (handler.durable("batches"), "batches"),
    };
    let app = started(settings("store = \"memory:\""), &clock, Module::new("shop").on(handler)).await;
    let before = app.policy(name).expect("there");
    let call_timeout = Circuit::open_after(1).call_timeout(secs(2));
    // What is wrong in either of its parts, and in the whole.
    for policy in [
        before.clone().idempotent(Idempotency::by_key()),
        before.clone().circuit(Circuit::open_after(0)),
        before.clone().deadline(secs(1)).timeout(secs(5)),
    ] {
        app.change_policy(name, policy).expect_err("refused");
        assert_eq!(app.policy(name), Some(before.clone()), "{place}");
    }
    let after = before.clone().circuit(call_timeout).retry(Retry::constant(MS).attempts(2));
    let changed = app.change_policy(name, after.clone()).expect("safe");
    assert_eq!((changed.before, app.policy(name)), (before, Some(after)), "{place}");
    app.publish(placed(1)).await.expect("published");
    driven_until(&clock, MS * 10, || calls.load(Ordering::SeqCst) == 1).await;
    let state = || app.policies()[0].circuit.clone().expect("said").state;
    driven_until(&clock, MS, || state() == BreakerState::Open).await;
    ended(app, &clock).await;
}

/// The model in the store, which `tidings explain` reads.
async fn stored(app: &App) -> tidings::Model {
    let key = tidings::DocumentKey::new(tidings::MODELS, "app");
    let store = app.store().expect("a store").clone();
    let model = store.document(&tidings::Tenant::default(), &key).await.expect("read").expect("there");
    serde_json::from_slice(&model.value).expect("a model")
}

async fn until_stored(app: &App) {
    let begun = std::time::Instant::now();
    while stored(app).await != *app.model() {
        assert!(begun.elapsed() < secs(60), "the model does not come into the store");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_model_shows_the_policy_that_counts_and_the_handlers_that_are_there() {
    for place in PLACES {
        let world = World::of(place, Does::Works, once()).await;
        let policy = once().timeout(secs(9));
        world.change(policy.clone());
        assert_eq!(world.app.model().modules[0].handlers[0].policy, policy, "{place}");
        until_stored(&world.app).await;
        world.end().await;
    }
    let (clock, probe) = (clock(), Probe::that(Does::Refuses));
    let app = started(settings("store = \"memory:\""), &clock, Module::new("shop")).await;
    let names = |app: &App| -> Vec<(String, Vec<String>)> {
        let of = |module: &tidings::ModelModule| {
            let names = module.handlers.iter().map(|handler| handler.name(&module.name));
            (module.name.clone(), names.collect())
        };
        app.model().modules.iter().map(of).collect()
    };
    let none = vec![("shop".to_owned(), vec![])];
    assert_eq!(names(&app), none);
    let first = app.add("late", probe.handler().pool("late").named("first")).expect("a handler");
    let second = app.add("shop", probe.handler().named("second")).expect("a handler");
    let both = [("shop", "shop/second"), ("late", "late/first")];
    assert_eq!(names(&app), both.map(|(module, name)| (module.to_owned(), vec![name.to_owned()])));
    let model = app.model();
    assert!(model.modules.iter().all(|module| module.handlers.iter().all(|handler| handler.added)));
    assert!(model.pools.contains_key("late") && model.events[0].name == "order.placed");
    until_stored(&app).await;
    app.change_policy("late/first", once().timeout(secs(4))).expect("safe");
    assert_eq!(app.model().modules[1].handlers[0].policy.timeout, Some(secs(4)));
    let taken = app.add("late", probe.handler().named("first")).expect_err("the name is taken");
    assert!(taken.faults[0].contains("`.named(\"…\")`"), "{taken}");
    first.remove();
    drop(second);
    assert_eq!(names(&app), none);
    until_stored(&app).await;
    assert!(app.change_policy("late/first", once()).is_err());
    app.add("late", probe.handler().named("first")).expect("the name is free again").forever();
    let store = app.store().expect("a store").clone();
    ended(app, &clock).await;
    drop(store);
}

#[tokio::test]
async fn two_handlers_of_one_name_are_a_fault_that_lists_both_and_says_what_to_do() {
    let probe = Probe::that(Does::Works);
    let fault = |module: Module| async {
        let built = App::builder().store("memory:").module(module).build().await;
        built.map(drop).expect_err("a fault").faults
    };
    let module = Module::new("shop").on(probe.handler()).on(probe.handler().topic("order.*").pool("mail"));
    let faults = fault(module).await;
    let [fault_of_both] = &faults[..] else { panic!("{faults:?}") };
    for said in
        ["{{closure}}", "for order.placed, on the bus", "for order.*, in pool mail", "`.named(\"…\")`"]
    {
        assert!(fault_of_both.contains(said), "{said:?} in {fault_of_both}");
    }
    let faults =
        fault(Module::new("a").on(probe.handler().named("b")).on(probe.handler().durable("a/b"))).await;
    assert!(faults[0].contains("behind subscription a/b"), "{faults:?}");
    for (named, said) in [
        (probe.handler().named(""), "1 to 512 bytes"),
        (probe.handler().named("a\nb"), "no control characters"),
        (probe.handler().named("x".repeat(508)), "1 to 512 bytes"),
        (probe.handler().durable("d").named("e"), "has the name of its subscription"),
    ] {
        let faults = fault(Module::new("shop").on(named)).await;
        assert!(faults.len() == 1 && faults[0].contains(said), "{said}: {faults:?}");
    }
    // Settings know a handler by the name its author gave it.
    let clock = clock();
    let toml = "[policies.\"shop/one\"]\ntimeout = \"3s\"\n";
    let module = Module::new("shop").on(probe.handler().named("one")).on(probe.handler().named("two"));
    let app = started(settings(toml), &clock, module).await;
    assert_eq!(app.policy("shop/one").expect("there").timeout, Some(secs(3)));
    assert_eq!(app.policy("shop/two").expect("there").timeout, None);
    ended(app, &clock).await;
}
