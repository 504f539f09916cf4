//! One policy, two guards: of the deliveries of a batch, and of its call.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    Bulkhead, Circuit, Envelope, Failure, Flag, Idempotency, ManualClock, Policy, Rate, Retry, Timestamp,
};
use tidings_policy::{Ask, BatchGuards, BreakerState, Entered, Guard, MemoryFlags, Refusal, Surroundings};

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn around() -> Surroundings {
    Surroundings { clock: Arc::new(ManualClock::at(NOW)), ..Surroundings::default() }
}

fn event(id: &str) -> Envelope {
    Envelope::build("order.placed").id(id).source("shop").finish().expect("an event")
}

fn enter(guard: &Guard, id: &str) -> Entered {
    guard.enter(&Ask { hold: false, ..Ask::new(&event(id), NOW) })
}

#[test]
fn what_is_about_calls_is_asked_of_calls_and_the_rest_of_each() {
    let policy = Policy::new().circuit(Circuit::open_after(1)).bulkhead(1).rate(Rate::per(secs(1), 2));
    let guards = BatchGuards::new("search/index", policy, around()).expect("a policy");
    let permits: Vec<_> = (0..2).map(|id| enter(&guards.each, &id.to_string())).collect();
    assert!(permits.iter().all(|entered| matches!(entered, Entered::Go(_))), "no permit is for one delivery");
    assert!(matches!(enter(&guards.each, "2"), Entered::Refused(Refusal::RateLimited { .. })));
    let Entered::Go(permit) = enter(&guards.calls, "0") else { panic!("nobody calls") };
    assert!(matches!(enter(&guards.calls, "0"), Entered::Refused(Refusal::BulkheadFull { .. })));
    drop(permit.leave(&Err(Failure::transient("refused")), secs(1)));
    assert!(matches!(enter(&guards.calls, "0"), Entered::Refused(Refusal::CircuitOpen { .. })));
    let state = guards.state();
    assert_eq!(state.circuit.map(|circuit| circuit.state), Some(BreakerState::Open));
    assert!(state.rate.is_some() && state.bulkhead.is_some());
    assert!(state.policy.contains("circuit") && state.policy.contains("rate"), "{}", state.policy);
}

#[test]
fn a_call_is_not_refused_for_a_flag_of_its_first_delivery() {
    let flags = Arc::new(MemoryFlags::new());
    flags.set("event:order.placed".into(), Some(Flag::Off), "ann", NOW).expect("a flag");
    let guards = BatchGuards::new("a", Policy::new(), Surroundings { flags, ..around() }).expect("a policy");
    assert!(matches!(enter(&guards.each, "0"), Entered::Refused(Refusal::FlagOff(_))));
    assert!(matches!(enter(&guards.calls, "0"), Entered::Go(_)));
}

#[test]
fn a_claim_holds_as_long_as_a_call_may_take() {
    let policy = Policy::new().timeout(secs(60)).idempotent(Idempotency::by_id());
    let guards = BatchGuards::new("a", policy.clone(), around()).expect("a policy");
    assert_eq!((guards.policy(), guards.calls.timeout()), (policy, secs(60)));
    let Entered::Go(_held) = enter(&guards.each, "0") else { panic!("nobody has it") };
    let ask = |span| guards.each.enter(&Ask { hold: false, ..Ask::new(&event("0"), NOW.after(span)) });
    assert!(matches!(ask(secs(64)), Entered::Refused(Refusal::Running { .. })));
    assert!(matches!(ask(secs(66)), Entered::Go(_)));
}

#[test]
fn a_deadline_may_be_shorter_than_a_timeout_that_nobody_has_named() {
    let policy = Policy::new().deadline(secs(10));
    let guards = BatchGuards::new("a", policy, around()).expect("a policy");
    assert_eq!((guards.calls.timeout(), guards.each.timeout()), (secs(30), secs(10)));
    let wrong = Policy::new().deadline(secs(10)).timeout(secs(20));
    assert_eq!(BatchGuards::new("a", wrong, around()).expect_err("never reached").faults.len(), 1);
}

#[test]
fn a_change_is_of_both_or_of_none() {
    let around = around();
    let shared = |permits| Policy::new().bulkhead(Bulkhead::pool("db").permits(permits));
    let other = Guard::new("other", shared(2), around.clone()).expect("a policy");
    let guards = BatchGuards::new("a", shared(2), around).expect("a policy");
    let retry = Retry::constant(secs(1)).attempts(2);
    assert!(guards.change(shared(3).retry(retry.clone())).is_err(), "the pool is another's, too");
    assert_eq!((guards.policy(), guards.is_last(2)), (shared(2), false));
    guards.change(shared(2).retry(retry)).expect("a policy");
    assert_eq!((guards.is_last(1), guards.is_last(2)), (false, true));
    drop(other);
}

#[test]
fn a_permit_that_is_not_used_gives_its_claim_back() {
    let policy = Policy::new().idempotent(Idempotency::by_id());
    let guards = BatchGuards::new("a", policy, around()).expect("a policy");
    let Entered::Go(permit) = enter(&guards.each, "0") else { panic!("nobody has it") };
    assert!(matches!(enter(&guards.each, "0"), Entered::Refused(Refusal::Running { .. })));
    assert!(permit.unused().is_none(), "memory is told at once");
    assert!(matches!(enter(&guards.each, "0"), Entered::Go(_)));
}
