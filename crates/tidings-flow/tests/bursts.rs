//! Debouncing, throttling and coalescing: timelines by hand, and random ones against simple models.

mod common;

use common::{Driven, at, ms};
use proptest::prelude::*;
use tidings_flow::{
    Batch, Batching, Coalesce, Coalescing, Debounce, Debouncing, Operator, Throttle, Throttling, filter, map,
};

/// Pushes each number at the time that it says, then waits until all is out.
fn timeline<O: Operator<Item = i64>>(
    operator: O,
    times: impl IntoIterator<Item = i64>,
) -> Vec<(i64, O::Out)> {
    let mut driven = Driven::new(operator);
    for time in times {
        driven.to(time).push(time);
    }
    let end = driven.now + 100_000;
    driven.to(end).take()
}

#[test]
fn a_burst_gives_out_its_last_item_after_300_milliseconds_of_quiet() {
    let debounce = Debounce::new(Debouncing::new()).expect("the defaults");
    assert_eq!(timeline(debounce, [0, 100, 399, 1_000]), [(699, 399), (1_300, 1_000)]);
}

#[test]
fn an_item_that_comes_when_the_quiet_is_over_begins_another_burst() {
    let debounce = Debounce::new(Debouncing::new()).expect("the defaults");
    assert_eq!(timeline(debounce, [0, 300, 599]), [(300, 0), (899, 599)]);
}

#[test]
fn a_burst_without_end_gives_out_an_item_at_the_longest_wait() {
    let debounce = Debounce::new(Debouncing::new().max_wait(ms(1_000))).expect("valid");
    let out = timeline(debounce, (0..30).map(|n| n * 100));
    assert_eq!(out, [(1_000, 900), (2_000, 1_900), (3_000, 2_900)]);
    let without = Debounce::new(Debouncing::new()).expect("valid");
    assert_eq!(timeline(without, (0..30).map(|n| n * 100)), [(3_200, 2_900)]);
}

#[test]
fn what_is_cancelled_does_not_go_out_and_is_given_back() {
    let mut debounce = Driven::new(Debounce::by(Debouncing::new(), |n: &i64| n % 2).expect("valid"));
    debounce.push(1).push(2).push(3);
    assert_eq!(debounce.operator.cancel(&1), Some(3));
    assert_eq!(debounce.operator.cancel(&1), None);
    assert_eq!(debounce.to(1_000).take(), [(300, 2)]);
    debounce.push(4).push(5);
    let mut back = debounce.operator.cancel_all();
    back.sort_unstable();
    assert_eq!(back, [4, 5]);
    assert_eq!((debounce.operator.due(), debounce.operator.counts().cancelled), (None, 3));
    assert_eq!(debounce.push(6).flush().take(), [(1_000, 6)]);
}

#[test]
fn the_first_goes_at_once_and_the_next_a_second_later() {
    let throttle = Throttle::new(Throttling::new()).expect("the defaults");
    assert_eq!(
        timeline(throttle, [0, 1, 999, 1_000, 1_500, 2_000]),
        [(0, 0), (1_000, 1_000), (2_000, 2_000)]
    );
}

#[test]
fn the_latest_in_between_goes_out_at_the_tail_if_asked_for_and_begins_the_next_second() {
    let throttle = Throttle::new(Throttling::new().latest()).expect("valid");
    let out = timeline(throttle, [0, 1, 999, 1_001, 1_999, 2_000, 5_000]);
    assert_eq!(out, [(0, 0), (1_000, 999), (2_000, 1_999), (3_000, 2_000), (5_000, 5_000)]);
}

#[test]
fn a_throttle_counts_what_it_drops_and_forgets_keys_that_are_free() {
    let mut throttle = Driven::new(Throttle::by(Throttling::new(), |n: &i64| *n).expect("valid"));
    for n in 0..1_000 {
        throttle.push(n).push(n);
    }
    assert_eq!((throttle.operator.held(), throttle.operator.counts().dropped), (1_000, 1_000));
    assert_eq!(throttle.operator.due(), None, "nobody has to wake up for what is dropped");
    throttle.now = 1_000;
    throttle.push(0);
    assert_eq!(throttle.operator.held(), 1);
}

#[test]
fn items_of_a_key_become_one_a_while_after_the_first() {
    let sum = Coalesce::joining(Coalescing::new(), |n: &i64| n % 2, |kept, later| *kept += later);
    assert_eq!(timeline(sum.expect("valid"), [0, 2, 5, 7, 1_002]), [(1_000, 2), (1_005, 12), (2_002, 1_002)]);
}

#[test]
fn over_the_bound_of_keys_the_oldest_goes_before_its_time() {
    let mut coalesce = Driven::new(Coalesce::by(Coalescing::new().keys(2), |n: &i64| *n).expect("valid"));
    assert_eq!(coalesce.push(1).push(2).push(3).take(), [(0, 1)]);
    assert_eq!((coalesce.operator.waiting(), coalesce.operator.counts().full), (2, 1));
    let mut debounce = Driven::new(Debounce::by(Debouncing::new().keys(2), |n: &i64| *n).expect("valid"));
    assert_eq!(debounce.push(1).push(2).push(1).push(3).take(), [(0, 2)]);
    assert_eq!((debounce.operator.waiting(), debounce.operator.counts().full), (2, 1));
    let throttling = Throttling::new().latest().keys(2);
    let mut throttle = Driven::new(Throttle::by(throttling, |n: &i64| n / 10).expect("valid"));
    assert_eq!(throttle.push(10).push(20).push(11).push(30).take(), [(0, 10), (0, 20), (0, 11), (0, 30)]);
    assert_eq!((throttle.operator.held(), throttle.operator.counts().full), (2, 1));
}

