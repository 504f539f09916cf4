//! What rules and operators do with dead letters of durable subscriptions, and how many there may be.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::FutureExt;
use support::{Calls, DAWN, World, on, once, order, secs};
use tidings_core::{
    Clock, Commit, Cx, Dead, DeadLetters, DocumentChange, DocumentKey, DocumentWrite, Envelope, Failure,
    LetterFilter, Policy, Registration, Subscribe, Tenant, Text, Then,
};
use tidings_durable::{
    DEAD_FIELDS, DEAD_HANDLERS, DeadLetter, Pace, Reason, StoredLetters, Verb, dead_namespace,
};
use tidings_store::{DocumentQuery, Store};

/// A handler that fails for good with events that say so, while `sick`.
fn sick(calls: &Calls, sick: &Arc<AtomicBool>, policy: Policy) -> Registration {
    let (calls, sick) = (calls.clone(), sick.clone());
    let handler = on("s", move |event: Envelope, cx: Cx| {
        calls.note(&event, &cx);
        let says = event.payload().is_ok_and(|json| json.starts_with(b"{\"fine\""));
        let fails = sick.load(Ordering::SeqCst) && !says;
        async move { if fails { Err(Failure::permanent("no")) } else { Ok(()) } }
    });
    handler.policy(policy)
}

fn is_sick() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

fn ids(calls: &Calls) -> Vec<String> {
    calls.all().iter().map(|call| call.id.to_string()).collect()
}

fn counted(world: &World, namespace: &str) -> u64 {
    let query = DocumentQuery::all(namespace);
    let counted = world.store.count_documents(&query);
    counted.now_or_never().expect("at once").expect("read")
}

#[test]
fn a_rule_replays_so_often_after_a_time_and_then_holds_also_over_a_restart() {
    let (world, calls) = (World::new(), Calls::default());
    let dead = Dead::to("elsewhere").on(Reason::Permanent, Then::Replay { after: secs(600), times: 2 });
    let node = world.start([sick(&calls, &is_sick(), once().dead(dead.clone()))]);
    world.put([order("a", 1), order("a", 2)]);
    while calls.all().is_empty() || world.dead("s").is_empty() {
        world.pass(secs(1));
    }
    let letter = world.dead("s").remove(0);
    assert_eq!((&*letter.destination, letter.replays), ("elsewhere", 0));
    assert!(letter.due.is_some_and(|due| due.since(DAWN) >= secs(600)), "{letter:?}");
    node.crash();
    world.pass(secs(20));
    let node = world.start([sick(&calls, &is_sick(), once().dead(dead))]);
    node.settle();
    let letter = world.dead("s").remove(0);
    assert_eq!((world.dead("s").len(), letter.replays, letter.attempts, letter.due), (1, 2, 3, None));
    assert_eq!(letter.history.len(), 3);
    assert!(letter.last_at.since(letter.first_at) >= secs(1_200), "{letter:?}");
    assert_eq!(ids(&calls), ["1", "1", "1"], "the follower waits");
    assert_eq!((node.status().parked, node.status().followers), (1, 1));
}

#[test]
fn followers_go_on_when_a_rule_has_replayed_what_was_before_them() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let dead = Dead::default().otherwise(Then::replay(secs(600)));
    let node = world.start([sick(&calls, &ill, once().dead(dead))]);
    world.put([order("a", 1), order("a", 2), order("a", 3)]);
    while world.dead("s").is_empty() {
        world.pass(secs(1));
    }
    ill.store(false, Ordering::SeqCst);
    node.settle();
    assert_eq!(ids(&calls), ["1", "1", "2", "3"]);
    assert!(world.dead("s").is_empty() && world.rows("s").is_empty());
}

#[test]
fn what_a_rule_throws_away_parks_nothing_and_is_counted() {
    let (world, calls) = (World::new(), Calls::default());
    let dead = Dead::default().on(Reason::Permanent, Then::Discard);
    let node = world.start([sick(&calls, &is_sick(), once().dead(dead))]);
    world.put([order("a", 1), order("a", 2)]);
    node.settle();
    assert_eq!(ids(&calls), ["1", "2"]);
    assert!(world.dead("s").is_empty() && world.rows("s").is_empty());
    assert_eq!((node.status().discarded, node.status().dead_lettered), (2, 2));
}

#[test]
fn a_replay_that_waits_for_its_time_can_be_discarded_or_brought_forward() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let dead = Dead::default().otherwise(Then::replay(secs(86_400)));
    let _node = world.start([sick(&calls, &ill, once().dead(dead))]);
    world.put([order("a", 1), order("b", 2)]);
    while world.dead("s").len() < 2 {
        world.pass(secs(1));
    }
    assert_eq!(world.discard("s", [1]).refused.len(), 0);
    ill.store(false, Ordering::SeqCst);
    assert_eq!(world.replay("s", [2]).done, 1);
    while !world.dead("s").is_empty() {
        world.pass(secs(1));
    }
    assert!(world.clock.now().since(DAWN) < secs(3_600));
    assert!(world.rows("s").is_empty());
}

