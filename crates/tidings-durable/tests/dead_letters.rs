//! Dead letters, the keys they park, and what an operator does about them.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use support::{Calls, DAWN, Fault, World, every, on, on_topic, once, order, secs};
use tidings_core::{Cx, Envelope, Event, EventInfo, Failure, On, Position, Registration, Subscribe, View};
use tidings_durable::{Carried, Config, Reason, Verb};
use tidings_store::Error;

const NOTES: View = View::new("notes");

/// A handler that fails permanently with ids in `bad` while `sick`, and else writes down in which order it was called.
fn sick(calls: &Calls, bad: &'static [&'static str], sick: &Arc<AtomicBool>) -> Registration {
    let (calls, sick) = (calls.clone(), sick.clone());
    on_topic("s", "order.*", move |event: Envelope, cx: Cx| {
        calls.note(&event, &cx);
        let fails = bad.contains(&&**event.id()) && sick.load(Ordering::SeqCst);
        async move {
            if fails {
                return Err(Failure::permanent(format!("no to {}", event.id())));
            }
            let key = event.key().map_or("none", |key| key).to_owned();
            let id = event.id().to_string();
            cx.view(NOTES).update::<Vec<String>>(&key, |list| list.push(id)).await
        }
    })
}

fn list(world: &World, key: &str) -> Vec<String> {
    world.doc("notes", key).map_or_else(Vec::new, |doc| serde_json::from_value(doc).expect("a list"))
}

fn is_sick() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

fn heal(sick: &AtomicBool) {
    sick.store(false, Ordering::SeqCst);
}

fn positions(world: &World) -> Vec<Position> {
    world.dead("s").iter().map(|letter| letter.position).collect()
}

#[test]
fn a_dead_letter_says_what_happened() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event, cx| {
        noted.note(&event, &cx);
        async { Err(Failure::transient("not now")) }
    });
    world.put([order("other", 0)]);
    let node = world.start([handler.policy(every(secs(10), 3))]);
    world.put([order("k", "x").correlation("chain").stream("st")]);
    node.settle();
    let letter = world.dead("s").into_iter().find(|letter| &*letter.id == "x").expect("there");
    assert_eq!((&*letter.handler, letter.position, &*letter.name), ("s", 2, "order.placed"));
    assert_eq!((&*letter.source, letter.key.as_deref(), &*letter.stream), ("/test", Some("k"), "st"));
    assert_eq!((letter.reason, &*letter.error, letter.attempts), (Reason::Exhausted, "not now", 3));
    assert_eq!((letter.first_at, letter.last_at), (DAWN, DAWN.after(secs(20))));
    assert_eq!((letter.correlation.as_deref(), letter.path.len()), (Some("chain"), 0));
    assert_eq!(node.status().dead_lettered, 2);
}

#[test]
fn dead_letters_are_listed_by_key_name_and_reason() {
    use futures_util::FutureExt;
    use tidings_store::{DocumentQuery, Store};
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([sick(&calls, &["1", "2"], &is_sick())]);
    world.put([order("a", 1), order("b", 2)]);
    node.settle();
    for (field, value, expected) in
        [("key", "a", 1), ("key", "c", 0), ("name", "order.placed", 2), ("reason", "permanent", 2)]
    {
        let mut query = DocumentQuery::all(tidings_durable::dead_namespace("s"));
        query.field = Some((field.into(), value.into()));
        let found = world.store.documents(&query).now_or_never().expect("at once").expect("read");
        assert_eq!(found.len(), expected, "{field} {value}");
    }
}

