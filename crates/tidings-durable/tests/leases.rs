//! Several nodes, one subscription: one runs it, the others stand by.

mod support;

use support::{Calls, Gate, World, on_topic, order, secs};
use tidings_core::{Cx, Envelope, Registration, Text, View};
use tidings_durable::Config;
use tidings_store::{Lease, Store};

const NOTES: View = View::new("notes");

fn owner(name: &str) -> Config {
    Config { owner: Text::from(name), ..World::config() }
}

fn work(calls: &Calls) -> Registration {
    let calls = calls.clone();
    on_topic("s", "order.*", move |event: Envelope, cx: Cx| {
        calls.note(&event, &cx);
        async move {
            cx.view(NOTES).add("all", "n", 1);
            cx.publish_envelope(Envelope::build("parcel.sent").id(format!("p{}", event.id())));
            Ok(())
        }
    })
}

fn all(world: &World) -> u64 {
    world.doc("notes", "all").map_or(0, |doc| doc["n"].as_u64().expect("a number"))
}

#[test]
fn a_second_node_stands_by_and_takes_over_when_the_first_stops() {
    let (world, first, second) = (World::new(), Calls::default(), Calls::default());
    let a = world.start_with(owner("a"), [work(&first)]);
    world.pass(secs(1));
    let b = world.start_with(owner("b"), [work(&second)]);
    world.put((0..10).map(|n| order("k", n)));
    a.settle();
    b.settle();
    assert_eq!((first.len(), second.len()), (10, 0));
    assert!(b.status().state.contains('a'), "{}", b.status().state);
    assert_eq!(b.status().watermark, a.status().watermark);
    a.stop();
    world.put((10..20).map(|n| order("k", n)));
    let before = support::now(&world);
    world.until("the second", || second.len() == 10);
    assert!(support::now(&world).since(before) <= secs(1), "the lease was let go");
    b.settle();
    assert_eq!((first.len(), all(&world)), (10, 20));
}

#[test]
fn a_second_node_takes_over_when_the_lease_of_the_first_runs_out() {
    for lease in [secs(10), secs(60)] {
        let (world, first, second) = (World::new(), Calls::default(), Calls::default());
        let a = world.start_with(Config { lease, ..owner("a") }, [work(&first)]);
        world.put((0..5).map(|n| order("k", n)));
        a.settle();
        let b = world.start_with(Config { lease, ..owner("b") }, [work(&second)]);
        world.pass(lease * 3);
        assert_eq!(second.len(), 0, "the first renews it");
        a.crash();
        world.put((5..10).map(|n| order("k", n)));
        let before = support::now(&world);
        world.until("the second", || second.len() == 5);
        let took = support::now(&world).since(before);
        assert!(took <= lease + secs(1) && took >= lease / 3, "{took:?}");
        b.settle();
        assert_eq!(all(&world), 10);
    }
}

#[test]
fn a_node_whose_lease_was_taken_is_fenced_and_does_no_harm() {
    let (world, first, second, gate) = (World::new(), Calls::default(), Calls::default(), Gate::default());
    let (noted, wait) = (first.clone(), gate.clone());
    let slow = on_topic("s", "order.*", move |event: Envelope, cx: Cx| {
        noted.note(&event, &cx);
        let wait = wait.clone();
        async move {
            cx.view(NOTES).add("all", "n", 1);
            cx.publish_envelope(Envelope::build("parcel.sent").id(format!("old{}", event.id())));
            wait.pass().await;
            Ok(())
        }
    });
    let a = world.start_with(owner("a"), [slow]);
    world.put((0..5).map(|n| order(&n.to_string(), n)));
    world.until("the first works", || gate.waiting() == 5);
    // The machine of `a` sleeps: its lease runs out without its clock going on.
    let store = world.store.clone();
    world.clock.set(support::now(&world).after(secs(11)));
    let lease = world.run(async move { store.lease("subscription/s", "b", secs(10)).await });
    assert!(matches!(lease, Ok(Lease::Granted { .. })), "{lease:?}");
    let b = world.start_with(owner("b"), [work(&second)]);
    b.settle();
    assert_eq!((second.len(), all(&world)), (5, 5));
    gate.open();
    world.pass(secs(20));
    assert_eq!(all(&world), 5, "what the first wanted written is refused");
    assert!(world.ids("parcel.sent").iter().all(|id| id.starts_with('p')));
    assert!(a.status().state.contains('b'), "it stands by: {}", a.status().state);
    world.put([order("k", 9)]);
    b.settle();
    assert_eq!((all(&world), second.len()), (6, 6));
}

#[test]
fn two_nodes_share_several_subscriptions() {
    let (world, one, two) = (World::new(), Calls::default(), Calls::default());
    let named = |name: &str, calls: &Calls| {
        let mut registration = work(calls);
        registration.place = tidings_core::Subscribe::durable(registration.clone(), name).place;
        registration
    };
    let a = world.start_with(owner("a"), [named("one", &one)]);
    world.pass(secs(1));
    let b = world.start_with(owner("b"), [named("one", &one), named("two", &two)]);
    world.put((0..5).map(|n| order("k", n)));
    a.settle();
    b.settle();
    assert_eq!((one.len(), two.len()), (5, 5));
    assert_eq!(b.statuses()[1].state, "running");
}
