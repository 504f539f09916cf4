//! Every field of a policy does what it says.

mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use tidings_core::{
    Bulkhead, Circuit, CircuitMode, Clock, DeadReason, Failure, Flag, Idempotency, Policy, Priority, Rate,
    Retry, Shed, Timestamp,
};
use tidings_policy::{
    Ask, BreakerState, FlagTarget, Guard, MemoryClaims, MemoryCounters, MemoryFlags, Notice, Pools, Ran,
    Refusal, Settlement, Surroundings, Verdict,
};

#[test]
fn a_policy_that_says_nothing_lets_everything_through() {
    let world = World::new(Policy::new());
    for id in 0..1_000 {
        assert_eq!(world.call(&event(&id.to_string()), Ok(())).expect("through").verdict, Verdict::Done);
    }
    assert_eq!(world.names(), Vec::<&str>::new());
}

#[test]
fn flags_are_asked_by_name_event_handler_and_topic() {
    let flags = Arc::new(MemoryFlags::new());
    let world =
        World::with(Policy::new().flag("new"), |around| Surroundings { flags: flags.clone(), ..around });
    let order = event("1");
    for target in [
        FlagTarget::Name("new".into()),
        FlagTarget::Event("order.placed".into()),
        FlagTarget::Handler("mail/receipt".into()),
        FlagTarget::Topic("order.*".into()),
    ] {
        let set = |flag| flags.set(target.clone(), flag, "ann", world.clock.now()).expect("set");
        set(Some(Flag::Off));
        let refusal = world.enter(&order).map(drop).expect_err("off");
        assert_eq!(refusal, Refusal::FlagOff(target.to_string().into()));
        assert_eq!(refusal.settlement(), Settlement::Done);
        set(None);
        assert!(world.enter(&order).is_ok());
    }
    flags
        .set(FlagTarget::Name("new".into()), Some(Flag::Percent(50.0)), "ann", world.clock.now())
        .expect("set");
    let through = (0..1_000).filter(|id| world.enter(&event(&id.to_string())).is_ok()).count();
    assert!((400..600).contains(&through), "{through}");
    assert!(
        flags.set(FlagTarget::Topic("order..x".into()), Some(Flag::Off), "ann", world.clock.now()).is_err()
    );
    let last = flags.changes().pop().expect("remembered");
    assert_eq!((&*last.by, last.before, last.after), ("ann", None, Some(Flag::Percent(50.0))));
    assert_eq!(flags.changes().len(), 9);
}

#[test]
fn a_flag_the_policy_does_not_name_is_not_asked() {
    let flags = Arc::new(MemoryFlags::new());
    flags
        .set(FlagTarget::Name("new".into()), Some(Flag::Off), "ann", Timestamp::from_millis(0))
        .expect("set");
    let world = World::with(Policy::new(), |around| Surroundings { flags, ..around });
    assert!(world.enter(&event("1")).is_ok());
}

#[test]
fn what_killed_the_process_too_often_is_quarantined() {
    for (policy, most) in [(Policy::new(), 2), (Policy::new().quarantine_after(3), 3)] {
        let (world, order) = (World::new(policy), event("1"));
        let enter = |crashes| now(world.guard.enter(&Ask { crashes, ..world.ask(&order) }));
        assert!(enter(most - 1).is_ok());
        let refusal = enter(most).map(drop).expect_err("a suspect");
        assert_eq!(refusal.settlement(), Settlement::Dead(DeadReason::Poison));
        assert_eq!(world.names(), ["tidings.delivery.quarantined"]);
    }
}