#[test]
fn followers_wait_and_are_not_copied_and_replay_hands_them_out_in_order_and_then_live_ones() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["2"], &ill)]);
    world.put((1..=6).map(|n| order("a", n)));
    world.put([order("b", 7)]);
    node.settle();
    assert_eq!(list(&world, "a"), ["1"]);
    assert_eq!(list(&world, "b"), ["7"]);
    let rows = world.rows("s");
    assert_eq!((rows.len(), &rows[0]["followers"], &rows[0]["last"]), (1, &4.into(), &6.into()));
    assert_eq!((positions(&world), node.status().parked, node.status().followers), (vec![2], 1, 4));
    assert_eq!(world.checkpoint("s").watermark, 7);
    heal(&ill);
    let answer = world.replay("s", [2]);
    assert_eq!((answer.done, answer.refused.len()), (1, 0));
    world.put([order("a", 8), order("a", 9)]);
    node.settle();
    assert_eq!(list(&world, "a"), ["1", "2", "3", "4", "5", "6", "8", "9"]);
    assert!(world.rows("s").is_empty() && world.dead("s").is_empty());
    assert_eq!((node.status().parked, node.status().followers), (0, 0));
    assert_eq!(calls.of("2").len(), 2);
    assert_eq!(calls.of("3").len(), 1);
}

#[test]
fn a_replay_that_fails_again_does_not_double_the_entry_and_counts_on() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([sick(&calls, &["1"], &is_sick())]);
    world.put([order("a", 1), order("a", 2)]);
    node.settle();
    world.pass(secs(100));
    for round in 2..=4 {
        assert_eq!(world.replay("s", [1]).done, 1);
        node.settle();
        let dead = world.dead("s");
        assert_eq!((dead.len(), dead[0].attempts, dead[0].first_at), (1, round, DAWN));
        assert!(dead[0].last_at > DAWN);
        assert_eq!(node.status().followers, 1);
    }
    assert!(list(&world, "a").is_empty());
    let attempts: Vec<_> = calls.all().iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

#[test]
fn a_replay_has_all_the_attempts_of_the_policy_again() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event, cx| {
        noted.note(&event, &cx);
        async { Err(Failure::transient("not now")) }
    });
    let node = world.start([handler.policy(every(secs(2), 3))]);
    world.put([order("a", 1)]);
    node.settle();
    world.replay("s", [1]);
    node.settle();
    assert_eq!((calls.len(), world.dead("s")[0].attempts), (6, 6));
}

#[test]
fn discarding_lets_the_followers_go_on() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([sick(&calls, &["1", "3"], &is_sick())]);
    world.put((1..=5).map(|n| order("a", n)));
    node.settle();
    assert_eq!(world.discard("s", [1]).done, 1);
    node.settle();
    assert_eq!((list(&world, "a"), positions(&world)), (vec!["2".to_owned()], vec![3]));
    assert_eq!(node.status().followers, 2);
    assert_eq!(world.discard("s", [3]).done, 1);
    node.settle();
    assert_eq!(list(&world, "a"), ["2", "4", "5"]);
    assert!(world.rows("s").is_empty() && world.dead("s").is_empty());
    assert_eq!(calls.of("1").len(), 1);
}

#[test]
fn followers_over_the_bound_are_dead_lettered_as_such_and_come_in_order_on_replay() {
    for (followers_per_key, followers) in [(2, 1_000), (1_000, 2)] {
        let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
        let config = Config { followers_per_key, followers, ..World::config() };
        let node = world.start_with(config.clone(), [sick(&calls, &["1"], &ill)]);
        world.put((1..=6).map(|n| order("a", n)));
        node.settle();
        let dead: Vec<_> = world.dead("s").into_iter().map(|l| (l.position, l.reason, l.attempts)).collect();
        let follower = |position| (position, Reason::Follower, 0);
        assert_eq!(dead, [(1, Reason::Permanent, 1), follower(4), follower(5), follower(6)]);
        let status = node.status();
        assert_eq!((status.followers, status.dead_lettered), (2, 4));
        let refused = world.replay("s", [5]);
        assert_eq!(refused.done, 0);
        assert!(refused.refused[0].contains("5") && refused.refused[0].contains("at 1"), "{refused:?}");
        // Also over a restart.
        node.crash();
        heal(&ill);
        let node = world.start_with(config, [sick(&calls, &["1"], &ill)]);
        node.settle();
        world.put([order("a", 7)]);
        node.settle();
        assert_eq!(world.replay("s", [1]).done, 1);
        node.settle();
        assert_eq!(list(&world, "a"), ["1", "2", "3", "4", "5", "6", "7"]);
        assert!(world.dead("s").is_empty() && world.rows("s").is_empty());
    }
}

