//! Ways in which systems of this kind have broken.

mod common;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::*;
use tidings_core::{Circuit, Clock, Envelope, Policy, Rate, Retry, Timestamp};
use tidings_policy::{Ask, BreakerState, Guard, Surroundings, Verdict};

#[test]
fn a_limiter_does_not_limit_its_own_notice_nor_recurse() {
    // Who hears that the limit was reached publishes that, through the same guard.
    let (again, depth, most) =
        (Arc::new(OnceLock::<Guard>::new()), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (guard, deep, deepest) = (again.clone(), depth.clone(), most.clone());
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let world = World::with(Policy::new().rate(Rate::per_second(2_000)), |around| Surroundings {
        notices: Arc::new(move |notice| {
            deepest.fetch_max(deep.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let own = Envelope::build(notice.name()).id("n").source("tidings").finish().expect("an event");
            let guard = guard.get().expect("it is set");
            let entered = now(guard.enter(&Ask::new(&own, Timestamp::from_millis(1_000_000))));
            assert!(entered.is_ok(), "a notice was limited");
            count.fetch_add(1, Ordering::SeqCst);
            deep.fetch_sub(1, Ordering::SeqCst);
        }),
        ..around
    });
    again.set(world.guard.clone()).expect("once");
    let order = event("1");
    let through = (0..10_000).filter(|_| world.enter(&order).is_ok()).count();
    assert_eq!(through, 2_000);
    assert_eq!((told.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn a_breaker_lets_no_more_failing_calls_through_than_its_probes_after_it_opened() {
    let (world, order) =
        (World::new(Policy::new().circuit(Circuit::open_after(5).probe_after(secs(30)))), event("1"));
    let calls = || (0..100).filter(|_| world.call(&order, failed()).is_ok()).count();
    assert_eq!(calls(), 5);
    for _ in 0..10 {
        world.clock.advance(secs(30));
        assert_eq!(calls(), 1, "one probe, not as many as the threshold");
    }
}

#[test]
fn refused_calls_do_not_move_the_time_of_opening() {
    let (world, order) =
        (World::new(Policy::new().circuit(Circuit::open_after(1).probe_after(secs(30)))), event("1"));
    world.call(&order, failed()).expect("closed");
    for _ in 0..29 {
        world.clock.advance(secs(1));
        assert!(world.enter(&order).is_err());
    }
    world.clock.advance(secs(1));
    assert!(world.enter(&order).is_ok());
}

#[tokio::test]
async fn a_breaker_opens_on_failures_that_come_later_too() {
    let world = World::new(Policy::new().retry(Retry::none()).circuit(Circuit::open_after(3)));
    for _ in 0..3 {
        let _ = world
            .guard
            .run(&event("1"), |_| async {
                tokio::task::yield_now().await;
                failed()
            })
            .await;
    }
    assert_eq!(world.guard.state().circuit.expect("has one").state, BreakerState::Open);
}

#[test]
fn a_budget_of_retries_caps_a_storm() {
    let retry = Retry::constant(ms(100)).jitter(0.0).attempts(u32::MAX).budget(60);
    let (world, order) = (World::new(Policy::new().retry(retry)), event("1"));
    let start = world.clock.now();
    let mut due: Vec<Duration> = (0..600)
        .map(|_| match world.call(&order, failed()).expect("through") {
            Verdict::Again { after } => world.clock.now().after(after).since(start),
            other => panic!("{other:?}"),
        })
        .collect();
    due.sort_unstable();
    for (at, first) in due.iter().enumerate() {
        let minute = due[at..].iter().take_while(|retry| **retry < *first + secs(60)).count();
        assert!(minute <= 60, "{minute} retries in the minute from {first:?}");
    }
    assert_eq!(world.guard.state().retries_left, Some(0));
    assert_eq!(world.names(), ["tidings.retry-budget.spent"], "told once a second");
}

#[test]
fn settings_of_nothing_do_not_pass() {
    let nan = Policy::new()
        .circuit(Circuit::failing(f64::NAN))
        .timeout(Duration::ZERO)
        .retry(Retry::none().jitter(f64::NAN));
    let faults = Guard::new("h", nan, Surroundings::default()).map(drop).expect_err("three faults");
    let paths: Vec<_> = faults.faults.iter().filter_map(|fault| fault.split(": ").next()).collect();
    assert_eq!(paths, ["timeout", "circuit.trip.rate.share", "retry.jitter"]);
}
