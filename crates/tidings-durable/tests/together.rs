//! Handlers of batches: one call, one commit; who fails is cut out, and nobody is lost or done twice.

mod support;

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use support::{Dice, Fault, Gate, Seed, World, every, ms, once, order, secs, seeds};
use tidings_core::{
    Answer, Batched, Batching, Cause, Delivered, Envelope, Failed, Failure, InBatches, Registration,
    Subscribe, View,
};
use tidings_durable::{Config, Node, Reason};
use tidings_store::Error;

const NOTES: View = View::new("notes");

type Batch = Batched<Delivered>;

/// The batches a handler was called with: ids, and why each was complete.
type Seen = Arc<Mutex<Vec<(Vec<String>, Cause)>>>;

fn ids(batch: &Batch) -> Vec<String> {
    batch.iter().map(|one| one.event.id().to_string()).collect()
}

/// Publishes an event for each delivery, and says what `answer` says.
fn counting<F, Fut>(settings: Batching, seen: &Seen, answer: F) -> Registration
where
    F: Fn(&Batch) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Answer<()>> + Send + 'static,
{
    let seen = seen.clone();
    let handler = move |batch: Batch| {
        seen.lock().push((ids(&batch), batch.cause));
        for one in &batch.items {
            let id = format!("c{}", one.event.id());
            one.cx.publish_envelope(Envelope::build("order.counted").id(id));
        }
        let answer = answer(&batch);
        async move {
            let answer = answer.await.into_answer();
            drop(batch);
            answer
        }
    };
    handler.in_batches(settings).topic("order.placed").durable("s")
}

async fn fine() {}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn sizes(seen: &Seen) -> Vec<usize> {
    seen.lock().iter().map(|(ids, _)| ids.len()).collect()
}

/// What each commit published.
fn published(commits: &[tidings_core::Commit]) -> Vec<Vec<String>> {
    let events = |commit: &tidings_core::Commit| {
        let events = commit.appends.iter().flat_map(|append| &append.events);
        events.map(|event| event.id().trim_start_matches('c').to_string()).collect()
    };
    commits.iter().map(events).collect()
}

#[test]
fn deliveries_of_one_key_are_handled_together_in_order_and_settled_in_one_commit() {
    let (world, seen) = (World::new(), Seen::default());
    world.put((0..40).map(|n| order(["a", "b"][n % 2], n)));
    let node = world.start([counting(Batching::new().items(10), &seen, |_| fine())]);
    node.settle();
    let expected: Vec<_> = (0..4).map(|n| (numbers(n * 10..n * 10 + 10), Cause::Items)).collect();
    assert_eq!(*seen.lock(), expected);
    let commits = published(&node.link.commits());
    for (batch, _) in &expected {
        let holding: Vec<_> =
            commits.iter().filter(|events| batch.iter().any(|id| events.contains(id))).collect();
        assert_eq!(holding.len(), 1, "{batch:?}");
        assert!(batch.iter().all(|id| holding[0].contains(id)));
    }
    assert_eq!((node.status().handled, node.status().lag), (40, 0));
}

#[test]
fn a_batch_is_never_parted_to_fill_a_commit() {
    let (world, seen) = (World::new(), Seen::default());
    world.put((0..60).map(|n| order(&n.to_string(), n)));
    let config = Config { batch: 7, ..World::config() };
    let node = world.start_with(config, [counting(Batching::new().items(5), &seen, |_| fine())]);
    node.settle();
    let commits: Vec<_> = published(&node.link.commits()).into_iter().filter(|one| !one.is_empty()).collect();
    assert_eq!(commits, (0..12).map(|n| numbers(n * 5..n * 5 + 5)).collect::<Vec<_>>());
}