#[test]
fn a_discarded_follower_is_left_out_also_when_others_follow_later() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let config = Config { followers: 2, ..World::config() };
    let node = world.start_with(config, [sick(&calls, &["1", "4"], &ill)]);
    world.put([order("a", 1), order("a", 2)]);
    node.settle();
    world.put([order("b", 4), order("b", 5)]);
    node.settle();
    world.put([order("a", 6)]);
    node.settle();
    assert_eq!(positions(&world), [1, 3, 5], "6 could not wait any more");
    assert_eq!(world.discard("s", [5, 3]).done, 2);
    node.settle();
    // Now there is room again, but 7 comes after one that could not wait.
    world.put([order("a", 7)]);
    node.settle();
    heal(&ill);
    world.replay("s", [1]);
    node.settle();
    assert_eq!(
        (list(&world, "a"), list(&world, "b")),
        (["1", "2", "7"].map(String::from).to_vec(), vec!["5".into()])
    );
    assert!(world.dead("s").is_empty() && world.rows("s").is_empty());
}

#[test]
fn a_follower_that_fails_parks_the_key_again() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["1", "3"], &ill)]);
    world.put((1..=5).map(|n| order("a", n)));
    node.settle();
    world.discard("s", [1]);
    node.settle();
    assert_eq!((list(&world, "a"), positions(&world)), (vec!["2".to_owned()], vec![3]));
    let rows = world.rows("s");
    assert_eq!((rows.len(), &rows[0]["followers"]), (1, &2.into()));
    heal(&ill);
    world.replay("s", [3]);
    node.settle();
    assert_eq!(list(&world, "a"), ["2", "3", "4", "5"]);
}

#[test]
fn unkeyed_dead_letters_park_nothing() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["1", "3"], &ill)]);
    world.put((1..=4).map(|n| Envelope::build("order.placed").id(n.to_string())));
    node.settle();
    let mut seen = list(&world, "none");
    seen.sort();
    assert_eq!(seen, ["2", "4"]);
    assert!(world.rows("s").is_empty());
    heal(&ill);
    assert_eq!(world.replay("s", [1]).done, 1);
    assert_eq!(world.discard("s", [3]).done, 1);
    node.settle();
    let mut seen = list(&world, "none");
    seen.sort();
    assert_eq!(seen, ["1", "2", "4"]);
    assert!(world.dead("s").is_empty() && world.rows("s").is_empty());
}

#[test]
fn an_unordered_subscription_parks_nothing() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["1"], &ill).unordered()]);
    world.put((1..=3).map(|n| order("a", n)));
    node.settle();
    let mut seen = list(&world, "a");
    seen.sort();
    assert_eq!((seen, positions(&world)), (vec!["2".to_owned(), "3".into()], vec![1]));
    heal(&ill);
    world.replay("s", [1]);
    node.settle();
    assert_eq!(list(&world, "a").last().map(String::as_str), Some("1"));
    assert!(world.dead("s").is_empty() && world.rows("s").is_empty());
}

#[test]
fn a_replay_goes_only_to_the_handler_that_failed() {
    let (world, calls, ill, other) = (World::new(), Calls::default(), is_sick(), Calls::default());
    let noted = other.clone();
    let fine = on("fine", move |event, cx| {
        noted.note(&event, &cx);
        async { Ok(()) }
    });
    let node = world.start([sick(&calls, &["1"], &ill), fine]);
    world.put([order("a", 1)]);
    node.settle();
    heal(&ill);
    world.replay("s", [1]);
    node.settle();
    assert_eq!((calls.len(), other.len()), (2, 1));
    assert_eq!(world.replay("fine", [1]).refused.len(), 1);
}

