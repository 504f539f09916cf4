//! Each item is done or given up exactly once, and in order: from many threads, and over random failures.

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{
    ms,
    running::{Seen, batch, clock, retry, settle, wait},
};
use proptest::prelude::*;
use tidings_core::{Clock, Failure};
use tidings_flow::{Batch, Batched, Batching, Flow};

#[test]
fn threads_that_push_at_once_lose_nothing_and_keep_their_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let seen = Seen::new();
        let consumer = {
            let seen = seen.clone();
            move |batch: Arc<Batched<(u32, u32)>>| {
                batch.iter().for_each(|one| seen.note(*one));
                std::future::ready(())
            }
        };
        let flow = Flow::of(batch(7)).queue(2).start(consumer).expect("it runs");
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let input = flow.input();
                tokio::spawn(async move {
                    for number in 0..2_000 {
                        input.send((thread, number)).await.expect("taken");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.await.expect("no panic");
        }
        let left = flow.close(Duration::from_secs(60)).await;
        assert_eq!((left.outputs.len(), left.figures.taken), (0, 8_000));
        let all = seen.all();
        for thread in 0..4 {
            let of: Vec<_> = all.iter().filter(|one| one.0 == thread).map(|one| one.1).collect();
            assert_eq!(of, (0..2_000).collect::<Vec<_>>());
        }
    });
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Push(u8),
    Wait(u64),
    Flush,
}

proptest! {
    #[test]
    fn whatever_fails_each_item_is_done_or_given_up_exactly_once_and_in_order_a_key(
        steps in proptest::collection::vec(prop_oneof![
            6 => (0..3_u8).prop_map(Step::Push),
            2 => (0..700_u64).prop_map(Step::Wait),
            1 => Just(Step::Flush),
        ], 1..80),
        // What calls of the consumer do, in turn: answer, fail, fail for good, panic, or fail with some.
        calls in proptest::collection::vec(0..5_u8, 1..40),
    ) {
        wait(async {
            let clock = clock();
            let (done, lost) = (Seen::new(), Seen::new());
            let consumer = {
                let (done, turn) = (done.clone(), Arc::new(Mutex::new(0)));
                move |batch: Arc<Batched<(u8, u32), u8>>| {
                    let call = {
                        let mut turn = turn.lock().expect("no panic while counting");
                        *turn += 1;
                        calls[*turn % calls.len()]
                    };
                    let done = done.clone();
                    async move {
                        match call {
                            1 => return Err(Failure::transient("not now").into()),
                            2 => return Err(Failure::permanent("never").into()),
                            3 => panic!("sometimes"),
                            // The first of a batch fails, and those behind it are not done either: order is kept.
                            4 => return Err(batch.failed(0..batch.len(), Failure::transient("some"))),
                            _ => {}
                        }
                        batch.iter().for_each(|item| done.note(*item));
                        Ok(())
                    }
                }
            };
            let by = Batch::by(Batching::new().items(3).age(ms(500)).keys(2), |item: &(u8, u32)| item.0);
            let hook = {
                let lost = lost.clone();
                move |one: tidings_flow::GivenUp<Batched<(u8, u32), u8>>| {
                    one.output.iter().for_each(|item| lost.note(*item));
                }
            };
            let flow = Flow::of(by.expect("valid")).clock(Arc::new(clock.clone())).policy(retry(3)).given_up(hook);
            let flow = flow.start(consumer).expect("it runs");
            let mut pushed = Vec::new();
            for step in steps {
                match step {
                    Step::Push(key) => {
                        let item = (key, pushed.len() as u32);
                        flow.push(item).expect("there is room");
                        pushed.push(item);
                    }
                    Step::Wait(millis) => {
                        settle().await;
                        clock.advance(ms(millis));
                        settle().await;
                    }
                    Step::Flush => flow.flush(),
                }
            }
            let end = clock.now().after(Duration::from_secs(3_600));
            let closing = tokio::spawn(flow.close(Duration::from_secs(3_600)));
            while !closing.is_finished() {
                settle().await;
                assert!(clock.now() < end, "it is stuck");
                clock.advance(ms(50));
            }
            assert!(closing.await.expect("no panic").outputs.is_empty());
            let (done, lost) = (done.all(), lost.all());
            for key in 0..3 {
                assert!(done.iter().filter(|item| item.0 == key).is_sorted());
                assert!(lost.iter().filter(|item| item.0 == key).is_sorted());
            }
            let mut all: Vec<_> = done.into_iter().chain(lost).collect();
            all.sort_unstable_by_key(|item| item.1);
            assert_eq!(all, pushed);
        });
    }
}
