//! Flows: nothing lost and nothing stuck, whatever the consumer does, on a driven clock.

mod common;

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use common::{
    at, ms,
    running::{Seen, batch, clock, retry, settle, until, wait},
};
use tidings_core::{Failure, Handled, ManualClock, Policy, Retry};
use tidings_flow::{
    Batch, Batched, Cause, Debounce, Debouncing, Error, ErrorKind, Failed, Flow, Operator, Throttle,
    Throttling, Why,
};

/// A batch of two, seen.
type Noted = Seen<(Vec<u32>, Cause)>;

fn noting(clock: &ManualClock, items: usize) -> (Flow<Batch<u32>>, Noted) {
    let seen = Seen::new();
    let consumer = {
        let seen = seen.clone();
        move |batch: Arc<Batched<u32>>| {
            seen.note((batch.items.clone(), batch.cause));
            std::future::ready(())
        }
    };
    let flow = Flow::of(batch(items)).clock(Arc::new(clock.clone())).start(consumer).expect("it runs");
    (flow, seen)
}

#[test]
fn a_full_batch_goes_at_once_and_another_when_it_is_old_enough() {
    wait(async {
        let clock = clock();
        let (flow, seen) = noting(&clock, 2);
        for number in 0..3 {
            flow.push(number).expect("taken");
        }
        until("the full batch", || seen.len() == 1).await;
        until("the timer", || clock.sleepers() == 1).await;
        clock.advance(ms(999));
        settle().await;
        assert_eq!(seen.len(), 1);
        clock.advance(ms(1));
        until("the old batch", || seen.len() == 2).await;
        assert_eq!(seen.all(), [(vec![0, 1], Cause::Items), (vec![2], Cause::Age)]);
        assert_eq!(flow.close(ms(0)).await.figures.done, 2);
    });
}

#[test]
fn there_is_one_timer_however_many_items_and_none_when_nothing_waits() {
    wait(async {
        let clock = clock();
        let by = Debounce::by(Debouncing::new(), |number: &u32| *number).expect("valid");
        let flow = Flow::of(by).clock(Arc::new(clock.clone())).start(|_| std::future::ready(()));
        let flow = flow.expect("it runs");
        for number in 0..1_000 {
            flow.push(number).expect("taken");
            clock.advance(Duration::from_micros(10));
            tokio::task::yield_now().await;
            assert!(clock.sleepers() <= 1);
        }
        until("the timer", || clock.sleepers() == 1).await;
        clock.advance(ms(300));
        until("all went out", || flow.figures().done == 1_000).await;
        settle().await;
        assert_eq!(clock.sleepers(), 0);
    });
}

#[test]
fn a_clock_that_is_set_back_delays_nothing() {
    wait(async {
        let clock = clock();
        clock.set(at(1_000_000));
        let (flow, seen) = noting(&clock, 100);
        flow.push(1).expect("taken");
        until("the timer", || clock.sleepers() == 1).await;
        clock.set(at(0));
        flow.push(2).expect("taken");
        clock.advance(ms(1_000));
        until("the batch", || seen.len() == 1).await;
        flow.push(3).expect("taken");
        until("the timer", || clock.sleepers() == 1).await;
        clock.advance(ms(1_000));
        until("the next batch", || seen.len() == 2).await;
        assert_eq!(seen.all(), [(vec![1, 2], Cause::Age), (vec![3], Cause::Age)]);
    });
}

#[test]
fn what_is_added_while_a_batch_is_handled_is_not_lost_also_by_the_consumer_itself() {
    wait(async {
        let clock = clock();
        let seen = Seen::new();
        let again = Arc::new(OnceLock::new());
        let consumer = {
            let (seen, again) = (seen.clone(), again.clone());
            move |batch: Arc<Batched<u32>>| {
                let (seen, again) = (seen.clone(), again.clone());
                async move {
                    let input: &tidings_flow::Input<u32> = again.get().expect("it was put there");
                    for number in batch.iter().filter(|number| **number < 4) {
                        input.push(number + 2).expect("taken");
                    }
                    tokio::task::yield_now().await;
                    seen.note(batch.items.clone());
                }
            }
        };
        let flow = Flow::of(batch(2)).clock(Arc::new(clock.clone())).start(consumer).expect("it runs");
        again.set(flow.input()).expect("once");
        flow.push(0).expect("taken");
        flow.push(1).expect("taken");
        until("all", || flow.figures().done == 3).await;
        assert_eq!(seen.all(), [[0, 1], [2, 3], [4, 5]]);
    });
}

