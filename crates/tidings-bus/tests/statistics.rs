//! What is counted and measured is right, bounded, and changes nothing about who is called.

mod common;

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use common::{Cancelled, Diary, Failures, Placed};
use tidings_bus::{Builder, Bus, ListenerSlowed, ListenerStats, Slowness, Stats, StatsOptions};
use tidings_core::{Envelope, Failure, Handled, ManualClock, On, Timestamp};

fn measured(options: StatsOptions) -> (Bus, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(1_000));
    (builder(&clock).stats(options.on_clock()).build(), clock)
}

fn builder(clock: &ManualClock) -> Builder {
    Bus::builder().clock(Arc::new(clock.clone()))
}

fn stats(bus: &Bus) -> Stats {
    bus.stats().expect("they are on")
}

/// A listener that takes as many microseconds as the event says.
fn takes(clock: &ManualClock) -> impl Fn(&Placed) + Send + Sync + 'static {
    let clock = clock.clone();
    move |placed| clock.advance(Duration::from_micros(placed.0))
}

fn slowed(bus: &Bus) -> Arc<Mutex<Vec<(Slowness, u64)>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let all = told.clone();
    bus.on(move |slowed: &ListenerSlowed| {
        all.lock().expect("not poisoned").push((slowed.level, slowed.nanos / 1_000));
    })
    .forever();
    told
}

#[test]
fn a_bus_that_was_not_asked_to_has_none() {
    let bus = Bus::new();
    bus.emit(&Placed(1));
    assert_eq!(bus.stats(), None);
    assert_eq!(bus.emissions("**", Timestamp::MIN).expect("valid"), []);
    bus.reset_stats();
}

#[test]
fn an_emit_that_is_measured_delivers_once_to_each_and_counts_once_however_it_is_emitted() {
    let (bus, diary) = (Bus::builder().stats(StatsOptions::new()).build(), Diary::default());
    let entry = |text: &'static str| {
        let diary = diary.clone();
        move || diary.write(text)
    };
    let (typed, pattern, any, once) = (entry("typed"), entry("pattern"), entry("any"), entry("once"));
    bus.on(move |_: &Placed| typed()).forever();
    bus.subscribe("order.*", move |_| pattern()).expect("valid").forever();
    bus.any(move |_| any()).forever();
    let envelope = Envelope::of::<Placed>(Placed(1)).finish().expect("valid");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for way in 0..5 {
        let heard = match way {
            0 => bus.emit(&Placed(1)),
            1 => bus.emitter().emit(&Placed(1)),
            2 => bus.emit_shared(&Placed(1).into()),
            3 => bus.emit_envelope(&envelope),
            _ => runtime.block_on(async { bus.emit_async(Placed(1)).await.heard }),
        };
        assert_eq!((heard, diary.take().as_str()), (3, "typed pattern any"), "way {way}");
        let stats = stats(&bus);
        let [topic] = stats.topics.as_slice() else { panic!("{stats:?}") };
        assert_eq!((topic.emitted, topic.heard, topic.subscribers), (way + 1, (way + 1) * 3, 3));
        assert!(stats.listeners.iter().all(|listener| listener.calls == way + 1), "{stats:?}");
        assert_eq!(bus.emissions("**", Timestamp::MIN).expect("valid").len() as u64, way + 1);
    }
    bus.once(move |_: &Placed| once()).forever();
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Placed(1))), (4, 3));
    assert_eq!(diary.take(), "typed pattern any once typed pattern any");
    assert_eq!((stats(&bus).ended_calls, stats(&bus).listeners.len()), (1, 3));
}

#[test]
fn topics_tell_how_often_when_last_and_to_how_many_also_where_nobody_listens() {
    let (bus, clock) = measured(StatsOptions::new());
    bus.on(|_: &Placed| ()).forever();
    bus.on(|_: &Placed| ()).forever();
    bus.emit(&Placed(1));
    clock.advance(Duration::from_secs(5));
    bus.emit(&Placed(1));
    clock.advance(Duration::from_secs(5));
    bus.emit(&Cancelled(1));
    let told: Vec<_> = stats(&bus)
        .topics
        .into_iter()
        .map(|topic| (topic.name, topic.emitted, topic.heard, topic.last, topic.subscribers))
        .collect();
    let at = |seconds: i64| Some(Timestamp::from_millis(seconds * 1_000));
    let expected =
        [("order.cancelled".to_owned(), 1, 0, at(11), 0), ("order.placed".to_owned(), 2, 4, at(6), 2)];
    assert_eq!(told, expected);
}