#[test]
fn over_its_deadline_a_delivery_is_given_up() {
    let (world, order) = (
        World::new(Policy::new().deadline(secs(10)).retry(Retry::constant(secs(4)).jitter(0.0))),
        event("1"),
    );
    let since = world.clock.now();
    world.clock.advance(secs(7));
    let enter = || now(world.guard.enter(&Ask { since, ..world.ask(&order) }));
    let left = world.guard.leave(enter().expect("in time"), &failed(), secs(0));
    assert_eq!(
        left.verdict,
        Verdict::Dead { reason: DeadReason::Deadline },
        "the next attempt would be too late"
    );
    world.clock.advance(secs(3));
    assert!(enter().is_ok(), "at the deadline");
    world.clock.advance(ms(1));
    assert_eq!(enter().map(drop).expect_err("over").settlement(), Settlement::Dead(DeadReason::Deadline));
}

#[test]
fn while_the_circuit_is_open_calls_fail_at_once_and_no_attempt_is_burnt() {
    let (world, order) =
        (World::new(Policy::new().circuit(Circuit::open_after(2).probe_after(secs(3)))), event("1"));
    for _ in 0..2 {
        world.call(&order, failed()).expect("closed");
    }
    let refusal = world.enter(&order).map(drop).expect_err("open");
    assert_eq!(refusal, Refusal::CircuitOpen { retry_after: secs(3) });
    assert_eq!(refusal.settlement(), Settlement::Later(secs(3)));
    world.clock.advance(secs(3));
    assert_eq!(world.call(&order, Ok(())).expect("a probe").verdict, Verdict::Done);
    let circuit = ["tidings.circuit.opened", "tidings.circuit.half-opened", "tidings.circuit.closed"];
    assert_eq!(world.names(), circuit);
}

#[test]
fn a_permanent_failure_says_nothing_about_whom_was_asked() {
    let (world, order) = (World::new(Policy::new().circuit(Circuit::open_after(1))), event("1"));
    let refused = || Err(Failure::permanent("no such address"));
    for _ in 0..10 {
        let left = world.call(&order, refused()).expect("closed");
        assert_eq!(left.verdict, Verdict::Dead { reason: DeadReason::Permanent });
    }
}

#[test]
fn slow_calls_and_the_mode_are_those_of_the_policy() {
    let slow = World::new(Policy::new().circuit(Circuit::open_after(1).slow_after(secs(1))));
    let order = event("1");
    let permit = slow.enter(&order).expect("closed");
    let _ = slow.guard.leave(permit, &Ok(()), secs(2));
    assert_eq!(slow.guard.state().circuit.expect("has one").state, BreakerState::Open);
    let shut = World::new(Policy::new().circuit(Circuit::default().mode(CircuitMode::Open)));
    assert!(shut.enter(&order).is_err());
    shut.guard.set_circuit(CircuitMode::Disabled);
    assert!(shut.enter(&order).is_ok());
}

#[test]
fn shedding_refuses_low_first_then_normal_and_never_critical() {
    let world = World::new(Policy::new().shed(Shed::over(ms(100)).every(secs(2)).normal_at(3.0)));
    let one_of = [Priority::Low, Priority::Normal, Priority::Critical].map(of_priority);
    // Each span has calls that take so long; then who is let through?
    let after = |took: Duration| {
        for _ in 0..3 {
            let permit = world.enter(&one_of[2]).expect("critical");
            let _ = world.guard.leave(permit, &Ok(()), took);
        }
        world.clock.advance(secs(2));
        one_of.each_ref().map(|envelope| world.enter(envelope).is_ok())
    };
    after(ms(1));
    assert_eq!(after(ms(100)), [true, true, true]);
    assert_eq!(after(ms(101)), [false, true, true]);
    assert_eq!(after(ms(300)), [false, true, true]);
    assert_eq!(after(ms(301)), [false, false, true]);
    assert_eq!(world.guard.state().shedding, Some(2));
    let refusal = world.enter(&one_of[0]).map(drop).expect_err("shed");
    assert_eq!(refusal.settlement(), Settlement::Later(secs(2)));
    assert_eq!(after(ms(1)), [true, true, true]);
    assert_eq!(world.names(), ["tidings.shedding.changed"; 3]);
}