#[test]
fn a_consumer_that_fails_or_panics_gets_the_same_again_and_later_batches_follow_in_order() {
    wait(async {
        let clock = clock();
        let seen = Seen::new();
        let consumer = {
            let seen = seen.clone();
            move |batch: Arc<Batched<u32>>| {
                let calls = seen.len();
                seen.note(batch.items.clone());
                assert!(calls != 0, "the first call panics before it returns a future");
                async move {
                    match calls {
                        1 => Err(Failure::transient("not now")),
                        2 => panic!("the third call panics within its future"),
                        _ => Ok(()),
                    }
                }
            }
        };
        let flow = Flow::of(batch(2)).clock(Arc::new(clock.clone())).policy(retry(5)).start(consumer);
        let flow = flow.expect("it runs");
        for number in 0..4 {
            flow.push(number).expect("taken");
        }
        for call in 1..4 {
            until("a call", || seen.len() == call && clock.sleepers() == 1).await;
            clock.advance(ms(100));
        }
        until("both batches", || flow.figures().done == 2).await;
        assert_eq!(seen.all(), [[0, 1], [0, 1], [0, 1], [0, 1], [2, 3]]);
        assert_eq!(flow.figures().retried, 3);
    });
}

#[test]
fn a_consumer_that_never_succeeds_stops_nothing_and_its_batch_is_given_back() {
    wait(async {
        let clock = clock();
        let consumer = |batch: Arc<Batched<u32>>| async move {
            match batch[0] {
                0 => Err(Failure::permanent("no")),
                2 => Err(Failure::transient("not now")),
                _ => Ok(()),
            }
        };
        let flow = Flow::of(batch(2)).clock(Arc::new(clock.clone())).policy(retry(2)).start(consumer);
        let flow = flow.expect("it runs");
        for number in 0..6 {
            flow.push(number).expect("taken");
        }
        until("the wait", || flow.figures().retried == 1 && clock.sleepers() == 1).await;
        clock.advance(ms(100));
        until("the last", || flow.figures().done == 1).await;
        let given_up = flow.take_given_up();
        let told: Vec<_> = given_up.iter().map(|one| (one.output.items.clone(), one.attempts)).collect();
        assert_eq!(told, [(vec![0, 1], 1), (vec![2, 3], 2)]);
        assert_eq!((given_up[1].time, given_up[0].failure.is_permanent()), (at(100), true));
        assert_eq!(flow.figures().given_up, 2);
    });
}

#[test]
fn items_that_failed_are_named_and_only_they_are_tried_again() {
    wait(async {
        let clock = clock();
        let seen = Seen::new();
        let consumer = {
            let seen = seen.clone();
            move |batch: Arc<Batched<u32>>| {
                seen.note(batch.items.clone());
                async move {
                    let odd = batch.iter().enumerate().filter(|(_, number)| **number % 2 == 1);
                    let failed = batch.failed(odd.map(|(index, _)| index), Failure::transient("odd"));
                    Err::<(), Failed<_>>(failed)
                }
            }
        };
        let flow = Flow::of(batch(5)).clock(Arc::new(clock.clone())).policy(retry(2)).start(consumer);
        let flow = flow.expect("it runs");
        for number in 0..5 {
            flow.push(number).expect("taken");
        }
        until("the wait", || seen.len() == 1 && clock.sleepers() == 1).await;
        clock.advance(ms(100));
        until("the end", || flow.figures().given_up == 1).await;
        assert_eq!(seen.all(), [vec![0, 1, 2, 3, 4], vec![1, 3]]);
        assert_eq!(flow.take_given_up()[0].output.items, [1, 3]);
    });
}

#[test]
fn a_failure_that_names_nobody_is_of_all() {
    let batch = Batched { key: (), items: vec![1, 2], cause: Cause::Items };
    for indices in [vec![], vec![2, 7]] {
        assert!(batch.failed(indices, Failure::transient("x")).indices().is_empty());
    }
    assert_eq!(batch.failed([1, 1, 9, 0], Failure::transient("x")).indices(), [0, 1]);
}