#[test]
fn listeners_tell_calls_errors_and_percentiles() {
    let (bus, clock) = measured(StatsOptions::new());
    let failures = Failures::of(&bus);
    bus.on(takes(&clock)).forever();
    let line = line!() - 1;
    bus.on(|placed: &Placed| -> Handled {
        match placed.0 {
            1..=2 => Err(Failure::permanent("too small")),
            3 => panic!("three"),
            _ => Ok(()),
        }
    })
    .forever();
    for micros in 1..=100 {
        bus.emit(&Placed(micros));
    }
    let unreadable =
        Envelope::build("order.placed").json(br#""no number""#.as_slice()).finish().expect("valid");
    bus.emit_envelope(&unreadable);
    assert_eq!(failures.take().len(), 5);
    let all = stats(&bus).listeners;
    let [timed, failing] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((timed.calls, timed.errors, timed.max_nanos), (100, 1, 100_000));
    assert_eq!((failing.calls, failing.errors), (100, 4));
    assert_eq!((timed.topic.as_str(), timed.line), ("order.placed", line));
    assert!(timed.file.ends_with("statistics.rs") && timed.function.contains("takes"), "{timed:?}");
    for (told, micros) in [(timed.p50_nanos, 50), (timed.p95_nanos, 95), (timed.p99_nanos, 99)] {
        assert!((micros * 1_000..=micros * 1_070).contains(&told), "{told} for {micros}");
    }
    assert_eq!(failing.max_nanos, 0);
    let text = serde_json::to_string(&stats(&bus)).expect("plain data");
    assert_eq!(serde_json::from_str::<Stats>(&text).expect("the same"), stats(&bus));
}

#[test]
fn what_making_an_envelope_or_deciding_takes_is_not_the_listener_s_time() {
    let (bus, clock) = measured(StatsOptions::new());
    let deciding = clock.clone();
    let slow_condition = move |_: &Placed| {
        deciding.advance(Duration::from_secs(1));
        true
    };
    bus.listen().when(slow_condition).on(takes(&clock)).forever();
    bus.emit(&Placed(7));
    assert_eq!(stats(&bus).listeners[0].max_nanos, 7_000);
    assert!(bus.emissions("**", Timestamp::MIN).expect("valid")[0].nanos > 1_000_000_000);
}

#[test]
fn without_a_driven_clock_durations_are_the_machine_s() {
    let bus = Bus::builder().stats(StatsOptions::new()).build();
    bus.on(|placed: &Placed| assert!((0..placed.0).map(std::hint::black_box).sum::<u64>() > 0)).forever();
    bus.emit(&Placed(1_000));
    let all = stats(&bus).listeners;
    assert!(all[0].max_nanos > 0 && all[0].p50_nanos == all[0].max_nanos, "{all:?}");
}

#[tokio::test]
async fn asynchronous_listeners_are_measured_from_start_to_end_and_are_never_called_slow() {
    let (bus, clock) = measured(StatsOptions::new());
    let told = slowed(&bus);
    let moving = clock.clone();
    let listener = move |placed: On<Placed>| {
        let clock = moving.clone();
        async move {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(3));
            if placed.0 == 2 { Err(Failure::transient("two")) } else { Ok(()) }
        }
    };
    bus.on_async(listener).forever();
    bus.emit_async(Placed(1)).await;
    bus.emit(&Placed(2));
    bus.settled().await;
    drop(bus.emit_async(Placed(3)).into_future());
    let mut given_up = Box::pin(bus.emit_async(Placed(3)).into_future());
    assert!(futures_util::poll!(given_up.as_mut()).is_pending());
    drop(given_up);
    let stats = stats(&bus);
    let of_placed = |all: &[ListenerStats]| all.iter().find(|one| one.topic == "order.placed").cloned();
    let listener = of_placed(&stats.listeners).expect("there");
    assert_eq!((listener.calls, listener.errors, listener.max_nanos), (3, 2, 3_000_000_000));
    assert_eq!(*told.lock().expect("not poisoned"), []);
}

#[test]
fn a_slow_listener_is_told_of_once_a_level_until_the_statistics_are_reset() {
    let (bus, clock) = measured(StatsOptions::new());
    let told = slowed(&bus);
    bus.on(takes(&clock)).forever();
    let take = || std::mem::take(&mut *told.lock().expect("not poisoned"));
    for micros in [10, 999, 1_000, 5_000, 9_999] {
        bus.emit(&Placed(micros));
    }
    assert_eq!(take(), [(Slowness::Slow, 1_000)]);
    for micros in [10_000, 1_000, 20_000] {
        bus.emit(&Placed(micros));
    }
    assert_eq!(take(), [(Slowness::VerySlow, 10_000)]);
    bus.reset_stats();
    for micros in [30_000, 2_000] {
        bus.emit(&Placed(micros));
    }
    assert_eq!(take(), [(Slowness::VerySlow, 30_000)], "what is very slow is slow too");
}

#[test]
fn how_slow_is_slow_can_be_said() {
    let options = StatsOptions::new().slow(Duration::from_micros(5), Duration::from_micros(7));
    let (bus, clock) = measured(options);
    let told = slowed(&bus);
    bus.on(takes(&clock)).forever();
    for micros in [4, 5, 6, 7, 8] {
        bus.emit(&Placed(micros));
    }
    assert_eq!(*told.lock().expect("not poisoned"), [(Slowness::Slow, 5), (Slowness::VerySlow, 7)]);
}

