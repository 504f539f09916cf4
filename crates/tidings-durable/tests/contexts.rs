//! What a handler may ask of its context: publish, now or later, and keys for calls outside.

mod support;

use std::sync::Arc;

use parking_lot::Mutex;
use support::{Calls, DAWN, Gate, World, every, ms, on_topic, once, order, secs};
use tidings_core::{Commit, Cx, DueChange, DueRow, Envelope, Failure, Fence, Subscribe, Text, View};
use tidings_durable::{Config, SCHEDULE};
use tidings_store::{Error, Store};

const NOTES: View = View::new("notes");

#[test]
fn what_is_published_joins_the_commit_and_nothing_shows_when_the_handler_fails_afterwards() {
    let (world, gate) = (World::new(), Gate::default());
    let wait = gate.clone();
    let handler = on_topic("s", "order.*", move |event: Envelope, cx: Cx| {
        let wait = wait.clone();
        async move {
            cx.publish_envelope(Envelope::build("parcel.sent"));
            cx.publish_envelope(Envelope::build("parcel.sent")).after(secs(1));
            cx.view(NOTES).add("all", "n", 1);
            wait.pass().await;
            if &**event.id() == "bad" { Err(Failure::permanent("no")) } else { Ok(()) }
        }
    });
    let node = world.start([handler]);
    world.put([order("a", "good"), order("b", "bad")]);
    world.until("both run", || gate.waiting() == 2);
    assert_eq!((world.head(), world.scheduled(), world.doc("notes", "all")), (2, 0, None));
    gate.open();
    node.settle();
    assert_eq!(world.doc("notes", "all"), Some(serde_json::json!({"n": 1})));
    world.pass(secs(3));
    assert_eq!(world.ids("parcel.sent").len(), 2);
    let commits = node.link.commits();
    let with_events: Vec<_> = commits.iter().filter(|commit| !commit.appends.is_empty()).collect();
    assert_eq!(with_events.len(), 1);
    assert_eq!((with_events[0].documents.is_empty(), with_events[0].due.len()), (false, 1), "one commit");
}

#[test]
fn the_chain_user_tenant_and_trace_travel_by_themselves() {
    let world = World::new();
    let config = Config { source: "/shop".into(), ..World::config() };
    let handler = |_: Envelope, cx: Cx| async move {
        cx.publish_envelope(Envelope::build("parcel.sent").key("p"));
        cx.publish_envelope(Envelope::build("parcel.sent")).key("other").stream("own").after(ms(10));
        Ok(())
    };
    let first = on_topic("first", "order.*", handler);
    let second = on_topic("second", "parcel.*", |_, cx: Cx| async move {
        cx.publish_envelope(Envelope::build("letter.sent"));
        Ok(())
    });
    let node = world.start_with(config, [first, second]);
    world.put([order("k", "root")
        .user("ann")
        .tenant("acme")
        .trace_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .trace_state("a=b")]);
    node.settle();
    world.pass(secs(1));
    node.settle();
    let log = world.log();
    let parcels: Vec<_> = log.iter().filter(|event| &**event.envelope.name() == "parcel.sent").collect();
    assert_eq!(parcels.len(), 2);
    for parcel in &parcels {
        let envelope = &parcel.envelope;
        assert_eq!(
            (envelope.correlation().map(|id| &**id), envelope.causation().map(|id| &**id)),
            (Some("root"), Some("root"))
        );
        assert_eq!(
            (envelope.user().map(|u| &**u), envelope.tenant().map(|t| &**t)),
            (Some("ann"), Some("acme"))
        );
        assert!(envelope.trace_parent().is_some_and(|trace| trace.contains("0af7651916cd43dd")));
        assert_eq!(
            (envelope.trace_state().map(|s| &**s), envelope.hops(), &**envelope.source()),
            (Some("a=b"), 1, "/shop")
        );
        assert!(envelope.time().is_some());
    }
    assert_eq!((&*parcels[0].stream, &*parcels[1].stream), ("parcel-p", "own"));
    assert_eq!(parcels[1].envelope.key().map(|key| &**key), Some("other"));
    let letters: Vec<_> = log.iter().filter(|event| &**event.envelope.name() == "letter.sent").collect();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].envelope.causation(), Some(parcels[0].envelope.id()));
    assert_eq!(
        (letters[0].envelope.correlation().map(|id| &**id), letters[0].envelope.hops()),
        (Some("root"), 2)
    );
}

