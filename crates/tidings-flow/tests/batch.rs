//! Batches: complete by number, bytes and age, each item exactly once and in order.

mod common;

use common::{Driven, at, ms};
use proptest::prelude::*;
use tidings_flow::{Batch, Batched, Batching, Cause, Operator};

fn items<T: Clone>(out: Vec<(i64, Batched<T>)>) -> Vec<(i64, Vec<T>, Cause)> {
    out.into_iter().map(|(time, batch)| (time, batch.items, batch.cause)).collect()
}

#[test]
fn a_batch_is_complete_at_a_hundred_items_or_a_second_after_the_first_unless_said_otherwise() {
    let mut batch = Driven::new(Batch::new(Batching::new()).expect("the defaults"));
    for number in 0..250 {
        batch.push(number);
    }
    let lengths: Vec<_> =
        batch.to(2_000).out.iter().map(|(time, one)| (*time, one.len(), one.cause)).collect();
    assert_eq!(lengths, [(0, 100, Cause::Items), (0, 100, Cause::Items), (1_000, 50, Cause::Age)]);
}

#[test]
fn the_age_counts_from_the_first_item_and_later_ones_do_not_prolong_it() {
    let mut batch = Driven::new(Batch::new(Batching::new()).expect("the defaults"));
    for number in 0..25 {
        batch.to(number * 100).push(number);
    }
    let out = items(batch.to(9_000).take());
    let expected = [(1_000, (0..10)), (2_000, (10..20)), (3_000, (20..25))]
        .map(|(time, numbers)| (time, numbers.collect::<Vec<_>>(), Cause::Age));
    assert_eq!(out, expected);
}

#[test]
fn an_item_never_joins_a_batch_that_is_too_old_also_when_the_timer_is_late() {
    let mut batch = Driven::new(Batch::new(Batching::new()).expect("the defaults"));
    batch.push("old");
    batch.now = 5_000;
    batch.push("new").flush();
    assert_eq!(items(batch.take()), [(5_000, vec!["old"], Cause::Age), (5_000, vec!["new"], Cause::Flush)]);
}

#[test]
fn bytes_complete_a_batch_before_it_would_have_too_many() {
    let batching = Batching::new().bytes(10);
    let mut batch = Driven::new(Batch::measured(batching, |text: &&str| text.len()).expect("valid"));
    for text in ["four", "five!", "ab", "12345678", "much too long for a batch", "x"] {
        batch.push(text);
    }
    let out: Vec<_> =
        items(batch.flush().take()).into_iter().map(|(_, texts, cause)| (texts, cause)).collect();
    assert_eq!(
        out,
        [
            (vec!["four", "five!"], Cause::Bytes),
            (vec!["ab", "12345678"], Cause::Bytes),
            (vec!["much too long for a batch"], Cause::Bytes),
            (vec!["x"], Cause::Flush)
        ]
    );
}

#[test]
fn over_a_bound_the_oldest_batch_is_complete_before_its_time_and_counted() {
    let by =
        |batching: Batching| Driven::new(Batch::by(batching, |number: &u32| number % 10).expect("valid"));
    let mut few_keys = by(Batching::new().keys(2));
    few_keys.push(1).push(2).push(11).push(3);
    assert_eq!(few_keys.out, [(0, Batched { key: 1, items: vec![1, 11], cause: Cause::Full })]);
    assert_eq!((few_keys.operator.counts().full, few_keys.operator.open()), (1, 2));

    let mut few_items = by(Batching::new().items(3).open_items(3));
    few_items.push(1).push(2).push(11).push(21);
    assert_eq!(few_items.out, [(0, Batched { key: 1, items: vec![1, 11], cause: Cause::Full })]);
    assert_eq!((few_items.operator.items(), few_items.operator.counts().full), (2, 1));
}