#[test]
fn a_slow_listener_to_the_notice_that_causes_more_of_it_is_not_called_for_ever() {
    let (bus, clock) = measured(StatsOptions::new());
    let (inner, moving, calls) = (bus.clone(), clock.clone(), Arc::new(Mutex::new(0)));
    let counted = calls.clone();
    bus.on(move |_: &ListenerSlowed| {
        *counted.lock().expect("not poisoned") += 1;
        moving.advance(Duration::from_secs(1));
        let late = moving.clone();
        inner.on(move |_: &Placed| late.advance(Duration::from_secs(1))).forever();
        inner.emit(&Placed(50_000));
    })
    .forever();
    bus.on(takes(&clock)).forever();
    bus.emit(&Placed(50_000));
    assert_eq!(*calls.lock().expect("not poisoned"), 1);
}

#[test]
fn emissions_are_logged_to_be_asked_by_pattern_and_time_and_only_the_last_are_kept() {
    let (bus, clock) = measured(StatsOptions::new().log_max(3));
    bus.on(takes(&clock)).forever();
    for micros in 1..=4 {
        bus.emit(&Placed(micros * 1_000_000));
        bus.emit(&Cancelled(micros));
    }
    let briefly = |pattern: &str, since: Timestamp| {
        let log = bus.emissions(pattern, since).expect("valid");
        log.into_iter()
            .map(|e| (e.name, e.heard, e.nanos / 1_000_000_000, e.time.as_millis()))
            .collect::<Vec<_>>()
    };
    let placed = ("order.placed".to_owned(), 1, 4, 11_000);
    let cancelled = |at: i64| ("order.cancelled".to_owned(), 0, 0, at);
    assert_eq!(briefly("**", Timestamp::MIN), [cancelled(7_000), placed.clone(), cancelled(11_000)]);
    assert_eq!(briefly("*.placed", Timestamp::MIN), [placed]);
    assert_eq!(briefly("order.cancelled", Timestamp::from_millis(11_000)), [cancelled(11_000)]);
    assert_eq!(bus.emissions("a.**b", Timestamp::MIN).map_err(|error| error.column), Err(3));
    bus.reset_stats();
    assert_eq!(briefly("**", Timestamp::MIN), []);
    let (silent, _) = measured(StatsOptions::new().log_max(0));
    silent.emit(&Placed(1));
    assert_eq!((silent.emissions("**", Timestamp::MIN), stats(&silent).topics.len()), (Ok(vec![]), 1));
}

#[test]
fn what_goes_beyond_the_bounds_is_counted_among_the_others() {
    let (bus, _) = measured(StatsOptions::new().topics_max(2).listeners_max(1));
    let envelope = |number: usize| Envelope::build(format!("order.{number}")).finish().expect("valid");
    bus.subscribe("order.*", |_| ()).expect("valid").forever();
    bus.subscribe("order.*", |_| ()).expect("valid").forever();
    let ending = bus.subscribe("order.*", |_| -> Handled { Err(Failure::permanent("no")) }).expect("valid");
    for number in 0..10_000 {
        bus.emit_envelope(&envelope(number % 5_000));
    }
    let all = stats(&bus);
    assert_eq!((all.topics.len(), all.topics[0].emitted, all.topics[1].emitted), (2, 2, 2));
    let others = all.other_topics.expect("many");
    assert_eq!((others.emitted, others.heard, others.name.as_str()), (9_996, 29_988, ""));
    assert_eq!((all.listeners.len(), all.listeners[0].calls), (1, 10_000));
    let others = all.other_listeners.expect("two");
    assert_eq!((others.calls, others.errors, others.topic.as_str()), (20_000, 10_000, ""));
    ending.end();
    assert_eq!((stats(&bus).ended_calls, bus.remove_all(), stats(&bus).ended_calls), (0, 2, 10_000));
    bus.reset_stats();
    bus.emit_envelope(&envelope(77));
    let all = stats(&bus);
    assert_eq!((all.topics.len(), all.topics[0].name.as_str(), all.topics[0].emitted), (1, "order.77", 1));
    assert_eq!((all.other_topics, all.other_listeners, all.ended_calls), (None, None, 0));
}

#[test]
fn many_threads_count_every_call() {
    let bus = Bus::builder().stats(StatsOptions::new().log_max(10)).build();
    bus.on(|_: &Placed| ()).forever();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let emitter = bus.emitter::<Placed>();
                for _ in 0..500 {
                    emitter.emit(&Placed(1));
                    bus.on(|_: &Cancelled| ()).end();
                    bus.emit(&Placed(1));
                }
            });
        }
        while bus.stats().is_some_and(|all| all.topics.first().is_none_or(|topic| topic.emitted < 2_000)) {
            thread::yield_now();
        }
    });
    let all = stats(&bus);
    assert_eq!((all.topics[0].emitted, all.topics[0].heard, all.listeners[0].calls), (4_000, 4_000, 4_000));
    assert_eq!((all.listeners.len(), bus.emissions("**", Timestamp::MIN).expect("valid").len()), (1, 10));
}
