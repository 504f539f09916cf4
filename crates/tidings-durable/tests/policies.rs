//! Each field of a policy does on a durable subscription what it says.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use support::{Calls, Gate, Running, World, every, ms, on, once, order, secs};
use tidings_core::{
    Bulkhead, Circuit, Clock, Cx, Envelope, Failure, Flag, Handled, Idempotency, Policy, Priority, Rate,
    Reason, Registration, Shed, Subscribe, Timestamp, View,
};
use tidings_durable::Config;
use tidings_policy::{BreakerState, MemoryFlags, Notice, Surroundings};

const NOTES: View = View::new("notes");

/// Fails transiently while `broken`.
fn flaky(calls: &Calls, broken: &Gate) -> Registration {
    let (calls, broken) = (calls.clone(), broken.clone());
    on("s", move |event, cx| {
        calls.note(&event, &cx);
        let works = broken.is_open();
        async move {
            cx.view(NOTES).add("all", "n", 1);
            if works { Ok(()) } else { Err(Failure::transient("refused")) }
        }
    })
}

fn works(calls: &Calls) -> Registration {
    let calls = calls.clone();
    on("s", move |event, cx| {
        calls.note(&event, &cx);
        async move {
            cx.view(NOTES).add("all", "n", 1);
            Ok(())
        }
    })
}

fn told() -> (Arc<Mutex<Vec<&'static str>>>, Surroundings) {
    let names: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let noted = names.clone();
    let notices = Arc::new(move |notice: Notice| noted.lock().push(notice.name()));
    (names, Surroundings { notices, ..Surroundings::default() })
}

fn handled(world: &World) -> u64 {
    world.doc("notes", "all").map_or(0, |all| all["n"].as_u64().expect("a number"))
}

fn after_dawn(at: Timestamp) -> Duration {
    at.since(support::DAWN)
}

#[test]
fn while_the_circuit_is_open_deliveries_wait_and_burn_no_attempt_and_write_no_rows() {
    let (world, calls, up, (told, around)) = (World::new(), Calls::default(), Gate::default(), told());
    let policy = every(ms(100), 2).circuit(Circuit::open_after(3).probe_after(secs(30)));
    let config = Config { lanes: 1, ..World::config() };
    let node = world.start_among(config, around, [flaky(&calls, &up).policy(policy)]);
    world.put((0..500).map(|n| order(&format!("k{}", n % 50), n)));
    world.pass(secs(20));
    assert_eq!(calls.len(), 3, "it opened after the third");
    assert_eq!(*told.lock(), ["tidings.circuit.opened"]);
    let (_, state) = node.node.policies().swap_remove(0);
    assert_eq!(state.circuit.expect("said").state, BreakerState::Open);
    assert_eq!((world.rows("s").len(), node.status().dead_lettered), (0, 0), "nothing is written in vain");
    let commits = node.status().commits;
    world.pass(secs(5));
    assert_eq!(node.status().commits, commits);
    world.pass(secs(6));
    assert_eq!(calls.len(), 4, "one probe, which failed");
    up.open();
    node.settle();
    assert_eq!((handled(&world), world.dead("s").len()), (500, 0));
    assert!(after_dawn(calls.all()[4].at) >= secs(60), "the second probe");
    for key in 0..50 {
        let mut ids = calls.ids_of(&format!("k{key}"));
        let in_order: Vec<_> = (0..10).map(|n| (n * 50 + key).to_string()).collect();
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        assert_eq!(ids, in_order, "the order of each key is kept");
    }
    let told = told.lock();
    assert!(told.ends_with(&["tidings.circuit.half-opened", "tidings.circuit.closed"]), "{told:?}");
}

