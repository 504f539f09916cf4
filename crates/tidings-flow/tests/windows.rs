//! Windows on event time: the same results as from the whole list, whatever the order of arrival.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{Driven, at, ms};
use proptest::prelude::*;
use tidings_core::{Envelope, EventTime, Timestamp};
use tidings_flow::{
    Aggregation, Operator, Shape, Span, Summary, Window, WindowState, Windowed, WindowedCause, Windowing,
    aggregate::{collect, count, own, sum},
    event_time,
};

/// When it happened, in milliseconds; its key; and a number.
type Event = (i64, u8, u64);

fn time(event: &Event) -> Timestamp {
    at(event.0)
}

fn key(event: &Event) -> u8 {
    event.1
}

fn number(event: &Event) -> u64 {
    event.2
}

fn span(from: i64, until: i64) -> Span {
    Span { from: at(from), until: at(until) }
}

/// Windows over all events, that collect their numbers.
fn numbers(settings: Windowing) -> Driven<impl Operator<Item = Event, Out = Windowed<Event, Vec<u64>>>> {
    let all = own(Vec::new, |all: &mut Vec<u64>, event: &Event| all.push(event.2), Vec::clone)
        .merging(|all, later| all.extend(later));
    Driven::new(Window::new(settings, all, time).expect("valid"))
}

/// What was told, as (from, until, numbers).
fn told(out: Vec<(i64, Windowed<Event, Vec<u64>>)>) -> Vec<(i64, i64, Vec<u64>)> {
    let summaries = out.into_iter().filter_map(|(_, out)| out.summary());
    summaries.map(|one| (one.span.from.as_millis(), one.span.until.as_millis(), one.value)).collect()
}

#[test]
fn a_tumbling_window_is_told_when_the_watermark_passes_its_end() {
    let mut windows = numbers(Windowing::tumbling(ms(100)).disorder(ms(20)));
    windows.push((5, 0, 1)).push((99, 0, 2)).push((100, 0, 3)).push((90, 0, 4)).push((119, 0, 5));
    assert!(windows.out.is_empty(), "the watermark is at 99");
    windows.push((120, 0, 6));
    assert_eq!(told(windows.take()), [(0, 100, vec![1, 2, 4])]);
    windows.push((-1, 0, 7));
    assert_eq!(windows.take(), [(0, Windowed::Late((-1, 0, 7)))]);
    assert_eq!(told(windows.flush().take()), [(100, 200, vec![3, 5, 6])]);
}

#[test]
fn windows_before_1970_begin_at_multiples_too() {
    let mut windows = numbers(Windowing::sliding(ms(100), ms(50)));
    windows.push((-1, 0, 1)).push((-50, 0, 2)).flush();
    assert_eq!(
        told(windows.take()),
        [(-100, 0, vec![1, 2]), (-50, 50, vec![1, 2])],
        "both are in one part, in the order in which they came"
    );
}

#[test]
fn an_event_is_in_as_many_sliding_windows_as_overlap_and_is_added_once() {
    let calls = Arc::new(AtomicU64::new(0));
    let adding = {
        let calls = calls.clone();
        own(
            || 0,
            move |so_far: &mut u64, event: &Event| {
                calls.fetch_add(1, Ordering::Relaxed);
                *so_far += event.2;
            },
            |sum| *sum,
        )
        .merging(|sum, other| *sum += other)
    };
    let mut windows =
        Driven::new(Window::new(Windowing::sliding(ms(1_000), ms(10)), adding, time).expect("valid"));
    for event in 0..500 {
        windows.push((event, 0, 1));
    }
    windows.flush();
    assert_eq!(calls.load(Ordering::Relaxed), 500);
    let sums: Vec<u64> =
        windows.take().into_iter().filter_map(|one| one.1.summary()).map(|one| one.value).collect();
    assert_eq!(
        sums.len(),
        149,
        "from the one that ends after the first event to the one that begins at the last"
    );
    assert_eq!(sums.iter().sum::<u64>(), 500 * 100);
}

#[test]
fn sizes_that_do_not_divide_slide_too() {
    let mut windows = numbers(Windowing::sliding(ms(25), ms(10)));
    windows.push((12, 0, 1)).push((31, 0, 2)).flush();
    let expected =
        [(-10, 15, vec![1]), (0, 25, vec![1]), (10, 35, vec![1, 2]), (20, 45, vec![2]), (30, 55, vec![2])];
    assert_eq!(told(windows.take()), expected);
}