#[test]
fn a_consumer_that_does_not_answer_is_dropped_at_its_timeout() {
    wait(async {
        let clock = clock();
        let policy = Policy::new().retry(Retry::none()).timeout(ms(50));
        let told = Seen::new();
        let hook = {
            let told = told.clone();
            move |one: tidings_flow::GivenUp<Batched<u32>>| told.note(one.output.items.clone())
        };
        let flow = Flow::of(batch(1)).clock(Arc::new(clock.clone())).policy(policy).given_up(hook);
        let flow = flow.start(|_| std::future::pending::<()>()).expect("it runs");
        flow.push(1).expect("taken");
        until("the timeout", || clock.sleepers() == 1).await;
        clock.advance(ms(50));
        until("given up", || told.len() == 1).await;
        assert!(flow.take_given_up().is_empty(), "whoever asked was told");
    });
}

#[test]
fn over_the_bound_items_are_given_back_and_whoever_waits_has_room_later() {
    wait(async {
        let clock = clock();
        let open = Arc::new(tokio::sync::Semaphore::new(0));
        let consumer = {
            let open = open.clone();
            move |_: Arc<Batched<u32>>| {
                let open = open.clone();
                async move { open.acquire().await.expect("never closed").forget() }
            }
        };
        let flow =
            Flow::of(batch(1)).clock(Arc::new(clock.clone())).queue(2).start(consumer).expect("it runs");
        flow.push(1).expect("taken");
        until("the call", || flow.waiting() == 1).await;
        settle().await;
        flow.push(2).expect("taken");
        flow.push(3).expect("taken");
        let refused = flow.push(4).expect_err("full");
        assert_eq!((refused.item, refused.why), (4, Why::Full));
        assert!(!Failure::from(refused).is_permanent());
        let input = flow.input();
        let waiting = tokio::spawn(async move { input.send(5).await });
        settle().await;
        assert!(!waiting.is_finished());
        open.add_permits(1);
        waiting.await.expect("no panic").expect("taken");
        open.add_permits(3);
        until("all", || flow.figures().done == 4).await;
        assert_eq!((flow.figures().taken, flow.figures().refused), (4, 2));
    });
}