#[test]
fn a_delay_is_durable_the_id_stays_and_it_is_published_once() {
    let (world, ids) = (World::new(), Arc::new(Mutex::new(Vec::new())));
    let kept = ids.clone();
    let handler = move |_: Envelope, cx: Cx| {
        let kept = kept.clone();
        async move {
            kept.lock().push(cx.publish_envelope(Envelope::build("parcel.sent")).after(secs(60)).id()?);
            let noon = DAWN.after(secs(90));
            kept.lock().push(cx.publish_envelope(Envelope::build("parcel.sent")).at(noon).id()?);
            Ok(())
        }
    };
    let node = world.start([on_topic("s", "order.*", handler.clone())]);
    world.put([order("k", 1)]);
    node.settle();
    world.pass(secs(30));
    assert_eq!((world.scheduled(), world.head()), (2, 1));
    node.crash();
    world.pass(secs(1));
    let node = world.start([on_topic("s", "order.*", handler)]);
    world.until("the first", || world.head() == 2);
    assert_eq!(support::now(&world).since(DAWN), secs(60));
    world.until("the second", || world.head() == 3);
    assert_eq!(support::now(&world).since(DAWN), secs(90));
    world.pass(secs(100));
    let expected: Vec<_> = ids.lock().iter().map(ToString::to_string).collect();
    assert_eq!(world.ids("parcel.sent"), expected);
    assert_eq!((world.scheduled(), world.announced.lock().len()), (0, 2));
    drop(node);
}

#[test]
fn two_nodes_publish_a_scheduled_event_once() {
    let world = World::new();
    let handler = |_: Envelope, cx: Cx| async move {
        for n in 0..700 {
            cx.publish_envelope(Envelope::build("parcel.sent").id(format!("p{n}"))).after(ms(10));
        }
        Ok(())
    };
    let a = world
        .start_with(Config { owner: "a".into(), ..World::config() }, [on_topic("s", "order.*", handler)]);
    let b = world
        .start_with(Config { owner: "b".into(), ..World::config() }, [on_topic("s", "order.*", handler)]);
    world.put([order("k", 1)]);
    world.until("published", || world.head() == 701);
    world.pass(secs(30));
    assert_eq!((world.head(), world.scheduled(), world.announced.lock().len()), (701, 0, 700));
    a.stop();
    b.stop();
}

#[test]
fn a_scheduled_event_that_is_known_already_or_cannot_be_published_does_not_stop_the_others() {
    let world = World::new();
    let handler = |event: Envelope, cx: Cx| async move {
        let id = if event.id().starts_with("same") { "same" } else { event.id() };
        // The same content each time.
        let envelope = Envelope::build("parcel.sent").time(DAWN);
        cx.publish_envelope(envelope)
            .envelope(|e| e.id(id.to_owned()).causation("c").correlation("c"))
            .after(secs(1));
        Ok(())
    };
    let node = world.start([on_topic("s", "order.*", handler)]);
    world.put([order("a", "same1")]);
    world.until("the first", || world.ids("parcel.sent").len() == 1);
    world.put([order("a", "same2")]);
    node.settle();
    world.until("its row is taken", || world.scheduled() == 0);
    world.put([Envelope::build("letter.sent").source("/tidings").id("taken")]);
    world.put([order("a", "same3"), order("b", "taken"), order("c", "fresh")]);
    node.settle();
    world.until("all rows are taken", || world.scheduled() == 0);
    world.pass(secs(5));
    let mut ids = world.ids("parcel.sent");
    ids.sort();
    assert_eq!(ids, ["fresh", "same"]);
}

#[test]
fn a_row_that_is_no_event_is_dropped_and_the_others_are_published() {
    let world = World::new();
    let due = |id: &str, body: &[u8]| {
        DueChange::Put(DueRow {
            queue: SCHEDULE.into(),
            id: id.into(),
            due: DAWN.after(secs(1)),
            body: body.to_vec().into(),
        })
    };
    let event = br#"{"specversion":"1.0","id":"good","source":"/x","type":"parcel.sent"}"#;
    let commit = Commit { due: vec![due("bad", b"nonsense"), due("good", event)], ..Commit::default() };
    world.apply(commit).expect("applied");
    let _node = world.start([on_topic("s", "order.*", |_, _| async { Ok(()) })]);
    world.until("published", || world.head() == 1);
    assert_eq!((world.ids("parcel.sent"), world.scheduled()), (vec!["good".to_owned()], 0));
}