#[test]
fn nothing_of_a_complete_batch_is_kept() {
    let mut batch =
        Driven::new(Batch::by(Batching::new().items(2), |number: &u32| *number / 2).expect("valid"));
    for number in 0..10_000 {
        batch.push(number);
    }
    assert_eq!(batch.take().len(), 5_000);
    assert_eq!((batch.operator.items(), batch.operator.open(), batch.operator.due()), (0, 0, None));
}

#[test]
fn one_key_can_be_completed_by_hand() {
    let mut batch = Driven::new(Batch::by(Batching::new(), |number: &u32| number % 2).expect("valid"));
    batch.push(1).push(2).push(3);
    let mut out = Vec::new();
    batch.operator.close(&1, &mut |one| out.push(one));
    batch.operator.close(&1, &mut |one| out.push(one));
    assert_eq!(out, [Batched { key: 1, items: vec![1, 3], cause: Cause::Flush }]);
    assert_eq!(batch.operator.items(), 1);
}

#[test]
fn a_key_function_that_panics_changes_nothing() {
    let key = |number: &u32| assert!(*number != 13, "no key");
    let mut batch = Driven::new(Batch::by(Batching::new(), key).expect("valid"));
    batch.push(1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        batch.push(13);
    }));
    assert!(panicked.is_err());
    assert_eq!(items(batch.push(2).flush().take()), [(0, vec![1, 2], Cause::Flush)]);
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8, usize),
    Wait(u16),
    /// The timer comes late.
    Oversleep(u16),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5_u8, 1..12_usize).prop_map(|(key, bytes)| Step::Push(key, bytes)),
        3 => (0..400_u16).prop_map(Step::Wait),
        1 => (0..2_000_u16).prop_map(Step::Oversleep),
        1 => Just(Step::Flush),
    ]
}

/// A key, when its first item came, and the items with their sizes.
type OpenBatch = (u8, i64, Vec<(u64, usize)>);

/// The same said as simply as possible: a list of open batches, the oldest first, looked through each time.
struct Model {
    batching: Batching,
    open: Vec<OpenBatch>,
    out: Vec<(i64, u8, Vec<u64>, Cause)>,
}

impl Model {
    fn complete(&mut self, which: usize, now: i64, cause: Cause) {
        let (key, _, items) = self.open.remove(which);
        self.out.push((now, key, items.into_iter().map(|(id, _)| id).collect(), cause));
    }

    fn age(&mut self, now: i64, exactly: bool) {
        let age = self.batching.age.as_millis() as i64;
        while self.open.first().is_some_and(|(_, first, _)| first + age <= now) {
            let time = if exactly { self.open[0].1 + age } else { now };
            self.complete(0, time, Cause::Age);
        }
    }

    fn push(&mut self, now: i64, key: u8, id: u64, bytes: usize) {
        let of = |model: &Self| model.open.iter().position(|(other, _, _)| *other == key);
        let sum = |items: &[(u64, usize)]| items.iter().map(|(_, bytes)| bytes).sum::<usize>();
        let most = self.batching.bytes.expect("a bound");
        if self.open.iter().map(|(_, _, items)| items.len()).sum::<usize>() >= self.batching.open_items {
            self.complete(0, now, Cause::Full);
        }
        if let Some(which) = of(self).filter(|which| sum(&self.open[*which].2) + bytes > most) {
            self.complete(which, now, Cause::Bytes);
        }
        if of(self).is_none() {
            if self.open.len() >= self.batching.keys {
                self.complete(0, now, Cause::Full);
            }
            self.open.push((key, now, Vec::new()));
        }
        let which = of(self).expect("it is open");
        self.open[which].2.push((id, bytes));
        if self.open[which].2.len() >= self.batching.items {
            self.complete(which, now, Cause::Items);
        } else if sum(&self.open[which].2) >= most {
            self.complete(which, now, Cause::Bytes);
        }
    }
}