#[test]
fn shedding_ends_when_nothing_is_slow_any_more_also_if_nothing_was_let_through() {
    let world = World::new(Policy::new().shed(Shed::over(ms(100))));
    let low = of_priority(Priority::Low);
    let waited = |waited| now(world.guard.enter(&Ask { waited, ..world.ask(&low) })).is_ok();
    assert!(waited(secs(1)), "nothing known yet");
    world.guard.leave(world.enter(&low).expect("through"), &Ok(()), secs(9));
    world.clock.advance(secs(1));
    assert!(!waited(secs(9)));
    world.clock.advance(secs(1));
    assert!(!waited(ms(1)), "those that were refused had waited long");
    world.clock.advance(secs(1));
    assert!(waited(ms(1)), "those that were refused had not waited");
    world.guard.leave(world.enter(&low).expect("through"), &Ok(()), secs(9));
    world.clock.advance(secs(1));
    assert!(!waited(secs(9)));
    world.clock.advance(secs(60));
    assert!(waited(secs(9)), "nobody asked for a minute");
}

#[test]
fn a_rate_is_a_bucket_of_its_burst_that_fills_evenly() {
    let world = World::new(Policy::new().rate(Rate::per_second(10).burst(3)));
    let order = event("1");
    let burst = || (0..100).filter(|_| world.enter(&order).is_ok()).count();
    assert_eq!(burst(), 3);
    assert_eq!(world.enter(&order).map(drop), Err(Refusal::RateLimited { retry_after: ms(100) }));
    world.clock.advance(ms(99));
    assert_eq!(burst(), 0);
    world.clock.advance(ms(1));
    assert_eq!((world.guard.state().rate.expect("has one").left, burst()), (Some(1), 1));
    world.clock.advance(secs(60));
    assert_eq!(burst(), 3, "no more than the bucket holds");
    assert!(world.names().iter().all(|name| *name == "tidings.rate.exceeded"));
    assert_eq!(world.names().len(), 2, "once a second, not once a refusal");
}

#[test]
fn a_rate_by_window_begins_anew_in_each() {
    let world = World::new(Policy::new().rate(Rate::per(secs(60), 5).window()));
    let order = event("1");
    world.clock.set(Timestamp::from_millis(60_000_000 - 10_000));
    let burst = || (0..100).filter(|_| world.enter(&order).is_ok()).count();
    assert_eq!(burst(), 5);
    assert_eq!(world.enter(&order).map(drop), Err(Refusal::RateLimited { retry_after: secs(10) }));
    world.clock.advance(secs(10));
    assert_eq!(burst(), 5);
}

#[test]
fn each_key_has_its_own_rate_and_keys_are_bounded() {
    let world = World::new(Policy::new().rate(Rate::per_second(1).each_key().keys(10)));
    let enter = |key: usize| world.enter(&keyed("1", &key.to_string(), "{}")).is_ok();
    assert_eq!((0..10).filter(|key| enter(*key)).count(), 10);
    assert!(!enter(3));
    assert_eq!((10..1_000).filter(|key| enter(*key)).count(), 1, "further keys share one limit");
    assert_eq!(world.guard.state().rate.expect("has one").keys, 10);
    world.clock.advance(secs(1));
    assert_eq!((10..20).filter(|key| enter(*key)).count(), 10, "idle keys make room");
    assert_eq!(world.guard.state().rate.expect("has one").keys, 10);
}

#[test]
fn a_rate_that_waits_gives_each_its_turn_in_order() {
    let world = World::new(Policy::new().rate(Rate::per_second(10).burst(1).wait(ms(200))));
    let order = event("1");
    let first = world.enter(&order);
    let mut turns = [(); 2].map(|()| waiting(world.guard.enter(&world.ask(&order))));
    let refused = now(world.guard.enter(&world.ask(&order))).map(drop);
    assert_eq!(refused, Err(Refusal::RateLimited { retry_after: ms(300) }), "it would wait too long");
    let not_held = now(world.guard.enter(&Ask { hold: false, ..world.ask(&order) })).map(drop);
    assert!(matches!(not_held, Err(Refusal::RateLimited { .. })), "a source that can come back is not held");
    assert!(turns.iter_mut().all(|turn| poll(turn).is_none()));
    world.clock.advance(ms(100));
    assert!(poll(&mut turns[1]).is_none());
    assert!(poll(&mut turns[0]).expect("its turn").is_ok());
    world.clock.advance(ms(100));
    assert!(poll(&mut turns[1]).expect("its turn").is_ok());
    drop(first);
}

