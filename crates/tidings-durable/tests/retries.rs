//! When a failed delivery is tried again, and how that is counted.

mod support;

use std::time::Duration;

use support::{Calls, DAWN, Gate, World, every, ms, on, order, secs};
use tidings_core::{Backoff, Envelope, Failure, Policy, Registration, Retry, Subscribe, View};
use tidings_durable::{Config, Reason};

const NOTES: View = View::new("notes");

/// Fails transiently for ever.
fn failing(calls: &Calls) -> Registration {
    let calls = calls.clone();
    on("s", move |event, cx| {
        calls.note(&event, &cx);
        async { Err(Failure::transient("not now")) }
    })
}

/// How long was waited before each retry.
fn waits(calls: &Calls, id: &str) -> Vec<Duration> {
    calls.of(id).windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect()
}

#[test]
fn waits_are_constant_linear_exponential_or_from_a_table() {
    let exactly = |retry: Retry, attempts| Policy::new().retry(retry.attempts(attempts).jitter(0.0));
    for (policy, expected) in [
        (exactly(Retry::constant(secs(2)), 4), vec![secs(2); 3]),
        (exactly(Retry::linear(secs(2), secs(5)), 4), vec![secs(2), secs(4), secs(5)]),
        (exactly(Retry::exponential(ms(500), secs(30)), 4), vec![ms(500), secs(1), secs(2)]),
        (exactly(Retry::exponential(secs(10), secs(30)), 5), vec![secs(10), secs(20), secs(30), secs(30)]),
        (exactly(Retry::table([secs(1), secs(7)]), 4), vec![secs(1), secs(7), secs(7)]),
        (exactly(Retry::table([ms(100), secs(7)]), 3), vec![ms(100), secs(7)]),
        (exactly(Retry::none(), 1), vec![]),
    ] {
        let (world, calls) = (World::new(), Calls::default());
        let node = world.start([failing(&calls).policy(policy.clone())]);
        world.put([order("k", 1)]);
        node.settle();
        assert_eq!(waits(&calls, "1"), expected, "{policy:?}");
        let attempts: Vec<_> = calls.all().iter().map(|call| call.attempt).collect();
        let most = policy.retry.as_ref().expect("said above").attempts;
        assert_eq!(attempts, (1..=most).collect::<Vec<_>>(), "attempts count all calls");
        assert_eq!(world.dead("s")[0].attempts, most);
        assert_eq!(node.status().failures, u64::from(most));
        assert_eq!(node.status().retries, u64::from(most) - 1);
    }
}

#[test]
fn by_default_there_are_five_attempts_from_one_second_doubling() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([failing(&calls)]);
    world.put([order("k", 1)]);
    node.settle();
    let waits = waits(&calls, "1");
    assert_eq!(waits.len(), 4);
    for (wait, base) in waits.iter().zip([1.0, 2.0, 4.0, 8.0]) {
        let share = wait.as_secs_f64() / base;
        assert!((0.74..=1.26).contains(&share), "{waits:?}");
    }
}

#[test]
fn jitter_really_spreads_waits_by_a_quarter_both_ways_and_the_seed_fixes_it() {
    let spread = |seed| {
        let (world, calls) = (World::new(), Calls::default());
        let policy = Policy::new().retry(Retry::constant(secs(100)).attempts(2));
        let config = Config { seed, ..World::config() };
        let node = world.start_with(config, [failing(&calls).policy(policy)]);
        world.put((0..400).map(|n| order(&n.to_string(), n)));
        node.settle();
        (0..400).map(|n| waits(&calls, &n.to_string())[0]).collect::<Vec<_>>()
    };
    let waits = spread(1);
    let (least, most) = (waits.iter().min().expect("some"), waits.iter().max().expect("some"));
    assert!(*least >= secs(75) && *least < secs(77), "{least:?}");
    assert!(*most <= ms(125_001) && *most > secs(123), "{most:?}");
    let mean = waits.iter().sum::<Duration>() / 400;
    assert!(mean > secs(97) && mean < secs(103), "{mean:?}");
    assert_eq!(waits, spread(1));
    assert_ne!(waits, spread(2));
}

#[test]
fn a_permanent_failure_goes_to_the_dead_letters_at_once() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let node = world.start([on("s", move |event, cx| {
        noted.note(&event, &cx);
        async { Err(Failure::permanent("never")) }
    })]);
    world.put([order("k", 1)]);
    node.settle();
    let dead = world.dead("s");
    assert_eq!((calls.len(), dead[0].reason, &*dead[0].error), (1, Reason::Permanent, "never"));
}

#[test]
fn a_panic_is_a_failed_attempt_wherever_it_happens() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event: Envelope, cx| {
        noted.note(&event, &cx);
        if &**event.id() == "before" && cx.attempt() == 1 {
            panic!("before the future");
        }
        async move {
            assert!(&**event.id() != "first" || cx.attempt() > 1, "in the first poll");
            tokio::task::yield_now().await;
            assert!(&**event.id() != "later" || cx.attempt() > 1, "in a later poll");
            cx.view(NOTES).add("count", "n", 1);
            Ok(())
        }
    });
    let node = world.start([handler.policy(every(secs(2), 3))]);
    world.put(["before", "first", "later", "good"].map(|id| order(id, id)));
    node.settle();
    assert_eq!(world.doc("notes", "count").expect("there")["n"], 4);
    assert_eq!((calls.len(), node.status().failures, world.dead("s").len()), (7, 3, 0));
}