#[test]
fn several_dead_letters_are_replayed_at_once_the_oldest_first() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let config = Config { followers_per_key: 0, ..World::config() };
    let node = world.start_with(config, [sick(&calls, &["1", "2"], &ill)]);
    world.put([order("a", 1), order("b", 2), order("a", 3), order("b", 4), order("a", 5)]);
    node.settle();
    assert_eq!(positions(&world), [1, 2, 3, 4, 5]);
    heal(&ill);
    let answer = world.replay("s", [5, 4, 3, 2, 1, 1, 99]);
    assert_eq!((answer.done, answer.refused.len()), (5, 1));
    node.settle();
    assert_eq!((list(&world, "a"), list(&world, "b").len()), (["1", "3", "5"].map(String::from).to_vec(), 2));
    assert!(world.dead("s").is_empty() && world.rows("s").is_empty());
}

#[test]
fn more_dead_letters_than_one_commit_holds_are_decided_in_several() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event, cx| {
        noted.note(&event, &cx);
        async { Err(Failure::permanent("no")) }
    });
    let node = world.start([handler]);
    world.put((0..1_200).map(|n| order(&n.to_string(), n)));
    node.settle();
    assert_eq!(world.dead("s").len(), 1_200);
    assert_eq!(world.discard("s", positions(&world)).done, 1_200);
    assert!(world.dead("s").is_empty() && world.rows("s").is_empty());
    node.stop();
    let node = world.start([on("t", |_, _| async { Err(Failure::permanent("no")) })]);
    node.settle();
    node.stop();
    let all: Vec<_> = world.dead("t").iter().map(|letter| letter.position).collect();
    assert_eq!(world.discard("t", all).done, 1_200, "also where no node runs");
    assert!(world.dead("t").is_empty() && world.rows("t").is_empty());
}

#[test]
fn the_node_that_runs_the_subscription_answers_and_without_one_the_operator_does_it() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["1", "2"], &ill)]);
    world.put([order("a", 1), order("b", 2), order("a", 3)]);
    node.settle();
    let replay = |position| Verb::Replay { positions: vec![position], pace: None };
    heal(&ill);
    assert!(matches!(world.ask("s", replay(1)), Ok(Carried::ByNode(answer)) if answer.done == 1));
    node.settle();
    node.stop();
    assert!(matches!(world.ask("s", replay(2)), Ok(Carried::Here(answer)) if answer.done == 1));
    assert_eq!(world.dead("s").len(), 1, "it is there until it has been handled");
    let node = world.start([sick(&calls, &[], &ill)]);
    node.settle();
    assert_eq!((list(&world, "a"), list(&world, "b")), (vec!["1".into(), "3".into()], vec!["2".to_owned()]));
    assert!(world.docs("$control/s").is_empty(), "requests are cleared away");
    assert!(matches!(world.ask("nobody", replay(1)), Err(Error::Refused(_))));
}

#[test]
fn an_operator_of_the_same_name_as_the_node_does_not_take_its_lease() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["1"], &ill)]);
    world.put([order("a", 1)]);
    node.settle();
    let mut operator = world.operator();
    operator.config.owner = World::config().owner;
    let answer = world
        .run(async move { operator.carry_out("s", Verb::Discard { positions: vec![1] }, secs(5)).await });
    assert!(matches!(answer, Ok(Carried::ByNode(answer)) if answer.done == 1));
}

#[test]
fn a_node_that_does_not_answer_is_waited_for_in_vain_and_answers_after_its_restart() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["1"], &ill)]);
    world.put([order("a", 1)]);
    node.settle();
    node.crash();
    heal(&ill);
    assert_eq!(world.ask("s", Verb::Replay { positions: vec![1], pace: None }), Ok(Carried::Waiting));
    let node = world.start([sick(&calls, &["1"], &ill)]);
    world.until("it was carried out", || world.dead("s").is_empty());
    node.settle();
    assert_eq!(list(&world, "a"), ["1"]);
}