#[test]
fn age_counts_from_the_first_and_bytes_are_those_of_payloads() {
    let (world, seen) = (World::new(), Seen::default());
    let node = world.start([counting(Batching::new().bytes(10).age(ms(500)), &seen, |_| fine())]);
    let sized = |n: usize, size| order("k", n).json(vec![b'1'; size]);
    world.put([sized(0, 4), sized(1, 5)]);
    world.pass(ms(499));
    assert!(seen.lock().is_empty());
    world.pass(ms(1));
    assert_eq!(*seen.lock(), [(numbers(0..2), Cause::Age)]);
    world.put([sized(2, 6), sized(3, 5), sized(4, 5)]);
    world.quiet();
    assert_eq!(seen.lock()[1..], [(numbers(2..3), Cause::Bytes), (numbers(3..5), Cause::Bytes)]);
    node.settle();
    assert_eq!(node.link.commits().len() as u64, node.status().commits);
}

#[test]
fn batches_by_key_hold_one_key_and_their_settings_are_kept() {
    let (world, seen) = (World::new(), Seen::default());
    let handler = {
        let seen = seen.clone();
        move |batch: Batch| {
            seen.lock().push((ids(&batch), batch.cause));
            fine()
        }
    };
    let settings = Batching::new().items(3).keys(2);
    let node = world.start([handler.in_batches_by_key(settings).topic("order.placed").durable("s")]);
    let of = |ids: &[usize]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    world.put([0, 1, 2, 3, 4].map(|n| order(["a", "b"][n % 2], n)));
    world.quiet();
    assert_eq!(*seen.lock(), [(of(&[0, 2, 4]), Cause::Items)]);
    world.put([order("c", 5), order("d", 6)]);
    world.quiet();
    assert_eq!(seen.lock()[1], (of(&[1, 3]), Cause::Full), "two keys have open batches");
    world.put([order("c", 7), order("d", 8), order("c", 9)]);
    world.quiet();
    assert_eq!(seen.lock()[2], (of(&[5, 7, 9]), Cause::Items));
    node.settle();
    assert_eq!(seen.lock()[3], (of(&[6, 8]), Cause::Age));
}

#[test]
fn open_items_bound_what_waits_in_open_batches() {
    let (world, seen) = (World::new(), Seen::default());
    let noting = seen.clone();
    let handler = move |batch: Batch| {
        noting.lock().push((ids(&batch), batch.cause));
        fine()
    };
    let settings = Batching::new().items(3).open_items(3);
    let node = world.start([handler.in_batches_by_key(settings).topic("order.placed").durable("s")]);
    world.put([order("a", 0), order("b", 1), order("c", 2), order("d", 3)]);
    world.quiet();
    assert_eq!(*seen.lock(), [(numbers(0..1), Cause::Full)]);
    node.settle();
}

#[test]
fn items_that_failed_are_named_those_after_them_in_their_keys_wait_and_the_rest_is_one_commit() {
    let (world, seen) = (World::new(), Seen::default());
    let sick = Arc::new(AtomicBool::new(true));
    let is_sick = sick.clone();
    world.put((0..9).map(|n| order(["a", "b", "c"][n % 3], n)));
    let answer = move |batch: &Batch| {
        let at = batch.iter().position(|one| &**one.event.id() == "1" && is_sick.load(Ordering::SeqCst));
        async move {
            match at {
                Some(at) => Err(Failed::<()>::at([at], Failure::permanent("unreadable"))),
                None => Ok(()),
            }
        }
    };
    let node = world.start([counting(Batching::new().items(9), &seen, answer)]);
    node.settle();
    assert_eq!(sizes(&seen), [9]);
    let rest: Vec<String> = ["0", "2", "3", "5", "6", "8"].map(String::from).into();
    let commits = published(&node.link.commits());
    assert_eq!(commits.iter().filter(|one| !one.is_empty()).collect::<Vec<_>>(), [&rest]);
    let dead = world.dead("s");
    assert_eq!((dead.len(), &*dead[0].id, dead[0].reason), (1, "1", Reason::Permanent));
    assert_eq!((node.status().followers, node.status().parked), (2, 1));
    sick.store(false, Ordering::SeqCst);
    assert_eq!(world.replay("s", [dead[0].position]).done, 1);
    node.settle();
    let order_of_b: Vec<_> = world.ids("order.counted").split_off(6);
    assert_eq!(order_of_b, ["c1", "c4", "c7"]);
    assert!(world.rows("s").is_empty() && world.dead("s").is_empty());
}