#[test]
fn publishing_after_the_handler_has_ended_is_an_error() {
    let world = World::new();
    let (smuggled, seen) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
    let out = smuggled.clone();
    let handler = on_topic("s", "order.*", move |event: Envelope, cx: Cx| {
        let out = out.clone();
        async move {
            if &**event.id() == "1" {
                *out.lock() = Some(cx);
            }
            Ok(())
        }
    });
    let node = world.start([handler]);
    world.put([order("k", 1), order("k", 2)]);
    node.settle();
    let cx: Cx = smuggled.lock().take().expect("kept");
    *seen.lock() = Some(cx.publish_envelope(Envelope::build("parcel.sent")).id());
    assert!(matches!(&*seen.lock(), Some(Err(failure)) if failure.is_permanent()));
    cx.publish_envelope(Envelope::build("parcel.sent"));
    cx.view(NOTES).put("late", 1);
    world.pass(secs(3));
    assert_eq!((world.head(), world.doc("notes", "late")), (2, None));
}

#[test]
fn publishing_after_a_timeout_is_an_error() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (out, gate) = (seen.clone(), Gate::default());
    let wait = gate.clone();
    let handler = on_topic("s", "order.*", move |_, cx: Cx| {
        let (out, wait) = (out.clone(), wait.clone());
        async move {
            // A task of its own outlives the call.
            tokio::spawn(async move {
                wait.pass().await;
                out.lock().push(cx.publish_envelope(Envelope::build("parcel.sent")).id().is_err());
            });
            std::future::pending().await
        }
    });
    let node = world.start([handler.policy(once().timeout(secs(2)))]);
    world.put([order("k", 1)]);
    node.settle();
    gate.open();
    world.until("it tried", || !seen.lock().is_empty());
    assert_eq!((seen.lock().clone(), world.head()), (vec![true], 1));
}

#[test]
fn the_effect_key_is_stable_over_attempts_restarts_and_replays_and_differs_by_purpose() {
    let (world, keys, calls) = (World::new(), Arc::new(Mutex::new(Vec::new())), Calls::default());
    let (out, noted) = (keys.clone(), calls.clone());
    let handler = move |event: Envelope, cx: Cx| {
        noted.note(&event, &cx);
        out.lock().push((event.id().to_string(), cx.effect_key("charge"), cx.effect_key("mail")));
        async { Err(Failure::transient("not now")) }
    };
    let start = || world.start([on_topic("s", "order.*", handler.clone()).policy(every(secs(5), 3))]);
    let node = start();
    world.put([order("a", 1), order("b", 2)]);
    world.pass(secs(6));
    node.crash();
    let node = start();
    node.settle();
    world.replay("s", [1]);
    node.settle();
    let keys = keys.lock();
    let of = |id: &str| {
        let mut of: Vec<_> = keys.iter().filter(|(other, ..)| other == id).map(|(_, a, b)| (a, b)).collect();
        assert!(of.len() >= 3);
        of.dedup();
        assert_eq!(of.len(), 1);
        of[0]
    };
    let all: std::collections::HashSet<&Text> = [of("1").0, of("1").1, of("2").0, of("2").1].into();
    assert_eq!(all.len(), 4);
}

#[test]
fn an_event_that_cannot_be_published_fails_the_delivery_permanently() {
    let world = World::new();
    let node = world.start([on_topic("s", "order.*", |_, cx: Cx| async move {
        cx.publish_envelope(Envelope::build("not a topic"));
        Ok(())
    })]);
    world.put([order("k", 1)]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((dead.len(), dead[0].attempts, dead[0].reason), (1, 1, tidings_durable::Reason::Permanent));
}

#[test]
fn a_scheduler_whose_lease_was_taken_publishes_nothing_under_it() {
    let world = World::new();
    let _node = world.start([on_topic("s", "order.*", |_, cx: Cx| async move {
        cx.publish_envelope(Envelope::build("parcel.sent")).after(ms(10));
        Ok(())
    })]);
    world.put([order("k", 1)]);
    world.until("the first", || world.head() == 2);
    // Somebody else takes the lease for a while.
    let store = world.store.clone();
    world.run(async move {
        store.release("scheduler", "node").await.expect("released");
        store.lease("scheduler", "other", secs(30)).await.expect("taken");
    });
    world.put([order("k", 2)]);
    world.pass(secs(8));
    assert_eq!(world.head(), 3, "nothing is published under the old epoch");
    world.until("the second", || world.head() == 4);
    assert!(support::now(&world).since(DAWN) >= secs(30));
    let stale = Commit { fences: vec![Fence { lease: "scheduler".into(), epoch: 1 }], ..Commit::default() };
    assert!(matches!(world.apply(stale), Err(Error::Fenced { .. })));
}
