//! Documents: what a delivery sees, what it conflicts with, and what is written in the end.

mod support;

use std::sync::Arc;

use parking_lot::Mutex;
use support::{Calls, Fault, Gate, World, every, ms, on, once, order, secs};
use tidings_core::{
    Commit, DocumentChange, DocumentKey, DocumentWrite, Envelope, Failure, Subscribe, Text, View,
};
use tidings_durable::{Config, Reason};
use tidings_store::DocumentQuery;

const NOTES: View = View::new("notes");
const BY_CITY: View = View::new("people").indexed(&["city"]);

/// Somebody else writes a document.
fn foreign(world: &World, id: &str, json: &str) {
    world.apply(write(id, json)).expect("applied");
}

fn write(id: &str, json: &str) -> Commit {
    let write = DocumentWrite {
        key: DocumentKey::new("notes", id),
        change: DocumentChange::Put(json.to_owned().into()),
        indexed: Arc::from([]),
        expected: None,
    };
    Commit { documents: vec![write], ..Commit::default() }
}

#[test]
fn a_foreign_write_between_read_and_commit_runs_the_delivery_again_and_is_no_attempt() {
    let (world, calls, gate) = (World::new(), Calls::default(), Gate::default());
    foreign(&world, "d", "1");
    let (noted, wait, seen) = (calls.clone(), gate.clone(), Arc::new(Mutex::new(Vec::new())));
    let saw = seen.clone();
    let node = world.start([on("s", move |event, cx| {
        noted.note(&event, &cx);
        let (wait, saw) = (wait.clone(), saw.clone());
        async move {
            let value = cx.view(NOTES).get::<u64>("d").await?.expect("there");
            saw.lock().push(*value);
            wait.pass().await;
            cx.view(NOTES).put("d", *value * 10);
            Ok(())
        }
    })
    .policy(once())]);
    world.put([order("k", 1)]);
    world.until("it has read", || gate.waiting() == 1);
    foreign(&world, "d", "2");
    gate.open();
    node.settle();
    assert_eq!(*seen.lock(), [1, 2], "it reads anew");
    assert_eq!(world.doc("notes", "d"), Some(20.into()));
    assert_eq!(calls.all().iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 1]);
    assert_eq!((node.status().reruns, node.status().failures, node.status().handled), (1, 0, 1));
}

#[test]
fn what_was_only_read_must_not_have_changed_either() {
    let (world, gate) = (World::new(), Gate::default());
    let wait = gate.clone();
    let node = world.start([on("s", move |_, cx| {
        let wait = wait.clone();
        async move {
            let limit = cx.view(NOTES).get::<u64>("limit").await?.map_or(0, |limit| *limit);
            wait.pass().await;
            cx.view(NOTES).put("copy", limit);
            Ok(())
        }
    })]);
    world.put([order("k", 1)]);
    world.until("it has read", || gate.waiting() == 1);
    foreign(&world, "limit", "7");
    gate.open();
    node.settle();
    assert_eq!(world.doc("notes", "copy"), Some(7.into()));
}

#[test]
fn after_three_conflicts_it_runs_alone() {
    let (world, calls) = (World::new(), Calls::default());
    let (gate, noted) = (Gate::default(), calls.clone());
    let wait = gate.clone();
    let store = world.store.clone();
    let others = Arc::new(Mutex::new(Vec::new()));
    let beside = others.clone();
    // The first commits of key `a` meet a foreign write just before they are applied.
    let mut harmed = 0;
    let plan = move |_: u64, commit: &Commit| {
        if harmed < 3 && commit.documents.iter().any(|write| &*write.key.id == "a") {
            harmed += 1;
            use futures_util::FutureExt;
            use tidings_store::Store;
            let commit = write("a", &format!("{}", harmed * 100));
            store.apply(commit).now_or_never().expect("at once").expect("applied");
        }
        Fault::None
    };
    let handler = on("s", move |event: Envelope, cx| {
        noted.note(&event, &cx);
        let (wait, noted, beside) = (wait.clone(), noted.clone(), beside.clone());
        async move {
            let key = event.key().expect("key").clone();
            cx.view(NOTES).update::<u64>(&key, |n| *n += 1).await?;
            if &*key == "a" && noted.of(event.id()).len() == 4 {
                // By now it runs alone: what others finish meanwhile is not committed.
                wait.pass().await;
                beside.lock().push("a");
            } else if &*key != "a" {
                beside.lock().push("b");
            }
            Ok(())
        }
    });
    let node = world.start_harmed(World::config(), [handler], plan);
    world.put([order("a", 1)]);
    world.until("it waits, alone", || gate.waiting() == 1);
    world.put((10..20).map(|n| order("b", n)));
    world.pass(secs(2));
    assert_eq!(world.doc("notes", "b"), None, "it is alone");
    gate.open();
    node.settle();
    assert_eq!(world.doc("notes", "a"), Some(301.into()));
    assert_eq!(world.doc("notes", "b"), Some(10.into()));
    assert_eq!(calls.of("1").iter().map(|call| call.attempt).collect::<Vec<_>>(), [1; 4]);
}