#[test]
fn what_is_over_the_rate_is_started_later_and_own_notices_are_not_limited() {
    let (world, calls) = (World::new(), Calls::default());
    let rate = Rate::per_second(10).burst(10);
    let node = world.start([works(&calls).policy(once().rate(rate))]);
    world.put((0..45).map(|n| order(&n.to_string(), n)));
    world.put((0..5).map(|n| Envelope::build("tidings.tested").source("/t").id(format!("own{n}"))));
    world.quiet();
    assert_eq!(calls.ids().iter().filter(|id| id.starts_with("own")).count(), 5, "{:?}", calls.ids());
    assert_eq!(calls.len(), 15);
    node.settle();
    let starts: Vec<_> = calls.all().iter().filter(|call| !call.id.starts_with("own")).cloned().collect();
    assert_eq!(starts.len(), 45);
    for (nth, call) in starts.iter().enumerate().skip(10) {
        let due = ms(100) * u32::try_from(nth - 9).expect("few");
        assert!(after_dawn(call.at) >= due, "{nth} at {:?}", after_dawn(call.at));
    }
    assert!(after_dawn(starts[44].at) < secs(5), "{:?}", after_dawn(starts[44].at));
    assert!(starts.iter().all(|call| call.attempt == 1), "no attempt is burnt");
    assert_eq!((world.rows("s").len(), world.dead("s").len()), (0, 0));
}

#[test]
fn a_key_over_its_rate_is_rescheduled_and_the_others_go_on() {
    let (world, calls) = (World::new(), Calls::default());
    let rate = Rate::per_minute(2).window().each_key();
    let node = world.start([works(&calls).policy(once().rate(rate))]);
    world.put((0..5).map(|n| order("much", n)));
    world.put((5..8).map(|n| order(&n.to_string(), n)));
    world.pass(secs(1));
    assert_eq!((calls.ids_of("much").len(), calls.len()), (2, 5));
    let rows = world.rows("s");
    assert_eq!(rows.len(), 1, "it waits in the store: {rows:?}");
    node.settle();
    assert_eq!(calls.ids_of("much"), ["0", "1", "2", "3", "4"]);
    assert!(calls.all().iter().all(|call| call.attempt == 1));
    assert!(after_dawn(calls.all()[7].at) >= secs(60));
}

#[test]
fn a_shared_rate_is_counted_over_two_nodes() {
    let (world, one, two) = (World::new(), Calls::default(), Calls::default());
    let named = |name: &str, calls: &Calls| {
        let policy = once().rate(Rate::per_second(20).shared());
        works(calls).durable(name.to_owned()).policy(policy)
    };
    // The count goes by the subscription's name: a store has one of each, so the second node takes over.
    let a = world.start_with(Config { owner: "a".into(), ..World::config() }, [named("s", &one)]);
    world.put((0..100).map(|n| order(&n.to_string(), n)));
    world.quiet();
    assert_eq!(one.len(), 20);
    a.crash();
    let b =
        world.start_with(Config { owner: "b".into(), lease: secs(1), ..World::config() }, [named("s", &two)]);
    b.settle();
    let mut seconds = std::collections::BTreeMap::<u64, usize>::new();
    for call in one.all().iter().chain(&two.all()) {
        *seconds.entry(after_dawn(call.at).as_secs()).or_default() += 1;
    }
    assert!(seconds.values().all(|count| *count <= 20), "{seconds:?}");
    assert!(world.docs("$counters").len() == 1);
}

/// How many of a handler's calls run at once at most; each takes a second.
fn crowd(world: &World, name: &'static str, most: &Arc<AtomicUsize>, now: &Arc<AtomicUsize>) -> Registration {
    let (most, now, clock) = (most.clone(), now.clone(), world.clock.clone());
    on(name, move |_, _| {
        let (most, now, sleep) = (most.clone(), now.clone(), clock.sleep(secs(1)));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep.await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    })
}

#[test]
fn a_bulkhead_bounds_the_calls_that_run_at_once_also_of_two_subscriptions_and_wastes_no_time() {
    let (world, most, now) = (World::new(), Arc::default(), Arc::default());
    let policy = once().bulkhead(Bulkhead::pool("db").permits(4));
    let (a, b) = (crowd(&world, "a", &most, &now), crowd(&world, "b", &most, &now));
    let node = world.start([a.policy(policy.clone()), b.policy(policy)]);
    world.put((0..20).map(|n| order(&n.to_string(), n)));
    node.settle();
    assert_eq!(most.load(Ordering::SeqCst), 4);
    let took = after_dawn(support::now(&world));
    assert!(took >= secs(10) && took <= secs(13), "forty calls of a second, four at a time: {took:?}");
}

