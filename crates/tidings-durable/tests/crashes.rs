//! Crashes, and commits whose outcome is not known: effects happen exactly once all the same.

mod support;

use std::collections::BTreeMap;

use support::{Calls, Dice, Fault, Gate, Seed, World, every, ms, on_topic, order, secs, seeds};
use tidings_core::{Commit, Cx, Envelope, Failure, Registration, Subscribe, View};
use tidings_durable::Config;
use tidings_store::Error;

const NOTES: View = View::new("notes");

/// Counts, lists and publishes; each effect shows whether it happened once.
fn work(calls: &Calls) -> Registration {
    let calls = calls.clone();
    on_topic("s", "order.*", move |event: Envelope, cx: Cx| {
        calls.note(&event, &cx);
        async move {
            let id = event.id().to_string();
            if id.ends_with('7') && cx.attempt() == 1 {
                return Err(Failure::transient("not at first"));
            }
            if id.ends_with("13") {
                return Err(Failure::permanent("never"));
            }
            let key = event.key().expect("key").clone();
            cx.view(NOTES).add("all", "n", 1);
            cx.publish_envelope(Envelope::build("parcel.sent").key(key.clone()).id(format!("p{id}")));
            cx.view(NOTES).update::<Vec<String>>(&key, |list| list.push(id)).await
        }
    })
}

/// The ids of `count` orders by key, as they are put.
fn expected(count: u64, keys: u64) -> BTreeMap<String, Vec<String>> {
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for n in 0..count {
        lists.entry(format!("k{}", n % keys)).or_default().push(n.to_string());
    }
    // Who comes after a dead letter of its key waits.
    for list in lists.values_mut() {
        if let Some(at) = list.iter().position(|id| id.ends_with("13")) {
            list.truncate(at);
        }
    }
    lists
}

#[track_caller]
fn check(world: &World, count: u64, keys: u64) {
    let expected = expected(count, keys);
    let mut all = 0;
    for (key, list) in &expected {
        let found = world.doc("notes", key).unwrap_or_else(|| serde_json::json!([]));
        assert_eq!(found, serde_json::json!(list), "{key}");
        let events: Vec<_> = world
            .log()
            .into_iter()
            .filter(|event| {
                &**event.envelope.name() == "parcel.sent"
                    && event.envelope.key().is_some_and(|k| **k == **key)
            })
            .map(|event| event.envelope.id()[1..].to_owned())
            .collect();
        assert_eq!(events, *list, "events of {key}");
        all += list.len();
    }
    assert_eq!(world.doc("notes", "all"), Some(serde_json::json!({"n": all})));
}

fn orders(count: u64, keys: u64) -> impl Iterator<Item = tidings_core::EnvelopeBuilder> {
    (0..count).map(move |n| order(&format!("k{}", n % keys), n))
}

#[test]
fn after_a_crash_effects_are_there_once_and_what_is_settled_is_not_called_again() {
    let (world, calls, gate) = (World::new(), Calls::default(), Gate::default());
    let (noted, wait) = (calls.clone(), gate.clone());
    let handler = move |event: Envelope, cx: Cx| {
        noted.note(&event, &cx);
        let wait = wait.clone();
        async move {
            if &**event.id() == "3" {
                wait.pass().await;
            }
            cx.view(NOTES).add("all", "n", 1);
            cx.publish_envelope(Envelope::build("parcel.sent").id(format!("p{}", event.id())));
            Ok(())
        }
    };
    let node = world.start([on_topic("s", "order.*", handler.clone())]);
    world.put((0..10).map(|n| order(&n.to_string(), n)));
    world.until("all but one are committed", || world.ids("parcel.sent").len() == 9);
    let checkpoint = world.checkpoint("s");
    assert_eq!((checkpoint.watermark, checkpoint.settled), (3, (5..=10).collect::<Vec<_>>()));
    node.crash();
    gate.open();
    let node = world.start([on_topic("s", "order.*", handler)]);
    node.settle();
    assert_eq!(world.doc("notes", "all"), Some(serde_json::json!({"n": 10})));
    assert_eq!(world.ids("parcel.sent").len(), 10);
    for n in 0..10 {
        assert_eq!(calls.of(&n.to_string()).len(), if n == 3 { 2 } else { 1 }, "{n}");
    }
}

