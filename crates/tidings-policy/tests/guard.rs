//! Every field of a policy does what it says: flags, deadlines, circuits, retries, and the guard as a whole.

mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use tidings_core::{
    Bulkhead, Circuit, CircuitMode, Clock, Failure, Flag, Idempotency, Policy, Reason, Retry, Timestamp,
};
use tidings_policy::{
    Ask, BreakerState, FlagTarget, MemoryFlags, Notice, Ran, Refusal, Settlement, Surroundings, Verdict,
};

#[test]
fn a_policy_that_says_nothing_lets_everything_through() {
    let world = World::new(Policy::new());
    for id in 0..1_000 {
        assert_eq!(world.call(&event(&id.to_string()), Ok(())).expect("through"), Verdict::Done);
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
        assert_eq!(refusal.settlement(), Settlement::Dead(Reason::Poison));
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
        Verdict::Dead { reason: Reason::Deadline },
        "the next attempt would be too late"
    );
    world.clock.advance(secs(3));
    assert!(enter().is_ok(), "at the deadline");
    world.clock.advance(ms(1));
    assert_eq!(enter().map(drop).expect_err("over").settlement(), Settlement::Dead(Reason::Deadline));
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
    assert_eq!(world.call(&order, Ok(())).expect("a probe"), Verdict::Done);
    let circuit = ["tidings.circuit.opened", "tidings.circuit.half-opened", "tidings.circuit.closed"];
    assert_eq!(world.names(), circuit);
}

#[test]
fn a_permanent_failure_says_nothing_about_whom_was_asked() {
    let (world, order) = (World::new(Policy::new().circuit(Circuit::open_after(1))), event("1"));
    let refused = || Err(Failure::permanent("no such address"));
    for _ in 0..10 {
        let left = world.call(&order, refused()).expect("closed");
        assert_eq!(left, Verdict::Dead { reason: Reason::Permanent });
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
        let again = |_| match world.call(&order, failed()).expect("through") {
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
        let (one, other) = (Reason::Exhausted, Reason::Permanent);
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
        (Reason::Exhausted, 3, "connection refused")
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
    assert_eq!(failure.to_string(), "the handler panicked: on purpose");
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
