//! What a bus can do, done at once: namespaces, questions and waits on a bus with middleware, history and statistics.

mod common;

use common::{Diary, Placed};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tidings_bus::{Bus, History, LeakSuspected, LeakWatch, Question, Replay, StatsOptions, Verdict};
use tidings_core::{Envelope, Event};

events! {
    Doubled = "number.doubled" version 1;
}

/// A number has a double if it is not too large.
impl Question for Doubled {
    type Answer = u64;
    type Error = TooLarge;
}

/// It has none.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct TooLarge;

fn double(asked: &Doubled) -> Result<u64, TooLarge> {
    asked.0.checked_mul(2).ok_or(TooLarge)
}

#[test]
fn what_is_emitted_in_a_namespace_is_kept_counted_and_changed_under_its_whole_name() {
    let history = Bus::builder().history("shop.**", History::last(10)).expect("valid");
    let bus = history.stats(StatsOptions::new()).build();
    let shop = bus.namespace("shop").expect("valid");
    // Nobody listens, and all the same it is kept and counted.
    assert_eq!((shop.emit(&Placed(1)), bus.emit(&Placed(2))), (0, 0));
    let kept = bus.history("**", Replay::all()).expect("valid");
    assert_eq!(kept.iter().map(|event| event.name().to_string()).collect::<Vec<_>>(), ["shop.order.placed"]);
    let stats = bus.stats().expect("they are on");
    let topics: Vec<_> = stats.topics.iter().map(|topic| (&*topic.name, topic.emitted)).collect();
    assert_eq!(topics, [("order.placed", 1), ("shop.order.placed", 1)]);

    let cancel = |envelope: &Envelope| {
        if envelope.name().starts_with("shop.") { Verdict::Cancel } else { Verdict::Pass }
    };
    let guard = bus.middleware_on("**", cancel).expect("valid");
    let diary = Diary::default();
    let entry = diary.clone();
    shop.any_of_it(move |any| entry.write(any.name()));
    assert_eq!((shop.emit(&Placed(3)), diary.take().as_str()), (0, ""));
    drop(guard);
    assert_eq!((shop.emit(&Placed(4)), diary.take().as_str()), (1, "shop.order.placed"));
}

/// Every event of a namespace.
trait AnyOfIt {
    fn any_of_it(&self, listener: impl Fn(&Envelope) + Send + Sync + 'static);
}

impl AnyOfIt for tidings_bus::Namespace {
    fn any_of_it(&self, listener: impl Fn(&Envelope) + Send + Sync + 'static) {
        self.listen().any(listener).forever();
    }
}

#[test]
fn any_event_of_a_namespace_is_none_of_another() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let (shop, depot) = (bus.namespace("shop").expect("valid"), bus.namespace("depot").expect("valid"));
    let entry = diary.clone();
    shop.any_of_it(move |any| entry.write(any.name()));
    assert_eq!((bus.emit(&Placed(1)), depot.emit(&Placed(2)), shop.emit(&Placed(3))), (0, 0, 1));
    assert_eq!(diary.take(), "shop.order.placed");
}

#[tokio::test]
async fn a_question_that_middleware_changes_is_still_answered_and_one_it_cancels_is_not() {
    let bus = Bus::new();
    bus.respond(double).forever();
    let more = bus.middleware(|asked: &Doubled| Verdict::Change(Doubled(asked.0 + 1)));
    assert_eq!(bus.request(Doubled(20)).await.expect("answered"), 42);
    let none = bus.middleware(|_: &Doubled| Verdict::<Doubled>::Cancel);
    assert!(bus.request(Doubled(20)).await.is_err());
    drop((more, none));
    assert_eq!(bus.request(Doubled(20)).await.expect("answered"), 40);
}

#[tokio::test]
async fn waits_and_streams_hear_what_middleware_made_of_an_event() {
    let bus = Bus::new();
    bus.middleware(|placed: &Placed| Verdict::Change(Placed(placed.0 * 10))).forever();
    let next = bus.next::<Placed>();
    let mut stream = bus.stream::<Placed>(4);
    bus.emit(&Placed(7));
    assert_eq!(next.now_or_never().expect("it came").expect("there").0, 70);
    assert_eq!(stream.next().now_or_never().flatten().expect("it came").0, 70);
}

#[test]
fn listeners_in_a_namespace_are_watched_and_forgotten_with_it() {
    let bus = Bus::builder().leak_watch(LeakWatch::limit(2)).build();
    let suspected = Diary::default();
    let entry = suspected.clone();
    bus.on(move |leak: &LeakSuspected| entry.write(format!("{}:{}", leak.topic, leak.listeners))).forever();
    let shop = bus.namespace("shop").expect("valid");
    for _ in 0..2 {
        shop.on(|_: &Placed| ()).forever();
    }
    assert!(suspected.take().ends_with("shop.order.placed:2"), "{}", Placed::INFO.name);
    assert_eq!(shop.remove_all(), 2);
    for _ in 0..2 {
        shop.on(|_: &Placed| ()).forever();
    }
    assert!(suspected.take().ends_with("shop.order.placed:2"), "it is watched anew after all were gone");
}
