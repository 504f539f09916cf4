//! Settings: every fault at once, with its field; and as files write them. What each does is tested where it does it.

use std::time::Duration;

use tidings_queue::{Config, ErrorKind, Order, Scaling};

#[test]
fn every_fault_is_told_at_once_with_its_field() {
    let scaling = Scaling { min: 0, max: 21, up: f64::NAN, down: -0.1, interval: Duration::ZERO, hold: 0 };
    let config = Config {
        workers: 21,
        events_max: 0,
        bytes_max: 0,
        order: Order::Weighted { critical: 0, normal: 0, low: 0 },
        ageing: Duration::ZERO,
        spin: Duration::from_secs(2),
        concurrency: 0,
        scaling: Some(scaling),
        restart_first: Duration::ZERO,
        restart_max: Duration::MAX,
        blocked_after: Duration::ZERO,
        timings: false,
    };
    let faults = config.faults();
    let fields: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
    let expected = "workers events_max bytes_max concurrency ageing restart_first restart_max blocked_after spin \
        order.weighted.critical order.weighted.normal order.weighted.low scaling.max scaling.min scaling.up scaling.down \
        scaling.interval scaling.hold";
    assert_eq!(fields.join(" "), expected);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let scaling = Scaling { min: 3, max: 2, up: 0.2, down: 0.2, ..Scaling::default() };
    let config =
        Config { restart_max: Duration::from_millis(10), scaling: Some(scaling), ..Config::default() };
    let faults = config.faults().join("\n");
    for said in ["restart_max: must not be less", "scaling.min: must be", "scaling.down: must be less"] {
        assert!(faults.contains(said), "{faults}");
    }
    assert_eq!(Config::default().faults(), Vec::<String>::new());
}

#[test]
fn settings_are_read_as_they_are_written_and_an_unknown_one_is_refused() {
    let config =
        Config { scaling: Some(Scaling::default()), spin: Duration::from_micros(50), ..Config::default() };
    let text = serde_json::to_string(&config).expect("it writes");
    assert!(text.contains(r#""spin":"50us""#), "{text}");
    assert_eq!(serde_json::from_str::<Config>(&text).expect("it reads"), config);
    let some: Config =
        serde_json::from_str(r#"{"order": "strict", "scaling": {"max": 2}}"#).expect("it reads");
    assert_eq!((some.order, some.scaling.expect("some").max, some.events_max), (Order::Strict, 2, 10_000));
    assert!(serde_json::from_str::<Config>(r#"{"worker": 2}"#).is_err());
    assert!(serde_json::from_str::<Config>(r#"{"ageing": "1 fortnight"}"#).is_err());
}

#[test]
fn a_queue_with_wrong_settings_does_not_start() {
    struct Nothing;
    impl tidings_queue::Work for Nothing {
        type Item = ();
        fn run(&self, (): (), _: &tidings_queue::Turn<'_>) -> tidings_queue::Step<()> {
            tidings_queue::Step::Done
        }
        fn notice(&self, _: tidings_queue::Notice) {}
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = Config { workers: 0, events_max: 0, ..Config::default() };
    let clock = std::sync::Arc::new(tidings_core::SystemClock);
    let queue =
        tidings_queue::Queue::start(config, std::sync::Arc::new(Nothing), clock, runtime.handle().clone());
    let error = queue.expect_err("it means nothing");
    assert_eq!((error.kind(), error.faults().len()), (ErrorKind::Settings, 2));
}
