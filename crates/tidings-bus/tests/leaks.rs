//! The leak watch warns once a level, says where, and is quiet otherwise.

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Cancelled, Placed};
use tidings_bus::{Bus, Guard, LEAK_LIMIT, LEAK_ORIGINS_MAX, LeakLevel, LeakSuspected, LeakWatch, Leaks};
use tidings_core::{ManualClock, Timestamp};

/// The suspicions a bus has told of.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<LeakSuspected>>>);

impl Told {
    fn by(bus: &Bus) -> Self {
        let told = Self::default();
        let all = told.0.clone();
        bus.on(move |leak: &LeakSuspected| all.lock().expect("not poisoned").push(leak.clone())).forever();
        told
    }

    fn take(&self) -> Vec<LeakSuspected> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }

    /// Topic, number of listeners and level of each.
    fn brief(&self) -> Vec<(String, usize, LeakLevel)> {
        self.take().into_iter().map(|leak| (leak.topic, leak.listeners, leak.level)).collect()
    }
}

fn near(topic: &str, listeners: usize) -> (String, usize, LeakLevel) {
    (topic.to_owned(), listeners, LeakLevel::Near)
}

fn reached(topic: &str, listeners: usize) -> (String, usize, LeakLevel) {
    (topic.to_owned(), listeners, LeakLevel::Reached)
}

fn add(bus: &Bus, count: usize) -> Vec<Guard> {
    (0..count).map(|_| bus.on(|_: &Placed| ())).collect()
}

#[test]
fn by_default_it_warns_at_eight_and_at_ten_and_never_again() {
    let bus = Bus::builder().leak_watch(LeakWatch::default()).build();
    let told = Told::by(&bus);
    let _guards = add(&bus, 50);
    assert_eq!(LEAK_LIMIT, 10);
    assert_eq!(told.brief(), [near("order.placed", 8), reached("order.placed", 10)]);
    let pattern: Vec<Guard> = (0..50).map(|_| bus.subscribe("order.*", |_| ()).expect("valid")).collect();
    assert_eq!(told.brief(), [near("order.*", 8), reached("order.*", 10)], "each pattern counts by itself");
    drop(pattern);
}

#[test]
fn a_bus_that_was_not_asked_to_watch_does_not_warn() {
    let bus = Bus::new();
    let told = Told::by(&bus);
    let _guards = add(&bus, 50);
    assert_eq!(told.brief(), []);
}

#[test]
fn limits_percentages_exceptions_and_no_limit_are_what_was_said() {
    let watch = LeakWatch::limit(4).near_percent(50);
    let watch = watch
        .limit_for("order.**", 6)
        .expect("valid")
        .unbounded_for("order.c*")
        .map_err(|error| error.column);
    assert_eq!(watch.as_ref().err(), Some(&8), "a wildcard is a whole segment");
    let watch = LeakWatch::limit(4).near_percent(50).limit_for("order.**", 6).expect("valid");
    let watch = watch.unbounded_for("order.cancelled").expect("valid");
    let bus = Bus::builder().leak_watch(watch).build();
    let told = Told::by(&bus);
    let _typed = add(&bus, 20);
    assert_eq!(told.brief(), [near("order.placed", 3), reached("order.placed", 6)]);
    let _free: Vec<Guard> = (0..20).map(|_| bus.on(|_: &Cancelled| ())).collect();
    assert_eq!(told.brief(), []);
    let _all: Vec<Guard> = (0..20).map(|_| bus.any(|_| ())).collect();
    assert_eq!(told.brief(), [near("**", 2), reached("**", 4)]);
    let bus = Bus::builder().leak_watch(LeakWatch::unbounded()).build();
    let told = Told::by(&bus);
    let _guards = add(&bus, 100);
    assert_eq!((told.brief(), bus.leaks().topics[0].limit), (vec![], None));
}

#[test]
fn listeners_by_type_and_by_the_same_name_as_a_pattern_count_together_and_places_are_grouped() {
    let bus = Bus::builder().leak_watch(LeakWatch::limit(5).near_percent(100)).build();
    let told = Told::by(&bus);
    let guards = add(&bus, 3);
    let by_name = bus.subscribe("order.placed", |_| ()).expect("valid");
    let line = line!() - 1;
    let prepended = bus.prepend(|_: &Placed| ());
    let all = told.take();
    let [leak] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((leak.listeners, leak.limit, leak.elsewhere), (5, 5, 0));
    let counts: Vec<usize> = leak.origins.iter().map(|origin| origin.listeners).collect();
    assert_eq!(counts, [3, 1, 1]);
    assert!(leak.origins.iter().all(|origin| origin.file.ends_with("leaks.rs")), "{leak:?}");
    assert_eq!(leak.origins[1].line, line);
    drop((guards, by_name, prepended));
}

