//! Who was in the hands of a process when it died.

mod support;

use std::collections::BTreeMap;

use support::{Calls, Gate, World, every, ms, on, once, order, secs};
use tidings_core::{Cx, Envelope, Failure, Policy, Registration, Subscribe, View};
use tidings_durable::{Config, Reason};

const NOTES: View = View::new("notes");

/// The poison kills: the test crashes the node while it is being handled.
fn work(
    calls: &Calls,
    poison: &Gate,
    most: &std::sync::Arc<parking_lot::Mutex<(usize, usize)>>,
) -> Registration {
    let (calls, poison, most) = (calls.clone(), poison.clone(), most.clone());
    on("s", move |event: Envelope, cx: Cx| {
        calls.note(&event, &cx);
        let (poison, most) = (poison.clone(), most.clone());
        async move {
            {
                let mut most = most.lock();
                most.0 += 1;
                most.1 = most.1.max(most.0);
            }
            if event.id().starts_with("poison") {
                poison.pass().await;
            }
            tokio::task::yield_now().await;
            most.lock().0 -= 1;
            cx.view(NOTES)
                .update::<Vec<String>>(event.key().expect("a key"), |ids| {
                    ids.push(event.id().to_string());
                })
                .await
        }
    })
}

fn lists(world: &World) -> BTreeMap<String, Vec<String>> {
    let lists = world.docs("notes").into_iter();
    lists.map(|(key, ids)| (key, serde_json::from_value(ids).expect("ids"))).collect()
}

#[test]
fn the_second_crash_quarantines_the_one_that_was_there_both_times_and_nobody_else() {
    for (quarantine_after, crashes) in [(None, 2), (Some(1), 2), (Some(3), 3)] {
        let (world, calls, poison, most) =
            (World::new(), Calls::default(), Gate::default(), Default::default());
        let policy = || Policy { quarantine_after, ..once() };
        let mut events: Vec<_> = (0..40).map(|n| order(&format!("k{}", n % 8), n)).collect();
        events.insert(20, order("k3", "poison"));
        world.put(events);
        for crash in 0..crashes {
            let node = world.start([work(&calls, &poison, &most).policy(policy())]);
            world.until("it is being handled", || poison.waiting() == 1);
            world.quiet();
            if crash > 0 {
                assert_eq!(most.lock().1, 1, "suspects run alone");
            }
            node.crash();
            assert!(world.dead("s").is_empty());
            poison.left();
            *most.lock() = (0, 0);
            calls.clear();
        }
        let node = world.start([work(&calls, &poison, &most).policy(policy())]);
        world.put([order("k3", "later"), order("k4", "later4")]);
        node.settle();
        let dead = world.dead("s");
        assert_eq!(dead.len(), 1);
        assert_eq!((&*dead[0].id, dead[0].reason, dead[0].attempts), ("poison", Reason::Poison, crashes));
        assert!(calls.of("poison").is_empty(), "unseen");
        let lists = lists(&world);
        for key in 0..8 {
            let mut expected: Vec<_> = (0..5).map(|n| (n * 8 + key).to_string()).collect();
            match key {
                // It comes after 19 of this key, and parks it.
                3 => expected.truncate(3),
                4 => expected.push("later4".into()),
                _ => {}
            }
            assert_eq!(lists[&format!("k{key}")], expected, "{key}");
        }
        world.discard("s", [dead[0].position]);
        node.settle();
        assert_eq!(lists_of(&world, "k3"), ["3", "11", "19", "27", "35", "later"]);
    }
}

fn lists_of(world: &World, key: &str) -> Vec<String> {
    lists(world).remove(key).expect("there")
}

#[test]
fn after_an_end_in_order_nobody_is_suspected_and_many_run_at_once() {
    let (world, calls, poison, most) = (World::new(), Calls::default(), Gate::default(), Default::default());
    let node = world.start([work(&calls, &poison, &most)]);
    world.put([order("a", 1)]);
    node.settle();
    node.stop();
    world.put((0..20).map(|n| order(&n.to_string(), format!("poison{n}"))));
    let node = world.start([work(&calls, &poison, &most)]);
    world.until("they run", || poison.waiting() == 20);
    poison.open();
    node.settle();
}