#[test]
fn the_checkpoint_is_written_with_the_effects() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([work(&calls)]);
    world.put(orders(40, 8));
    node.settle();
    let mut settled = 0;
    for commit in node.link.commits() {
        assert_eq!((commit.checkpoints.len(), commit.fences.len()), (1, 1));
        let checkpoint = &commit.checkpoints[0];
        assert!(checkpoint.watermark >= settled);
        settled = checkpoint.watermark;
    }
    check(&world, 40, 8);
}

#[test]
fn a_crash_after_every_single_commit_changes_nothing() {
    // The store stops answering after the k-th commit, for every k there is.
    for k in 1_u64.. {
        let (world, calls) = (World::new(), Calls::default());
        let config = Config { batch: 4, ..World::config() };
        world.put(orders(30, 5));
        let plan = move |nth: u64, _: &Commit| {
            if nth > k { Fault::Fails(Error::Locked("dying".into())) } else { Fault::None }
        };
        let node = world.start_harmed(config.clone(), [work(&calls)], plan);
        world.pass(ms(500));
        let reached = node.link.tried() > k;
        node.crash();
        let node = world.start_with(config, [work(&calls)]);
        node.settle();
        check(&world, 30, 5);
        assert_eq!(world.dead("s").len(), 1);
        if !reached {
            assert!(k > 5, "there were some");
            break;
        }
    }
}

#[test]
fn whatever_is_answered_to_each_commit_in_turn_the_outcome_is_right() {
    let faults = [
        Fault::AppliedUnknown,
        Fault::LostUnknown,
        Fault::Fails(Error::Full("no room".into())),
        Fault::Fails(Error::Locked("taken".into())),
        Fault::Fails(Error::Io("broken".into())),
    ];
    for fault in faults {
        for k in 1_u64.. {
            let (world, calls) = (World::new(), Calls::default());
            let config = Config { batch: 4, ..World::config() };
            world.put(orders(30, 5));
            let mut failures = 3;
            let harm = fault.clone();
            let plan = move |nth: u64, _: &Commit| {
                if nth >= k && failures > 0 {
                    failures -= 1;
                    return harm.clone();
                }
                Fault::None
            };
            let node = world.start_harmed(config, [work(&calls)], plan);
            node.settle();
            check(&world, 30, 5);
            assert_eq!(world.dead("s").len(), 1);
            let reached = node.link.tried() >= k;
            assert!(node.stop().iter().all(|left| left.unsettled == 0));
            if !reached {
                assert!(k > 5, "there were some");
                break;
            }
        }
    }
}

#[test]
fn unknown_outcomes_in_many_commits_leave_everything_exactly_once() {
    for seed in seeds(20) {
        let _seed = Seed(seed);
        let (world, calls) = (World::new(), Calls::default());
        let config = Config { batch: 6, ..World::config() };
        world.put(orders(60, 7));
        let mut dice = Dice(seed);
        let plan = move |_: u64, _: &Commit| match dice.below(6) {
            0 => Fault::AppliedUnknown,
            1 => Fault::LostUnknown,
            2 => Fault::Fails(Error::Io("broken".into())),
            _ => Fault::None,
        };
        let node = world.start_harmed(config, [work(&calls)], plan);
        node.settle();
        check(&world, 60, 7);
        let announced = world.announced.lock().clone();
        let mut once = announced.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), announced.len(), "each is told once");
        assert_eq!(once.len(), world.ids("parcel.sent").len(), "and each is told");
    }
}

#[test]
fn an_unknown_outcome_does_not_lose_what_somebody_else_writes_meanwhile() {
    use futures_util::FutureExt;
    use tidings_store::Store;
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on_topic("s", "order.*", move |event: Envelope, cx: Cx| {
        noted.note(&event, &cx);
        async move { cx.view(NOTES).update::<u64>("d", |n| *n += 1).await }
    });
    let store = world.store.clone();
    let plan = move |nth: u64, _: &Commit| {
        if nth == 2 {
            // The first commit is in the store by now, and its answer was lost.
            let write = tidings_core::DocumentWrite {
                key: tidings_core::DocumentKey::new("notes", "d"),
                change: tidings_core::DocumentChange::Put("100".into()),
                indexed: std::sync::Arc::from([]),
                expected: None,
            };
            let commit = Commit { documents: vec![write], ..Commit::default() };
            store.apply(commit).now_or_never().expect("at once").expect("applied");
        }
        if nth == 1 { Fault::AppliedUnknown } else { Fault::None }
    };
    let node = world.start_harmed(World::config(), [handler], plan);
    world.put([order("k", 1)]);
    world.until("the first", || node.link.tried() >= 1);
    world.put([order("k", 2)]);
    node.settle();
    assert_eq!(world.doc("notes", "d"), Some(101.into()));
}