#[test]
fn a_rate_by_window_waits_for_the_next() {
    let world = World::new(Policy::new().rate(Rate::per_second(1).window().wait(secs(1))));
    let order = event("1");
    world.call(&order, Ok(())).expect("the first");
    let mut turn = waiting(world.guard.enter(&world.ask(&order)));
    assert!(poll(&mut turn).is_none());
    world.clock.advance(secs(1));
    assert!(poll(&mut turn).expect("the next window").is_ok());
}

#[test]
fn a_shared_rate_is_counted_together() {
    let counters = Arc::new(MemoryCounters::new());
    let policy = Policy::new().rate(Rate::per_second(250).shared());
    let nodes = [(); 3].map(|()| {
        World::with(policy.clone(), |around| Surroundings { counters: Some(counters.clone()), ..around })
    });
    let order = event("1");
    for _ in 0..3 {
        let all: usize =
            nodes.iter().map(|node| (0..200).filter(|_| node.enter(&order).is_ok()).count()).sum();
        assert_eq!(all, 250);
        nodes.iter().for_each(|node| node.clock.advance(secs(1)));
    }
    let alone = Guard::new("h", policy, Surroundings::default()).map(drop).expect_err("no counters");
    assert!(alone.faults[0].starts_with("rate.shared: "), "{alone}");
}

#[test]
fn a_bulkhead_runs_so_many_and_its_queue_is_first_come_first_served_and_bounded() {
    let world = World::new(Policy::new().bulkhead(Bulkhead::from(2).queue(2).wait(secs(1))));
    let order = event("1");
    let mut running = [(); 2].map(|()| world.enter(&order).ok());
    let mut queue = [(); 2].map(|()| waiting(world.guard.enter(&world.ask(&order))));
    assert!(queue.iter_mut().all(|place| poll(place).is_none()));
    let full = now(world.guard.enter(&world.ask(&order))).map(drop);
    assert!(matches!(full, Err(Refusal::BulkheadFull { .. })));
    let state = world.guard.state().bulkhead.expect("has one");
    assert_eq!((state.permits, state.free, state.waiting), (2, 0, 2));
    running[0] = None;
    assert!(poll(&mut queue[1]).is_none(), "the other came first");
    running[0] = poll(&mut queue[0]).expect("a permit came").ok();
    assert!(running[0].is_some());
    world.clock.advance(secs(1));
    let late = poll(&mut queue[1]).expect("its time is over").map(drop);
    assert!(matches!(late, Err(Refusal::BulkheadTimeout { .. })));
    drop(running);
    let state = world.guard.state().bulkhead.expect("has one");
    assert_eq!((state.free, state.waiting), (2, 0), "everything came back");
}

#[test]
fn a_source_that_can_come_back_is_not_held_before_a_bulkhead() {
    let world = World::new(Policy::new().bulkhead(1));
    let order = event("1");
    let _running = world.enter(&order).expect("through");
    let refused = now(world.guard.enter(&Ask { hold: false, ..world.ask(&order) })).map(drop);
    assert!(matches!(refused, Err(Refusal::BulkheadFull { .. })));
}