#[test]
fn low_priority_is_shed_while_latency_is_over_its_target_and_handled_afterwards() {
    let (world, calls) = (World::new(), Calls::default());
    let (noted, clock) = (calls.clone(), world.clock.clone());
    let slow = on("s", move |event: Envelope, cx: Cx| {
        noted.note(&event, &cx);
        let sleep = clock.sleep(if event.id().starts_with("slow") { secs(1) } else { ms(1) });
        async move {
            sleep.await;
            Ok(())
        }
    });
    let node = world.start([slow.policy(once().shed(Shed::over(ms(100)).normal_at(100.0)))]);
    world.put((0..20).map(|n| order(&n.to_string(), format!("slow{n}"))));
    world.pass(ms(1_100));
    world.put([order("a", "low").priority(Priority::Low), order("b", "normal")]);
    world.pass(ms(20));
    assert_eq!((calls.of("low").len(), calls.of("normal").len()), (0, 1));
    node.settle();
    assert_eq!(calls.of("low").len(), 1);
    assert_eq!(calls.of("low")[0].attempt, 1);
}

#[test]
fn what_a_flag_is_off_for_is_settled_without_a_call() {
    let (world, calls, flags) = (World::new(), Calls::default(), Arc::new(MemoryFlags::new()));
    let set = |flag| flags.set("new-checkout".into(), Some(flag), "ann", support::DAWN).expect("a flag");
    set(Flag::Off);
    let around = Surroundings { flags: flags.clone(), ..Surroundings::default() };
    let registration = works(&calls).policy(once().flag("new-checkout"));
    let node = world.start_among(World::config(), around, [registration]);
    world.put((0..10).map(|n| order("k", n)));
    node.settle();
    assert_eq!((calls.len(), node.status().skipped, handled(&world)), (0, 10, 0));
    set(Flag::On);
    world.put((10..15).map(|n| order("k", n)));
    node.settle();
    assert_eq!((calls.len(), node.status().skipped), (5, 10));
    set(Flag::Percent(50.0));
    world.put((0..100).map(|n| order(&n.to_string(), format!("p{n}"))));
    node.settle();
    let share = calls.len() - 5;
    assert!((30..=70).contains(&share), "{share}");
    assert_eq!(node.status().skipped, 10 + 100 - share as u64);
}

#[test]
fn a_delivery_over_its_deadline_is_given_up_with_its_reason() {
    let (world, calls, up) = (World::new(), Calls::default(), Gate::default());
    let policy = every(secs(4), 10).deadline(secs(10)).timeout(secs(1));
    let node = world.start([flaky(&calls, &up).policy(policy)]);
    world.put([order("k", 1)]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((calls.len(), dead[0].reason, dead[0].attempts), (3, Reason::Deadline, 3));
}

#[test]
fn what_comes_too_late_from_behind_an_open_circuit_is_given_up_unseen() {
    let (world, calls, up) = (World::new(), Calls::default(), Gate::default());
    let policy = every(ms(100), 9).deadline(secs(20)).timeout(secs(1));
    let policy = policy.circuit(Circuit::open_after(1).probe_after(secs(30)));
    let node = world.start([flaky(&calls, &up).policy(policy)]);
    world.put([order("k", 1)]);
    world.pass(secs(1));
    up.open();
    node.settle();
    let dead = world.dead("s");
    assert_eq!((calls.len(), dead[0].reason, dead[0].attempts), (1, Reason::Deadline, 1));
    assert!(dead[0].error.contains("refused"), "what went wrong before is told, too: {}", dead[0].error);
}

#[test]
fn a_fallback_stands_in_for_what_would_be_given_up_and_its_effects_are_kept() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event: Envelope, cx: Cx| {
        noted.note(&event, &cx);
        async move {
            cx.view(NOTES).add("lost", "n", 1);
            match event.id().starts_with("never") {
                true => Err(Failure::permanent("never")),
                false => Err(Failure::transient("not now")),
            }
        }
    });
    let stand_in = |event: Envelope, cx: Cx| async move {
        cx.view(NOTES).add("all", "n", 1);
        cx.publish_envelope(Envelope::build("order.queried").id(format!("q{}", event.id())));
        match event.id().ends_with("both") {
            true => Err::<(), _>(Failure::transient("nor I")),
            false => Ok(()),
        }
    };
    let policy = every(ms(10), 2);
    let handler = Registration { topics: Vec::new(), ..handler }.topic("order.placed").policy(policy);
    let node = world.start([handler.fallback(stand_in)]);
    world.put(["1", "never", "never-both", "both"].map(|id| order(id, id)));
    node.settle();
    assert_eq!(calls.len(), 6, "two attempts where that can help");
    assert_eq!(handled(&world), 2);
    assert!(world.doc("notes", "lost").is_none());
    let mut queried = world.ids("order.queried");
    queried.sort();
    assert_eq!(queried, ["q1", "qnever"]);
    let mut dead = world.dead("s");
    dead.sort_by_key(|letter| letter.reason.to_string());
    let reasons: Vec<_> = dead.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [Reason::Exhausted, Reason::Permanent]);
    assert!(dead[0].error.contains("not now") && dead[0].error.contains("nor I"), "{}", dead[0].error);
}