#[test]
fn a_node_whose_store_is_out_of_order_says_so_and_recovers() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world
        .start_harmed(World::config(), [work(&calls)], |_, _| Fault::Fails(Error::Full("no room".into())));
    world.put(orders(10, 3));
    world.pass(secs(30));
    assert!(node.status().state.contains("no room"), "{}", node.status().state);
    assert_eq!(world.doc("notes", "all"), None);
    node.link.heal();
    node.settle();
    assert_eq!(node.status().state, "running");
    check(&world, 10, 3);
}

#[test]
fn stopping_while_the_store_is_out_of_order_ends_at_the_deadline_and_says_what_is_left() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world
        .start_harmed(World::config(), [work(&calls)], |_, _| Fault::Fails(Error::Full("no room".into())));
    world.put(orders(5, 5));
    world.pass(secs(1));
    let before = support::now(&world);
    let left = node.stop();
    assert!(support::now(&world).since(before) <= secs(13));
    assert!(left.len() == 1 && left[0].unsettled > 0, "{left:?}");
    let node = world.start([work(&calls)]);
    node.settle();
    check(&world, 5, 5);
}

#[test]
fn stopping_finishes_what_runs_and_leaves_what_does_not_end() {
    let (world, gate) = (World::new(), Gate::default());
    let wait = gate.clone();
    let handler = move |event: Envelope, cx: Cx| {
        let wait = wait.clone();
        async move {
            if &**event.id() == "stuck" {
                wait.pass().await;
            }
            cx.view(NOTES).add("all", "n", 1);
            Ok(())
        }
    };
    let policy = every(ms(1), 1).timeout(secs(1_000));
    let node = world.start([on_topic("s", "order.*", handler.clone()).policy(policy)]);
    world.put([order("a", "stuck"), order("a", 2), order("b", 3)]);
    world.until("it is stuck", || gate.waiting() == 1);
    let left = node.stop();
    assert_eq!((left.len(), left[0].running, left[0].unsettled), (1, 1, 2), "{left:?}");
    assert_eq!(world.doc("notes", "all"), Some(serde_json::json!({"n": 1})));
    gate.open();
    let node = world.start([on_topic("s", "order.*", handler)]);
    node.settle();
    assert_eq!(world.doc("notes", "all"), Some(serde_json::json!({"n": 3})));
    assert!(node.stop().is_empty());
}

#[test]
fn a_wait_in_a_row_survives_a_crash_at_any_time() {
    for crash_at in [0, 1, 5, 9, 10, 11, 19, 21] {
        let (world, calls) = (World::new(), Calls::default());
        let noted = calls.clone();
        let handler = move |event: Envelope, cx: Cx| {
            noted.note(&event, &cx);
            async move {
                if cx.attempt() < 3 && &**event.id() == "1" {
                    return Err(Failure::transient("not now"));
                }
                let id = event.id().to_string();
                cx.view(NOTES).update::<Vec<String>>("list", |list| list.push(id)).await
            }
        };
        let start = || world.start([on_topic("s", "order.*", handler.clone()).policy(every(secs(10), 5))]);
        let node = start();
        world.put([order("a", 1), order("a", 2), order("a", 3)]);
        world.pass(secs(crash_at));
        node.crash();
        let node = start();
        world.put([order("a", 4)]);
        node.settle();
        assert_eq!(world.doc("notes", "list"), Some(serde_json::json!(["1", "2", "3", "4"])));
        assert!(world.rows("s").is_empty());
        assert_eq!(calls.of("1").iter().map(|call| call.attempt).max(), Some(3));
    }
}