#[test]
fn who_names_the_same_pool_shares_its_permits() {
    let pools = Pools::new();
    let with = |bulkhead: Bulkhead| {
        World::with(Policy::new().bulkhead(bulkhead), |around| Surroundings {
            pools: pools.clone(),
            ..around
        })
    };
    let db = || Bulkhead::pool("db").permits(1).queue(0);
    let (one, other, own) = (with(db()), with(db()), with(Bulkhead::from(1)));
    let order = event("1");
    let held = one.enter(&order).expect("the only permit");
    assert!(other.enter(&order).is_err());
    assert!(own.enter(&order).is_ok());
    drop(held);
    assert!(other.enter(&order).is_ok());
    let around = Surroundings { pools: pools.clone(), ..Surroundings::default() };
    let faults =
        Guard::new("h", Policy::new().bulkhead(db().permits(2)), around).map(drop).expect_err("contradicts");
    assert!(faults.faults[0].starts_with("bulkhead.permits: "), "{faults}");
    drop((one, other));
    assert!(with(db().permits(2)).enter(&order).is_ok(), "a pool nobody uses is gone");
}

#[test]
fn permits_come_back_when_a_call_panics_is_cancelled_or_never_polled() {
    let policy = Policy::new()
        .bulkhead(Bulkhead::from(1).queue(1))
        .circuit(Circuit::open_after(1))
        .idempotent(Idempotency::by_id());
    let (world, order) = (World::new(policy), event("1"));
    let permit = world.enter(&order).expect("through");
    let never = waiting(world.guard.enter(&world.ask(&event("2"))));
    drop(never);
    drop(permit);
    let state = world.guard.state();
    assert_eq!(state.circuit.expect("has one").state, BreakerState::Closed, "cancelled is not failed");
    assert_eq!(state.bulkhead.map(|state| (state.free, state.waiting)), Some((1, 0)));
    let permit = world.enter(&order).expect("the claim came back too");
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _permit = permit;
        panic!("on purpose");
    }));
    assert!(panic.is_err());
    let state = world.guard.state();
    assert_eq!(state.circuit.expect("has one").state, BreakerState::Open, "a panic is a failed attempt");
    assert_eq!(state.bulkhead.map(|state| state.free), Some(1));
}

#[test]
fn what_waited_for_a_permit_meets_the_circuit_again() {
    let world = World::new(Policy::new().bulkhead(1).circuit(Circuit::open_after(1)));
    let order = event("1");
    let running = world.enter(&order).expect("through");
    let mut next = waiting(world.guard.enter(&world.ask(&order)));
    assert!(poll(&mut next).is_none());
    let _ = world.guard.leave(running, &failed(), ms(1));
    let refused = poll(&mut next).expect("a permit came").map(drop);
    assert!(matches!(refused, Err(Refusal::CircuitOpen { .. })), "it opened meanwhile: {refused:?}");
    assert_eq!(world.guard.state().bulkhead.map(|state| state.free), Some(1));
}

#[test]
fn retries_wait_as_the_policy_says_with_jitter_both_ways_from_the_seed() {
    let waits = |seed| -> Vec<Duration> {
        let world = World::with(Policy::new().retry(Retry::constant(secs(8)).attempts(u32::MAX)), |around| {
            Surroundings { seed, ..around }
        });
        let order = event("1");
        let again = |_| match world.call(&order, failed()).expect("through").verdict {
            Verdict::Again { after } => after,
            other => panic!("{other:?}"),
        };
        (0..1_000).map(again).collect()
    };
    let drawn = waits(1);
    assert!(drawn.iter().all(|wait| (secs(6)..=secs(10)).contains(wait)), "a quarter, up and down");
    assert!(
        drawn.iter().any(|wait| *wait < ms(6_050)) && drawn.iter().any(|wait| *wait > ms(9_950)),
        "all of it"
    );
    let mean = drawn.iter().sum::<Duration>() / 1_000;
    assert!((ms(7_850)..ms(8_150)).contains(&mean), "{mean:?}");
    assert_eq!(drawn, waits(1));
    assert_ne!(drawn, waits(2));
}

