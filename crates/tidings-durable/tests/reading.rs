//! What a subscription reads, in which order, and from where.

mod support;

use std::sync::Arc;

use support::{Calls, Gate, World, every, ms, on, on_topic, once, order, secs};
use tidings_core::{Envelope, ManualClock, Policy, Retry, Start, Subscribe, Timestamp};
use tidings_durable::{Config, Node};
use tidings_store::MemoryStore;

fn noting(name: &str, calls: &Calls) -> tidings_core::Registration {
    let calls = calls.clone();
    on(name, move |event, cx| {
        calls.note(&event, &cx);
        async { Ok(()) }
    })
}

#[test]
fn it_catches_up_and_then_follows_by_signal_without_a_gap() {
    let (world, calls) = (World::new(), Calls::default());
    world.put((0..2_500).map(|n| order("k", n)));
    let node = world.start([noting("s", &calls)]);
    world.until("caught up", || calls.len() == 2_500);
    let before = support::now(&world);
    world.put((2_500..2_600).map(|n| order("k", n)));
    world.quiet();
    assert_eq!(support::now(&world), before, "no time passes: it is told, it does not look");
    assert_eq!(calls.ids(), (0..2_600).map(|n| n.to_string()).collect::<Vec<_>>());
    node.settle();
    assert_eq!(node.status().watermark, 2_600);
}

#[test]
fn events_of_a_key_are_handled_in_order_one_at_a_time() {
    let (world, calls, gate) = (World::new(), Calls::default(), Gate::default());
    let (noted, wait) = (calls.clone(), gate.clone());
    let _node = world.start([on("s", move |event, cx| {
        noted.note(&event, &cx);
        let wait = wait.clone();
        async move {
            wait.pass().await;
            Ok(())
        }
    })]);
    world.put([order("a", 1), order("a", 2), order("b", 3), order("a", 4)]);
    world.quiet();
    assert_eq!((calls.ids_of("a"), calls.ids_of("b")), (vec!["1".into()], vec!["3".into()]));
    gate.open();
    world.until("all", || calls.len() == 4);
    assert_eq!(calls.ids_of("a"), ["1", "2", "4"]);
}

#[test]
fn concurrency_is_how_many_calls_run_at_once() {
    for (concurrency, expected) in [(1, 1), (3, 3), (64, 10)] {
        let (world, gate) = (World::new(), Gate::default());
        let wait = gate.clone();
        let handler = on("s", move |_, _| {
            let wait = wait.clone();
            async move {
                wait.pass().await;
                Ok(())
            }
        });
        let config = Config { lanes: 1, ..World::config() };
        let node = world.start_with(config, [handler.concurrency(concurrency)]);
        world.put((0..10).map(|n| order(&n.to_string(), n)));
        world.quiet();
        assert_eq!(gate.waiting(), expected);
        gate.open();
        node.settle();
    }
}

#[test]
fn lanes_call_beside_each_other_and_share_the_concurrency() {
    let (world, gate) = (World::new(), Gate::default());
    let wait = gate.clone();
    let handler = on("s", move |_, _| {
        let wait = wait.clone();
        async move {
            wait.pass().await;
            Ok(())
        }
    });
    let config = Config { lanes: 4, ..World::config() };
    let node = world.start_with(config, [handler.concurrency(4)]);
    world.put((0..100).map(|n| order(&n.to_string(), n)));
    world.quiet();
    assert_eq!(gate.waiting(), 4, "one a lane");
    gate.open();
    node.settle();
}

#[test]
fn unordered_lets_events_of_one_key_run_beside_each_other() {
    let (world, gate) = (World::new(), Gate::default());
    let wait = gate.clone();
    let handler = on("s", move |_, _| {
        let wait = wait.clone();
        async move {
            wait.pass().await;
            Ok(())
        }
    });
    let node = world.start([handler.unordered()]);
    world.put((0..4).map(|n| order("k", n)));
    world.quiet();
    assert_eq!(gate.waiting(), 4);
    gate.open();
    node.settle();
}

#[test]
fn what_does_not_match_moves_the_checkpoint_too() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let node = world.start([on_topic("s", "order.*", move |event, cx| {
        noted.note(&event, &cx);
        async { Ok(()) }
    })]);
    world.put([order("k", 1)]);
    world.put((0..1_500).map(|n| Envelope::build("invoice.sent").id(format!("i{n}"))));
    node.settle();
    assert_eq!((calls.len(), world.checkpoint("s").watermark), (1, 1_501));
}

#[test]
fn two_topics_select_either() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on_topic("s", "order.placed", move |event: Envelope, cx| {
        noted.note(&event, &cx);
        async { Ok(()) }
    });
    let node = world.start([handler.topic("invoice.**")]);
    world.put([
        order("k", 1),
        Envelope::build("invoice.sent").id("2"),
        Envelope::build("parcel.sent").id("3"),
    ]);
    node.settle();
    let mut ids = calls.ids();
    ids.sort();
    assert_eq!(ids, ["1", "2"]);
}

#[test]
fn it_starts_at_the_beginning_now_or_after_a_position_as_it_says() {
    for (start, expected) in
        [(Start::Beginning, &["1", "2", "3", "4"][..]), (Start::Now, &["4"]), (Start::After(2), &["3", "4"])]
    {
        let (world, calls) = (World::new(), Calls::default());
        world.put((1..=3).map(|n| order("k", n)));
        let node = world.start([noting("s", &calls).starting(start)]);
        node.settle();
        world.put([order("k", 4)]);
        node.settle();
        assert_eq!(calls.ids(), expected, "{start:?}");
    }
}