#[test]
fn items_that_are_not_there_are_no_names_and_all_have_failed() {
    let (world, seen) = (World::new(), Seen::default());
    world.put((0..3).map(|n| order(&n.to_string(), n)));
    let answer = |_: &Batch| async { Err(Failed::<()>::at([3, 99], Failure::permanent("no"))) };
    let node = world.start([counting(Batching::new().items(3), &seen, answer)]);
    node.settle();
    assert_eq!((world.dead("s").len(), world.ids("order.counted").len()), (3, 0));
}

#[test]
fn a_call_that_panics_or_takes_too_long_fails_all_and_nothing_is_lost_or_stuck() {
    for short in [true, false] {
        let (world, seen) = (World::new(), Seen::default());
        world.put((0..12).map(|n| order(["a", "b", "c"][n % 3], n)));
        let calls = Arc::new(Mutex::new(0));
        let answer = move |_: &Batch| {
            let call = {
                let mut calls = calls.lock();
                *calls += 1;
                *calls
            };
            assert!(call != 1, "before there is a future");
            async move {
                match call {
                    2 => panic!("within the future"),
                    3 => pending().await,
                    _ => {}
                }
            }
        };
        let wait = if short { ms(100) } else { secs(5) };
        let policy = every(wait, 9).timeout(secs(3));
        let node = world.start([counting(Batching::new().items(6), &seen, answer).policy(policy)]);
        node.settle();
        let mut done = world.ids("order.counted");
        for key in 0..3 {
            let of_key: Vec<_> =
                done.iter().filter_map(|id| id[1..].parse::<usize>().ok()).filter(|n| n % 3 == key).collect();
            assert_eq!(of_key, (0..4).map(|n| n * 3 + key).collect::<Vec<_>>(), "short: {short}");
        }
        done.sort();
        done.dedup();
        assert_eq!((done.len(), world.dead("s").len()), (12, 0));
        assert!(world.rows("s").is_empty());
    }
}

