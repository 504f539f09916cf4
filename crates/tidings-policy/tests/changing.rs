//! A policy is changed while its guard runs.

mod common;

use std::time::Duration;

use common::*;
use tidings_core::{Circuit, CircuitMode, Idempotency, Policy, Rate, Reason, Retry};
use tidings_policy::{Ask, BreakerState, Refusal, Verdict};

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
fn a_change_is_answered_with_what_was_and_what_runs_ends_under_it() {
    let policy = Policy::new().retry(Retry::none()).bulkhead(1);
    let (world, order) = (World::new(policy.clone()), event("1"));
    let running = world.enter(&order).expect("through");
    let more = Policy::new().retry(Retry::constant(secs(1)).attempts(9)).timeout(secs(3));
    assert_eq!(world.guard.change(more.clone()).expect("safe"), policy);
    assert_eq!(world.guard.look(|policy| policy.timeout), Some(secs(3)));
    assert!(world.enter(&order).is_ok(), "there is no bulkhead any more");
    assert_eq!(running.timeout(), secs(30));
    let left = world.guard.leave(running, &failed(), ms(1));
    assert_eq!(left.verdict, Verdict::Dead { reason: Reason::Exhausted }, "it began without retries");
    assert!(matches!(world.call(&order, failed()), Ok(Verdict::Again { .. })));
    assert_eq!(world.guard.faults(&Policy::new().timeout(Duration::ZERO)).len(), 1);
    assert_eq!(world.guard.policy(), more, "looking for faults changes nothing");
}

#[test]
fn a_circuit_that_is_replaced_is_told_as_closed_and_one_that_comes_forced_open_as_opened() {
    let (world, order) = (World::new(Policy::new().circuit(Circuit::open_after(1))), event("1"));
    world.call(&order, failed()).expect("through");
    world.guard.change(Policy::new().circuit(Circuit::open_after(2))).expect("safe");
    assert_eq!(world.names(), ["tidings.circuit.opened", "tidings.circuit.closed"]);
    assert!(world.enter(&order).is_ok(), "another circuit begins closed");
    let changed = world
        .guard
        .change_quietly(Policy::new().circuit(Circuit::open_after(3).mode(CircuitMode::Open)))
        .expect("safe");
    assert_eq!(world.names().len(), 2, "not told yet");
    assert_eq!(changed.tell().circuit, Some(Circuit::open_after(2)));
    assert_eq!(world.names().last(), Some(&"tidings.circuit.opened"));
    world.guard.change(Policy::new()).expect("safe");
    assert_eq!(world.names().last(), Some(&"tidings.circuit.closed"));
}

#[test]
fn what_is_the_same_delivery_cannot_change_while_it_runs() {
    let world = World::new(Policy::new().idempotent(Idempotency::by_id()));
    assert!(world.guard.change(Policy::new().idempotent(Idempotency::by_key())).is_err());
    assert!(world.guard.change(Policy::new().idempotent(Idempotency::by_id().ttl(secs(1)))).is_ok());
}

#[test]
fn quarantine_comes_when_the_policy_says_now() {
    let (world, order) = (World::new(Policy::new()), event("1"));
    let enter = || now(world.guard.enter(&Ask { crashes: 2, ..world.ask(&order) })).map(drop);
    assert!(matches!(enter(), Err(Refusal::Poison(2))));
    world.guard.change(Policy::new().quarantine_after(3)).expect("safe");
    assert!(enter().is_ok());
}