#[test]
fn a_restart_before_the_first_event_does_not_move_where_it_starts() {
    let (world, calls) = (World::new(), Calls::default());
    world.put([order("k", 1)]);
    let node = world.start([noting("s", &calls).starting(Start::Now)]);
    node.settle();
    node.crash();
    world.put([order("k", 2)]);
    let node = world.start([noting("s", &calls).starting(Start::Now)]);
    node.settle();
    assert_eq!(calls.ids(), ["2"]);
    node.crash();
    let node = world.start([noting("s", &calls).starting(Start::Beginning)]);
    node.settle();
    assert_eq!(calls.ids(), ["2"], "where it began is part of what it is, whatever is written now");
}

#[test]
fn two_subscriptions_do_not_hinder_each_other() {
    let (world, calls, gate) = (World::new(), Calls::default(), Gate::default());
    let wait = gate.clone();
    let slow = on("slow", move |_, _| {
        let wait = wait.clone();
        async move {
            wait.pass().await;
            Ok(())
        }
    });
    let bad = on("bad", |_, _| async { Err(tidings_core::Failure::permanent("no")) });
    let node = world.start([slow, noting("quick", &calls), bad.policy(once())]);
    world.put((0..20).map(|n| order("k", n)));
    world.until("the quick one", || world.checkpoint("quick").watermark == 20);
    assert_eq!((calls.len(), world.checkpoint("slow").watermark), (20, 0));
    assert_eq!((world.dead("bad").len(), world.dead("quick").len()), (1, 0));
    gate.open();
    node.settle();
    assert_eq!(world.checkpoint("slow").watermark, 20);
}

#[test]
fn only_events_of_its_tenant_are_handled() {
    let (world, calls) = (World::new(), Calls::default());
    let tenant = tidings_core::Tenant("acme".into());
    let mut commit = tidings_core::Commit::events([order("k", "theirs").finish().expect("valid")]);
    commit.tenant = tenant.clone();
    world.apply(commit).expect("applied");
    world.put([order("k", "ours")]);
    let node = world.start_with(World::config(), [noting("s", &calls)]);
    node.settle();
    assert_eq!(calls.ids(), ["ours"]);
    node.stop();
    let node = world.start_with(Config { tenant, ..World::config() }, [noting("t", &calls)]);
    node.settle();
    assert_eq!(calls.ids(), ["ours", "theirs"]);
}

#[test]
fn the_window_bounds_how_far_it_reads_ahead() {
    let (world, gate) = (World::new(), Gate::default());
    let wait = gate.clone();
    let handler = on("s", move |event: Envelope, _| {
        let wait = wait.clone();
        async move {
            if &**event.id() == "0" {
                wait.pass().await;
            }
            Ok(())
        }
    });
    let config = Config { window: 10, ..World::config() };
    let node = world.start_with(config, [handler]);
    world.put((0..100).map(|n| order(&n.to_string(), n)));
    world.pass(secs(3));
    let checkpoint = world.checkpoint("s");
    assert_eq!((checkpoint.watermark, checkpoint.settled), (0, (2..=10).collect::<Vec<_>>()));
    gate.open();
    node.settle();
    assert_eq!(world.checkpoint("s").watermark, 100);
}

#[test]
fn every_fault_of_a_node_is_told_at_once() {
    let store = Arc::new(MemoryStore::default());
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let calls = Calls::default();
    let broken = Policy::new().timeout(ms(0)).retry(Retry::none().attempts(0));
    let registrations = vec![
        noting("a", &calls),
        noting("a", &calls),
        noting("b", &calls).topic("order..placed"),
        noting("c", &calls).policy(broken),
        noting("d", &calls).concurrency(0),
        noting("", &calls),
        noting(&"n".repeat(201), &calls),
        (|_: &Envelope| ()).topic("**"),
        (|_: &Envelope| ()).durable("any"),
    ];
    let config = Config {
        owner: "".into(),
        lanes: 0,
        batch: 0,
        writes: 0,
        bytes: 0,
        payload_bytes: 0,
        window: 0,
        cached_documents: 0,
        lease: ms(0),
        ..Config::default()
    };
    let faults = Node::new(store, clock, config, registrations, Arc::new(|_| {})).expect_err("refused");
    let text: Vec<_> = faults.iter().map(ToString::to_string).collect();
    for wanted in [
        "owner:",
        "lanes:",
        "batch:",
        "writes:",
        "bytes:",
        "payload_bytes:",
        "window:",
        "cached_documents:",
        "lease:",
        "\"a\"",
        "\"b\"",
        "timeout:",
        "retry.attempts:",
        "concurrency:",
        "subscription \"\"",
        "nnn",
        "is not durable",
        "\"any\"",
    ] {
        assert!(text.iter().any(|fault| fault.contains(wanted)), "{wanted} in {text:#?}");
    }
    assert_eq!(faults.len(), 18, "{text:#?}");
}

#[test]
fn an_expired_event_is_counted_and_not_delivered() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([noting("s", &calls)]);
    world.put([
        order("k", 1).expiry(support::DAWN),
        order("k", 2).expiry(support::DAWN.after(secs(60))),
        order("k", 3),
    ]);
    node.settle();
    assert_eq!(calls.ids(), ["2", "3"]);
    let status = node.status();
    assert_eq!((status.expired, status.handled, status.watermark), (1, 2, 3));
}

#[test]
fn an_event_that_expires_while_it_waits_is_not_delivered_again() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event, cx| {
        noted.note(&event, &cx);
        async { Err(tidings_core::Failure::transient("not now")) }
    });
    let node = world.start([handler.policy(every(secs(10), 5))]);
    world.put([order("k", 1).expiry(support::DAWN.after(secs(15)))]);
    node.settle();
    assert_eq!((calls.len(), node.status().expired, world.dead("s").len()), (2, 1, 0));
    assert!(world.rows("s").is_empty());
}
