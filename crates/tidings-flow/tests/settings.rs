//! A setting that means nothing is refused, and the error says which.

mod common;

use std::time::Duration;

use common::ms;
use tidings_flow::{
    Batch, Batching, Coalesce, Coalescing, Debounce, Debouncing, Error, ErrorKind, Throttle, Throttling,
};

/// What was refused, and nothing else.
fn refused<T>(made: Result<T, Error>) -> Vec<String> {
    let Err(error) = made else { panic!("it was taken") };
    assert_eq!(error.kind(), ErrorKind::Settings);
    error.faults().iter().map(|fault| fault.split(':').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_setting_of_a_batch_is_looked_at() {
    let batch = |batching| refused(Batch::<u8>::new(batching));
    assert_eq!(batch(Batching::new().items(0)), ["items"]);
    assert_eq!(batch(Batching::new().age(Duration::ZERO)), ["age"]);
    assert_eq!(batch(Batching::new().age(Duration::from_nanos(999))), ["age"]);
    assert_eq!(batch(Batching::new().age(Duration::MAX)), ["age"]);
    assert_eq!(batch(Batching::new().keys(0)), ["keys"]);
    assert_eq!(batch(Batching::new().open_items(99)), ["open_items"]);
    assert_eq!(batch(Batching::new().bytes(10)), ["bytes"], "it has no measure");
    assert_eq!(refused(Batch::measured(Batching::new().bytes(0), |_: &u8| 1)), ["bytes"]);
    assert_eq!(refused(Batch::measured(Batching::new(), |_: &u8| 1)), ["bytes"], "there is no bound");
    let all = Batching { items: 0, bytes: Some(0), age: Duration::ZERO, keys: 0, open_items: 0 };
    assert_eq!(refused(Batch::measured(all, |_: &u8| 1)), ["items", "bytes", "age", "keys"]);
}

#[test]
fn every_setting_against_bursts_is_looked_at() {
    let debounce = |debouncing| refused(Debounce::<u8>::new(debouncing));
    assert_eq!(debounce(Debouncing::new().quiet(Duration::ZERO)), ["quiet"]);
    assert_eq!(debounce(Debouncing::new().max_wait(ms(299))), ["max_wait"]);
    assert_eq!(debounce(Debouncing::new().keys(0)), ["keys"]);
    let throttle = |throttling| refused(Throttle::<u8>::new(throttling));
    assert_eq!(throttle(Throttling::new().every(Duration::ZERO)), ["every"]);
    assert_eq!(throttle(Throttling::new().keys(0)), ["keys"]);
    let coalesce = |coalescing| refused(Coalesce::by(coalescing, |item: &u8| *item));
    assert_eq!(coalesce(Coalescing::new().age(Duration::ZERO)), ["age"]);
    assert_eq!(coalesce(Coalescing::new().keys(0)), ["keys"]);
}

#[test]
fn settings_come_from_a_file_with_defaults_for_what_is_left_out_and_no_name_is_ignored() {
    let batching: Batching =
        serde_json::from_str(r#"{"items": 5, "age": {"secs": 0, "nanos": 1000000}}"#).expect("valid");
    assert_eq!(batching, Batching::new().items(5).age(ms(1)));
    assert!(serde_json::from_str::<Batching>(r#"{"item": 5}"#).is_err());
    let throttling: Throttling = serde_json::from_str(r#"{"tail": "latest"}"#).expect("valid");
    assert_eq!(throttling, Throttling::new().latest());
    assert_eq!(serde_json::from_str::<Debouncing>("{}").expect("valid"), Debouncing::new());
    assert_eq!(serde_json::from_str::<Coalescing>("{}").expect("valid"), Coalescing::new());
}