proptest! {
    #[test]
    fn batches_are_those_of_the_simple_model_and_hold_each_item_once_and_in_order(
        steps in proptest::collection::vec(step(), 1..200),
        limits in (1..6_usize, 5..30_usize, 1..600_u64, 1..5_usize, 0..8_usize),
    ) {
        let (count, bytes, age, keys, more) = limits;
        let batching = Batching::new().items(count).bytes(bytes).age(ms(age)).keys(keys).open_items(count + more);
        let made = Batch::measured_by(batching.clone(), |one: &(u8, u64, usize)| one.0, |one| one.2);
        let mut batch = Driven::new(made.expect("valid settings"));
        let mut model = Model { batching, open: Vec::new(), out: Vec::new() };
        let mut id = 0;
        for step in steps {
            match step {
                Step::Push(key, bytes) => {
                    batch.push((key, id, bytes));
                    model.push(batch.now, key, id, bytes);
                    id += 1;
                }
                Step::Wait(wait) => {
                    let to = batch.now + i64::from(wait);
                    batch.to(to);
                    model.age(to, true);
                }
                Step::Oversleep(wait) => {
                    let to = batch.now + i64::from(wait);
                    batch.late(to);
                    model.age(to, false);
                }
                Step::Flush => {
                    batch.flush();
                    while !model.open.is_empty() {
                        model.complete(0, batch.now, Cause::Flush);
                    }
                }
            }
            prop_assert_eq!(batch.operator.open(), model.open.len());
            let due = model.open.first().map(|(_, first, _)| at(*first + age as i64));
            prop_assert_eq!(batch.operator.due(), due);
        }
        batch.flush();
        while !model.open.is_empty() {
            model.complete(0, batch.now, Cause::Flush);
        }
        let out: Vec<_> = batch
            .take()
            .into_iter()
            .map(|(time, one)| (time, one.key, one.items.iter().map(|item| item.1).collect::<Vec<_>>(), one.cause))
            .collect();
        prop_assert_eq!(&out, &model.out);
        let mut all: Vec<u64> = out.iter().flat_map(|(_, _, ids, _)| ids.clone()).collect();
        for key in 0..5 {
            let of_key: Vec<u64> = out.iter().filter(|one| one.1 == key).flat_map(|one| one.2.clone()).collect();
            prop_assert!(of_key.is_sorted());
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..id).collect::<Vec<_>>());
        prop_assert_eq!(batch.operator.items(), 0);
    }
}

#[test]
fn room_is_made_before_an_item_is_added_so_that_adding_completes_only_its_own_batch() {
    let settings = Batching::new().items(3).bytes(10).age(ms(5)).keys(2).open_items(4);
    let fresh =
        || Batch::measured_by(settings.clone(), |item: &(char, usize)| item.0, |item| item.1).expect("valid");
    // What is there before, what comes, and which batch has to go first, and why.
    for (before, item, now, gone) in [
        (vec![('a', 1)], ('a', 1), 6, Some(('a', Cause::Age))),
        (vec![('a', 8)], ('a', 3), 0, Some(('a', Cause::Bytes))),
        (vec![('a', 1), ('b', 1)], ('c', 1), 0, Some(('a', Cause::Full))),
        (vec![('a', 1), ('a', 1), ('b', 1), ('b', 1)], ('b', 1), 0, Some(('a', Cause::Full))),
        (vec![('a', 1), ('a', 1)], ('a', 1), 0, None),
    ] {
        let mut batches = fresh();
        before.iter().for_each(|item| batches.push(*item, at(0), &mut |_| panic!("not yet")));
        let mut out = Vec::new();
        batches.make_way_for(&item, at(now), &mut |batch| out.push((batch.key, batch.cause)));
        assert_eq!(out, Vec::from_iter(gone), "{before:?}, {item:?}");
        batches.make_way_for(&item, at(now), &mut |_| panic!("there is room"));
        batches.push(item, at(now), &mut |batch| assert_eq!(batch.items.last(), Some(&item)));
    }
}