#[test]
fn after_its_attempts_a_delivery_is_given_up_or_goes_to_the_fallback() {
    for fallback in [false, true] {
        let world = World::with(Policy::new().retry(Retry::none().attempts(3)), |around| Surroundings {
            fallback,
            ..around
        });
        let order = event("1");
        let verdict = |attempt, result| {
            let permit = now(world.guard.enter(&Ask { attempt, ..world.ask(&order) })).expect("through");
            world.guard.leave(permit, &result, ms(1)).verdict
        };
        assert!(matches!(verdict(2, failed()), Verdict::Again { .. }));
        let (exhausted, permanent) = (verdict(3, failed()), verdict(1, Err(Failure::permanent("no"))));
        let (one, other) = (DeadReason::Exhausted, DeadReason::Permanent);
        match fallback {
            false => assert_eq!(
                (exhausted, permanent),
                (Verdict::Dead { reason: one }, Verdict::Dead { reason: other })
            ),
            true => {
                let given = (Verdict::Fallback { reason: one }, Verdict::Fallback { reason: other });
                assert_eq!((exhausted, permanent), given);
            }
        }
    }
}

#[test]
fn the_same_is_handled_once_and_again_only_when_it_failed_or_was_forgotten() {
    let world = World::new(Policy::new().idempotent(Idempotency::by_id().ttl(secs(60)).lease(secs(5))));
    let order = event("1");
    let permit = world.enter(&order).expect("the first");
    let same = world.enter(&order).map(drop).expect_err("it runs");
    assert!(matches!(same, Refusal::Running { .. }) && matches!(same.settlement(), Settlement::Later(_)));
    let _ = world.guard.leave(permit, &failed(), ms(1));
    world.call(&order, Ok(())).expect("it had failed");
    let same = world.enter(&order).map(drop).expect_err("it is done");
    assert_eq!((same.settlement(), same), (Settlement::Done, Refusal::Finished));
    assert!(world.enter(&event("2")).is_ok());
    world.clock.advance(ms(59_999));
    assert!(world.enter(&order).is_err());
    world.clock.advance(ms(1));
    assert!(world.enter(&order).is_ok(), "its time to live is over");
}

#[test]
fn a_claim_whose_holder_died_is_claimed_again_and_its_late_finish_is_refused() {
    let claims = Arc::new(MemoryClaims::default());
    let policy = Policy::new().idempotent(Idempotency::by_id().lease(secs(5)));
    let nodes = [(); 2]
        .map(|()| World::with(policy.clone(), |around| Surroundings { claims: claims.clone(), ..around }));
    let order = event("1");
    let late = nodes[0].enter(&order).expect("the first");
    nodes.iter().for_each(|node| node.clock.advance(ms(4_999)));
    assert!(nodes[1].enter(&order).is_err());
    nodes.iter().for_each(|node| node.clock.advance(ms(1)));
    let permit = nodes[1].enter(&order).expect("the lease is over");
    let mut left = nodes[0].guard.leave(late, &Ok(()), secs(5));
    let lost = poll(left.then.as_mut().expect("something to say")).expect("at once");
    assert!(lost.expect_err("the claim is another's").is_permanent());
    assert!(matches!(nodes[0].enter(&order).map(drop), Err(Refusal::Running { .. })));
    assert!(nodes[1].guard.leave(permit, &Ok(()), ms(1)).then.is_none());
    assert_eq!(nodes[0].enter(&order).map(drop), Err(Refusal::Finished));
}