#[test]
fn closing_flushes_and_waits_and_tells_what_is_left_at_the_deadline() {
    wait(async {
        let clock = clock();
        let (flow, seen) = noting(&clock, 100);
        flow.push(1).expect("taken");
        let left = flow.close(ms(10)).await;
        assert_eq!(seen.all(), [(vec![1], Cause::Flush)]);
        assert!(left.outputs.is_empty());

        let stuck = Flow::of(batch(2)).clock(Arc::new(clock.clone()));
        let stuck = stuck.start(|_| std::future::pending::<()>()).expect("it runs");
        for number in 0..5 {
            stuck.push(number).expect("taken");
        }
        let input = stuck.input();
        let closing = tokio::spawn(stuck.close(ms(10)));
        until("the deadline", || clock.sleepers() == 2).await;
        assert_eq!(input.push(9).expect_err("closing").why, Why::Ended);
        clock.advance(ms(10));
        let left = closing.await.expect("no panic");
        let items: Vec<_> = left.outputs.iter().map(|batch| batch.items.clone()).collect();
        assert_eq!(items, [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(left.figures.taken, 5);
    });
}

#[test]
fn a_flow_that_is_dropped_flushes_and_nothing_of_it_stays() {
    wait(async {
        let clock = clock();
        let kept = Arc::new(());
        let weak: Weak<()> = Arc::downgrade(&kept);
        let seen = Seen::new();
        let consumer = {
            let seen = seen.clone();
            move |number: Arc<u32>| {
                let _ = &kept;
                seen.note(*number);
                std::future::ready(())
            }
        };
        let debounce = Debounce::new(Debouncing::new()).expect("valid");
        let flow = Flow::of(debounce).clock(Arc::new(clock.clone())).start(consumer).expect("it runs");
        let (input, listener) = (flow.input(), flow.listener());
        flow.push(7).expect("taken");
        until("the timer", || clock.sleepers() == 1).await;
        drop(flow);
        until("the end", || weak.upgrade().is_none()).await;
        assert_eq!((seen.all(), clock.sleepers()), (vec![7], 0));
        assert_eq!(input.push(8).expect_err("it is gone").item, 8);
        assert!(listener(&9).expect_err("it is gone").is_permanent());
    });
}

#[test]
fn what_a_runtime_leaves_behind_when_it_ends_is_told() {
    let clock = clock();
    let (flow, _) = wait(async {
        let made = noting(&clock, 2);
        settle().await;
        made
    });
    assert_eq!(flow.push(1).expect_err("nobody would handle it").why, Why::Ended);

    let stuck = wait(async {
        let flow = Flow::of(batch(2)).clock(Arc::new(clock.clone()));
        let flow = flow.start(|_| std::future::pending::<()>()).expect("it runs");
        for number in 0..3 {
            flow.push(number).expect("taken");
        }
        settle().await;
        flow
    });
    let left = wait(stuck.close(ms(1)));
    let items: Vec<_> = left.outputs.iter().map(|batch| batch.items.clone()).collect();
    assert_eq!(items, [vec![0, 1], vec![2]]);
}

#[test]
fn the_operator_can_be_asked_and_told_while_it_runs() {
    wait(async {
        let clock = clock();
        let debounce = Debounce::new(Debouncing::new()).expect("valid");
        let flow = Flow::of(debounce).clock(Arc::new(clock.clone())).start(|_: Arc<u32>| async {});
        let flow = flow.expect("it runs");
        flow.push(1).expect("taken");
        assert_eq!(flow.with(|debounce| debounce.cancel(&())), Some(1));
        flow.push(2).expect("taken");
        flow.flush();
        until("the flush", || flow.figures().done == 1).await;
    });
}

#[test]
fn settings_of_a_flow_that_mean_nothing_are_refused() {
    let kind = |made: Result<Flow<Batch<u8>>, Error>| -> (ErrorKind, Vec<String>) {
        let error = made.map(drop).expect_err("refused");
        (
            error.kind(),
            error.faults().iter().filter_map(|fault| fault.split(':').next().map(str::to_owned)).collect(),
        )
    };
    let of = |faults: &[&str]| {
        (ErrorKind::Settings, faults.iter().map(|fault| (*fault).to_owned()).collect::<Vec<_>>())
    };
    let none = |_| std::future::ready(());
    wait(async {
        assert_eq!(kind(Flow::of(batch(1)).queue(0).start(none)), of(&["queue"]));
        let zero = Policy::new().timeout(Duration::ZERO).retry(Retry::none().jitter(f64::NAN));
        assert_eq!(
            kind(Flow::of(batch(1)).policy(zero).start(none)),
            of(&["policy.timeout", "policy.retry.jitter"])
        );
    });
    assert_eq!(kind(Flow::of(batch(1)).start(none)).0, ErrorKind::NoRuntime);
}

#[test]
fn a_flow_listens_to_a_bus_and_does_not_outlive_its_owner_there() {
    use tidings_bus::{Bus, example::OrderPlaced};
    wait(async {
        let clock = clock();
        let bus = Bus::builder().clock(Arc::new(clock.clone())).build();
        let seen = Seen::new();
        let consumer = {
            let seen = seen.clone();
            move |batch: Arc<Batched<OrderPlaced>>| {
                let seen = seen.clone();
                async move { seen.note(batch.iter().map(|placed| placed.total_cents).collect::<Vec<_>>()) }
            }
        };
        let by_order = Throttle::by(Throttling::new(), |placed: &OrderPlaced| placed.order.clone());
        let operator = by_order.expect("valid").then(batch(2));
        let flow = Flow::of(operator).clock(Arc::new(clock.clone())).start(consumer).expect("it runs");
        let guard = bus.on(flow.listener());
        let names = bus.subscribe(
            "order.**",
            flow.input().listener_by(|_: &tidings_core::Envelope| OrderPlaced {
                order: "any".into(),
                total_cents: 0,
            }),
        );
        for (order, cents) in [("1", 10), ("1", 11), ("2", 20)] {
            bus.emit(&OrderPlaced { order: order.into(), total_cents: cents });
        }
        until("a batch", || seen.len() == 1).await;
        assert_eq!(seen.all(), [[10, 0]]);
        drop(names);
        let failed = Seen::new();
        let errors = {
            let failed = failed.clone();
            bus.errors(move |one: &tidings_bus::ListenerFailed| failed.note(one.fault().to_string()))
        };
        flow.close(ms(10)).await;
        assert_eq!(seen.all(), [[10, 0].as_slice(), &[20]]);
        bus.emit(&OrderPlaced { order: "3".into(), total_cents: 30 });
        assert_eq!(failed.len(), 1, "an event that nobody handles is told");
        drop((guard, errors));
    });
}

/// Used where a consumer's type has to be written.
#[allow(dead_code, reason = "it only has to compile")]
fn a_consumer_may_be_a_plain_async_function() -> Result<Flow<Batch<u8>>, Error> {
    async fn handle(_: Arc<Batched<u8>>) -> Handled {
        Ok(())
    }
    Flow::of(batch(1)).start(handle)
}
