//! Windows behind a durable subscription: told once, whatever happens in between.

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{at, ms};
use serde::{Serialize, de::DeserializeOwned};
use tidings_core::{
    Clock, Commit, Cx, DocumentKey, Envelope, EventTime, ManualClock, Registration, Tenant, Text, View,
};
use tidings_durable::{Config, Node};
use tidings_flow::{
    Aggregation, Kept, KeptWindows, Summary, WINDOW_DUE, WindowCounts, Windowing,
    aggregate::{Average, Collected, Different, avg, collect, count, distinct, max, min, of, own, sum},
};
use tidings_store::{AnyStore, MemoryStore, Read};
use tokio::runtime::{Builder, Runtime};

const WINDOWS: View = View::new("windows");

/// A store that outlives the nodes on it.
struct World {
    clock: ManualClock,
    store: AnyStore,
    main: Runtime,
}

/// A node in a runtime of its own, which a crash takes with it.
struct Running {
    node: Arc<Node>,
    runtime: Runtime,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(at(1_000_000));
        let store: AnyStore = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Self { clock, store, main: runtime() }
    }

    fn start(&self, registrations: Vec<Registration>) -> Running {
        let config = Config { owner: "node".into(), lanes: 1, ..Config::default() };
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let published = Arc::new(|_: &[Envelope]| {});
        let node = Node::new(self.store.clone(), clock, config, registrations, published).expect("valid");
        let runtime = runtime();
        let _inside = runtime.enter();
        node.start();
        drop(_inside);
        Running { node, runtime }
    }

    /// An order at this event time.
    fn put(&self, key: &str, millis: i64, cents: u64) {
        let time = EventTime::parse(&at(millis).to_string()).expect("a time");
        let event = Envelope::build("order.placed").key(key).time(time).json(cents.to_string());
        let commit = Commit::events([event.finish().expect("valid")]);
        self.main.block_on(self.store.apply(commit)).expect("applied");
    }

    fn document<T: DeserializeOwned>(&self, id: &str) -> Option<T> {
        let key = DocumentKey::new("windows", id);
        let found = self.main.block_on(self.store.document(&Tenant::default(), &key)).expect("read");
        found.map(|found| serde_json::from_slice(&found.value).expect("the document"))
    }

    /// Key, payload and hops of all events of a name, in order.
    fn told(&self, name: &str) -> Vec<(String, serde_json::Value)> {
        let page = self.main.block_on(self.store.read(&Read::after(0).limit(4_000))).expect("the log");
        let named = page.events.into_iter().filter(|event| &**event.envelope.name() == name);
        let told = |event: &Envelope| {
            let json = serde_json::from_slice(event.payload().expect("a payload")).expect("JSON");
            (event.key().map(ToString::to_string).unwrap_or_default(), json)
        };
        named.map(|event| told(&event.envelope)).collect()
    }
}

impl Running {
    /// Lets it work while time stands still.
    fn work(&self, turns: usize) {
        for _ in 0..turns {
            self.runtime.block_on(tokio::task::yield_now());
        }
    }

    fn settle(&self) {
        self.runtime.block_on(self.node.settled()).expect("read");
    }

    fn pass(&self, clock: &ManualClock, span: Duration) {
        let mut left = span;
        while !left.is_zero() {
            self.work(60);
            let step = clock.next_wake().unwrap_or(left).min(left);
            clock.advance(step);
            left -= step;
        }
        self.work(60);
    }

    fn stop(self) {
        self.runtime.block_on(self.node.stop(Duration::from_secs(5)));
    }

    /// Everything of it ends at once.
    fn crash(self) {
        drop(self.runtime);
    }
}

fn cents(event: &Envelope) -> u64 {
    event.payload().ok().and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

/// Publishes the beginning of each window and what it comes to.
fn totals<A>(name: &str, settings: Windowing, aggregation: A) -> KeptWindows<Envelope, A>
where
    A: Aggregation<Envelope, Out: Send + Serialize> + Send + Sync + 'static,
    A::State: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let name = name.to_owned();
    let tell = move |one: Summary<A::Out, Option<Text>>, cx: &Cx| {
        let json = serde_json::json!([one.span.from.as_millis(), one.value]).to_string();
        let event = Envelope::build(name.as_str()).json(json);
        cx.publish_envelope(match one.key {
            Some(key) => event.key(key),
            None => event,
        });
        Ok(())
    };
    KeptWindows::new(WINDOWS, settings, aggregation, tell).expect("valid")
}

