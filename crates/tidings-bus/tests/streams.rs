//! Streams of events: bounded, in order, and honest about what they lose.

mod common;

use std::{pin::pin, sync::Arc, thread};

use common::{Cancelled, Placed};
use futures_util::{FutureExt, StreamExt, poll};
use tidings_bus::{Bus, EventStream, Overflow, StreamEnd};
use tidings_core::On;

/// What can be taken without waiting.
fn ready(stream: &mut EventStream<On<Placed>>) -> Vec<u64> {
    std::iter::from_fn(|| stream.next().now_or_never().flatten().map(|placed| placed.0)).collect()
}

fn emit(bus: &Bus, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        bus.emit(&Placed(number));
    }
}

#[test]
fn events_come_in_the_order_in_which_they_were_emitted() {
    let bus = Bus::new();
    let mut stream = bus.stream::<Placed>(100);
    emit(&bus, 0..100);
    assert_eq!((ready(&mut stream), stream.lost()), ((0..100).collect(), 0));
    emit(&bus, [7]);
    assert_eq!(ready(&mut stream), [7]);
}

#[test]
fn a_full_one_loses_the_oldest_unless_told_otherwise_and_counts() {
    let bus = Bus::new();
    let mut stream = bus.stream::<Placed>(3);
    emit(&bus, 1..=5);
    assert_eq!((stream.lost(), ready(&mut stream)), (2, vec![3, 4, 5]));
    emit(&bus, 6..=9);
    assert_eq!((stream.lost(), ready(&mut stream)), (3, vec![7, 8, 9]));
}

#[test]
fn a_full_one_can_lose_the_newest() {
    let bus = Bus::new();
    let mut stream = bus.stream::<Placed>(3).overflow(Overflow::DropNewest);
    emit(&bus, 1..=5);
    assert_eq!((stream.lost(), ready(&mut stream)), (2, vec![1, 2, 3]));
    emit(&bus, [6]);
    assert_eq!((stream.lost(), ready(&mut stream), stream.ended()), (2, vec![6], None));
}

#[test]
fn a_full_one_can_end_behind_what_waits() {
    let bus = Bus::new();
    let mut stream = bus.stream::<Placed>(2).overflow(Overflow::End);
    emit(&bus, 1..=2);
    assert_eq!((stream.ended(), bus.listener_count("order.placed")), (None, 1));
    emit(&bus, 3..=5);
    assert_eq!((stream.ended(), bus.listener_count("order.placed")), (Some(StreamEnd::Overflowed), 0));
    assert_eq!((stream.lost(), ready(&mut stream)), (1, vec![1, 2]));
    assert!(matches!(stream.next().now_or_never(), Some(None)));
}

#[test]
fn a_capacity_of_nothing_is_taken_for_one() {
    let bus = Bus::new();
    let mut stream = bus.stream::<Placed>(0);
    emit(&bus, [1, 2]);
    assert_eq!((stream.lost(), ready(&mut stream)), (1, vec![2]));
}

#[test]
fn counts_can_be_read_where_the_stream_is_not() {
    let bus = Bus::new();
    let stream = bus.stream::<Placed>(2);
    let counts = stream.counts();
    let mut doubled = pin!(stream.map(|placed| placed.0 * 2));
    emit(&bus, 1..=3);
    assert_eq!((counts.lost(), counts.waiting()), (1, 2));
    assert_eq!(doubled.next().now_or_never(), Some(Some(4)));
    assert_eq!((counts.lost(), counts.waiting()), (1, 1));
}

#[test]
fn it_ends_with_the_bus_behind_what_waits_and_does_not_keep_it_alive() {
    let bus = Bus::new();
    let mut stream = bus.stream::<Placed>(10);
    emit(&bus, [1]);
    drop(bus);
    assert_eq!(stream.ended(), Some(StreamEnd::Unsubscribed));
    assert_eq!(stream.next().now_or_never().flatten().map(|placed| placed.0), Some(1));
    assert!(matches!(stream.next().now_or_never(), Some(None)));
}

