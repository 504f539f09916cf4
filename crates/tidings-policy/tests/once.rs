//! Every field of a policy does what it says: what is handled once.

mod common;

use std::sync::Arc;

use common::*;
use tidings_core::{Idempotency, Policy};
use tidings_policy::{Guard, MemoryClaims, Refusal, Settlement, Surroundings};

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