fn paid(key: &str, id: &str, json: &str) -> tidings_core::EnvelopeBuilder {
    Envelope::build("order.paid").source("/test").key(key).id(id.to_owned()).json(json.as_bytes().to_vec())
}

#[test]
fn the_same_is_handled_once_by_key_field_or_version_in_memory_or_in_the_store() {
    for stored in [false, true] {
        let keep = |once: Idempotency| if stored { once.stored() } else { once };
        for (idempotency, expected) in [
            (Idempotency::by_id(), vec!["a", "b", "c", "d"]),
            (Idempotency::by_key(), vec!["a", "d"]),
            (Idempotency::by_field("n"), vec!["a", "b", "d"]),
            (Idempotency::by_version("n"), vec!["a", "b", "d"]),
        ] {
            let (world, calls) = (World::new(), Calls::default());
            let case = format!("{idempotency} {stored}");
            let node = world.start([works(&calls).policy(once().idempotent(keep(idempotency)))]);
            world.put([
                paid("k", "a", r#"{"n":1}"#),
                paid("k", "b", r#"{"n":2}"#),
                paid("k", "c", r#"{"n":1}"#),
                paid("l", "d", r#"{"n":3}"#),
            ]);
            node.settle();
            let mut ids = calls.ids();
            ids.sort();
            assert_eq!(ids, expected, "{case}");
            assert_eq!(node.status().skipped, 4 - expected.len() as u64, "{case}");
            let documents = world.docs("$claims/s").len();
            assert_eq!(documents > 0, stored, "{case}: {documents}");
        }
    }
}

#[test]
fn of_concurrent_duplicates_one_runs_and_after_a_failure_another_does() {
    for idempotency in [Idempotency::by_field("n"), Idempotency::by_field("n").stored()] {
        let (world, calls, gate) = (World::new(), Calls::default(), Gate::default());
        let (noted, wait) = (calls.clone(), gate.clone());
        let handler = on("s", move |event: Envelope, cx: Cx| {
            noted.note(&event, &cx);
            let wait = wait.clone();
            async move {
                wait.pass().await;
                cx.view(NOTES).add("all", "n", 1);
                if &**event.id() == "a" { Err(Failure::permanent("not this one")) } else { Ok(()) }
            }
        });
        let node = world.start([handler.policy(once().idempotent(idempotency))]);
        world.put(["a", "b", "c"].map(|id| paid(id, id, r#"{"n":7}"#)));
        world.pass(ms(50));
        assert_eq!(calls.len(), 1, "{:?}", calls.ids());
        gate.open();
        node.settle();
        assert_eq!((calls.len(), handled(&world), node.status().skipped), (2, 1, 1), "{:?}", calls.ids());
    }
}

#[test]
fn a_stored_claim_is_finished_with_its_effects_or_not_at_all_also_over_two_nodes() {
    let (world, first, second, gate) = (World::new(), Calls::default(), Calls::default(), Gate::default());
    let policy = || once().idempotent(Idempotency::by_field("n").stored());
    let work = |calls: &Calls, gate: &Gate| {
        let (calls, gate) = (calls.clone(), gate.clone());
        on("s", move |event: Envelope, cx: Cx| {
            calls.note(&event, &cx);
            let gate = gate.clone();
            async move {
                cx.view(NOTES).add("all", "n", 1);
                if &**event.id() == "b" {
                    gate.pass().await;
                }
                Ok(())
            }
        })
        .policy(policy())
    };
    let a = world.start_with(Config { owner: "a".into(), ..World::config() }, [work(&first, &gate)]);
    world.put([paid("a", "a", r#"{"n":1}"#), paid("b", "b", r#"{"n":2}"#)]);
    world.pass(secs(2));
    assert_eq!((handled(&world), world.docs("$claims/s").len()), (1, 1), "the second is not finished");
    a.crash();
    gate.open();
    let b = world.start_with(Config { owner: "b".into(), ..World::config() }, [work(&second, &gate)]);
    world.put([paid("c", "c", r#"{"n":1}"#), paid("d", "d", r#"{"n":2}"#)]);
    b.settle();
    assert_eq!(second.ids(), ["b"], "what the first had finished is, and what it had not is not");
    assert_eq!(handled(&world), 2);
}

#[test]
fn stored_claims_and_counts_are_removed_when_they_are_over() {
    let (world, calls) = (World::new(), Calls::default());
    let idempotency = Idempotency::by_field("n").stored().ttl(secs(100));
    let policy = once().idempotent(idempotency).rate(Rate::per_second(1_000).shared());
    let node = world.start([works(&calls).policy(policy)]);
    world.put((0..20).map(|n| paid("k", &n.to_string(), &format!(r#"{{"n":{n}}}"#))));
    node.settle();
    assert_eq!(world.docs("$claims/s").len(), 20);
    world.pass(secs(90));
    assert_eq!((world.docs("$claims/s").len(), world.docs("$counters").len()), (20, 0));
    world.pass(secs(130));
    assert_eq!(world.docs("$claims/s").len(), 0);
    world.put([paid("k", "again", r#"{"n":1}"#)]);
    node.settle();
    assert_eq!(calls.of("again").len(), 1);
}

/// A handler of batches that notes how many it was called with.
fn batches(calls: &Arc<Mutex<Vec<Vec<String>>>>, up: &Gate) -> Registration {
    use tidings_core::{Batched, Batching, Delivered, InBatches};
    let (calls, up) = (calls.clone(), up.clone());
    let handler = move |batch: Batched<Delivered<Envelope>>| {
        calls.lock().push(batch.iter().map(|one| one.event.id().to_string()).collect());
        for one in &batch.items {
            one.cx.view(NOTES).add("all", "n", 1);
        }
        let works = up.is_open();
        async move { if works { Ok(()) } else { Err(Failure::transient("refused")) } }
    };
    let handler =
        move |batch| -> std::pin::Pin<Box<dyn Future<Output = Handled> + Send>> { Box::pin(handler(batch)) };
    handler.in_batches(Batching::new().items(10).age(ms(5))).topic("**").durable("s")
}

#[test]
fn of_batches_the_circuit_counts_calls_and_while_it_is_open_they_wait() {
    let (world, calls, up) = (World::new(), Arc::default(), Gate::default());
    let policy = every(ms(500), 5).circuit(Circuit::open_after(2).probe_after(secs(30)));
    let node = world.start([batches(&calls, &up).concurrency(1).policy(policy)]);
    world.put((0..100).map(|n| order(&n.to_string(), n)));
    world.pass(secs(25));
    assert_eq!(calls.lock().len(), 2, "{:?}", calls.lock());
    up.open();
    node.settle();
    assert_eq!((handled(&world), world.dead("s").len()), (100, 0));
}

#[test]
fn of_batches_flags_and_claims_are_asked_for_each_delivery() {
    let (world, calls, up) = (World::new(), Arc::<Mutex<Vec<Vec<String>>>>::default(), Gate::default());
    up.open();
    let flags = Arc::new(MemoryFlags::new());
    flags.set("event:order.paid".into(), Some(Flag::Off), "ann", support::DAWN).expect("a flag");
    let around = Surroundings { flags, ..Surroundings::default() };
    let policy = once().idempotent(Idempotency::by_key().stored());
    let node = world.start_among(World::config(), around, [batches(&calls, &up).policy(policy)]);
    world.put((0..3).map(|n| order(&n.to_string(), n)));
    world.put([paid("x", "x", "{}"), order("1", "again")]);
    node.settle();
    let mut called: Vec<_> = calls.lock().concat();
    called.sort();
    assert_eq!(called, ["0", "1", "2"]);
    assert_eq!((handled(&world), node.status().skipped), (3, 2));
}

#[test]
fn of_batches_a_flag_that_is_off_for_all_skips_all_and_holds_up_nobody() {
    let (world, calls, up) = (World::new(), Arc::<Mutex<Vec<Vec<String>>>>::default(), Gate::default());
    up.open();
    let flags = Arc::new(MemoryFlags::new());
    flags.set("event:order.paid".into(), Some(Flag::Off), "ann", support::DAWN).expect("a flag");
    let around = Surroundings { flags, ..Surroundings::default() };
    world.put([paid("x", "x", "{}"), paid("y", "y", "{}"), order("1", 1)]);
    let node = world.start_among(World::config(), around, [batches(&calls, &up).policy(once())]);
    node.settle();
    assert_eq!((handled(&world), node.status().skipped), (1, 2));
}

#[test]
fn of_batches_a_deadline_may_be_shorter_than_the_timeout_that_nobody_has_named() {
    let (world, calls, up) = (World::new(), Arc::default(), Gate::default());
    up.open();
    let node = world.start([batches(&calls, &up).policy(Policy::new().deadline(secs(10)))]);
    world.put([order("1", 1)]);
    node.settle();
    assert_eq!(handled(&world), 1);
}

#[test]
fn of_batches_a_fallback_takes_the_one_that_is_given_up() {
    let (world, calls, up) = (World::new(), Arc::default(), Gate::default());
    let stand_in = |_: Envelope, cx: Cx| async move {
        cx.view(NOTES).add("stood in", "n", 1);
        Ok::<(), Failure>(())
    };
    let node = world.start([batches(&calls, &up).policy(every(ms(10), 2)).fallback(stand_in)]);
    world.put((0..3).map(|n| order("k", n)));
    settled(&node);
    assert_eq!(world.doc("notes", "stood in").expect("kept")["n"], 3);
    assert_eq!((handled(&world), world.dead("s").len()), (0, 0));
}

fn settled(node: &Running<'_>) {
    node.settle();
}

#[test]
fn what_is_wrong_with_a_policy_is_told_when_the_node_is_made() {
    let world = World::new();
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let around = Surroundings { clock, ..Surroundings::default() };
    let pool = |permits| Policy::new().bulkhead(Bulkhead::pool("db").permits(permits));
    let registrations = vec![
        on("a", |_, _| async { Ok(()) }).policy(pool(2)),
        on("b", |_, _| async { Ok(()) }).policy(pool(3)),
        on("c", |_, _| async { Ok(()) }).policy(Policy::new().rate(Rate::per_second(0))),
    ];
    let made = tidings_durable::Node::among(
        world.store.clone(),
        &around,
        World::config(),
        registrations,
        Arc::new(|_| {}),
    );
    let faults: Vec<_> = made.expect_err("refused").iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("\"b\"") && faults[0].contains("pool"), "{faults:?}");
    assert!(faults[1].contains("\"c\"") && faults[1].contains("rate.permits"), "{faults:?}");
}
