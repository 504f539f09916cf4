//! Who is next: priorities, ageing, order by key.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{Bench, Gate, Watched, bench, entry, keyed, one_worker, until};
use tidings_core::Priority::{self, Critical, Low, Normal};
use tidings_queue::{Config, Entry, Order, Step};

const SECOND: Duration = Duration::from_secs(1);

/// One worker that stands at a gate with its first entry, so that the rest can be pushed in peace.
struct Held {
    bench: Bench<&'static str>,
    gate: Arc<Gate>,
    seen: Arc<Watched<Vec<&'static str>>>,
}

fn held(config: Config) -> Held {
    let (gate, seen) = (Arc::new(Gate::default()), Arc::new(Watched::<Vec<_>>::default()));
    let (at, saw) = (gate.clone(), seen.clone());
    let bench = bench(config, move |item: &'static str, _| {
        if item == "gate" {
            at.pass()
        } else {
            saw.change(|seen| seen.push(item))
        }
        Step::Done
    });
    let held = Held { bench, gate, seen };
    held.bench.queue.push(entry("gate", Normal)).expect("room");
    held.gate.arrived(1);
    held
}

impl Held {
    fn push(&self, item: &'static str, priority: Priority) {
        self.bench.queue.push(entry(item, priority)).expect("room");
    }

    fn keyed(&self, item: &'static str, key: u64, priority: Priority) {
        self.bench.queue.push(Entry { key: Some(key), ..entry(item, priority) }).expect("room");
    }

    fn order(self) -> String {
        self.gate.open(1);
        self.bench.end();
        self.seen.change(|seen| seen.join(" "))
    }
}

#[test]
fn by_weight_six_entries_are_three_critical_two_normal_and_one_low() {
    let held = held(one_worker());
    for _ in 0..6 {
        held.push("l", Low);
        held.push("n", Normal);
        held.push("c", Critical);
    }
    // The gate's entry was the first normal one of its round.
    assert_eq!(held.order(), "c c c n l c c c n n l n n l n l l l");
}

#[test]
fn weights_are_those_of_the_settings() {
    let order = Order::Weighted { critical: 1, normal: 1, low: 2 };
    let held = held(Config { order, ..one_worker() });
    for _ in 0..4 {
        held.push("l", Low);
        held.push("c", Critical);
    }
    assert_eq!(held.order(), "c l l c l l c c");
}

#[test]
fn strictly_the_highest_goes_first() {
    let held = held(Config { order: Order::Strict, ..one_worker() });
    for (item, priority) in [("l", Low), ("n", Normal), ("c", Critical), ("n2", Normal), ("c2", Critical)] {
        held.push(item, priority);
    }
    assert_eq!(held.order(), "c c2 n n2 l");
}

#[test]
fn an_entry_that_has_waited_long_rises_and_rises_again() {
    for (waited, order) in [(9, "c n l"), (10, "c l n"), (19, "c l n"), (20, "l c n")] {
        let held = held(Config { order: Order::Strict, ageing: 10 * SECOND, ..one_worker() });
        held.push("l", Low);
        // To look empties the inbox, so that what comes later is not taken for part of one burst.
        assert_eq!(held.bench.queue.figures().low, 1);
        held.bench.clock.advance(Duration::from_secs(waited));
        held.push("n", Normal);
        held.push("c", Critical);
        assert_eq!(held.order(), order, "after {waited} s");
    }
}

#[test]
fn ageing_is_taken_from_the_settings_and_lets_the_low_through_under_a_flood() {
    for (ageing, progress) in [(SECOND, true), (3_600 * SECOND, false)] {
        let (gate, seen) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
        let (at, low) = (gate.clone(), seen.clone());
        let bench =
            bench(Config { order: Order::Strict, ageing, ..one_worker() }, move |item: &'static str, _| {
                at.pass();
                low.fetch_or(item == "low", Ordering::SeqCst);
                Step::Done
            });
        bench.queue.push(entry("critical", Critical)).expect("room");
        gate.arrived(1);
        bench.queue.push(entry("low", Low)).expect("room");
        for turn in 2..22 {
            // There is always a critical one more than is let through.
            bench.queue.push(entry("critical", Critical)).expect("room");
            bench.queue.push(entry("critical", Critical)).expect("room");
            bench.clock.advance(SECOND);
            gate.open(1);
            gate.arrived(turn);
        }
        assert_eq!(seen.load(Ordering::SeqCst), progress, "{ageing:?}");
        gate.open(100);
        bench.end();
    }
}

#[test]
fn the_order_of_a_key_is_kept_and_its_highest_lifts_those_before_it() {
    let held = held(Config { order: Order::Strict, ..one_worker() });
    held.push("other", Normal);
    held.keyed("1", 7, Low);
    held.keyed("2", 7, Low);
    held.keyed("3", 7, Critical);
    held.keyed("4", 7, Low);
    // Lifted as long as the critical one waits.
    assert_eq!(held.order(), "1 2 3 other 4");
}

#[test]
fn an_entry_that_runs_again_goes_before_its_key_and_keeps_its_level() {
    let (gate, seen) = (Arc::new(Gate::default()), Arc::new(Watched::<Vec<_>>::default()));
    let (at, saw) = (gate.clone(), seen.clone());
    let failed = AtomicBool::new(false);
    let bench = bench(Config { order: Order::Strict, ..one_worker() }, move |item: &'static str, turn| {
        if item == "gate" {
            at.pass();
        } else {
            saw.change(|seen| seen.push((item, turn.priority())));
        }
        if item == "a1" && !failed.swap(true, Ordering::SeqCst) {
            return Step::Again { item, after: SECOND };
        }
        Step::Done
    });
    bench.queue.push(entry("gate", Critical)).expect("room");
    gate.arrived(1);
    bench.queue.push(Entry { priority: Low, ..keyed("a1", 1) }).expect("room");
    bench.queue.push(Entry { priority: Low, ..keyed("a2", 1) }).expect("room");
    bench.queue.push(Entry { priority: Low, ..keyed("b1", 2) }).expect("room");
    gate.open(1);
    // The key that waits holds up no other, and no worker.
    seen.until("the other key", |seen| seen.iter().any(|(item, _)| *item == "b1").then_some(()));
    until("a delay", || bench.queue.figures().delayed == 1);
    assert_eq!(seen.change(|seen| seen.len()), 2);
    bench.clock.advance(SECOND);
    bench.end();
    let expected = [("a1", Low), ("b1", Low), ("a1", Low), ("a2", Low)];
    assert_eq!(seen.change(|seen| seen.clone()), expected);
}

#[test]
fn a_slow_key_does_not_stall_the_others() {
    let (send, receive) = tokio::sync::oneshot::channel::<()>();
    let (receive, seen) = (std::sync::Mutex::new(Some(receive)), Arc::new(Watched::<Vec<_>>::default()));
    let saw = seen.clone();
    let bench = bench(one_worker(), move |item: u32, _| {
        let (slow, saw) = (receive.lock().expect("lock").take(), saw.clone());
        Step::Waiting(Box::pin(async move {
            if let Some(slow) = slow {
                let _ = slow.await;
            }
            saw.change(|seen| seen.push(item));
            Step::Done
        }))
    });
    for (item, key) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
        bench.queue.push(keyed(item, key)).expect("room");
    }
    seen.until("the others", |seen| (seen.len() == 2).then_some(()));
    let _ = send.send(());
    bench.end();
    assert_eq!(seen.change(|seen| seen.clone()), [3, 4, 1, 2]);
}