#[test]
fn a_replay_keeps_to_its_pace_over_parts_of_a_request() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &ill, once())]);
    world.put((1..=1_100).map(|n| order(&format!("k{n}"), n)));
    node.settle();
    ill.store(false, Ordering::SeqCst);
    let from = world.clock.now().after(secs(10));
    let pace = Some(Pace { from, every_micros: 500_000 });
    let verb = Verb::Replay { positions: (1..=1_100).collect(), pace };
    assert_eq!(world.operate("s", verb).done, 1_100);
    node.settle();
    assert_eq!(counted(&world, &dead_namespace("s")), 0);
    assert!(world.clock.now().since(from) >= secs(549), "{:?}", world.clock.now().since(from));
    let replayed: Vec<String> = ids(&calls).split_off(1_100);
    assert_eq!(replayed, (1..=1_100).map(|n| n.to_string()).collect::<Vec<_>>(), "in order");
}

#[test]
fn an_edited_letter_is_handled_as_edited_and_a_failed_replay_keeps_the_edit() {
    let (world, calls, ill) = (World::new(), Calls::default(), is_sick());
    let node = world.start([sick(&calls, &ill, once())]);
    world.put([order("a", 1)]);
    node.settle();
    let edit = |payload: &str| Verb::Edit { position: 1, payload: payload.into(), by: "ann".into() };
    assert_eq!(world.operate("s", edit("{")).refused.len(), 1);
    assert_eq!(world.operate("s", edit("{\"still\":\"bad\"}")).done, 1);
    world.replay("s", [1]);
    node.settle();
    let letter = world.dead("s").remove(0);
    assert_eq!((letter.edits.len(), letter.replays, &*letter.edits[0].by), (1, 1, "ann"));
    assert_eq!(world.operate("s", edit("{\"fine\":true}")).done, 1);
    world.replay("s", [1]);
    node.settle();
    assert!(world.dead("s").is_empty(), "it says that it is fine");
    assert_eq!(calls.all().len(), 3);
}

#[test]
fn a_reset_forgets_more_rows_and_letters_than_fit_into_one_commit() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([sick(&calls, &is_sick(), once())]);
    for part in 0..6 {
        world.put((0..2_000).map(|n| order(&format!("k{}", part * 2_000 + n), part * 2_000 + n)));
    }
    node.settle();
    assert_eq!(counted(&world, &dead_namespace("s")), 12_000);
    node.stop();
    assert_eq!(world.operate("s", Verb::Reset { to: 5 }).done, 1);
    assert_eq!((counted(&world, &dead_namespace("s")), counted(&world, "$blocked/s")), (5, 0));
    assert_eq!(world.checkpoint("s").watermark, 5);
}

#[test]
fn totals_of_a_store_are_true_at_100_000() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([sick(&calls, &is_sick(), once())]);
    world.put([order("a", 1)]);
    node.settle();
    let pattern = DeadLetter { handler: "shop/pay".into(), ..world.dead("s").remove(0) };
    let put = |namespace: Text, id: Text, json: Vec<u8>| DocumentWrite {
        key: DocumentKey { namespace, id },
        change: DocumentChange::Put(json.into()),
        indexed: DEAD_FIELDS.iter().map(|field| Text::from(*field)).collect(),
        expected: None,
    };
    for part in 0..20_u64 {
        let mut commit = Commit { tenant: Tenant::default(), ..Commit::default() };
        for n in part * 5_000..(part + 1) * 5_000 {
            let entry = Text::from(format!("{n:08}"));
            let key = Some(Text::from(format!("k{}", n % 10)));
            let letter = DeadLetter { entry: entry.clone(), key, ..pattern.clone() };
            let json = serde_json::to_vec(&letter).expect("JSON");
            commit.documents.push(put(dead_namespace("shop/pay"), entry, json));
        }
        commit.documents.push(put(DEAD_HANDLERS.into(), "shop/pay".into(), b"{}".to_vec()));
        world.store.apply(commit).now_or_never().expect("at once").expect("written");
    }
    let letters = StoredLetters::new(world.operator(), secs(1));
    let count = |filter: LetterFilter| letters.count(&filter).now_or_never().expect("at once").expect("read");
    assert_eq!(count(LetterFilter::default()), 100_001, "of both handlers");
    assert_eq!(count(LetterFilter::handler("shop/pay")), 100_000);
    assert_eq!(count(LetterFilter { key: Some("k7".into()), ..LetterFilter::default() }), 10_000);
    let two =
        LetterFilter { reason: Some(Reason::Permanent), key: Some("k7".into()), ..LetterFilter::default() };
    assert_eq!(count(two), 10_000);
}