#[test]
fn nobody_is_given_up_for_what_another_did() {
    let (world, seen) = (World::new(), Seen::default());
    world.put((0..10).map(|n| order(&n.to_string(), n)));
    let answer = |batch: &Batch| {
        assert!(!batch.iter().any(|one| &**one.event.id() == "4"), "poison");
        fine()
    };
    let node = world.start([counting(Batching::new().items(10), &seen, answer).policy(every(ms(10), 3))]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((dead.len(), &*dead[0].id, dead[0].attempts), (1, "4", 3));
    assert_eq!(world.ids("order.counted").len(), 9);
    let alone: Vec<_> = seen.lock().iter().filter(|(_, cause)| *cause == Cause::Alone).cloned().collect();
    assert_eq!(alone.len(), 10);
    assert!(alone.iter().all(|(ids, _)| ids.len() == 1));
}

#[test]
fn each_sees_what_those_before_it_in_the_batch_wrote() {
    let world = World::new();
    world.put((0..10).map(|n| order(["a", "b"][n % 2], n)));
    let handler = |batch: Batch| async move {
        for one in &batch.items {
            let view = one.cx.view(NOTES);
            view.update::<Vec<String>>("ids", |ids| ids.push(one.event.id().to_string())).await?;
            view.add("sum", "n", 1);
            let so_far = view.get::<serde_json::Value>("sum").await?;
            let so_far = so_far.map_or(0, |sum| sum["n"].as_u64().unwrap_or(0));
            view.put(&format!("at-{}", one.event.id()), so_far);
        }
        Ok::<(), Failed<()>>(())
    };
    let node = world.start([handler.in_batches(Batching::new().items(5)).topic("order.placed").durable("s")]);
    node.settle();
    assert_eq!(world.doc("notes", "ids"), Some(serde_json::json!(numbers(0..10))));
    assert_eq!(world.doc("notes", "sum"), Some(serde_json::json!({"n": 10})));
    for n in 0..10 {
        assert_eq!(world.doc("notes", &format!("at-{n}")), Some(serde_json::json!(n + 1)), "{n}");
    }
    assert_eq!((node.status().reruns, node.link.commits().len()), (0, 2));
}

#[test]
fn who_has_seen_what_is_cut_out_runs_again_without_it() {
    let world = World::new();
    world.put((0..4).map(|n| order(&n.to_string(), n)));
    let handler = |batch: Batch| async move {
        for one in &batch.items {
            let view = one.cx.view(NOTES);
            view.update::<Vec<String>>("ids", |ids| ids.push(one.event.id().to_string())).await?;
        }
        match batch.iter().position(|one| &**one.event.id() == "1") {
            Some(at) => Err(Failed::<()>::at([at], Failure::permanent("no"))),
            None => Ok(()),
        }
    };
    let node = world.start([handler.in_batches(Batching::new().items(4)).topic("order.placed").durable("s")]);
    node.settle();
    assert_eq!(world.doc("notes", "ids"), Some(serde_json::json!(["0", "2", "3"])));
    assert_eq!((world.dead("s").len(), node.status().handled), (1, 3));
}

#[test]
fn a_document_somebody_else_changes_meanwhile_is_read_again_by_who_read_it() {
    let (world, gate) = (World::new(), Gate::default());
    world.put((0..4).map(|n| order(&n.to_string(), n)));
    let passing = gate.clone();
    let handler = move |batch: Batch| {
        let gate = passing.clone();
        async move {
            for one in &batch.items {
                let (view, id) = (one.cx.view(NOTES), one.event.id().to_string());
                match &*id {
                    // Added to blindly, and then read on top of it: it stands on what was there before the batch.
                    "0" => view.add("sum", "n", 1),
                    "1" => {
                        let sum = view.get::<serde_json::Value>("sum").await?;
                        let n = sum.map_or(0, |sum| sum["n"].as_u64().unwrap_or(0));
                        view.put("sum", serde_json::json!({"n": n + 1}));
                    }
                    _ => view.put(&id, 1),
                }
            }
            gate.pass().await;
            Ok::<(), Failed<()>>(())
        }
    };
    let node = world.start([handler.in_batches(Batching::new().items(4)).topic("order.placed").durable("s")]);
    world.until("it has read", || gate.waiting() > 0);
    let other = tidings_core::DocumentWrite {
        key: tidings_core::DocumentKey::new("notes", "sum"),
        change: tidings_core::DocumentChange::Put(r#"{"n":10}"#.into()),
        indexed: Arc::from([]),
        expected: None,
    };
    world.apply(tidings_core::Commit { documents: vec![other], ..Default::default() }).expect("applied");
    gate.open();
    node.settle();
    assert_eq!(world.doc("notes", "sum"), Some(serde_json::json!({"n": 12})));
    assert!(node.status().reruns > 0 && world.dead("s").is_empty());
}

#[test]
fn what_the_store_refuses_is_cut_out_and_the_rest_of_the_batch_stays_together() {
    let (world, seen) = (World::new(), Seen::default());
    world.put([Envelope::build("parcel.sent").source("/tidings").id("taken")]);
    world.put((0..10).map(|n| order(&n.to_string(), n)));
    let answer = |batch: &Batch| {
        for one in batch.iter().filter(|one| &**one.event.id() == "3") {
            one.cx.publish_envelope(Envelope::build("order.refused").id("taken"));
        }
        fine()
    };
    let node = world.start([counting(Batching::new().items(10), &seen, answer)]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((dead.len(), &*dead[0].id, dead[0].reason), (1, "3", Reason::Refused));
    let commits: Vec<_> = published(&node.link.commits()).into_iter().filter(|one| one.len() == 9).collect();
    assert_eq!((commits.len(), sizes(&seen)), (1, vec![10]));
}

#[test]
fn whatever_happens_to_the_commit_a_batch_is_in_it_whole_or_not_at_all() {
    let io = || Error::Full("no room".into());
    for fault in [Fault::AppliedUnknown, Fault::LostUnknown, Fault::Fails(io())] {
        let (world, seen) = (World::new(), Seen::default());
        world.put((0..20).map(|n| order(["a", "b"][n % 2], n)));
        let faulty = fault.clone();
        let plan = move |nth: u64, _: &_| if nth == 1 { faulty.clone() } else { Fault::None };
        let node = world.start_harmed(
            World::config(),
            [counting(Batching::new().items(10), &seen, |_| fine())],
            plan,
        );
        node.settle();
        assert_eq!(sizes(&seen), [10, 10], "{fault:?}: nobody is called again");
        let ids: Vec<_> = (0..20).map(|n| format!("c{n}")).collect();
        assert_eq!(world.ids("order.counted"), ids, "{fault:?}");
    }
}

#[test]
fn a_crash_before_the_commit_leaves_nothing_of_the_batch_and_after_it_all() {
    for gate_first in [true, false] {
        let (world, seen, gate) = (World::new(), Seen::default(), Gate::default());
        world.put((0..10).map(|n| order(["a", "b"][n % 2], n)));
        let waits = gate.clone();
        let answer = move |_: &Batch| {
            let gate = waits.clone();
            async move {
                if gate_first {
                    gate.pass().await;
                }
            }
        };
        let node = world.start([counting(Batching::new().items(10), &seen, answer)]);
        if gate_first {
            world.until("it is called", || gate.waiting() == 1);
            assert_eq!((world.ids("order.counted").len(), world.checkpoint("s").watermark), (0, 0));
        } else {
            world.until("it is committed", || world.checkpoint("s").watermark >= 10);
            assert_eq!(world.ids("order.counted").len(), 10);
        }
        node.crash();
        gate.open();
        let node = world.start([counting(Batching::new().items(10), &seen, |_| fine())]);
        node.settle();
        assert_eq!(world.ids("order.counted").len(), 10);
        // Those that were in hand when it died run one by one.
        let expected = if gate_first { [vec![10], vec![1; 10]].concat() } else { vec![10] };
        assert_eq!(sizes(&seen), expected);
    }
}

#[test]
fn a_shutdown_handles_the_open_batch_and_a_deadline_leaves_it_for_the_next_start() {
    let (world, seen) = (World::new(), Seen::default());
    let node = world.start([counting(Batching::new(), &seen, |_| fine())]);
    world.put((0..5).map(|n| order("k", n)));
    world.quiet();
    assert!(seen.lock().is_empty());
    assert!(node.stop().is_empty());
    assert_eq!(*seen.lock(), [(numbers(0..5), Cause::Flush)]);
    assert_eq!((world.ids("order.counted").len(), world.checkpoint("s").watermark >= 5), (5, true));

    let (world, seen) = (World::new(), Seen::default());
    let node =
        world.start([counting(Batching::new(), &seen, |_| pending::<()>()).policy(once().timeout(secs(99)))]);
    world.put((0..5).map(|n| order("k", n)));
    world.quiet();
    let left = node.stop();
    assert_eq!((left.len(), left[0].running, left[0].unsettled), (1, 1, 5));
    let node = world.start([counting(Batching::new(), &seen, |_| fine())]);
    node.settle();
    assert_eq!((sizes(&seen), world.ids("order.counted").len()), (vec![5, 5], 5));
}

#[test]
fn what_a_batch_publishes_may_come_back_to_its_own_subscription() {
    let world = World::new();
    let handler = |batch: Batch| async move {
        for one in &batch.items {
            let n: u32 = one.event.id().parse().unwrap_or(0);
            if n < 40 {
                one.cx.publish_envelope(order("k", n + 10));
            }
        }
    };
    let node = world.start([handler.in_batches(Batching::new().items(5)).topic("order.placed").durable("s")]);
    world.put((0..10).map(|n| order("k", n)));
    node.settle();
    assert_eq!((world.ids("order.placed").len(), node.status().handled), (50, 50));
}

#[test]
fn as_many_batches_are_in_the_hands_of_the_handler_as_concurrency_says_but_never_two_of_a_key() {
    for (keys, concurrency, expected) in [(20, 2, 2), (1, 9, 1)] {
        let (world, seen, gate) = (World::new(), Seen::default(), Gate::default());
        world.put((0..20).map(|n| order(&(n % keys).to_string(), n)));
        let waits = gate.clone();
        let answer = move |_: &Batch| {
            let gate = waits.clone();
            async move { gate.pass().await }
        };
        let node = world.start([counting(Batching::new().items(4), &seen, answer).concurrency(concurrency)]);
        world.quiet();
        assert_eq!(gate.waiting(), expected);
        gate.open();
        node.settle();
        assert_eq!(world.ids("order.counted").len(), 20);
    }
}

#[test]
fn settings_that_mean_nothing_and_batches_no_commit_can_settle_are_refused() {
    let world = World::new();
    let faults = |settings: Batching| {
        let registration = counting(settings, &Seen::default(), |_| fine());
        let clock = Arc::new(world.clock.clone());
        let config = Config { batch: 50, ..World::config() };
        let node = Node::new(world.store.clone(), clock, config, vec![registration], Arc::new(|_: &[_]| {}));
        node.err().map_or(0, |faults| faults.len())
    };
    assert_eq!(faults(Batching::new().items(50)), 0);
    assert_eq!(faults(Batching::new().items(51)), 1);
    assert_eq!(faults(Batching::new().items(0).bytes(0).keys(0).age(ms(0))), 4);
}

#[test]
fn whatever_fails_and_whenever_it_crashes_each_is_done_once_and_in_the_order_of_its_key() {
    for seed in seeds(40) {
        let _seed = Seed(seed);
        let mut dice = Dice(seed);
        let (world, seen) = (World::new(), Seen::default());
        let luck = Arc::new(Mutex::new(Dice(seed ^ 0xfeed)));
        let handler = |healthy: bool| {
            let luck = luck.clone();
            let handler = move |batch: Batch| {
                let luck = luck.clone();
                async move {
                    for one in &batch.items {
                        let view = one.cx.view(NOTES);
                        let key = one.event.key().map_or("none", |key| key);
                        view.update::<Vec<String>>(key, |ids| ids.push(one.event.id().to_string())).await?;
                        view.add("sum", "n", 1);
                        tokio::task::yield_now().await;
                    }
                    let roll = if healthy { 99 } else { luck.lock().below(10) };
                    match roll {
                        0 => panic!("by chance"),
                        1 => Err(Failure::transient("all of them"))?,
                        2 | 3 => {
                            let at = luck.lock().below(batch.len() as u64) as usize;
                            Err(Failed::at([at], Failure::transient("one of them")))
                        }
                        _ => Ok::<(), Failed<()>>(()),
                    }
                }
            };
            let settings = Batching::new().items(7).age(ms(50));
            let wait = if seed % 2 == 0 { ms(20) } else { secs(2) };
            handler
                .in_batches(settings)
                .topic("order.placed")
                .durable("s")
                .policy(every(wait, 1_000).quarantine_after(1_000))
        };
        let total = 120;
        let mut put = 0;
        while put < total {
            let harm = dice.below(4);
            let plan = move |nth: u64, _: &_| match (harm, nth % 3) {
                (1, 1) => Fault::AppliedUnknown,
                (2, 1) => Fault::LostUnknown,
                (3, 1) => Fault::Fails(Error::Full("no room".into())),
                _ => Fault::None,
            };
            let node = world.start_harmed(World::config(), [handler(false)], plan);
            let more = (put + 10 + dice.below(30) as usize).min(total);
            world.put((put..more).map(|n| order(["a", "b", "c", "d"][dice.below(4) as usize], n)));
            put = more;
            world.pass(ms(dice.below(400)));
            node.crash();
        }
        let node = world.start([handler(true)]);
        node.settle();
        let mut all = 0;
        for key in ["a", "b", "c", "d"] {
            let ids: Vec<usize> = world
                .doc("notes", key)
                .and_then(|doc| doc.as_array().cloned())
                .unwrap_or_default()
                .iter()
                .filter_map(|id| id.as_str()?.parse().ok())
                .collect();
            assert!(ids.is_sorted_by(|a, b| a < b), "{key}: {ids:?}");
            all += ids.len();
        }
        assert_eq!((all, world.doc("notes", "sum")), (total, Some(serde_json::json!({"n": total}))));
        assert!(world.rows("s").is_empty() && world.dead("s").is_empty());
        drop(seen);
    }
}