#[test]
fn what_an_operator_decides_is_in_the_store_when_it_is_answered() {
    // The commit the decision is in is refused at first, and so is the one before it.
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["1"], &ill)]);
    world.put([Envelope::build("parcel.sent").source("/tidings").id("taken")]);
    world.put([order("a", 1), order("a", 2)]);
    node.settle();
    let mut refusals = 3;
    node.link.harm(move |_, commit| {
        let row = commit.documents.iter().any(|write| &*write.key.namespace == "$dead/s");
        if row && refusals > 0 {
            refusals -= 1;
            return Fault::Fails(Error::Locked("not now".into()));
        }
        Fault::None
    });
    assert_eq!(world.discard("s", [2]).done, 1);
    assert!(world.dead("s").is_empty());
    node.settle();
    assert_eq!(list(&world, "a"), ["2"]);
}

#[test]
fn a_decision_is_not_lost_when_the_commit_it_is_in_meets_a_conflict() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["1"], &ill)]);
    world.put([order("a", 1), order("a", 2)]);
    node.settle();
    // Every commit with a document of the view meets a conflict twice; the others are busy with such.
    let mut conflicts = std::collections::HashMap::new();
    node.link.harm(move |_, commit| {
        let view = commit.documents.iter().find(|write| &*write.key.namespace == "notes");
        let Some(write) = view else { return Fault::None };
        let count = conflicts.entry(write.key.clone()).or_insert(0);
        *count += 1;
        if *count > 2 {
            return Fault::None;
        }
        Fault::Fails(Error::DocumentChanged { key: write.key.clone(), expected: 0, actual: 9 })
    });
    world.put((3..40).map(|n| order(&format!("k{n}"), n)));
    assert_eq!(world.discard("s", [1]).done, 1);
    assert!(world.dead("s").is_empty());
    node.settle();
    assert_eq!(list(&world, "a"), ["2"]);
    assert_eq!((3..40).filter(|n| list(&world, &format!("k{n}")).len() == 1).count(), 37);
}

#[test]
fn a_paused_subscription_takes_nothing_in_and_resumes_also_after_a_restart() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &["1"], &ill)]);
    world.put([order("a", 1), order("b", 2)]);
    node.settle();
    world.operate("s", Verb::Pause);
    assert_eq!(node.status().state, "paused");
    world.put([order("b", 3)]);
    heal(&ill);
    assert_eq!(world.replay("s", [1]).done, 1, "it decides while it is paused");
    world.pass(secs(5));
    assert_eq!(calls.len(), 2, "and does nothing else");
    node.crash();
    let node = world.start([sick(&calls, &[], &ill)]);
    world.pass(secs(5));
    assert_eq!((calls.len(), node.status().state), (2, "paused".into()));
    world.operate("s", Verb::Resume);
    node.settle();
    assert_eq!((list(&world, "a"), list(&world, "b").len()), (vec!["1".to_owned()], 2));
    world.operate("s", Verb::Pause);
    node.stop();
    assert!(matches!(world.ask("s", Verb::Resume), Ok(Carried::Here(_))));
    let node = world.start([sick(&calls, &[], &ill)]);
    world.put([order("b", 4)]);
    node.settle();
    assert_eq!(list(&world, "b").len(), 3);
}

#[test]
fn reset_backwards_handles_again_and_forwards_skips() {
    for running in [true, false] {
        let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
        let mut node = Some(world.start([sick(&calls, &["2"], &ill)]));
        world.put((1..=4).map(|n| order("a", n)));
        node.as_ref().expect("runs").settle();
        assert_eq!((calls.ids(), positions(&world)), (vec!["1".to_owned(), "2".into()], vec![2]));
        heal(&ill);
        if !running {
            node.take().expect("runs").stop();
        }
        let carried = world.ask("s", Verb::Reset { to: 1 }).expect("carried out");
        assert_eq!(matches!(carried, Carried::ByNode(_)), running);
        let node = node.unwrap_or_else(|| world.start([sick(&calls, &[], &ill)]));
        node.settle();
        assert_eq!(list(&world, "a"), ["1", "2", "3", "4"]);
        assert!(world.dead("s").is_empty() && world.rows("s").is_empty(), "they came again from the log");
        calls.clear();
        world.operate("s", Verb::Reset { to: 0 });
        node.settle();
        assert_eq!(calls.ids(), ["1", "2", "3", "4"]);
        world.operate("s", Verb::Pause);
        world.put((5..=8).map(|n| order("a", n)));
        world.operate("s", Verb::Reset { to: 6 });
        world.operate("s", Verb::Resume);
        node.settle();
        assert_eq!(calls.ids()[4..], ["7", "8"]);
    }
}