#[test]
fn a_late_event_changes_a_window_that_was_told_as_long_as_lateness_allows() {
    let mut windows = numbers(Windowing::tumbling(ms(100)).lateness(ms(50)));
    windows.push((10, 0, 1)).push((149, 0, 2)).push((20, 0, 3)).push((150, 0, 4)).push((30, 0, 5));
    let out: Vec<_> = windows.take().into_iter().map(|one| one.1).collect();
    let summary = |value: Vec<u64>, replaces, cause| {
        let items = value.len() as u64;
        Windowed::Summary(Summary { key: (), span: span(0, 100), items, value, replaces, cause })
    };
    assert_eq!(
        out,
        [
            summary(vec![1], vec![], WindowedCause::Watermark),
            summary(vec![1, 3], vec![span(0, 100)], WindowedCause::Late),
            Windowed::Late((30, 0, 5)),
        ]
    );
}

#[test]
fn a_session_ends_when_there_was_nothing_for_the_gap_and_sessions_grow_together() {
    let mut windows = numbers(Windowing::session(ms(100)).disorder(ms(1_000)));
    // 199 is less than the gap after 100; 300 is the gap after 200 and begins another; 250 joins the two.
    windows.push((100, 0, 1)).push((199, 0, 2)).push((400, 0, 3)).push((500, 0, 4)).push((300, 0, 5));
    windows.push((250, 0, 6)).flush();
    assert_eq!(
        told(windows.take()),
        [(100, 400, vec![1, 2, 5, 6]), (400, 500, vec![3]), (500, 600, vec![4])]
    );
}

#[test]
fn a_late_event_that_joins_sessions_says_which_it_replaces() {
    let mut windows = numbers(Windowing::session(ms(100)).lateness(ms(10_000)));
    windows.push((0, 0, 1)).push((150, 0, 2)).push((1_000, 0, 3));
    assert_eq!(told(windows.take()), [(0, 100, vec![1]), (150, 250, vec![2])]);
    windows.push((75, 0, 4));
    let [(_, Windowed::Summary(joined))] = &windows.take()[..] else { panic!("one summary") };
    assert_eq!((joined.span, &joined.value), (span(0, 250), &vec![1, 2, 4]));
    assert_eq!(joined.replaces, [span(0, 100), span(150, 250)]);
    windows.push((240, 0, 5));
    let [(_, Windowed::Summary(longer))] = &windows.take()[..] else { panic!("one summary") };
    assert_eq!((longer.span, &longer.replaces[..]), (span(0, 340), &[span(0, 250)][..]));
}

#[test]
fn the_slowest_source_holds_up_the_watermark_until_it_is_idle() {
    let sourced = |settings| {
        let windows = Window::new(settings, count(), time).expect("valid");
        Driven::new(windows.from_sources(|event: &Event| format!("s{}", event.1).into()))
    };
    let mut patient = sourced(Windowing::tumbling(ms(100)));
    patient.push((10, 1, 0)).push((10, 2, 0)).push((500, 1, 0)).to(1_000_000);
    assert!(patient.out.is_empty());
    assert_eq!(patient.operator.watermark(), Some(at(10)));

    let mut windows = sourced(Windowing::tumbling(ms(100)).idle(ms(1_000)));
    windows.push((10, 1, 0)).push((10, 2, 0)).to(500).push((500, 1, 0));
    windows.to(999);
    assert!(windows.out.is_empty());
    windows.to(1_499);
    assert_eq!(windows.out.len(), 1, "the source that was quiet for a second does not count any more");
    // Both are idle from 1,500 on: event time goes on with the clock, and reaches 600 after 100.
    windows.to(1_599);
    assert_eq!(windows.out.len(), 1);
    windows.to(1_600);
    assert_eq!(windows.out.iter().map(|one| one.0).collect::<Vec<_>>(), [1_000, 1_600]);
    assert_eq!((windows.operator.held(), windows.operator.due()), (0, None));
    // Whoever comes back is late, but nothing goes backwards.
    windows.push((20, 2, 0)).push((700, 2, 0));
    assert_eq!(windows.operator.counts().late, 1);
    assert_eq!(windows.operator.watermark(), Some(at(700)), "the other one is idle still");
}

#[test]
fn sources_over_the_bound_count_as_one() {
    let windows = Window::new(Windowing::tumbling(ms(10)).sources(2), count(), time).expect("valid");
    let mut windows = Driven::new(windows.from_sources(|event: &Event| format!("s{}", event.1).into()));
    for source in 0..100 {
        windows.push((5, source, 0));
    }
    for source in [0, 1, 50] {
        windows.push((100, source, 0));
    }
    assert_eq!(windows.out.len(), 1, "the third and all after it are one source");
}

