//! Handlers of batches: each delivery is settled once, with what became of it.

mod common;

use std::{
    future::Future,
    sync::{Arc, Mutex},
};

use common::{at, ms};
use futures_util::{FutureExt, StreamExt, future::join_all, stream::FuturesUnordered};
use tidings_core::{
    BoxFuture, Call, Clock, Cx, DeliveryInfo, Envelope, Failure, Handled, ManualClock, OpenCx, Place,
    Registration, Subscribe, Subscriber,
};
use tidings_flow::{Answer, Batched, Batching, Cause, Delivered, Failed, in_batches};

fn wait<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(test)
}

fn clock() -> ManualClock {
    ManualClock::at(at(0))
}

fn envelope(number: usize) -> Envelope {
    Envelope::build("order.placed")
        .source("/shop")
        .id(number.to_string())
        .json(vec![b'1'; number])
        .finish()
        .expect("valid")
}

/// A delivery as a subscription would make it: its call, and the end of its context.
fn deliver(
    registration: &Registration,
    clock: &ManualClock,
    number: usize,
) -> (BoxFuture<'static, Handled>, OpenCx) {
    let info = DeliveryInfo::new(envelope(number));
    let subscriber = Subscriber { clock: Arc::new(clock.clone()), ..Subscriber::new("index", "/shop") };
    let (cx, open) = Cx::open(info, Arc::new(subscriber));
    match (registration.handler)(&envelope(number), cx) {
        Call::Waiting(call) => (call, open),
        Call::Done(_) => panic!("it has to wait"),
    }
}