#[test]
fn many_keys_that_fight_for_one_document_all_get_through() {
    let world = World::new();
    let config = Config { lanes: 4, ..World::config() };
    let node = world.start_with(
        config,
        [on("s", |_, cx| async move {
            let n = cx.view(NOTES).get::<u64>("n").await?.map_or(0, |n| *n);
            tokio::task::yield_now().await;
            cx.view(NOTES).put("n", n + 1);
            Ok(())
        })],
    );
    world.put((0..300).map(|n| order(&format!("{}", n % 50), n)));
    node.settle();
    assert_eq!(world.doc("notes", "n"), Some(300.into()));
    assert!(node.status().reruns > 0, "they did fight");
    assert!(node.stop().is_empty());
}

#[test]
fn one_that_runs_alone_and_waits_for_a_retry_does_not_hold_the_others_up() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event: Envelope, cx| {
        noted.note(&event, &cx);
        let noted = noted.clone();
        async move {
            let n = cx.view(NOTES).get::<u64>("n").await?.map_or(0, |n| *n);
            if &**event.id() == "a" {
                let times = noted.of("a").len();
                if times == 4 {
                    return Err(Failure::transient("not now"));
                }
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            }
            cx.view(NOTES).put("n", n + 1);
            Ok(())
        }
    });
    let node = world.start([handler.policy(every(ms(900), 3))]);
    world.put([order("a", "a")]);
    world.put((0..200).map(|n| order(&format!("{n}"), n)));
    node.settle();
    assert_eq!(world.doc("notes", "n"), Some(201.into()));
}