#[test]
fn the_same_is_what_the_policy_says_it_is() {
    let once = |by: Idempotency, events: &[(&str, &str, &str)]| -> Vec<bool> {
        let world = World::new(Policy::new().idempotent(by));
        let through =
            |(id, key, json): &(&str, &str, &str)| world.call(&keyed(id, key, json), Ok(())).is_ok();
        events.iter().map(through).collect()
    };
    let events = [
        ("1", "a", r#"{"n":1}"#),
        ("1", "b", r#"{"n":2}"#),
        ("2", "a", r#"{"n":2}"#),
        ("3", "a", r#"{"n":1}"#),
    ];
    assert_eq!(once(Idempotency::by_id(), &events), [true, false, true, true]);
    assert_eq!(once(Idempotency::by_key(), &events), [true, true, false, false]);
    assert_eq!(once(Idempotency::by_field("n"), &events), [true, true, false, false]);
    assert_eq!(once(Idempotency::by_version("n"), &events), [true, true, true, false]);
    let none = [("1", "a", "{}"), ("2", "a", "{}"), ("2", "a", "{}")];
    assert_eq!(once(Idempotency::by_field("n"), &none), [true, true, false], "without the field, by id");
    assert_eq!(once(Idempotency::by_version("n"), &none), [true, true, false]);
}

#[test]
fn claims_that_are_to_be_stored_go_to_the_store() {
    let (memory, store) = (Arc::new(MemoryClaims::default()), Arc::new(MemoryClaims::default()));
    let policy = Policy::new().idempotent(Idempotency::by_id().stored());
    let world = World::with(policy.clone(), |around| Surroundings {
        claims: memory.clone(),
        stored_claims: Some(store.clone()),
        ..around
    });
    let mut permit = world.enter(&event("1")).expect("through");
    assert_eq!((memory.len(), store.len()), (0, 1));
    let (claim, ttl) = permit.take_claim().expect("its caller finishes it");
    assert_eq!((&*claim.scope, ttl), ("mail/receipt", secs(24 * 60 * 60)));
    let _ = world.guard.leave(permit, &Ok(()), ms(1));
    assert!(matches!(world.enter(&event("1")).map(drop), Err(Refusal::Running { .. })), "nobody finished it");
    let faults = Guard::new("h", policy, Surroundings::default()).map(drop).expect_err("no store");
    assert!(faults.faults[0].starts_with("idempotency.keep: "), "{faults}");
}

#[test]
fn remembered_claims_are_bounded_and_what_is_forgotten_is_counted() {
    let claims = Arc::new(MemoryClaims::bounded(10));
    let policy = Policy::new().idempotent(Idempotency::by_id());
    let world = World::with(policy, |around| Surroundings { claims: claims.clone(), ..around });
    for id in 0..100 {
        world.call(&event(&id.to_string()), Ok(())).expect("through");
    }
    assert_eq!((claims.len(), claims.forgotten()), (10, 90));
    let _running: Vec<_> =
        (200..210).map(|id| world.enter(&event(&id.to_string())).expect("through")).collect();
    let full = world.enter(&event("999")).map(drop).expect_err("all are being worked on");
    assert!(matches!(full, Refusal::Unavailable { .. }) && matches!(full.settlement(), Settlement::Later(_)));
}

#[test]
fn a_policy_changes_while_it_runs_and_what_is_the_same_keeps_its_state() {
    let policy = Policy::new().circuit(Circuit::open_after(1)).rate(Rate::per_second(5)).bulkhead(2);
    let (world, order) = (World::new(policy.clone()), event("1"));
    let running = [(); 2].map(|()| world.enter(&order).expect("through"));
    world.guard.change(policy.clone().bulkhead(1).timeout(secs(7))).expect("safe");
    assert_eq!(world.guard.timeout(), secs(7));
    drop(running);
    assert_eq!(world.guard.state().bulkhead.map(|state| (state.permits, state.free)), Some((1, 1)));
    assert_eq!(world.guard.state().rate.and_then(|state| state.left), Some(3), "the bucket is the same");
    world.call(&order, failed()).expect("through");
    world.guard.change(policy.clone().rate(Rate::per_second(100))).expect("safe");
    assert!(matches!(world.enter(&order).map(drop), Err(Refusal::CircuitOpen { .. })), "it is still open");
    assert_eq!(world.guard.state().rate.and_then(|state| state.left), Some(100));
    world.guard.change(policy.circuit(Circuit::open_after(1).mode(CircuitMode::Disabled))).expect("safe");
    assert!(world.enter(&order).is_ok());
    let faults = world.guard.change(Policy::new().timeout(Duration::ZERO)).expect_err("a fault");
    assert_eq!(faults.faults, ["timeout: must not be 0, or every call fails"]);
    assert_eq!(world.guard.state().circuit.expect("nothing has changed").state, BreakerState::Disabled);
    assert_eq!(world.guard.policy().circuit.expect("as said").mode, CircuitMode::Disabled);
}

#[test]
fn what_is_the_same_delivery_cannot_change_while_it_runs() {
    let world = World::new(Policy::new().idempotent(Idempotency::by_id()));
    assert!(world.guard.change(Policy::new().idempotent(Idempotency::by_key())).is_err());
    assert!(world.guard.change(Policy::new().idempotent(Idempotency::by_id().ttl(secs(1)))).is_ok());
}

#[tokio::test]
async fn a_direct_call_is_retried_and_then_works_or_is_given_up() {
    let policy = Policy::new().retry(Retry::constant(Duration::ZERO).jitter(0.0).attempts(3));
    let world = World::new(policy);
    let works_at = async |nth: u32| {
        world
            .guard
            .run(&event("1"), |attempt| async move { if attempt < nth { failed() } else { Ok(()) } })
            .await
    };
    assert!(matches!(works_at(3).await, Ran::Done));
    let Ran::Dead { reason, attempts, failure } = works_at(4).await else { panic!("three attempts") };
    assert_eq!(
        (reason, attempts, failure.to_string().as_str()),
        (DeadReason::Exhausted, 3, "connection refused")
    );
}

#[tokio::test]
async fn a_direct_call_that_panics_or_never_answers_has_failed() {
    let world =
        World::new(Policy::new().retry(Retry::none()).timeout(secs(2)).circuit(Circuit::open_after(2)));
    let order = event("1");
    let Ran::Dead { failure, .. } = world.guard.run(&order, |_| async { panic!("on purpose") }).await else {
        panic!()
    };
    assert_eq!(failure.to_string(), "panicked: on purpose");
    let mut call = Box::pin(world.guard.run(&order, |_| std::future::pending()));
    assert!(poll(&mut call).is_none());
    world.clock.advance(ms(1_999));
    assert!(poll(&mut call).is_none());
    world.clock.advance(ms(1));
    let Some(Ran::Dead { failure, .. }) = poll(&mut call) else { panic!("its time is over") };
    assert_eq!(failure.to_string(), "no answer within 2s");
    assert!(matches!(
        world.guard.run(&order, |_| async { Ok(()) }).await,
        Ran::Refused(Refusal::CircuitOpen { .. })
    ));
}

#[tokio::test]
async fn a_direct_call_that_is_refused_goes_to_the_fallback_if_there_is_one() {
    let policy = Policy::new().circuit(Circuit::default().mode(CircuitMode::Open));
    let world = World::with(policy, |around| Surroundings { fallback: true, ..around });
    let Ran::Fallback { failure } = world.guard.run(&event("1"), |_| async { Ok(()) }).await else {
        panic!("refused")
    };
    assert_eq!(failure.to_string(), "the circuit is open");
}

#[test]
fn notices_and_states_are_data() {
    let world = World::new(Policy::new().bulkhead(3).circuit(Circuit::open_after(1)));
    world.call(&event("1"), failed()).expect("through");
    let json = serde_json::to_value(&world.notices.lock()[0]).expect("JSON");
    assert_eq!(json, serde_json::json!({"what": "circuit-opened", "handler": "mail/receipt"}));
    assert!(matches!(serde_json::from_value(json).expect("a notice"), Notice::CircuitOpened { .. }));
    let state = world.guard.state();
    let json = serde_json::to_string(&state).expect("JSON");
    assert_eq!(serde_json::from_str::<tidings_policy::GuardState>(&json).expect("a state"), state);
    assert!(state.policy.contains("circuit opens after 1 failures in a row"), "{}", state.policy);
    assert!(state.policy.contains("timeout 5s; 4 attempts, after 1s/2s/4s"), "{}", state.policy);
}