#[test]
fn an_event_over_the_bound_is_given_back_and_counted() {
    let by = Window::by(Windowing::tumbling(ms(100)).windows(2), count(), time, key).expect("valid");
    let mut windows = Driven::new(by);
    windows.push((1, 1, 0)).push((2, 2, 0)).push((3, 3, 0)).push((4, 1, 0));
    assert_eq!(windows.take(), [(0, Windowed::Refused((3, 3, 0)))]);
    assert_eq!((windows.operator.held(), windows.operator.counts().refused), (2, 1));
    windows.push((100, 1, 0));
    assert_eq!(
        windows.take()[0],
        (0, Windowed::Refused((100, 1, 0))),
        "its own time makes room, for the next"
    );
    windows.push((101, 1, 0));
    assert_eq!(windows.operator.held(), 1);
    let mut sessions =
        Driven::new(Window::by(Windowing::session(ms(100)).windows(1), count(), time, key).expect("valid"));
    sessions.push((1, 1, 0)).push((2, 2, 0)).push((3, 1, 0));
    assert_eq!(sessions.take(), [(0, Windowed::Refused((2, 2, 0)))]);
}

#[test]
fn an_event_from_the_future_does_not_make_all_others_late() {
    let mut windows = numbers(Windowing::tumbling(ms(100)).ahead(ms(1_000)));
    windows.push((1_001, 0, 1)).push((1, 0, 2)).push((1_000, 0, 3));
    assert_eq!(windows.out[0].1, Windowed::Refused((1_001, 0, 1)));
    assert_eq!(told(windows.take()), [(0, 100, vec![2])]);
    let mut believing = numbers(Windowing::tumbling(ms(100)));
    for nonsense in [i64::MAX, i64::MIN] {
        believing.push((nonsense, 0, 0));
    }
    assert_eq!(believing.take().len(), 2, "times that cannot be added up are in no window");
}

#[test]
fn the_event_time_of_an_envelope_is_its_producers() {
    let built = || Envelope::build("order.placed").source("/shop");
    let timed = built().time(EventTime::parse("2011-10-01T00:38:44.546+02:00").expect("a time"));
    let expected: Timestamp = "2011-09-30T22:38:44.546Z".parse().expect("a time");
    assert_eq!(event_time(&timed.finish().expect("valid")), expected);
    assert_eq!(event_time(&built().finish().expect("valid")), Timestamp::MIN);
}

#[test]
fn nothing_of_a_window_is_kept_when_no_event_can_change_it() {
    for settings in [
        Windowing::tumbling(ms(10)),
        Windowing::sliding(ms(30), ms(10)),
        Windowing::session(ms(5)),
        Windowing::tumbling(ms(10)).lateness(ms(20)),
        Windowing::session(ms(5)).lateness(ms(20)),
    ] {
        let mut windows = Driven::new(Window::by(settings, count(), time, key).expect("valid"));
        for event in 0..10_000 {
            windows.push((event, (event % 200) as u8, 0));
            assert!(windows.operator.held() <= 250, "{}", windows.operator.held());
        }
        windows.flush();
        let json = serde_json::to_value(windows.operator.state()).expect("JSON");
        assert_eq!((windows.operator.held(), &json["keys"]), (0, &serde_json::json!([])));
    }
}