fn seconds() -> Registration {
    let settings = Windowing::tumbling(ms(1_000)).disorder(ms(300)).idle(ms(20_000));
    totals("second.totalled", settings, sum(cents)).durable("totals", "order.placed")
}

#[test]
fn each_window_is_told_once_with_all_that_is_in_it_whatever_crashes_in_between() {
    for crash_after in [5, 17, 40, 75, 130, 1_000] {
        let world = World::new();
        let mut expected: BTreeMap<(String, i64), u64> = BTreeMap::new();
        for part in 0..6_i64 {
            for number in part * 25..(part + 1) * 25 {
                // A little out of order, and two keys.
                let millis = number * 70 - (number % 3) * 100 + 1_000;
                let (key, cents) = (format!("shop-{}", number % 2), number as u64 + 1);
                *expected.entry((key.clone(), millis.div_euclid(1_000) * 1_000)).or_default() += cents;
                world.put(&key, millis, cents);
            }
            let node = world.start(vec![seconds()]);
            node.work(crash_after);
            node.crash();
        }
        let node = world.start(vec![seconds()]);
        node.settle();
        // Nothing follows: what is open is over when its key has been idle.
        node.pass(&world.clock, ms(60_000));
        node.settle();
        node.stop();
        let told = world.told("second.totalled");
        let mut found = BTreeMap::new();
        for (key, total) in told {
            let second = total[0].as_i64().expect("a number");
            let before = found.insert((key, second), total[1].as_u64().expect("a number"));
            assert_eq!(before, None, "the second {second} was told twice");
        }
        assert_eq!(found, expected, "crashed after {crash_after} turns");
    }
}

#[test]
fn an_idle_key_closes_its_windows_by_a_row_that_survives_a_restart() {
    let world = World::new();
    let node = world.start(vec![seconds()]);
    world.put("a", 1_000, 7);
    node.settle();
    let kept: Kept<i128> = world.document("key=a").expect("there");
    assert!(kept.due.is_some());
    node.stop();
    let node = world.start(vec![seconds()]);
    node.pass(&world.clock, ms(19_000));
    assert!(world.told("second.totalled").is_empty());
    node.pass(&world.clock, ms(10_000));
    node.settle();
    assert_eq!(world.told("second.totalled"), [("a".to_owned(), serde_json::json!([1_000, 7]))]);
    let kept: Kept<i128> = world.document("key=a").expect("there");
    assert_eq!((kept.due, kept.counts().told), (None, 1), "nothing is under way when nothing is open");
    let ticks = world.told(WINDOW_DUE).len();
    node.pass(&world.clock, ms(100_000));
    assert_eq!(world.told(WINDOW_DUE).len(), ticks);
    node.stop();
}

#[test]
fn a_key_that_goes_on_for_long_is_no_loop_and_has_one_row_at_a_time() {
    let world = World::new();
    let settings = Windowing::session(ms(50_000_000)).idle(ms(1_000));
    let node =
        world.start(vec![totals("session.over", settings, count()).durable("sessions", "order.placed")]);
    for number in 0..150 {
        world.put("a", number * 700, 1);
        node.settle();
        node.pass(&world.clock, ms(700));
    }
    node.settle();
    let status = node.runtime.block_on(node.node.status()).expect("read");
    assert_eq!((status[0].dead_lettered, status[0].failures), (0, 0));
    let ticks = world.told(WINDOW_DUE).len();
    assert!((70..=150).contains(&ticks), "{ticks}");
    assert!(world.told("session.over").is_empty());
    node.stop();
}