#[test]
fn a_call_over_its_timeout_is_dropped_and_a_failed_attempt() {
    let (world, calls, gate) = (World::new(), Calls::default(), Gate::default());
    let (noted, wait) = (calls.clone(), gate.clone());
    let handler = on("s", move |event, cx| {
        noted.note(&event, &cx);
        let wait = wait.clone();
        async move {
            cx.view(NOTES).put("half", 1);
            wait.pass().await;
            Ok(())
        }
    });
    let policy = every(secs(2), 2).timeout(secs(7));
    let node = world.start([handler.policy(policy)]);
    world.put([order("k", 1)]);
    node.settle();
    assert_eq!(waits(&calls, "1"), [secs(9)], "seven until the timeout, two of waiting");
    let dead = world.dead("s");
    assert_eq!((dead[0].reason, dead[0].attempts), (Reason::Exhausted, 2));
    assert!(dead[0].error.contains("7s"), "{}", dead[0].error);
    assert_eq!(world.doc("notes", "half"), None);
    assert_eq!(support::now(&world).since(DAWN), secs(16));
}

#[test]
fn a_wait_up_to_a_second_stays_in_memory_and_holds_no_worker() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event: Envelope, cx| {
        noted.note(&event, &cx);
        async move {
            if &**event.key().expect("key") == "bad" {
                return Err(Failure::transient("not now"));
            }
            Ok(())
        }
    });
    let config = Config { lanes: 1, ..World::config() };
    let node = world.start_with(config, [handler.concurrency(1).policy(every(secs(1), 4))]);
    world.put([order("bad", 1)]);
    world.put((2..50).map(|n| order(&n.to_string(), n)));
    world.quiet();
    assert_eq!(support::now(&world), DAWN);
    assert_eq!(calls.len(), 49, "the others go on");
    assert!(world.rows("s").is_empty() && world.checkpoint("s").watermark == 0);
    node.settle();
    assert_eq!((calls.of("1").len(), world.dead("s").len()), (4, 1));
}

#[test]
fn what_counts_as_a_short_wait_is_a_setting() {
    for (short_wait, rows) in [(ms(100), 1), (secs(5), 0)] {
        let (world, calls) = (World::new(), Calls::default());
        let config = Config { short_wait, ..World::config() };
        let node = world.start_with(config, [failing(&calls).policy(every(secs(2), 2))]);
        world.put([order("k", 1)]);
        world.pass(secs(1));
        assert_eq!(world.rows("s").len(), rows);
        node.settle();
        assert_eq!(calls.len(), 2);
    }
}

#[test]
fn a_longer_wait_is_a_row_in_the_commit_that_moves_the_checkpoint_past_it() {
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([failing(&calls).policy(every(secs(20), 2))]);
    world.put([order("k", 1)]);
    world.pass(secs(5));
    let rows = world.rows("s");
    assert_eq!((rows.len(), &rows[0]["key"]), (1, &"k".into()));
    let pending = &rows[0]["state"]["pending"];
    assert_eq!((&pending["position"], &pending["attempt"]), (&1.into(), &2.into()));
    assert_eq!(world.checkpoint("s").watermark, 1);
    let commits = node.link.commits();
    let with_row = commits.iter().find(|commit| !commit.documents.is_empty()).expect("one");
    assert_eq!(with_row.checkpoints[0].watermark, 1, "one commit");
    assert_eq!(node.status().waiting, 1);
}

#[test]
fn a_row_blocks_its_key_and_only_its_key() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event: Envelope, cx| {
        noted.note(&event, &cx);
        async move {
            match &**event.id() {
                "1" if cx.attempt() < 3 => Err(Failure::transient("not now")),
                _ => Ok(()),
            }
        }
    });
    let node = world.start([handler.policy(every(secs(20), 5))]);
    world.put([order("a", 1), order("a", 2), order("b", 3), order("a", 4)]);
    world.pass(secs(10));
    assert_eq!(calls.ids(), ["1", "3"]);
    assert_eq!((node.status().followers, world.checkpoint("s").watermark), (2, 4));
    world.put([order("a", 5), order("b", 6)]);
    world.pass(secs(1));
    assert_eq!((calls.ids_of("b").len(), node.status().followers), (2, 3));
    node.settle();
    assert_eq!(calls.ids_of("a"), ["1", "1", "1", "2", "4", "5"]);
    assert!(world.rows("s").is_empty());
    assert_eq!((node.status().followers, node.status().handled), (0, 6));
    world.put([order("a", 7)]);
    node.settle();
    assert_eq!(calls.ids_of("a").last().map(String::as_str), Some("7"));
}

