//! Waiting for an event: what was emitted since is not missed, and who gives up leaves nothing behind.

mod common;

use std::{pin::pin, sync::Arc, task::Poll, time::Duration};

use common::{Cancelled, Placed};
use futures_util::poll;
use tidings_bus::{Bus, WaitError};
use tidings_core::{Envelope, ManualClock, Timestamp};

const SECOND: Duration = Duration::from_secs(1);

fn driven() -> (Bus, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    (Bus::builder().clock(Arc::new(clock.clone())).build(), clock)
}

#[tokio::test]
async fn what_is_emitted_before_it_is_first_polled_is_not_missed() {
    let (bus, _) = driven();
    let next = bus.next::<Placed>();
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Placed(2))), (1, 0));
    assert_eq!(next.await.expect("it came").0, 1);
}

#[tokio::test]
async fn an_event_that_does_not_meet_the_conditions_does_not_end_the_waiting() {
    let (bus, _) = driven();
    let mut next = pin!(bus.listen().when(|placed: &Placed| placed.0 > 1).next());
    assert_eq!(bus.emit(&Placed(1)), 0);
    assert!(poll!(&mut next).is_pending());
    assert_eq!(bus.emit(&Placed(2)), 1);
    assert_eq!(next.await.expect("it came").0, 2);
}

#[tokio::test]
async fn it_times_out_by_the_clock_of_the_bus_and_listens_no_more() {
    let (bus, clock) = driven();
    let mut next = pin!(bus.next::<Placed>().within(2 * SECOND));
    assert!(poll!(&mut next).is_pending());
    clock.advance(SECOND);
    assert!(poll!(&mut next).is_pending());
    assert_eq!(bus.listener_count("order.placed"), 1);
    clock.advance(SECOND);
    let late = poll!(&mut next).map(|answer| answer.map(|on| on.0));
    assert_eq!(late, Poll::Ready(Err(WaitError::TimedOut(2 * SECOND))));
    assert_eq!(bus.listener_count("order.placed"), 0);
}

#[tokio::test]
async fn the_time_runs_from_when_it_was_said_and_not_from_the_first_poll() {
    let (bus, clock) = driven();
    let mut next = pin!(bus.next::<Placed>().within(2 * SECOND));
    clock.advance(SECOND);
    assert!(poll!(&mut next).is_pending());
    assert_eq!(clock.next_wake(), Some(SECOND));
    let never_polled = bus.next::<Placed>().within(SECOND);
    clock.advance(5 * SECOND);
    assert_eq!(never_polled.await.map(|on| on.0), Err(WaitError::TimedOut(SECOND)));
}

#[tokio::test]
async fn an_event_that_came_in_time_counts_also_when_it_is_fetched_late() {
    let (bus, clock) = driven();
    let next = bus.next::<Placed>().within(SECOND);
    bus.emit(&Placed(1));
    clock.advance(2 * SECOND);
    assert_eq!(next.await.expect("it came in time").0, 1);
}

#[tokio::test]
async fn dropped_it_leaves_no_listener_and_no_sleeper() {
    let (bus, clock) = driven();
    let mut next = Box::pin(bus.next::<Placed>().within(SECOND));
    let by_pattern = bus.next_of("order.**").expect("valid");
    assert!(poll!(&mut next).is_pending());
    assert_eq!((bus.listener_count("order.placed"), clock.sleepers()), (2, 1));
    drop((next, by_pattern));
    assert_eq!((bus.names().len(), clock.sleepers()), (0, 0));
}

#[tokio::test]
async fn by_pattern_it_is_given_the_envelope_of_the_first_that_matches() {
    let (bus, _) = driven();
    let next = bus.next_of("order.*").expect("valid");
    let envelope = Envelope::build("order.cancelled").json("7").finish().expect("valid");
    assert_eq!((bus.emit_envelope(&envelope), bus.emit(&Placed(1))), (1, 0));
    let heard = next.await.expect("it came");
    assert_eq!((heard.id(), &**heard.name()), (envelope.id(), "order.cancelled"));
    assert_eq!(bus.next_of("order.**x").expect_err("invalid").column, 7);
}

#[tokio::test]
async fn a_shared_event_is_handed_over_and_not_copied() {
    let (bus, _) = driven();
    let (one, other, event) = (bus.next::<Placed>(), bus.next::<Placed>(), Arc::new(Placed(1)));
    bus.emit_shared(&event);
    let (one, other) = (one.await.expect("it came"), other.await.expect("it came"));
    assert!(Arc::ptr_eq(&one.shared(), &event) && Arc::ptr_eq(&other.shared(), &event));
    let (one, other) = (bus.next::<Placed>(), bus.next::<Placed>());
    bus.emit(&Placed(2));
    let (one, other) = (one.await.expect("it came"), other.await.expect("it came"));
    assert!(Arc::ptr_eq(&one.shared(), &other.shared()), "one copy for all");
}

#[tokio::test]
async fn it_ends_with_the_bus_and_does_not_keep_it_alive() {
    let (bus, _) = driven();
    let mut next = pin!(bus.next::<Placed>().within(SECOND));
    assert!(poll!(&mut next).is_pending());
    drop(bus);
    assert_eq!(next.await.map(|on| on.0), Err(WaitError::Ended));
}

#[tokio::test]
async fn it_ends_when_it_is_removed_also_while_an_emitter_still_remembers_it() {
    let (bus, _) = driven();
    let emitter = bus.emitter::<Placed>();
    let guard = bus.on(|_: &Placed| ());
    let next = bus.listen().when(|placed: &Placed| placed.0 > 9).next();
    assert_eq!(emitter.emit(&Placed(1)), 1);
    assert_eq!(bus.remove_all(), 2);
    assert_eq!(next.await.map(|on| on.0), Err(WaitError::Ended));
    drop((emitter, guard));
}

#[tokio::test]
async fn many_wait_for_the_same_event_and_each_is_given_it() {
    let (bus, _) = driven();
    let all: Vec<_> = (0..10).map(|_| bus.next::<Placed>()).collect();
    assert_eq!((bus.emit(&Cancelled(1)), bus.emit(&Placed(3))), (0, 10));
    for next in all {
        assert_eq!(next.await.expect("it came").0, 3);
    }
    assert!(bus.names().is_empty());
}