#[test]
fn late_events_are_counted_and_told_and_lateness_tells_a_window_again() {
    let world = World::new();
    let late = Arc::new(AtomicU64::new(0));
    let count_late = late.clone();
    let settings = Windowing::tumbling(ms(1_000)).lateness(ms(2_000)).ahead(ms(1_000_000_000));
    let kept = totals("second.totalled", settings, sum(cents)).left_out(move |event, _| {
        count_late.fetch_add(cents(event), Ordering::SeqCst);
    });
    let node = world.start(vec![kept.durable("totals", "order.placed")]);
    for (millis, cents) in [(100, 1), (1_500, 2), (200, 4), (4_000, 8), (300, 16), (i64::MAX / 2_000, 32)] {
        world.put("a", millis, cents);
    }
    node.settle();
    node.stop();
    let told: Vec<_> = world.told("second.totalled").into_iter().map(|(_, json)| json).collect();
    assert_eq!(told, [serde_json::json!([0, 1]), serde_json::json!([0, 5]), serde_json::json!([1_000, 2])]);
    let kept: Kept<i128> = world.document("key=a").expect("there");
    assert_eq!(kept.counts(), WindowCounts { taken: 4, late: 1, refused: 1, told: 3, again: 1 });
    assert_eq!(late.load(Ordering::SeqCst), 48);
}

#[test]
fn a_session_that_keeps_the_last_is_a_debounce_that_survives_a_crash() {
    let world = World::new();
    let last = || {
        let add = |last: &mut u64, event: &Envelope| *last = cents(event);
        let last = own(|| 0, add, |last: &u64| *last).merging(|into: &mut u64, later: &u64| *into = *later);
        let quiet = Windowing::session(ms(300)).idle(ms(300));
        totals("typing.over", quiet, last).durable("typing", "order.placed")
    };
    let node = world.start(vec![last()]);
    for (millis, value) in [(0, 1), (200, 2), (400, 3)] {
        world.put("ada", millis, value);
        node.settle();
    }
    node.crash();
    let node = world.start(vec![last()]);
    node.pass(&world.clock, ms(2_000));
    node.settle();
    node.stop();
    assert_eq!(world.told("typing.over"), [("ada".to_owned(), serde_json::json!([0, 3]))]);
}

#[test]
fn every_aggregation_goes_on_from_its_document() {
    let world = World::new();
    let all = || {
        let numbers = (count(), sum(cents), min(cents), max(cents));
        let tell = |one: Summary<_, Option<Text>>, cx: &Cx| {
            let ((items, sum, least, most), average, all, different) = one.value;
            let all: Collected<u64> = all;
            let average: Average<i128> = average;
            let different: Different = different;
            let total = average.sum;
            let json = serde_json::json!([items, sum, least, most, total, all.items, different.count]);
            cx.publish_envelope(Envelope::build("all.told").json(json.to_string()));
            Ok(())
        };
        let aggregation = (numbers, avg(cents), of(cents, collect(10)), distinct(100, cents));
        let settings = Windowing::sliding(ms(2_000), ms(1_000));
        KeptWindows::new(WINDOWS, settings, aggregation, tell).expect("valid").durable("all", "order.placed")
    };
    for (millis, cents) in [(0, 5), (900, 3), (1_100, 5), (1_900, 9), (2_100, 1)] {
        world.put("a", millis, cents);
        let node = world.start(vec![all()]);
        node.settle();
        node.stop();
    }
    let told: Vec<_> = world.told("all.told").into_iter().map(|(_, json)| json).collect();
    assert_eq!(
        told,
        [
            serde_json::json!([2, 8, 3, 5, 8, [5, 3], 2]),
            serde_json::json!([4, 22, 3, 9, 22, [5, 3, 5, 9], 3])
        ]
    );
}

#[test]
fn a_subscription_passes_over_what_another_one_is_told() {
    let world = World::new();
    let other = |name: &'static str| {
        let settings = Windowing::tumbling(ms(1_000)).idle(ms(5_000));
        let view = View::new(if name == "one" { "windows" } else { "others" });
        let tell = move |_: Summary<u64, Option<Text>>, cx: &Cx| {
            cx.publish_envelope(Envelope::build("told.now").json(format!("{:?}", cx.subscription())));
            Ok(())
        };
        KeptWindows::<Envelope, _>::new(view, settings, count(), tell)
            .expect("valid")
            .durable(name, "order.placed")
    };
    let node = world.start(vec![other("one"), other("two")]);
    world.put("a", 0, 1);
    node.pass(&world.clock, ms(30_000));
    node.settle();
    node.stop();
    let mut told: Vec<_> = world.told("told.now").into_iter().map(|(_, json)| json).collect();
    told.sort_by_key(ToString::to_string);
    assert_eq!(told, [serde_json::json!("one"), serde_json::json!("two")]);
    assert!(world.told(WINDOW_DUE).len() >= 2, "each has its own");
}