#[test]
fn attempts_survive_a_restart() {
    let (world, calls) = (World::new(), Calls::default());
    for _ in 0..2 {
        let node = world.start([failing(&calls).policy(every(secs(20), 4))]);
        if world.head() == 0 {
            world.put([order("k", 1)]);
        }
        world.pass(secs(25));
        node.crash();
        world.pass(secs(1));
    }
    let node = world.start([failing(&calls).policy(every(secs(20), 4))]);
    node.settle();
    let attempts: Vec<_> = calls.all().iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    let dead = world.dead("s");
    assert_eq!((dead[0].attempts, dead[0].first_at), (4, DAWN));
}

#[test]
fn a_budget_bounds_the_retries_of_every_minute() {
    let (world, calls) = (World::new(), Calls::default());
    let retry = Retry::constant(ms(100)).attempts(4).jitter(0.0).budget(6);
    let node = world.start([failing(&calls).policy(Policy::new().retry(retry))]);
    world.put((0..10).map(|n| order(&n.to_string(), n)));
    node.settle();
    let mut retries: Vec<_> =
        calls.all().iter().filter(|call| call.attempt > 1).map(|call| call.at).collect();
    retries.sort();
    assert_eq!(retries.len(), 30);
    assert_eq!(retries[5].since(DAWN), ms(100), "what is within the budget does not wait");
    for window in retries.windows(7) {
        assert!(window[6].since(window[0]) >= secs(60), "{window:?}");
    }
    assert_eq!(world.dead("s").len(), 10);
}

#[test]
fn only_the_handler_that_failed_is_called_again() {
    let (world, bad, good) = (World::new(), Calls::default(), Calls::default());
    let noted = good.clone();
    let fine = on("fine", move |event, cx| {
        noted.note(&event, &cx);
        async { Ok(()) }
    });
    let node = world.start([failing(&bad).policy(every(ms(10), 5)), fine]);
    world.put([order("k", 1)]);
    node.settle();
    assert_eq!((bad.len(), good.len()), (5, 1));
}

#[test]
fn a_table_and_a_cap_come_from_the_policy_as_it_is_stored() {
    let retry = Retry {
        attempts: 3,
        backoff: Backoff::Exponential(secs(10)),
        cap: secs(12),
        jitter: 0.0,
        budget_per_minute: None,
    };
    let (world, calls) = (World::new(), Calls::default());
    let node = world.start([failing(&calls).policy(Policy::new().retry(retry.clone()))]);
    world.put([order("k", 1)]);
    node.settle();
    assert_eq!(waits(&calls, "1"), [secs(10), secs(12)]);
    let described = world.doc(tidings_durable::SUBSCRIPTIONS, "s").expect("described");
    let policy: Policy = serde_json::from_value(described["policy"].clone()).expect("a policy");
    assert_eq!(policy.retry, Some(retry));
}

#[test]
fn an_unkeyed_delivery_that_waits_blocks_nobody() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event: Envelope, cx| {
        noted.note(&event, &cx);
        async move {
            match &**event.id() {
                "1" if cx.attempt() == 1 => Err(Failure::transient("not now")),
                _ => Ok(()),
            }
        }
    });
    let node = world.start([handler.policy(every(secs(20), 2))]);
    world.put((1..=3).map(|n| Envelope::build("order.placed").id(n.to_string())));
    world.pass(secs(5));
    assert_eq!((calls.len(), node.status().waiting), (3, 1));
    node.settle();
    assert_eq!(calls.ids().last().map(String::as_str), Some("1"));
    assert!(world.rows("s").is_empty() && world.dead("s").is_empty());
}

#[test]
fn a_handler_may_ask_for_another_wait_and_its_attempts_are_counted() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event, cx| {
        noted.note(&event, &cx);
        async { Err(Failure::again(secs(7), "the printer is warming up")) }
    });
    let node = world.start([handler.policy(Policy::new().retry(Retry::constant(ms(100)).attempts(3)))]);
    world.put([order("k", 1)]);
    node.settle();
    assert_eq!(waits(&calls, "1"), [secs(7), secs(7)]);
    assert_eq!((world.dead("s")[0].reason, world.dead("s")[0].attempts), (Reason::Exhausted, 3));
}

#[test]
fn a_delivery_that_is_put_off_uses_no_attempt_and_its_key_waits() {
    let (world, calls) = (World::new(), Calls::default());
    let noted = calls.clone();
    let handler = on("s", move |event, cx| {
        noted.note(&event, &cx);
        let early = noted.of("1").len() < 12;
        async move { if early { Err(Failure::later(secs(3), "the shop is closed")) } else { Ok(()) } }
    });
    let node = world.start([handler.policy(Policy::new().retry(Retry::none()))]);
    world.put([order("k", 1), order("k", 2)]);
    node.settle();
    assert_eq!(waits(&calls, "1"), [secs(3); 11]);
    assert_eq!(calls.of("2").len(), 1, "it came after the one it waited behind");
    assert!(calls.of("2")[0].at >= calls.of("1")[11].at);
    assert_eq!((world.dead("s").len(), node.status().failures, node.status().retries), (0, 0, 0));
}