#[test]
fn settings_of_windows_that_mean_nothing_are_refused() {
    let refused = |settings: Windowing| -> Vec<String> {
        let error = Window::new(settings, count(), time).map(drop).expect_err("refused");
        error.faults().iter().map(|fault| fault.split(':').next().unwrap_or_default().to_owned()).collect()
    };
    let (zero, huge) = (Duration::ZERO, Duration::MAX);
    assert_eq!(refused(Windowing::tumbling(zero)), ["size"]);
    assert_eq!(refused(Windowing::tumbling(huge)), ["size"]);
    assert_eq!(refused(Windowing::session(zero)), ["gap"]);
    assert_eq!(refused(Windowing::sliding(zero, zero)), ["size", "every"]);
    assert_eq!(refused(Windowing::sliding(ms(10), ms(11))), ["every"]);
    assert_eq!(refused(Windowing::sliding(Duration::from_secs(3_600), ms(1))), ["every"]);
    let fine = || Windowing::tumbling(ms(1));
    assert_eq!(refused(fine().disorder(huge)), ["disorder"]);
    assert_eq!(refused(fine().lateness(huge)), ["lateness"]);
    assert_eq!(refused(fine().idle(zero)), ["idle"]);
    assert_eq!(refused(fine().ahead(huge)), ["ahead"]);
    assert_eq!(refused(fine().windows(0)), ["windows"]);
    assert_eq!(refused(fine().sources(0)), ["sources"]);
    let no_merge = || own(|| 0, |sum: &mut u64, event: &Event| *sum += event.2, |sum| *sum);
    assert!(Window::new(fine(), no_merge(), time).is_ok());
    assert!(Window::new(Windowing::session(ms(1)), no_merge(), time).is_err());
    assert!(Window::new(Windowing::sliding(ms(2), ms(1)), (count(), no_merge()), time).is_err());
    assert!(Window::new(fine(), collect(0), time).is_err());
    assert!(
        serde_json::from_str::<Windowing>(
            r#"{"shape": {"tumbling": {"size": {"secs": 1, "nanos": 0}}}, "late": 1}"#
        )
        .is_err()
    );
}

#[test]
fn a_state_of_another_shape_is_refused() {
    let windows = |settings| Window::<Event, _>::new(settings, count(), time).expect("valid");
    let state = windows(Windowing::tumbling(ms(10))).state();
    assert!(windows(Windowing::tumbling(ms(10)).lateness(ms(5))).restored(state.clone()).is_ok());
    assert!(windows(Windowing::tumbling(ms(20))).restored(state).is_err());
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        (1..60_u64).prop_map(|size| Shape::Tumbling { size: ms(size) }),
        (1..60_u64, 1..60_u64).prop_map(|(a, b)| Shape::Sliding { size: ms(a.max(b)), every: ms(a.min(b)) }),
        (1..30_u64).prop_map(|gap| Shape::Session { gap: ms(gap) }),
    ]
}

/// What a person would compute from the whole list: for each key and window the sum of the numbers.
fn whole(shape: Shape, events: &[Event]) -> BTreeMap<(u8, Span), u64> {
    let mut windows = BTreeMap::new();
    match shape {
        Shape::Session { gap } => {
            let gap = gap.as_millis() as i64;
            let mut sorted = events.to_vec();
            sorted.sort_unstable_by_key(|event| (event.1, event.0));
            let mut open: Option<(u8, i64, i64, u64)> = None;
            for (time, key, number) in sorted {
                match &mut open {
                    Some((of, _, until, sum)) if *of == key && time < *until => {
                        *until = time + gap;
                        *sum += number;
                    }
                    _ => {
                        if let Some((key, from, until, sum)) = open.replace((key, time, time + gap, number)) {
                            windows.insert((key, span(from, until)), sum);
                        }
                    }
                }
            }
            if let Some((key, from, until, sum)) = open {
                windows.insert((key, span(from, until)), sum);
            }
        }
        Shape::Tumbling { size } | Shape::Sliding { size, .. } => {
            let every = if let Shape::Sliding { every, .. } = shape { every } else { size };
            for (time, key, number) in events {
                for span in spans(size, every, *time) {
                    *windows.entry((*key, span)).or_default() += number;
                }
            }
        }
    }
    windows
}

/// Every window that holds a time, found by trying.
fn spans(size: Duration, every: Duration, time: i64) -> Vec<Span> {
    let (size, every) = (size.as_millis() as i64, every.as_millis() as i64);
    (-200..1_200)
        .map(|n| n * every)
        .filter(|from| (*from..from + size).contains(&time))
        .map(|from| span(from, from + size))
        .collect()
}

/// What stands in the end if everything told replaces what it says it replaces.
fn standing<T>(out: impl IntoIterator<Item = Windowed<T, u64, u8>>) -> BTreeMap<(u8, Span), u64> {
    let mut windows = BTreeMap::new();
    for summary in out.into_iter().filter_map(Windowed::summary) {
        for old in summary.replaces {
            assert!(windows.remove(&(summary.key, old)).is_some(), "it replaces what was told");
        }
        assert!(
            windows.insert((summary.key, summary.span), summary.value).is_none(),
            "nothing is told twice"
        );
    }
    windows
}