#[tokio::test]
async fn a_reader_that_waits_is_woken_by_an_event_and_by_the_end() {
    let bus = Bus::new();
    let mut stream = bus.stream::<Placed>(10);
    let reader = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(placed) = stream.next().await {
            heard.push(placed.0);
        }
        heard
    });
    tokio::task::yield_now().await;
    emit(&bus, [1, 2]);
    tokio::task::yield_now().await;
    emit(&bus, [3]);
    tokio::task::yield_now().await;
    bus.remove_all();
    assert_eq!(reader.await.expect("no panic"), [1, 2, 3]);
}

#[test]
fn it_ends_when_it_is_removed_also_while_an_emitter_still_remembers_it() {
    let bus = Bus::new();
    let (emitter, mut stream) = (bus.emitter::<Placed>(), bus.stream::<Placed>(10));
    emitter.emit(&Placed(1));
    bus.remove("order.placed");
    assert_eq!((stream.ended(), ready(&mut stream)), (Some(StreamEnd::Unsubscribed), vec![1]));
    drop(emitter);
}

#[test]
fn dropping_it_ends_the_subscription_and_lets_go_of_what_waits() {
    let bus = Bus::new();
    let (stream, event) = (bus.stream::<Placed>(10), Arc::new(Placed(1)));
    let emitter = bus.emitter::<Placed>();
    emitter.emit_shared(&event);
    assert!(Arc::strong_count(&event) > 1);
    let counts = stream.counts();
    drop(stream);
    assert_eq!((bus.listener_count("order.placed"), Arc::strong_count(&event)), (0, 1));
    assert_eq!(counts.waiting(), 0);
    drop(emitter);
}

#[test]
fn all_streams_share_one_event_of_an_emission() {
    let bus = Bus::new();
    let (mut one, mut other, event) = (bus.stream::<Placed>(1), bus.stream::<Placed>(1), Arc::new(Placed(1)));
    let mut taken =
        || [&mut one, &mut other].map(|s| s.next().now_or_never().flatten().expect("one").shared());
    bus.emit_shared(&event);
    assert!(taken().iter().all(|taken| Arc::ptr_eq(taken, &event)));
    bus.emit(&Placed(2));
    let [one, other] = taken();
    assert!(Arc::ptr_eq(&one, &other));
}

#[test]
fn by_pattern_and_with_conditions_it_holds_only_what_was_asked_for() {
    let bus = Bus::new();
    let mut all = bus.stream_of("order.*", 10).expect("valid");
    let mut large = bus.listen().when(|placed: &Placed| placed.0 > 10).stream(10);
    let mut first = bus.listen().once().stream(10);
    emit(&bus, [1, 11]);
    bus.emit(&Cancelled(3));
    let names = std::iter::from_fn(|| all.next().now_or_never().flatten().map(|any| any.name().to_string()));
    assert_eq!(names.collect::<Vec<_>>(), ["order.placed", "order.placed", "order.cancelled"]);
    assert_eq!((ready(&mut large), ready(&mut first)), (vec![11], vec![1]));
    assert_eq!(first.ended(), Some(StreamEnd::Unsubscribed));
    assert!(bus.stream_of("order.**x", 10).is_err());
}

#[tokio::test]
async fn giving_up_a_wait_loses_nothing() {
    let bus = Bus::new();
    let mut stream = bus.stream::<Placed>(10);
    {
        let mut next = pin!(stream.next());
        assert!(poll!(&mut next).is_pending());
        emit(&bus, [1]);
    }
    assert_eq!(ready(&mut stream), [1]);
}

#[test]
fn threads_that_emit_at_once_lose_nothing_uncounted_and_each_keeps_its_order() {
    const EACH: u64 = 2_000;
    let bus = Bus::new();
    let mut stream = bus.stream::<Placed>(64);
    let mut heard = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|t| {
                scope.spawn({
                    let bus = bus.clone();
                    move || emit(&bus, (0..EACH).map(|n| t * EACH + n))
                })
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            heard.extend(ready(&mut stream));
        }
    });
    heard.extend(ready(&mut stream));
    assert_eq!(heard.len() as u64 + stream.lost(), 3 * EACH);
    for t in 0..3 {
        let of_one: Vec<_> = heard.iter().filter(|n| **n / EACH == t).collect();
        assert!(of_one.is_sorted());
    }
}