#[test]
fn a_chain_of_more_than_64_hops_ends_in_the_dead_letters_with_its_path() {
    let world = World::new();
    let ping = on_topic("ping", "ball.pinged", |_, cx: Cx| async move {
        cx.publish_envelope(Envelope::build("ball.ponged"));
        Ok(())
    });
    let pong = on_topic("pong", "ball.ponged", |_, cx: Cx| async move {
        cx.publish_envelope(Envelope::build("ball.pinged"));
        Ok(())
    });
    let node = world.start([ping, pong]);
    world.put([Envelope::build("ball.pinged").source("/outside")]);
    node.settle();
    assert_eq!(world.head(), 65, "the first, and 64 hops");
    let dead: Vec<_> = world.dead("ping").into_iter().chain(world.dead("pong")).collect();
    assert_eq!((dead.len(), dead[0].reason), (1, Reason::Loop));
    let path = &dead[0].path;
    assert_eq!(
        (path.len(), &*path[0], &*path[1], &*path[64]),
        (65, "ball.pinged", "ball.ponged", "ball.pinged")
    );
}

#[derive(serde::Serialize, serde::Deserialize)]
struct One {}
#[derive(serde::Serialize, serde::Deserialize)]
struct Two {}
const fn info(version: u32) -> EventInfo {
    EventInfo { name: "order.placed", version, fields: &[] }
}
impl Event for One {
    const INFO: &'static EventInfo = &info(1);
}
impl Event for Two {
    const INFO: &'static EventInfo = &info(2);
}

#[test]
fn a_newer_schema_version_parks_its_key_until_a_node_knows_it() {
    let (world, calls) = (World::new(), Calls::default());
    let (noted, more) = (calls.clone(), calls.clone());
    let old = move |event: On<One>, cx: Cx| {
        noted.note(event.envelope(), &cx);
        async { Ok(()) }
    };
    let node = world.start([old.durable("s")]);
    let json = |id: u32, key: &str, version| order(key, id).schema_version(version).json(b"{}".as_slice());
    world.put([json(1, "a", 1), json(2, "a", 2), json(3, "a", 1), json(4, "b", 1), json(5, "c", 3)]);
    node.settle();
    let mut ids = calls.ids();
    ids.sort();
    assert_eq!(ids, ["1", "4"]);
    let dead = world.dead("s");
    assert_eq!((dead.len(), dead[0].reason, dead[0].position, dead[0].attempts), (2, Reason::Newer, 2, 0));
    assert!(dead[0].error.contains('2') && dead[0].error.contains('1'), "{}", dead[0].error);
    assert_eq!(node.status().followers, 1);
    node.stop();
    let new = move |event: On<Two>, cx: Cx| {
        more.note(event.envelope(), &cx);
        async { Ok(()) }
    };
    let node = world.start([new.durable("s")]);
    world.until("it is taken up", || world.dead("s").len() == 1);
    node.settle();
    assert_eq!(calls.ids_of("a"), ["1", "2", "3"]);
    assert_eq!(world.dead("s")[0].position, 5, "three is still too new");
}

#[test]
fn errors_are_kept_up_to_a_length() {
    let world = World::new();
    let node =
        world.start([on("s", |_, _| async { Err(Failure::permanent("é".repeat(1 << 20))) }).policy(once())]);
    world.put((0..40).map(|n| order(&n.to_string(), n)));
    node.settle();
    let dead = world.dead("s");
    assert_eq!(dead.len(), 40);
    assert!(dead.iter().all(|letter| letter.error.len() <= 4_096 && letter.error.len() > 4_000));
}