#[test]
fn suspects_come_before_anything_new_and_their_retries_are_kept() {
    let (world, calls, gate) = (World::new(), Calls::default(), Gate::default());
    let (noted, wait) = (calls.clone(), gate.clone());
    let handler = move || {
        let (noted, wait) = (noted.clone(), wait.clone());
        on("s", move |event: Envelope, cx: Cx| {
            noted.note(&event, &cx);
            let wait = wait.clone();
            async move {
                wait.pass().await;
                match (&**event.id(), cx.attempt()) {
                    ("1", 1) => Err(Failure::transient("once more")),
                    _ => Ok(()),
                }
            }
        })
        .policy(every(secs(2), 3))
    };
    let node = world.start([handler()]);
    world.put((0..4).map(|n| order(&n.to_string(), n)));
    world.until("they run", || gate.waiting() == 4);
    node.crash();
    gate.left();
    calls.clear();
    let node = world.start([handler()]);
    world.until("one runs", || gate.waiting() == 1);
    world.put((4..9).map(|n| order(&n.to_string(), n)));
    world.pass(ms(100));
    assert_eq!(calls.len(), 1, "{:?}", calls.ids());
    gate.open();
    node.settle();
    let mut first: Vec<_> = calls.ids().into_iter().take(4).collect();
    first.sort();
    assert_eq!(first, ["0", "1", "2", "3"]);
    assert_eq!((calls.len(), world.dead("s").len()), (10, 0));
}

#[test]
fn the_other_subscriptions_of_a_node_wait_for_suspects_but_not_for_ever() {
    let (world, calls, other, gate) = (World::new(), Calls::default(), Calls::default(), Gate::default());
    let hangs = {
        let (calls, gate) = (calls.clone(), gate.clone());
        move || {
            let (calls, gate) = (calls.clone(), gate.clone());
            on("a", move |event: Envelope, cx: Cx| {
                calls.note(&event, &cx);
                let gate = gate.clone();
                async move {
                    gate.pass().await;
                    Ok(())
                }
            })
            .policy(Policy::new().timeout(secs(1_000)))
        }
    };
    let noted = other.clone();
    let b = move || {
        let noted = noted.clone();
        on("b", move |event, cx| {
            noted.note(&event, &cx);
            async { Ok(()) }
        })
    };
    let node = world.start([hangs()]);
    world.put([order("k", 1)]);
    world.until("it runs", || gate.waiting() == 1);
    node.crash();
    gate.left();
    let node = world.start([hangs(), b()]);
    world.until("it runs again", || gate.waiting() == 1);
    world.pass(secs(20));
    assert_eq!(other.len(), 0);
    world.pass(secs(11));
    assert_eq!(other.len(), 1, "not for ever");
    gate.open();
    node.settle();
}

#[test]
fn of_batches_suspects_run_one_by_one() {
    use tidings_core::{Batched, Batching, Delivered, InBatches};
    let (world, gate) = (World::new(), Gate::default());
    let calls = std::sync::Arc::new(parking_lot::Mutex::new(Vec::<Vec<String>>::new()));
    let handler = || {
        let (calls, gate) = (calls.clone(), gate.clone());
        let handler = move |batch: Batched<Delivered<Envelope>>| {
            calls.lock().push(batch.iter().map(|one| one.event.id().to_string()).collect());
            let gate = gate.clone();
            async move {
                if batch.iter().any(|one| &**one.event.id() == "poison") {
                    gate.pass().await;
                }
            }
        };
        handler.in_batches(Batching::new().items(5).age(ms(5))).topic("**").durable("s").policy(once())
    };
    world.put(["1", "2", "poison", "3", "4"].map(|id| order(id, id)));
    for crash in 1..=2 {
        let node = world.start_with(Config { lanes: 1, ..World::config() }, [handler()]);
        world.until("it is being handled", || gate.waiting() == 1);
        node.crash();
        gate.left();
        assert_eq!(calls.lock().last().expect("called").len(), if crash == 1 { 5 } else { 1 });
    }
    let node = world.start([handler()]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!(
        dead.iter().map(|letter| (&*letter.id, letter.reason)).collect::<Vec<_>>(),
        [("poison", Reason::Poison)]
    );
}
