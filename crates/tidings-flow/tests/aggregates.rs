//! Aggregations: exact where they can be, and they say where they cannot.

use proptest::prelude::*;
use tidings_flow::{
    Aggregation,
    aggregate::{Average, Collected, Different, avg, collect, count, distinct, max, min, sum},
};

/// All at once, and in parts that are merged.
fn both<T, A: Aggregation<T>>(aggregation: &A, items: &[T], at: usize) -> (A::Out, A::Out) {
    let add = |items: &[T]| {
        let mut state = aggregation.start();
        items.iter().for_each(|item| aggregation.add(&mut state, item));
        state
    };
    let (first, later) = items.split_at(at.min(items.len()));
    let mut merged = add(first);
    aggregation.merge(&mut merged, &add(later));
    (aggregation.finish(&add(items)), aggregation.finish(&merged))
}

#[test]
fn sums_and_averages_of_whole_numbers_are_exact() {
    let items = [u64::MAX, u64::MAX, 3];
    let expected = 2 * i128::from(u64::MAX) + 3;
    assert_eq!(both(&sum(|n: &u64| *n), &items, 1), (expected, expected));
    let (average, _) = both(&avg(|n: &u64| *n), &items, 1);
    assert_eq!(average, Average { sum: expected, count: 3 });
    let (average, merged) = both(&avg(|n: &i64| *n), &[-1, -2, 2, 2], 2);
    assert_eq!((average.value(), merged.value()), (Some(0.25), Some(0.25)));
    assert_eq!(both(&avg(|n: &i64| *n), &[], 0).0.value(), None);
    let large = Average { sum: i128::from(i64::MAX) * 3 + 1, count: 3 };
    assert_eq!(large.value(), Some(i64::MAX as f64 + 1.0 / 3.0));
}

#[test]
fn sums_of_fractions_keep_what_rounding_takes() {
    let mut items = vec![0.1; 1_000_000];
    items.push(1e16);
    items.push(-1e16);
    let (total, merged) = both(&sum(|n: &f64| *n), &items, 3);
    assert_eq!((total, merged), (100_000.0, 100_000.0));
    let (average, _) = both(&avg(|n: &f32| *n), &[0.5, 1.0], 1);
    assert_eq!(average.value(), Some(0.75));
}

#[test]
fn a_sum_with_nan_or_infinity_says_so() {
    assert!(both(&sum(|n: &f64| *n), &[1.0, f64::NAN], 1).0.is_nan());
    assert_eq!(both(&sum(|n: &f64| *n), &[1.0, f64::INFINITY, 2.0], 1), (f64::INFINITY, f64::INFINITY));
    assert!(both(&sum(|n: &f64| *n), &[f64::INFINITY, f64::NEG_INFINITY], 1).0.is_nan());
    let nan = sum(|n: &f64| *n);
    let mut state = Aggregation::<f64>::start(&nan);
    nan.add(&mut state, &f64::NAN);
    let json = serde_json::to_string(&state).expect("JSON");
    let again = serde_json::from_str(&json).expect("the same");
    assert!(Aggregation::<f64>::finish(&nan, &again).is_nan(), "also when it was a document in between");
}

#[test]
fn extremes_pass_over_what_does_not_compare() {
    let items = [f64::NAN, 2.0, f64::NAN, -1.0, 3.0];
    for at in 0..=5 {
        assert_eq!(both(&min(|n: &f64| *n), &items, at), (Some(-1.0), Some(-1.0)));
        assert_eq!(both(&max(|n: &f64| *n), &items, at), (Some(3.0), Some(3.0)));
    }
    assert_eq!(both(&max(|n: &f64| *n), &[f64::NAN], 0), (None, None));
    let texts = [("b", 1), ("a", 2), ("a", 3)];
    assert_eq!(both(&min(|one: &(&str, u8)| one.0.to_owned()), &texts, 2).0.as_deref(), Some("a"));
}

#[test]
fn a_list_over_its_bound_says_how_many_are_left_out() {
    let expected = Collected { items: vec![1, 2, 3], left_out: 2 };
    for at in 0..=5 {
        let (all, merged) = both(&collect(3), &[1, 2, 3, 4, 5], at);
        assert_eq!((&all, &merged), (&expected, &expected));
    }
}

#[test]
fn different_values_are_counted_exactly_up_to_the_bound_and_then_it_says_so() {
    let of = |items: &[u8]| both(&distinct(3, |n: &u8| *n), items, 2);
    let exact = Different { count: 3, is_exact: true };
    assert_eq!(of(&[1, 2, 1, 3, 3]), (exact, exact));
    let over = Different { count: 3, is_exact: false };
    assert_eq!(of(&[1, 2, 3, 4]), (over, over));
}

proptest! {
    #[test]
    fn parts_that_are_merged_come_to_the_same_as_all_at_once(
        items in proptest::collection::vec(any::<i32>(), 0..50),
        at in 0..50_usize,
    ) {
        let all = (
            count(),
            sum(|n: &i32| *n),
            avg(|n: &i32| *n),
            (min(|n: &i32| *n), max(|n: &i32| *n)),
            (collect(20), distinct(100, |n: &i32| *n % 10)),
        );
        let (whole, merged) = both(&all, &items, at);
        prop_assert_eq!(&whole, &merged);
        prop_assert_eq!(whole.0, items.len() as u64);
        prop_assert_eq!(whole.1, items.iter().map(|n| i128::from(*n)).sum::<i128>());
        prop_assert_eq!(whole.3, (items.iter().min().copied(), items.iter().max().copied()));
        prop_assert_eq!(&whole.4.0.items[..], &items[..items.len().min(20)]);
    }
}
