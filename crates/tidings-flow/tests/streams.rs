//! Operators on streams: driven by whoever reads, with one timer, flushed at the end.

mod common;

use std::{future::Future, sync::Arc};

use common::{at, ms};
use futures_util::{FutureExt, StreamExt, stream};
use tidings_core::{Clock, ManualClock};
use tidings_flow::{
    Batch, Batching, Cause, Coalescing, Debouncing, Operator, Throttling, Through, Windowed, Windowing,
    aggregate::count,
};
use tokio::sync::mpsc;

fn wait<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(test)
}

/// A stream that is fed by hand.
fn fed<T>() -> (mpsc::UnboundedSender<T>, impl stream::Stream<Item = T>) {
    let (feed, mut fed) = mpsc::unbounded_channel();
    (feed, stream::poll_fn(move |cx| fed.poll_recv(cx)))
}

fn clock() -> (ManualClock, Arc<dyn Clock>) {
    let clock = ManualClock::at(at(0));
    (clock.clone(), Arc::new(clock))
}

#[test]
fn a_batch_of_a_stream_is_complete_by_number_by_age_and_at_its_end() {
    wait(async {
        let (clock, shared) = clock();
        let (feed, fed) = fed();
        let mut batches = fed.batched(Batching::new().items(2), shared).expect("valid");
        for number in 0..3 {
            feed.send(number).expect("read");
        }
        assert_eq!(batches.next().await.expect("one").items, [0, 1]);
        assert!(batches.next().now_or_never().is_none());
        clock.advance(ms(999));
        assert!(batches.next().now_or_never().is_none());
        assert_eq!(clock.sleepers(), 1);
        clock.advance(ms(1));
        assert_eq!(batches.next().await.expect("one").cause, Cause::Age);
        assert!(batches.next().now_or_never().is_none());
        assert_eq!(clock.sleepers(), 0, "nothing waits, and no timer does");
        feed.send(9).expect("read");
        drop(feed);
        let last = batches.next().await.expect("one");
        assert_eq!((last.items, last.cause), (vec![9], Cause::Flush));
        assert!(batches.next().await.is_none() && batches.next().await.is_none());
    });
}

#[test]
fn a_timer_follows_what_is_due_however_often_it_moves() {
    wait(async {
        let (clock, shared) = clock();
        let (feed, fed) = fed();
        let mut quiet = fed.debounced(Debouncing::new(), shared).expect("valid");
        for number in 0..10 {
            feed.send(number).expect("read");
            assert!(quiet.next().now_or_never().is_none());
            assert_eq!(clock.sleepers(), 1);
            clock.advance(ms(200));
        }
        assert!(quiet.next().now_or_never().is_none());
        clock.advance(ms(100));
        assert_eq!(quiet.next().await, Some(9));
    });
}

#[test]
fn a_stream_goes_through_every_operator_and_through_chains() {
    wait(async {
        let throttled = stream::iter(0..5).throttled(Throttling::new().latest(), clock().1).expect("valid");
        assert_eq!(throttled.collect::<Vec<_>>().await, [0, 4]);
        let coalesced = stream::iter(0..5).coalesced(Coalescing::new(), clock().1, |n| n % 2).expect("valid");
        assert_eq!(coalesced.collect::<Vec<_>>().await, [4, 3]);
        let windowed =
            stream::iter(0..5).windowed(Windowing::tumbling(ms(2)), count(), clock().1, |n| at(*n));
        let counts = windowed.expect("valid").filter_map(|out| async { Windowed::summary(out) });
        assert_eq!(counts.map(|one| one.value).collect::<Vec<_>>().await, [2, 2, 1]);
        let chain =
            tidings_flow::filter(|n: &i64| n % 2 == 1).then(Batch::new(Batching::new()).expect("valid"));
        let batches: Vec<_> = stream::iter(0..5).through(chain, clock().1).collect().await;
        assert_eq!(batches[0].items, [1, 3]);
    });
}

#[test]
fn a_stream_that_is_always_ready_lets_others_have_a_turn() {
    let endless = stream::repeat(1).through(tidings_flow::filter(|_: &i32| false), clock().1);
    assert!(Box::pin(endless.into_future()).now_or_never().is_none());
}