fn registered<F, Fut>(settings: Batching, clock: &ManualClock, handler: F) -> Registration
where
    F: Fn(Batched<Delivered<Envelope>>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Answer<()>> + Send + 'static,
{
    let handler = in_batches(settings, Arc::new(clock.clone()), handler).expect("valid");
    handler.topic("**").durable("index")
}

/// A handler that notes the ids and why the batch was complete.
type Seen = Arc<Mutex<Vec<(Vec<String>, Cause)>>>;

fn noting(settings: Batching, clock: &ManualClock) -> (Registration, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let registration = registered(settings, clock, move |batch| {
        let ids = batch.iter().map(|one| one.event.id().to_string()).collect();
        noted.lock().expect("no panic while noting").push((ids, batch.cause));
        std::future::ready(())
    });
    (registration, seen)
}

fn taken(seen: &Seen) -> Vec<(Vec<String>, Cause)> {
    std::mem::take(&mut *seen.lock().expect("no panic while noting"))
}

#[test]
fn deliveries_wait_until_their_batch_is_handled_and_are_settled_together() {
    wait(async {
        let clock = clock();
        let (registration, seen) = noting(Batching::new().items(2), &clock);
        assert!(matches!(registration.place, Place::Durable { .. }));
        let (mut first, _first) = deliver(&registration, &clock, 1);
        assert!((&mut first).now_or_never().is_none(), "it is not settled");
        let (mut second, _second) = deliver(&registration, &clock, 2);
        assert!((&mut second).now_or_never().is_none());
        assert!(taken(&seen).is_empty());
        first.await.expect("done");
        assert!(matches!(second.now_or_never(), Some(Ok(()))));
        assert_eq!(taken(&seen), [(vec!["1".into(), "2".into()], Cause::Items)]);
        assert_eq!(clock.sleepers(), 0);
    });
}

#[test]
fn a_batch_is_as_old_as_its_first_delivery_may_be_and_has_one_timer() {
    wait(async {
        let clock = clock();
        let (registration, seen) = noting(Batching::new(), &clock);
        let (calls, _contexts): (Vec<_>, Vec<_>) =
            (1..=10).map(|n| deliver(&registration, &clock, n)).unzip();
        let mut all: FuturesUnordered<_> = calls.into_iter().collect();
        assert!(all.next().now_or_never().is_none());
        assert_eq!(clock.sleepers(), 1);
        clock.advance(ms(1_000));
        while let Some(result) = all.next().await {
            result.expect("done");
        }
        let seen = taken(&seen);
        assert_eq!((seen.len(), seen[0].0.len(), seen[0].1), (1, 10, Cause::Age));
    });
}

#[test]
fn bytes_of_payloads_complete_a_batch() {
    wait(async {
        let clock = clock();
        let (registration, seen) = noting(Batching::new().bytes(10), &clock);
        let (calls, _contexts): (Vec<_>, Vec<_>) =
            [4, 5, 2, 8, 20].into_iter().map(|n| deliver(&registration, &clock, n)).unzip();
        join_all(calls).await.into_iter().for_each(|result| result.expect("done"));
        let bytes = |ids: &[&str]| (ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(), Cause::Bytes);
        let mut seen = taken(&seen);
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(seen, [bytes(&["2", "8"]), bytes(&["20"]), bytes(&["4", "5"])]);
    });
}

#[test]
fn items_that_failed_are_named_and_the_others_are_done_with_what_they_published() {
    wait(async {
        let clock = clock();
        let registration = registered(Batching::new().items(3), &clock, |batch| async move {
            for one in &batch.items {
                one.cx.publish_envelope(Envelope::build("order.indexed").json(b"1".as_slice()));
            }
            Err::<(), _>(Failed::<()>::at([1], Failure::permanent("unreadable")))
        });
        let (calls, contexts): (Vec<_>, Vec<_>) = (1..=3).map(|n| deliver(&registration, &clock, n)).unzip();
        let results = join_all(calls).await;
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        for context in contexts {
            let effects = context.close().expect("nothing is refused");
            assert_eq!(effects.events.len(), 1, "each has its own");
        }
    });
}

#[test]
fn a_handler_that_fails_or_panics_fails_all_and_the_next_batch_is_handled() {
    wait(async {
        let clock = clock();
        let calls = Arc::new(Mutex::new(0));
        let registration = registered(Batching::new().items(2), &clock, move |_| {
            let call = {
                let mut calls = calls.lock().expect("no panic while counting");
                *calls += 1;
                *calls
            };
            assert!(call != 1, "before there is a future");
            async move {
                match call {
                    2 => panic!("within the future"),
                    3 => Err(Failure::permanent("no")),
                    _ => Ok(()),
                }
            }
        });
        for (round, expected) in [Some(false), Some(false), Some(true), None].into_iter().enumerate() {
            let (first, _first) = deliver(&registration, &clock, 1);
            let (second, _second) = deliver(&registration, &clock, 2);
            let (first, second) = tokio::join!(first, second);
            for result in [first, second] {
                assert_eq!(result.err().map(|failure| failure.is_permanent()), expected, "round {round}");
            }
        }
    });
}

#[test]
fn when_the_delivery_that_leads_is_dropped_the_others_come_again() {
    wait(async {
        let clock = clock();
        let (registration, seen) = noting(Batching::new().items(3), &clock);
        let (mut leader, _leader) = deliver(&registration, &clock, 1);
        let (mut guest, _guest) = deliver(&registration, &clock, 2);
        assert!((&mut leader).now_or_never().is_none());
        assert!((&mut guest).now_or_never().is_none());
        drop(leader);
        let failure =
            guest.now_or_never().expect("it does not wait any more").expect_err("it was not handled");
        assert!(!failure.is_permanent());
        assert!(taken(&seen).is_empty());
        // The same when the batch is complete, but the leader has not gone on yet.
        let (mut leader, _leader) = deliver(&registration, &clock, 1);
        assert!((&mut leader).now_or_never().is_none());
        let (mut second, _second) = deliver(&registration, &clock, 2);
        assert!((&mut second).now_or_never().is_none());
        let (mut third, _third) = deliver(&registration, &clock, 3);
        assert!((&mut third).now_or_never().is_none());
        drop(leader);
        assert!(second.await.is_err() && third.await.is_err());
        // And nothing of it stands in the way of those after it.
        let (calls, _contexts): (Vec<_>, Vec<_>) = (1..=3).map(|n| deliver(&registration, &clock, n)).unzip();
        assert!(join_all(calls).await.iter().all(Result::is_ok));
        assert_eq!(taken(&seen).len(), 1);
    });
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let none = |_: Batched<Delivered<Envelope>>| std::future::ready(());
    let shared = || -> Arc<dyn Clock> { Arc::new(clock()) };
    assert!(in_batches(Batching::new().items(0), shared(), none).is_err());
    assert!(in_batches(Batching::new().bytes(0), shared(), none).is_err());
}