#[test]
fn blind_changes_carry_no_read_and_never_conflict() {
    let (world, gate) = (World::new(), Gate::default());
    foreign(&world, "d", r#"{"n":1,"m":5,"x":{"y":1,"z":2}}"#);
    let wait = gate.clone();
    let node = world.start([on("s", move |_, cx| {
        let wait = wait.clone();
        async move {
            cx.view(NOTES).add("d", "n", 2);
            cx.view(NOTES).max("d", "m", 9);
            cx.view(NOTES).merge("d", &serde_json::json!({"x": {"y": null, "w": 3}}))?;
            wait.pass().await;
            Ok(())
        }
    })]);
    world.put([order("k", 1), order("l", 2)]);
    world.until("both", || gate.waiting() == 2);
    foreign(&world, "d", r#"{"n":100,"m":7,"x":{"y":1,"z":2}}"#);
    gate.open();
    node.settle();
    let expected = serde_json::json!({"n": 104, "m": 9, "x": {"z": 2, "w": 3}});
    assert_eq!(world.doc("notes", "d"), Some(expected));
    assert_eq!(node.status().reruns, 0);
    for commit in node.link.commits() {
        assert!(commit.reads.is_empty() && commit.documents.iter().all(|write| write.expected.is_none()));
    }
}

#[test]
fn a_delivery_sees_its_own_writes() {
    let world = World::new();
    foreign(&world, "d", r#"{"n":1}"#);
    let node = world.start([on("s", |_, cx| async move {
        let notes = cx.view(NOTES);
        notes.add("d", "n", 1);
        let seen = notes.get::<serde_json::Value>("d").await?.expect("there");
        assert_eq!(*seen, serde_json::json!({"n": 2}), "blind over stored");
        notes.put("d", serde_json::json!({"n": 10}));
        notes.add("d", "n", 1);
        let seen = notes.get::<serde_json::Value>("d").await?.expect("there");
        assert_eq!(*seen, serde_json::json!({"n": 11}), "blind over put");
        notes.delete("d");
        assert!(notes.get::<serde_json::Value>("d").await?.is_none());
        notes.add("d", "n", 5);
        let seen = notes.get::<serde_json::Value>("d").await?.expect("there");
        assert_eq!(*seen, serde_json::json!({"n": 5}), "blind over delete");
        Ok(())
    })
    .policy(once())]);
    world.put([order("k", 1)]);
    node.settle();
    assert_eq!(world.dead("s"), []);
    assert_eq!(world.doc("notes", "d"), Some(serde_json::json!({"n": 5})));
}

#[test]
fn a_delivery_sees_what_deliveries_accepted_before_it_wrote_and_they_become_one_write() {
    let world = World::new();
    world.put((0..50).map(|n| order("k", n)));
    let node =
        world.start([on("s", |_, cx| async move { cx.view(NOTES).update::<u64>("d", |n| *n += 1).await })]);
    node.settle();
    assert_eq!(world.doc("notes", "d"), Some(50.into()));
    let commits = node.link.commits();
    let writes: usize = commits.iter().map(|commit| commit.documents.len()).sum();
    assert!(commits.len() < 10 && writes == commits.len(), "{writes} writes in {} commits", commits.len());
    assert_eq!(node.status().reruns, 0);
}

#[test]
fn changes_of_several_deliveries_to_one_document_fold_in_order() {
    // What each of the deliveries does, and what is there in the end.
    for (steps, expected) in [
        ("add add", Some(serde_json::json!({"n": 3}))),
        ("put add", Some(serde_json::json!({"n": 11}))),
        ("add put", Some(serde_json::json!({"n": 10}))),
        ("put add put add add", Some(serde_json::json!({"n": 12}))),
        ("put del", None),
        ("del", None),
        ("add del", None),
        ("del add", Some(serde_json::json!({"n": 1}))),
        ("del put", Some(serde_json::json!({"n": 10}))),
        ("read add read", Some(serde_json::json!({"n": 2}))),
        ("add read put read del read add", Some(serde_json::json!({"n": 1}))),
    ] {
        for batch in [1, 2, 1_000] {
            let world = World::new();
            foreign(&world, "d", r#"{"n":1}"#);
            world.put(steps.split(' ').enumerate().map(|(n, step)| order("k", format!("{n}-{step}"))));
            let config = Config { batch, ..World::config() };
            let node = world.start_with(
                config,
                [on("s", |event: Envelope, cx| async move {
                    let notes = cx.view(NOTES);
                    match event.id().split_once('-').expect("a step").1 {
                        "add" => notes.add("d", "n", 1),
                        "put" => notes.put("d", serde_json::json!({"n": 10})),
                        "del" => notes.delete("d"),
                        _ => drop(notes.get::<serde_json::Value>("d").await?),
                    }
                    Ok(())
                })],
            );
            node.settle();
            assert_eq!(world.doc("notes", "d"), expected, "{steps}, {batch} a batch");
            assert_eq!(world.dead("s"), [], "{steps}");
        }
    }
}

#[test]
fn indexed_fields_find_documents_however_they_were_written() {
    let world = World::new();
    let node = world.start([on("s", |event: Envelope, cx| async move {
        let people = cx.view(BY_CITY);
        match &**event.id() {
            "1" => people.put("ann", serde_json::json!({"city": "Rome"})),
            "2" => people.merge("bob", &serde_json::json!({"city": "Rome"}))?,
            _ => {
                people.update::<serde_json::Value>("ann", |ann| ann["city"] = "Oslo".into()).await?;
            }
        }
        Ok(())
    })]);
    let find = |city: &str| {
        use futures_util::FutureExt;
        use tidings_store::Store;
        let mut query = DocumentQuery::all("people");
        query.field = Some((Text::from("city"), Text::from(city)));
        let found = world.store.documents(&query).now_or_never().expect("at once").expect("read");
        found.into_iter().map(|document| document.key.id.to_string()).collect::<Vec<_>>()
    };
    world.put([order("k", 1), order("k", 2)]);
    node.settle();
    assert_eq!(find("Rome"), ["ann", "bob"]);
    world.put([order("k", 3)]);
    node.settle();
    assert_eq!((find("Rome"), find("Oslo")), (vec!["bob".to_owned()], vec!["ann".to_owned()]));
}

#[test]
fn a_blind_change_that_does_not_fit_gives_up_its_delivery_only() {
    let (world, calls) = (World::new(), Calls::default());
    foreign(&world, "stored", r#""text""#);
    let noted = calls.clone();
    let handler = on("s", move |event: Envelope, cx| {
        noted.note(&event, &cx);
        async move {
            let notes = cx.view(NOTES);
            match &**event.id() {
                "fits not what is stored" => notes.add("stored", "n", 1),
                "put" => notes.put("fresh", "text"),
                "fits not what was put" => notes.add("fresh", "n", 1),
                _ => notes.add("ok", "n", 1),
            }
            Ok(())
        }
    });
    world.put(
        ["good", "fits not what is stored", "put", "fits not what was put", "good too"]
            .map(|id| order(id, id)),
    );
    let node = world.start([handler]);
    node.settle();
    let mut dead: Vec<_> = world.dead("s").iter().map(|letter| letter.id.to_string()).collect();
    dead.sort();
    assert_eq!(dead, ["fits not what is stored", "fits not what was put"]);
    assert_eq!(world.doc("notes", "ok"), Some(serde_json::json!({"n": 2})));
    assert_eq!(calls.len(), 5, "nobody is called again");
}

#[test]
fn a_value_that_cannot_be_written_gives_up_its_delivery_only() {
    #[derive(Clone)]
    struct Bad(bool);
    impl serde::Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0 { Err(serde::ser::Error::custom("bad")) } else { serializer.serialize_u8(1) }
        }
    }
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event: Envelope, cx| {
        noted.note(&event, &cx);
        async move {
            cx.view(NOTES).put(event.id(), Bad(&**event.id() == "3"));
            cx.view(NOTES).add("count", "n", 1);
            Ok(())
        }
    });
    world.put([order("a", 1), order("b", 2), order("b", 3), order("b", 4), order("c", 5)]);
    let node = world.start([handler]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((dead.len(), &*dead[0].id, dead[0].reason), (1, "3", Reason::Permanent));
    assert_eq!(world.doc("notes", "count"), Some(serde_json::json!({"n": 3})), "4 waits behind 3");
    assert_eq!(node.status().followers, 1);
}

#[test]
fn documents_beyond_the_cache_are_read_again_and_right() {
    let world = World::new();
    let config = Config { cached_documents: 1, batch: 3, ..World::config() };
    let node = world.start_with(
        config,
        [on("s", |event: Envelope, cx| async move {
            let key = event.key().expect("key").clone();
            cx.view(NOTES).update::<u64>(&key, |n| *n += 1).await
        })],
    );
    for round in 0..5 {
        world.put((0..20).map(|n| order(&format!("k{n}"), format!("{round}-{n}"))));
        node.settle();
        // Somebody else writes what is not kept here any more: it must be seen.
        foreign(&world, "k0", &format!("{}", (round + 1) * 100));
    }
    assert_eq!(world.doc("notes", "k7"), Some(5.into()));
    assert_eq!(world.doc("notes", "k0"), Some(500.into()));
}

#[test]
fn a_cached_document_saves_reading_and_a_stale_one_is_found_out_at_the_commit() {
    let world = World::new();
    let node =
        world.start([on("s", |_, cx| async move { cx.view(NOTES).update::<u64>("d", |n| *n += 1).await })]);
    world.put([order("k", 1)]);
    node.settle();
    foreign(&world, "d", "100");
    world.put([order("k", 2)]);
    node.settle();
    assert_eq!(world.doc("notes", "d"), Some(101.into()));
    assert_eq!(node.status().reruns, 1);
}

#[test]
fn a_view_with_a_reserved_name_is_refused() {
    let world = World::new();
    let node = world.start([on("s", |_, cx| async move {
        cx.view(View::new("$dead/s")).delete("00000000000000000001");
        Ok(())
    })]);
    world.put([order("k", 1)]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((dead.len(), dead[0].reason, dead[0].attempts), (1, Reason::Permanent, 1));
    assert!(dead[0].error.contains('$'), "{}", dead[0].error);
}