proptest! {
    #[test]
    fn the_result_is_that_of_the_whole_list_in_whatever_order_within_what_is_allowed(
        shape in shape(),
        (disorder, lateness) in (0..80_i64, 0..80_i64),
        events in proptest::collection::vec((0..1_000_i64, 0..3_u8, 0..100_u64, 0.0..1.0_f64), 1..150),
        restarts in proptest::collection::vec(0..150_usize, 0..3),
    ) {
        // An event arrives after others that are later by no more than what is allowed.
        let mut arrivals = events;
        let allowed = (disorder + lateness) as f64;
        arrivals.sort_by(|a, b| (a.0 as f64 + a.3 * allowed).total_cmp(&(b.0 as f64 + b.3 * allowed)));
        let events: Vec<Event> = arrivals.into_iter().map(|(time, key, number, _)| (time, key, number)).collect();
        let settings = Windowing::new(shape).disorder(ms(disorder as u64)).lateness(ms(lateness as u64));
        let made = || Window::by(settings.clone(), sum(number), time, key).expect("valid");
        let mut windows = made();
        let mut out = Vec::new();
        for (turn, event) in events.iter().enumerate() {
            if restarts.contains(&turn) {
                let document = serde_json::to_string(&windows.state()).expect("JSON");
                let state: WindowState<u8, i128> = serde_json::from_str(&document).expect("JSON");
                windows = made().restored(state).expect("the same shape");
            }
            windows.push(*event, at(0), &mut |one| out.push(one));
        }
        let passed: Vec<_> = out.iter().filter_map(|one| one.clone().summary()).filter(|one| one.cause == WindowedCause::Watermark).map(|one| one.span.until).collect();
        if restarts.is_empty() {
            prop_assert!(passed.is_sorted(), "windows are told in the order of their ends");
        }
        windows.flush(at(0), &mut |one| out.push(one));
        let late = out.iter().filter(|one| !matches!(one, Windowed::Summary(_))).count();
        prop_assert_eq!(late, 0);
        let out = out.into_iter().map(|one| match one {
            Windowed::Summary(one) => Windowed::<Event, u64, u8>::Summary(Summary { key: one.key, span: one.span, items: one.items, value: one.value as u64, replaces: one.replaces, cause: one.cause }),
            Windowed::Late(event) => Windowed::Late(event),
            Windowed::Refused(event) => Windowed::Refused(event),
        });
        prop_assert_eq!(standing(out), whole(shape, &events));
        prop_assert_eq!(windows.held(), 0);
    }

    #[test]
    fn beyond_what_is_allowed_each_window_has_the_events_that_came_while_it_took_any(
        shape in shape().prop_filter("sessions move", |shape| !matches!(shape, Shape::Session { .. })),
        (disorder, lateness) in (0..40_i64, 0..40_i64),
        events in proptest::collection::vec((0..1_000_i64, 0..3_u8, 1..100_u64), 1..100),
    ) {
        let (size, every) = match shape {
            Shape::Sliding { size, every } => (size, every),
            Shape::Tumbling { size } | Shape::Session { gap: size } => (size, size),
        };
        let settings = Windowing::new(shape).disorder(ms(disorder as u64)).lateness(ms(lateness as u64));
        let counting = own(|| 0_u64, |sum: &mut u64, event: &Event| *sum += event.2, |sum| *sum).merging(|sum, other| *sum += other);
        let mut windows = Window::by(settings, counting, time, key).expect("valid");
        let (mut out, mut model, mut late, mut latest) = (Vec::new(), BTreeMap::new(), BTreeSet::new(), i64::MIN);
        for (turn, event) in events.iter().enumerate() {
            windows.push(*event, at(0), &mut |one| out.push(one));
            latest = latest.max(event.0);
            let watermark = at(latest - disorder);
            let takes: Vec<_> = spans(size, every, event.0).into_iter().filter(|span| span.until.after(ms(lateness as u64)) > watermark).collect();
            if takes.is_empty() {
                late.insert(turn);
            }
            for span in takes {
                *model.entry((event.1, span)).or_insert(0) += event.2;
            }
        }
        windows.flush(at(0), &mut |one| out.push(one));
        prop_assert_eq!(windows.counts().late, late.len() as u64);
        prop_assert_eq!(standing(out), model);
    }
}

#[test]
fn an_aggregation_can_be_asked_for_by_its_trait() {
    fn total<A: Aggregation<Event, Out = i128>>(aggregation: A) -> i128 {
        let mut state = aggregation.start();
        aggregation.add(&mut state, &(0, 0, 7));
        aggregation.finish(&state)
    }
    assert_eq!(total(sum(number)), 7);
}
