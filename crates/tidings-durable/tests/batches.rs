//! Many deliveries, one commit: who is cut out of it, and who is not.

mod support;

use std::sync::Arc;

use parking_lot::Mutex;
use support::{Calls, Fault, World, every, ms, on_topic, once, order};
use tidings_core::{Commit, Cx, Envelope, Failure, Handled, Registration, Subscribe, View};
use tidings_durable::{Config, Reason};
use tidings_store::Error;

const NOTES: View = View::new("notes");

fn counting(calls: &Calls, bad: impl Fn(&Envelope, &Cx) -> Handled + Send + Sync + 'static) -> Registration {
    let (calls, bad) = (calls.clone(), Arc::new(bad));
    on_topic("s", "order.placed", move |event: Envelope, cx: Cx| {
        calls.note(&event, &cx);
        let bad = bad.clone();
        async move {
            cx.view(NOTES).add("count", "n", 1);
            cx.publish_envelope(Envelope::build("order.counted").id(format!("c{}", event.id())));
            bad(&event, &cx)
        }
    })
}

fn count(world: &World) -> u64 {
    world.doc("notes", "count").map_or(0, |doc| doc["n"].as_u64().expect("a number"))
}

#[test]
fn many_deliveries_make_one_commit() {
    let (world, calls) = (World::new(), Calls::default());
    world.put((0..500).map(|n| order(&n.to_string(), n)));
    let node = world.start([counting(&calls, |_, _| Ok(()))]);
    node.settle();
    let commits = node.link.commits();
    assert!(commits.len() <= 20, "{} commits", commits.len());
    assert_eq!((count(&world), world.ids("order.counted").len()), (500, 500));
    assert_eq!(node.status().commits, commits.len() as u64);
    assert_eq!((node.status().handled, node.status().published), (500, 500));
}

#[test]
fn a_batch_holds_at_most_so_many_deliveries() {
    let (world, calls) = (World::new(), Calls::default());
    world.put((0..100).map(|n| order(&n.to_string(), n)));
    let config = Config { batch: 7, ..World::config() };
    let node = world.start_with(config, [counting(&calls, |_, _| Ok(()))]);
    node.settle();
    let events = |commit: &Commit| commit.appends.iter().map(|append| append.events.len()).sum::<usize>();
    let sizes: Vec<_> = node.link.commits().iter().map(events).collect();
    assert!(sizes.iter().all(|size| *size <= 7) && sizes.contains(&7), "{sizes:?}");
    assert_eq!(count(&world), 100);
}

#[test]
fn one_that_fails_or_panics_is_cut_out_whole() {
    let (world, calls) = (World::new(), Calls::default());
    world.put((0..100).map(|n| order(&n.to_string(), n)));
    let node = world.start([counting(&calls, |event, _| match &**event.id() {
        "10" => Err(Failure::permanent("no")),
        "20" => panic!("oh"),
        _ => Ok(()),
    })
    .policy(once())]);
    node.settle();
    assert_eq!((count(&world), calls.len()), (98, 100));
    let ids = world.ids("order.counted");
    assert!(ids.len() == 98 && !ids.contains(&"c10".into()) && !ids.contains(&"c20".into()));
    let dead: Vec<_> =
        world.dead("s").into_iter().map(|letter| (letter.id.to_string(), letter.error)).collect();
    assert_eq!(dead[0], ("10".into(), "no".into()));
    assert_eq!(dead[1].0, "20");
    assert!(dead[1].1.contains("oh"), "{dead:?}");
}