#[test]
fn it_warns_again_after_the_listeners_had_become_few_whichever_way_they_went() {
    let bus = Bus::builder().leak_watch(LeakWatch::default()).build();
    let told = Told::by(&bus);
    for way in 0..5 {
        let guards = add(&bus, 10);
        assert_eq!(told.brief(), [near("order.placed", 8), reached("order.placed", 10)], "way {way}");
        match way {
            0 => drop(guards),
            1 => assert_eq!(bus.remove("order.placed"), 10),
            2 => {
                // All but those to notices.
                assert_eq!(bus.remove_all(), 11);
                let again = told.clone();
                bus.on(move |leak: &LeakSuspected| again.0.lock().expect("not poisoned").push(leak.clone()))
                    .forever();
            }
            3 => {
                let mut guards = guards;
                for _ in 0..5 {
                    guards.truncate(9);
                    guards.extend(add(&bus, 1));
                }
                assert_eq!(told.brief(), [], "one that comes and goes at the limit is told once");
                guards.truncate(7);
                guards.extend(add(&bus, 3));
                assert_eq!(told.brief(), [reached("order.placed", 10)]);
            }
            _ => {
                for _ in 0..10 {
                    bus.once(|_: &Placed| ()).forever();
                }
                bus.emit(&Placed(1));
                drop(guards);
                assert_eq!(told.brief(), []);
            }
        }
    }
}

#[test]
fn weak_listeners_without_their_targets_are_no_leak() {
    let bus = Bus::builder().leak_watch(LeakWatch::limit(4)).build();
    let told = Told::by(&bus);
    for _ in 0..100 {
        let target = Arc::new(());
        bus.on_weak(&target, |(), _: &Placed| ()).forever();
    }
    assert_eq!(told.brief(), []);
}

#[test]
fn a_listener_to_the_warning_that_registers_ever_more_listeners_is_not_called_for_ever() {
    let watch = LeakWatch::limit(1).unbounded_for("tidings.**").expect("valid");
    let bus = Bus::builder().leak_watch(watch).build();
    let (inner, calls) = (bus.clone(), Arc::new(Mutex::new(0)));
    let counted = calls.clone();
    bus.on(move |leak: &LeakSuspected| {
        assert_eq!((leak.topic.as_str(), leak.level), ("order.placed", LeakLevel::Reached));
        *counted.lock().expect("not poisoned") += 1;
        for number in 0..100 {
            inner.subscribe(&format!("order.{number}"), |_| ()).expect("valid").forever();
            inner.on(|_: &Cancelled| ()).forever();
        }
    })
    .forever();
    bus.on(|_: &Placed| ()).forever();
    assert_eq!(*calls.lock().expect("not poisoned"), 1);
}

#[test]
fn the_report_tells_counts_places_limits_warnings_and_growth_on_the_bus_s_clock() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let watch = LeakWatch::limit(10).sample_every(Duration::from_secs(60));
    let bus = Bus::builder().clock(Arc::new(clock.clone())).leak_watch(watch).build();
    let mut guards = Vec::new();
    for _ in 0..9 {
        guards.extend(add(&bus, 1));
        clock.advance(Duration::from_secs(45));
    }
    bus.subscribe("order.*", |_| ()).expect("valid").forever();
    let report = bus.leaks();
    let [placed, pattern] = report.topics.as_slice() else { panic!("{report:?}") };
    assert_eq!((placed.topic.as_str(), placed.listeners, placed.limit), ("order.placed", 9, Some(10)));
    assert_eq!((placed.told, pattern.told), (Some(LeakLevel::Near), None));
    let samples: Vec<_> = placed.samples.iter().map(|s| (s.time.as_millis() / 1_000, s.listeners)).collect();
    assert_eq!(samples, [(180, 5), (270, 7), (360, 9)], "one a minute at most, from half of the limit on");
    // Four more within 405 - 180 seconds.
    assert_eq!(placed.growth_per_hour, Some(64.0));
    assert_eq!((pattern.samples.len(), pattern.growth_per_hour, report.others), (0, None, 0));
    let text = serde_json::to_string(&report).expect("plain data");
    assert_eq!(serde_json::from_str::<Leaks>(&text).expect("the same"), report);
    drop(guards);
    assert_eq!(bus.leaks().topics.len(), 1);
}

#[test]
fn a_report_names_a_bounded_number_of_places() {
    let bus = Bus::new();
    macro_rules! at_many_lines {
        ($($n:literal)*) => {$(
            bus.on(|_: &Placed| assert_ne!($n, 77))
                .forever();
        )*};
    }
    at_many_lines!(1);
    at_many_lines!(2);
    at_many_lines!(3);
    at_many_lines!(4);
    at_many_lines!(5);
    at_many_lines!(6);
    at_many_lines!(7);
    at_many_lines!(8);
    at_many_lines!(9);
    at_many_lines!(10);
    at_many_lines!(11);
    at_many_lines!(12);
    at_many_lines!(13);
    at_many_lines!(14);
    at_many_lines!(15);
    at_many_lines!(16);
    at_many_lines!(17);
    at_many_lines!(18);
    at_many_lines!(19);
    at_many_lines!(20);
    let _many = add(&bus, 7);
    at_many_lines!(21);
    let report = bus.leaks();
    let leak = &report.topics[0];
    assert_eq!((leak.listeners, leak.origins.len(), leak.origins[0].listeners), (28, LEAK_ORIGINS_MAX, 7));
    assert_eq!(leak.elsewhere, 2);
}
