//! Every field of a policy does what it says: shedding, rates and bulkheads.

mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use tidings_core::{Bulkhead, Policy, Priority, Rate, Shed, Timestamp};
use tidings_policy::{Ask, Guard, MemoryCounters, Pools, Refusal, Settlement, Surroundings};

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
    let _ = world.guard.leave(world.enter(&low).expect("through"), &Ok(()), secs(9));
    world.clock.advance(secs(1));
    assert!(!waited(secs(9)));
    world.clock.advance(secs(1));
    assert!(!waited(ms(1)), "those that were refused had waited long");
    world.clock.advance(secs(1));
    assert!(waited(ms(1)), "those that were refused had not waited");
    let _ = world.guard.leave(world.enter(&low).expect("through"), &Ok(()), secs(9));
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
fn a_pool_changes_its_permits_when_one_handler_uses_it_whatever_runs_and_not_when_others_do() {
    let pools = Pools::new();
    let with = |bulkhead: Bulkhead| {
        World::with(Policy::new().bulkhead(bulkhead), |around| Surroundings {
            pools: pools.clone(),
            ..around
        })
    };
    let db = |permits| Bulkhead::pool("db").permits(permits).queue(0);
    let (one, order) = (with(db(1)), event("1"));
    let running = one.enter(&order).expect("the only permit");
    // Calls that run hold the plan they began with: they are no other handlers.
    one.guard.change(Policy::new().bulkhead(db(1)).timeout(secs(1))).expect("safe");
    one.guard.change(Policy::new().bulkhead(db(2)).timeout(secs(1))).expect("nobody else uses it");
    let second = one.enter(&order).expect("there is one more");
    assert!(one.enter(&order).is_err());
    drop((running, second));
    let other = with(db(2));
    let faults = other.guard.change(Policy::new().bulkhead(db(3))).expect_err("the other was promised two");
    assert!(faults.faults[0].contains("1 other handlers use it"), "{faults}");
    drop(one);
    other.guard.change(Policy::new().bulkhead(db(3))).expect("it is alone now");
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