#[test]
fn what_the_store_refuses_is_cut_out_whole_and_the_innocent_are_not_called_again() {
    let (world, calls) = (World::new(), Calls::default());
    // The id is known with other content: the store refuses the whole commit.
    world.put([Envelope::build("parcel.sent").source("/tidings").id("taken")]);
    world.put((0..100).map(|n| order(&n.to_string(), n)));
    let node = world.start([counting(&calls, |event, cx| {
        if ["30", "31", "77"].contains(&&**event.id()) {
            cx.publish_envelope(Envelope::build("order.refused").id("taken"));
        }
        Ok(())
    })]);
    node.settle();
    assert_eq!((count(&world), calls.len()), (97, 100));
    let dead: Vec<_> =
        world.dead("s").into_iter().map(|letter| (letter.id.to_string(), letter.reason)).collect();
    let refused = |id: &str| (id.to_owned(), Reason::Refused);
    assert_eq!(dead, [refused("30"), refused("31"), refused("77")]);
    assert_eq!((node.status().handled, node.status().dead_lettered), (97, 3));
}

#[test]
fn followers_of_the_key_are_cut_out_with_it_and_wait() {
    let (world, calls) = (World::new(), Calls::default());
    world.put([Envelope::build("parcel.sent").source("/tidings").id("taken")]);
    world.put((0..12).map(|n| order(["a", "b", "c"][n % 3], n)));
    let order_of_b = Arc::new(Mutex::new(true));
    let bad = order_of_b.clone();
    let node = world.start([counting(&calls, move |event, cx| {
        if &**event.id() == "4" && *bad.lock() {
            cx.publish_envelope(Envelope::build("order.refused").id("taken"));
        }
        Ok(())
    })]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((dead.len(), &*dead[0].id, dead[0].reason), (1, "4", Reason::Refused));
    assert_eq!(count(&world), 9, "7 and 10 wait behind 4");
    assert_eq!((node.status().followers, node.status().parked), (2, 1));
    *order_of_b.lock() = false;
    assert_eq!(world.replay("s", [dead[0].position]).done, 1);
    node.settle();
    assert_eq!(count(&world), 12);
    let of_b: Vec<_> = world
        .ids("order.counted")
        .into_iter()
        .filter(|id| ["c1", "c4", "c7", "c10"].contains(&&**id))
        .collect();
    assert_eq!(of_b, ["c1", "c4", "c7", "c10"], "in order");
}

#[test]
fn what_stood_on_a_document_of_one_that_was_cut_out_runs_again() {
    let (world, calls) = (World::new(), Calls::default());
    world.put([Envelope::build("parcel.sent").source("/tidings").id("taken")]);
    world.put((0..6).map(|n| order(&n.to_string(), n)));
    let noted = calls.clone();
    let handler = on_topic("s", "order.placed", move |event: Envelope, cx: Cx| {
        noted.note(&event, &cx);
        async move {
            let mut seen =
                cx.view(NOTES).get::<Vec<String>>("list").await?.map_or(vec![], |l| Vec::clone(&l));
            seen.push(event.id().to_string());
            cx.view(NOTES).put("list", seen);
            if &**event.id() == "2" {
                cx.publish_envelope(Envelope::build("order.refused").id("taken"));
            }
            Ok(())
        }
    });
    let config = Config { lanes: 1, ..World::config() };
    let node = world.start_with(config, [handler]);
    node.settle();
    assert_eq!(world.doc("notes", "list"), Some(serde_json::json!(["0", "1", "3", "4", "5"])));
    assert_eq!(calls.of("2").len(), 1);
    assert_eq!(calls.of("0").len(), 1);
    assert!(calls.all().iter().all(|call| call.attempt == 1));
}

#[test]
fn a_conflict_cuts_out_only_what_stands_on_the_document_and_its_followers() {
    let (world, calls) = (World::new(), Calls::default());
    world.put((0..20).map(|n| order(&(n % 10).to_string(), n)));
    let noted = calls.clone();
    let handler = on_topic("s", "order.placed", move |event: Envelope, cx: Cx| {
        noted.note(&event, &cx);
        async move {
            let key = event.key().expect("key").clone();
            cx.view(NOTES).update::<u64>(&key, |n| *n += 1).await?;
            cx.publish_envelope(Envelope::build("parcel.sent").id(format!("c{}", event.id())));
            Ok(())
        }
    });
    let mut first = true;
    let store = world.store.clone();
    let node = world.start_harmed(World::config(), [handler], move |_, commit| {
        use futures_util::FutureExt;
        use tidings_store::Store;
        if commit.documents.iter().any(|write| &*write.key.id == "3") && std::mem::take(&mut first) {
            let write = tidings_core::DocumentWrite {
                key: tidings_core::DocumentKey::new("notes", "3"),
                change: tidings_core::DocumentChange::Put("100".into()),
                indexed: Arc::from([]),
                expected: None,
            };
            let commit = Commit { documents: vec![write], ..Commit::default() };
            store.apply(commit).now_or_never().expect("at once").expect("applied");
        }
        Fault::None
    });
    node.settle();
    for key in 0..10 {
        let expected = if key == 3 { 102 } else { 2 };
        assert_eq!(world.doc("notes", &key.to_string()), Some(expected.into()), "{key}");
    }
    assert_eq!((calls.of("3").len(), calls.of("13").len()), (2, 2));
    assert_eq!(calls.len(), 22);
    let ids = world.ids("parcel.sent");
    let at = |id: &str| ids.iter().position(|other| other == id);
    assert!(ids.len() == 20 && at("c3") < at("c13"));
    assert_eq!((node.status().handled, node.status().reruns), (20, 2));
}

#[test]
fn a_delivery_with_too_many_writes_fails_permanently_and_says_so() {
    let (world, calls) = (World::new(), Calls::default());
    let config = Config { writes: 20, ..World::config() };
    let node = world.start_with(
        config,
        [counting(&calls, |event, cx| {
            let writes = if &**event.id() == "many" { 30 } else { 5 };
            for n in 0..writes {
                cx.view(NOTES).put(&format!("{}-{n}", event.id()), n);
            }
            Ok(())
        })],
    );
    world.put([order("a", 1), order("b", "many"), order("c", 3), order("d", 4)]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((dead.len(), &*dead[0].id, dead[0].reason), (1, "many", Reason::Refused));
    assert!(dead[0].error.contains("writes") && dead[0].error.contains("20"), "{}", dead[0].error);
    assert_eq!((count(&world), calls.len()), (3, 4));
    assert!(node.link.commits().iter().all(|commit| commit.writes() <= 20));
    assert_eq!(world.doc("notes", "many-0"), None);
}

#[test]
fn a_delivery_with_too_many_bytes_fails_permanently_and_says_so() {
    for large_document in [false, true] {
        let (world, calls) = (World::new(), Calls::default());
        let config = Config { bytes: 40_000, ..World::config() };
        let node = world.start_with(
            config,
            [counting(&calls, move |event, cx| {
                let size = if &**event.id() == "large" { 50_000 } else { 9_000 };
                if large_document {
                    cx.view(NOTES).put(event.id(), "x".repeat(size));
                } else {
                    let payload = format!("\"{}\"", "x".repeat(size));
                    cx.publish_envelope(Envelope::build("order.written").json(payload.into_bytes()));
                }
                Ok(())
            })],
        );
        world.put([order("a", 1), order("b", 2), order("c", "large")]);
        world.put((4..12).map(|n| order(&n.to_string(), n)));
        node.settle();
        let dead = world.dead("s");
        assert_eq!((dead.len(), &*dead[0].id, dead[0].reason), (1, "large", Reason::Refused));
        assert!(dead[0].error.contains("bytes") && dead[0].error.contains("40000"), "{}", dead[0].error);
        assert_eq!((count(&world), calls.len()), (10, 11));
        assert!(node.link.commits().iter().all(|commit| commit.bytes() <= 40_000));
    }
}

#[test]
fn a_payload_over_the_limit_fails_permanently_and_says_so() {
    let (world, calls) = (World::new(), Calls::default());
    let config = Config { payload_bytes: 100, ..World::config() };
    let node = world.start_with(
        config,
        [counting(&calls, |event, cx| {
            let size = if &**event.id() == "2" { 101 } else { 90 };
            let payload = format!("\"{}\"", "x".repeat(size - 2));
            cx.publish_envelope(Envelope::build("order.written").json(payload.into_bytes()));
            Ok(())
        })],
    );
    world.put([order("a", 1), order("b", 2)]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((dead.len(), &*dead[0].id, dead[0].reason), (1, "2", Reason::Permanent));
    assert!(dead[0].error.contains("101") && dead[0].error.contains("100"), "{}", dead[0].error);
    assert_eq!(count(&world), 1);
}

#[test]
fn an_event_that_is_known_with_the_same_content_stalls_nobody() {
    let (world, calls) = (World::new(), Calls::default());
    let known = |cx: &Cx| {
        let envelope = Envelope::build("parcel.sent").id("known").time(support::DAWN);
        let cause = cx.envelope();
        assert!(cause.correlation().is_none());
        cx.publish_envelope(envelope).envelope(|e| e.correlation("c").causation("c").hops(1));
    };
    let handler = on_topic("s", "order.placed", {
        let calls = calls.clone();
        move |event: Envelope, cx: Cx| {
            calls.note(&event, &cx);
            async move {
                cx.view(NOTES).add("count", "n", 1);
                known(&cx);
                if &**event.id() == "more" {
                    cx.publish_envelope(Envelope::build("parcel.sent").id("new"));
                }
                Ok(())
            }
        }
    });
    let node = world.start([handler]);
    world.put([order("a", 1)]);
    node.settle();
    world.put([order("a", 2)]);
    node.settle();
    world.put([order("b", "more"), order("c", 3), order("a", 4)]);
    node.settle();
    assert_eq!(world.ids("parcel.sent"), ["known"]);
    assert_eq!(world.announced.lock().iter().filter(|id| &***id == "known").count(), 1);
    let dead = world.dead("s");
    assert_eq!((dead.len(), &*dead[0].id, dead[0].reason), (1, "more", Reason::Refused), "partly known");
    assert_eq!(count(&world), 4);
}

#[test]
fn a_batch_that_is_refused_while_it_is_taken_apart_loses_nobody() {
    // Every delivery of the batch is refused by the store for a reason that names nobody; half of them for ever.
    let (world, calls) = (World::new(), Calls::default());
    world.put((0..40).map(|n| order(&(n % 20).to_string(), n)));
    let node = world.start_harmed(World::config(), [counting(&calls, |_, _| Ok(()))], |_, commit| {
        let bad = commit.appends.iter().flat_map(|append| &append.events).any(|event| {
            let n: u64 = event.id().trim_start_matches('c').parse().expect("a number");
            n.is_multiple_of(2) && n < 10
        });
        if bad { Fault::Fails(Error::Refused("no".into())) } else { Fault::None }
    });
    node.settle();
    // 0, 2, 4, 6, 8 are refused; 20, 22, 24, 26, 28 wait behind them.
    assert_eq!((world.dead("s").len(), node.status().followers, count(&world)), (5, 5, 30));
    assert_eq!(node.status().handled, 30);
    assert!(node.stop().iter().all(|left| left.unsettled == 0 && left.running == 0));
}

#[test]
fn deliveries_that_fail_for_a_moment_leave_nothing_behind() {
    let (world, calls) = (World::new(), Calls::default());
    world.put((0..30).map(|n| order(&(n % 7).to_string(), n)));
    let node = world.start([counting(&calls, |_, cx| match cx.attempt() {
        1 => Err(Failure::transient("not yet")),
        _ => Ok(()),
    })
    .policy(every(ms(10), 2))]);
    node.settle();
    assert_eq!((count(&world), world.ids("order.counted").len(), calls.len()), (30, 30, 60));
    let status = node.status();
    assert_eq!((status.failures, status.retries, status.handled, status.dead_lettered), (30, 30, 30, 0));
    assert_eq!(world.announced.lock().len(), 30);
}