#[test]
fn a_chain_has_one_time_and_flushes_from_front_to_back() {
    let chain = filter(|n: &i64| *n >= 0)
        .then(Throttle::new(Throttling::new().every(ms(10)).latest()).expect("valid"))
        .then(map(|n: i64| n * 2))
        .then(Batch::new(Batching::new().items(3)).expect("valid"));
    let mut chain = Driven::new(chain);
    for (time, n) in [(0, 1), (1, -1), (2, 3), (12, 4), (13, 5)] {
        chain.to(time).push(n);
    }
    // 3 went out at 10, and what waits at the front goes into what waits behind it.
    assert_eq!(chain.operator.due(), Some(at(20)));
    chain.flush();
    let out: Vec<_> = chain.take().into_iter().map(|(time, batch)| (time, batch.items)).collect();
    assert_eq!(out, [(13, vec![2, 6, 10])]);
    chain.to(14).push(9).to(5_000);
    assert_eq!(chain.take()[0].0, 1_023, "the tail at 23 began a batch");
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    wait: i64,
    key: usize,
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let moment = (0..250_i64, 0..3_usize).prop_map(|(wait, key)| Moment { wait, key });
    proptest::collection::vec(moment, 0..120)
}

/// The times of one key's items.
fn of_key(moments: &[Moment], key: usize) -> Vec<i64> {
    let mut now = 0;
    let times = moments.iter().map(|moment| {
        now += moment.wait;
        (now, moment.key)
    });
    times.filter(|(_, other)| *other == key).map(|(time, _)| time).collect()
}

fn run<O: Operator<Item = (usize, i64), Out = (usize, i64)>>(
    operator: O,
    moments: &[Moment],
) -> Vec<Vec<(i64, i64)>> {
    let mut driven = Driven::new(operator);
    for moment in moments {
        let now = driven.now + moment.wait;
        driven.to(now).push((moment.key, now));
    }
    let end = driven.now + 100_000;
    let out = driven.to(end).take();
    assert!(driven.operator.due().is_none(), "nothing is left");
    let of = |key| out.iter().filter(|one| one.1.0 == key).map(|(time, (_, item))| (*time, *item)).collect();
    (0..3).map(of).collect()
}

proptest! {
    #[test]
    fn debouncing_is_that_of_the_simple_model(all in moments(), max_wait in proptest::option::of(300..900_i64)) {
        let settings = Debouncing { max_wait: max_wait.map(|wait| ms(wait as u64)), ..Debouncing::new() };
        let out = run(Debounce::by(settings, |one: &(usize, i64)| one.0).expect("valid"), &all);
        for (key, out) in out.into_iter().enumerate() {
            let times = of_key(&all, key);
            let mut expected = Vec::new();
            let mut at = 0;
            while let Some(&first) = times.get(at) {
                let mut last = first;
                let out_at = |last: i64| (last + 300).min(max_wait.map_or(i64::MAX, |wait| first + wait));
                while let Some(&next) = times.get(at + 1).filter(|next| **next < out_at(last)) {
                    last = next;
                    at += 1;
                }
                expected.push((out_at(last), last));
                at += 1;
            }
            prop_assert_eq!(out, expected);
        }
    }

    #[test]
    fn throttling_is_that_of_the_simple_model(all in moments(), latest: bool) {
        let settings = if latest { Throttling::new().latest() } else { Throttling::new() };
        let out = run(Throttle::by(settings, |one: &(usize, i64)| one.0).expect("valid"), &all);
        for (key, out) in out.into_iter().enumerate() {
            let mut expected: Vec<(i64, i64)> = Vec::new();
            let mut tail = None;
            for time in of_key(&all, key) {
                let free = |expected: &[(i64, i64)]| expected.last().map_or(i64::MIN, |(time, _)| time + 1_000);
                if let Some(item) = tail.take_if(|_| free(&expected) <= time) {
                    expected.push((free(&expected), item));
                }
                if free(&expected) <= time {
                    expected.push((time, time));
                } else if latest {
                    tail = Some(time);
                }
            }
            if let Some(item) = tail {
                expected.push((expected[expected.len() - 1].0 + 1_000, item));
            }
            prop_assert_eq!(out, expected);
        }
    }

    #[test]
    fn coalescing_is_that_of_the_simple_model(all in moments()) {
        let out = run(Coalesce::by(Coalescing::new(), |one: &(usize, i64)| one.0).expect("valid"), &all);
        for (key, out) in out.into_iter().enumerate() {
            let mut expected: Vec<(i64, i64)> = Vec::new();
            for time in of_key(&all, key) {
                match expected.last_mut() {
                    Some((due, latest)) if time < *due => *latest = time,
                    _ => expected.push((time + 1_000, time)),
                }
            }
            prop_assert_eq!(out, expected);
        }
    }
}
