//! Each field of a policy does for a handler of batches in memory what it says, on the bus and in a pool.

mod kit;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kit::{At, BOTH};
use tidings::{
    Circuit, Clock, Dead, DeadLetter, Flag, Idempotency, LetterFilter, ManualClock, Priority, Rate, Reason,
    Registration, Shed, Then, Timestamp,
    buffered::{Ended, Gatherer},
    flow::Cause,
    guard::BreakerState,
    prelude::*,
    store::MemoryStore,
};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    customer: u64,
    order: u64,
}

const DAWN: Timestamp = Timestamp::from_millis(1_000_000);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn once() -> Policy {
    Policy::new().retry(Retry::none())
}

fn every(wait: Duration, attempts: u32) -> Policy {
    Policy::new().retry(Retry::constant(wait).jitter(0.0).attempts(attempts))
}

/// One call: the orders, the attempt of each, and why the batch was complete.
#[derive(Debug, Clone, PartialEq)]
struct Called {
    orders: Vec<u64>,
    attempts: Vec<u32>,
    cause: Cause,
    at: Timestamp,
}

/// A handler of batches that notes its calls, takes as long as it is told, and fails for whom it is told.
#[derive(Clone)]
struct Index {
    clock: ManualClock,
    calls: Arc<Mutex<Vec<Called>>>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    shut: Arc<AtomicBool>,
    takes: Duration,
    sick: Arc<dyn Fn(u64, u32) -> Option<Failure> + Send + Sync>,
}

impl Index {
    fn new() -> Self {
        Self {
            clock: ManualClock::at(DAWN),
            calls: Arc::default(),
            running: Arc::default(),
            most: Arc::default(),
            shut: Arc::default(),
            takes: Duration::ZERO,
            sick: Arc::new(|_, _| None),
        }
    }

    fn sick(self, sick: impl Fn(u64, u32) -> Option<Failure> + Send + Sync + 'static) -> Self {
        Self { sick: Arc::new(sick), ..self }
    }

    fn takes(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    fn calls(&self) -> Vec<Called> {
        self.calls.lock().expect("nobody panicked").clone()
    }

    /// How often each order was in a call.
    fn orders(&self) -> BTreeMap<u64, usize> {
        let mut all = BTreeMap::new();
        self.calls()
            .iter()
            .flat_map(|call| call.orders.clone())
            .for_each(|order| *all.entry(order).or_default() += 1);
        all
    }

    fn handler(&self, settings: Batching) -> Registration {
        let me = self.clone();
        let handler = move |batch: Batched<Delivered<On<OrderPlaced>>>| {
            let me = me.clone();
            let orders: Vec<u64> = batch.iter().map(|one| one.event.order).collect();
            let attempts: Vec<u32> = batch.iter().map(|one| one.cx.attempt()).collect();
            let call = Called {
                orders: orders.clone(),
                attempts: attempts.clone(),
                cause: batch.cause,
                at: me.clock.now(),
            };
            me.calls.lock().expect("nobody panicked").push(call);
            async move {
                let running = me.running.fetch_add(1, Ordering::SeqCst) + 1;
                me.most.fetch_max(running, Ordering::SeqCst);
                if !me.takes.is_zero() {
                    me.clock.sleep(me.takes).await;
                }
                while me.shut.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
                me.running.fetch_sub(1, Ordering::SeqCst);
                let failed: Vec<(usize, Failure)> = orders
                    .iter()
                    .zip(attempts)
                    .enumerate()
                    .filter_map(|(at, (order, attempt))| Some((at, (me.sick)(*order, attempt)?)))
                    .collect();
                match failed.first() {
                    Some((_, failure)) => {
                        Err(Failed::<()>::at(failed.iter().map(|(at, _)| *at), failure.clone()))
                    }
                    None => Ok(()),
                }
            }
        };
        handler.in_batches(settings)
    }
}

struct World {
    app: App,
    index: Index,
    placed: AtomicU64,
}

async fn world(at: At, index: &Index, handler: Registration) -> World {
    let builder =
        App::builder().clock(Arc::new(index.clock.clone())).open_store(Arc::new(MemoryStore::default()));
    let app = builder.module(Module::new("search").on(at.place(handler))).build().await.expect("builds");
    app.start().await.expect("starts");
    World { app, index: index.clone(), placed: AtomicU64::new(0) }
}

impl World {
    async fn place(&self, orders: impl IntoIterator<Item = u64>) -> Vec<tidings::Receipt> {
        let mut receipts = Vec::new();
        for order in orders {
            // A customer an order, unless it is over 100.
            let customer = if order > 100 { order / 100 } else { order };
            receipts.push(self.app.publish(OrderPlaced { customer, order }).await.expect("published"));
        }
        // Through the queue of its pool: time must not pass before they are here.
        self.placed.fetch_add(receipts.len() as u64, Ordering::SeqCst);
        let gatherer = self.gatherer();
        until(|| gatherer.ended() + gatherer.figures().held as u64 >= self.placed.load(Ordering::SeqCst))
            .await;
        receipts
    }

    fn gatherer(&self) -> Gatherer {
        self.app.batches().remove(0)
    }

    /// Lets time pass in small steps until `done`. A thread may be slow to see that it has passed: what is due happens at
    /// its time or later.
    async fn drive(&self, mut done: impl FnMut() -> bool) {
        let driving = async {
            while !done() {
                self.drive_once().await;
            }
        };
        tokio::time::timeout(secs(60), driving).await.expect("it comes");
    }

    async fn drive_once(&self) {
        self.index.clock.advance(ms(20));
        // Time must not fly while threads have something to do: it stands until nothing has moved for a while.
        let seen = || (self.index.clock.sleepers(), self.index.calls().len(), self.gatherer().figures());
        let (mut last, mut same) = (seen(), 0);
        while same < 500 {
            tokio::task::yield_now().await;
            let now = seen();
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
    }

    /// Waits until nothing is held, while time passes.
    async fn over(&self, ended: u64) {
        let gatherer = self.gatherer();
        self.drive(|| gatherer.ended() == ended && gatherer.figures().held == 0).await;
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        self.app.dead_letters().list(&LetterFilter::default(), 1_000).await.expect("listed")
    }
}

/// Lets others work until `done`.
async fn until(mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(secs(30), waiting).await.expect("it comes");
}

/// Batches of four, or what has come within 100 milliseconds.
fn four() -> Batching {
    Batching::new().items(4).age(ms(100))
}

/// The same, where fours are all that comes: however time flies, none is smaller.
fn fours() -> Batching {
    four().age(secs(36_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_circuit_counts_calls_and_while_it_is_open_batches_wait_and_burn_no_attempt() {
    for at in BOTH {
        let up = Arc::new(AtomicBool::new(false));
        let is_up = up.clone();
        let sick = move |_, _| (!is_up.load(Ordering::SeqCst)).then(|| Failure::transient("refused"));
        let index = Index::new().sick(sick);
        let policy = every(ms(500), 5).circuit(Circuit::open_after(2).probe_after(secs(5))).bulkhead(1);
        let world = world(at, &index, index.handler(fours()).policy(policy)).await;
        world.place(0..40).await;
        let state = || world.gatherer().guards().state().circuit.map(|circuit| circuit.state);
        world.drive(|| state() == Some(BreakerState::Open)).await;
        let opened = index.clock.now();
        world.drive(|| index.clock.now().since(opened) > secs(4)).await;
        assert_eq!(index.calls().len(), 2, "{at:?}: eight failing deliveries were two failures");
        up.store(true, Ordering::SeqCst);
        world.over(40).await;
        let figures = world.gatherer().figures();
        assert_eq!((figures.handled, figures.dead, figures.retries), (40, 0, 8), "{at:?}");
        assert!(index.calls().iter().flat_map(|call| &call.attempts).all(|attempt| *attempt <= 2));
        assert_eq!(state(), Some(BreakerState::Closed));
        world.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulkhead_has_so_many_calls_at_once_and_without_one_there_are_more() {
    for at in BOTH {
        for (policy, most) in [(once(), 5), (once().bulkhead(2), 2)] {
            let index = Index::new();
            index.shut.store(true, Ordering::SeqCst);
            let world = world(at, &index, index.handler(fours()).policy(policy)).await;
            world.place(0..20).await;
            until(|| index.running.load(Ordering::SeqCst) == most).await;
            index.shut.store(false, Ordering::SeqCst);
            world.over(20).await;
            assert_eq!((index.calls().len(), index.most.load(Ordering::SeqCst)), (5, most), "{at:?}");
            world.app.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_counts_deliveries_and_those_over_it_come_later() {
    for at in BOTH {
        let index = Index::new();
        let policy = once().rate(Rate::per(secs(6), 3));
        let world = world(at, &index, index.handler(four()).policy(policy)).await;
        world.place(0..8).await;
        world.over(8).await;
        // A bucket of three, that is filled with one every two seconds.
        let calls = index.calls();
        assert_eq!(calls[0].orders.len(), 3, "{at:?}: {calls:?}");
        let mut handled = 0;
        for call in &calls {
            let filled = call.at.since(DAWN).as_secs() / 2;
            handled += call.orders.len() as u64;
            assert!(handled <= 3 + filled, "{at:?}: {calls:?}");
        }
        assert_eq!(handled, 8);
        assert_eq!(world.gatherer().figures().failures, 0);
        world.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_flag_is_off_for_is_skipped_and_the_rest_of_its_batch_is_not() {
    for at in BOTH {
        let index = Index::new();
        let world = world(at, &index, index.handler(four()).policy(once().flag("indexing"))).await;
        world.app.set_flag("indexing", Some(Flag::Off), "ann").await.expect("a flag");
        let receipts = world.place(0..4).await;
        world.over(4).await;
        assert_eq!((index.calls().len(), world.gatherer().figures().skipped), (0, 4), "{at:?}");
        if at == At::Pool {
            assert_eq!(receipts[0].handled().await[0].ended, Ended::Skipped("flag-off"));
        }
        world.app.set_flag("indexing", Some(Flag::Percent(50.0)), "ann").await.expect("a flag");
        world.place(0..100).await;
        world.over(104).await;
        let (called, skipped) = (index.orders().len(), world.gatherer().figures().skipped - 4);
        assert_eq!(called as u64 + skipped, 100);
        assert!((30..=70).contains(&called), "{at:?}: {called}");
        world.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_handled_once_also_within_a_batch_and_after_a_failure_another_is() {
    for at in BOTH {
        for idempotency in [Idempotency::by_key(), Idempotency::by_key().stored()] {
            let index = Index::new().sick(|order, _| (order == 301).then(|| Failure::permanent("no")));
            let policy = once().idempotent(idempotency);
            // Without the order of keys, those of one key are in one call.
            let handler = index.handler(four()).policy(policy);
            let world = world(at, &index, handler).await;
            let receipts = world.place([101, 102, 201, 202, 301, 302, 303]).await;
            world.over(7).await;
            let orders: Vec<u64> = index.orders().into_keys().collect();
            assert_eq!(orders, [101, 201, 301, 302], "{at:?}: {:?}", index.calls());
            let figures = world.gatherer().figures();
            assert_eq!((figures.handled, figures.skipped, figures.dead), (3, 3, 1), "{at:?}");
            if at == At::Pool {
                let mut ended = Vec::new();
                for receipt in &receipts {
                    ended.push(receipt.handled().await.remove(0).ended);
                }
                assert_eq!((&ended[0], &ended[1]), (&Ended::Handled, &Ended::Skipped("finished")));
                assert!(matches!(ended[4], Ended::Dead { reason: Reason::Permanent, .. }), "{ended:?}");
                assert_eq!((&ended[5], &ended[6]), (&Ended::Handled, &Ended::Skipped("finished")));
            }
            world.app.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_behind_another_does_not_keep_its_claim_meanwhile() {
    for at in BOTH {
        for idempotency in [Idempotency::by_id(), Idempotency::by_id().stored()] {
            let sick = |order, attempt| (order == 101 && attempt == 1).then(|| Failure::transient("not now"));
            let index = Index::new().sick(sick);
            let policy = every(ms(100), 3).timeout(secs(3_600)).idempotent(idempotency);
            let world = world(at, &index, index.handler(four()).policy(policy)).await;
            world.place([101, 102]).await;
            world.over(2).await;
            assert_eq!(world.gatherer().figures().handled, 2, "{at:?}");
            assert!(index.clock.now().since(DAWN) < secs(60), "{at:?}: a lease is longer than an hour");
            world.app.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn low_priority_is_shed_while_latency_is_over_its_target_and_handled_afterwards() {
    for at in BOTH {
        let index = Index::new().takes(secs(1));
        let policy = once().shed(Shed::over(ms(500)).every(secs(4)).normal_at(100.0));
        let world = world(at, &index, index.handler(Batching::new().items(1)).policy(policy)).await;
        world.place(0..8).await;
        world.over(8).await;
        // The span in which they were slow is over, and what it came to holds for the next one.
        index.clock.advance(ms(4_500).saturating_sub(index.clock.now().since(DAWN)));
        let low = world.app.publish(OrderPlaced { customer: 50, order: 50 }).priority(Priority::Low);
        low.await.expect("published");
        world.placed.fetch_add(1, Ordering::SeqCst);
        world.place([51]).await;
        until(|| index.orders().contains_key(&51)).await;
        assert!(!index.orders().contains_key(&50), "{at:?}: {:?}", index.calls());
        world.over(10).await;
        let low = index.calls().into_iter().find(|call| call.orders == [50]).expect("alone");
        assert_eq!(low.attempts, [1], "it burnt none");
        world.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_delivery_with_its_reason() {
    for at in BOTH {
        let index = Index::new().sick(|_, _| Some(Failure::transient("refused")));
        let policy = every(secs(2), 100).deadline(secs(5));
        let world = world(at, &index, index.handler(four()).policy(policy)).await;
        world.place([1]).await;
        world.over(1).await;
        let dead = world.dead().await;
        assert_eq!((dead.len(), dead[0].reason), (1, Reason::Deadline), "{at:?}");
        assert!(dead[0].attempts <= 3, "{at:?}: {dead:?}");
        world.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_has_failed_with_all_and_each_is_dead_by_itself() {
    for at in BOTH {
        let index = Index::new();
        index.shut.store(true, Ordering::SeqCst);
        let world = world(at, &index, index.handler(fours()).policy(once().timeout(secs(3)))).await;
        world.place(0..4).await;
        world.over(4).await;
        let dead = world.dead().await;
        assert_eq!(dead.len(), 4, "{at:?}");
        assert!(dead.iter().all(|letter| letter.error.contains("no answer within 3s")), "{dead:?}");
        world.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_named_are_tried_again_alone_at_the_last_and_become_dead_letters_with_their_attempts() {
    for at in BOTH {
        let index =
            Index::new().sick(|order, _| [1, 2].contains(&order).then(|| Failure::transient("no ink")));
        let world = world(at, &index, index.handler(four()).policy(every(secs(1), 3))).await;
        let receipts = world.place(0..4).await;
        world.over(4).await;
        let calls = index.calls();
        assert_eq!((calls[0].orders.len(), calls[0].cause), (4, Cause::Items), "{at:?}");
        assert_eq!(index.orders(), [(0, 1), (1, 3), (2, 3), (3, 1)].into(), "{at:?}");
        for call in &calls[1..] {
            let is_last = call.attempts.contains(&3);
            assert_eq!(is_last, call.cause == Cause::Alone, "{at:?}: {call:?}");
            assert!(!is_last || call.orders.len() == 1);
        }
        let mut dead = world.dead().await;
        dead.sort_by_key(|letter| letter.key.clone());
        assert_eq!(dead.len(), 2);
        for (letter, order) in dead.iter().zip([1_u64, 2]) {
            let event = world.app.dead_letters().get(&letter.handler, &letter.entry).await.expect("read");
            let event = event.and_then(|(_, event)| event).expect("its event");
            assert_eq!(event.decode::<OrderPlaced>().expect("as it was").order, order);
            assert_eq!((letter.reason, letter.attempts, &*letter.error), (Reason::Exhausted, 3, "no ink"));
            assert_eq!((&*letter.handler, &*letter.source), (&**world.gatherer().name(), "/tidings"));
            let times: Vec<_> = letter.history.iter().map(|attempt| attempt.at).collect();
            assert!(times.len() == 3 && times[1].since(times[0]) >= secs(1), "{at:?}: {times:?}");
            // Let in, called, failed, in this order; the clock goes on meanwhile.
            assert!(letter.first_at <= calls[0].at && calls[0].at <= times[0], "{at:?}: {letter:?}");
        }
        if at == At::Pool {
            let ended = receipts[1].handled().await.remove(0);
            assert_eq!(ended.attempts, 3);
            assert_eq!(ended.ended, Ended::Dead { reason: Reason::Exhausted, error: "no ink".into() });
            assert_eq!(receipts[3].handled().await[0].ended, Ended::Handled);
            let pool = world.app.buffered().figures().remove(0);
            assert_eq!((pool.handled, pool.dead, pool.retries, pool.failures), (2, 2, 4, 6));
        }
        assert!(world.app.shutdown().await.is_clean(), "a dead letter is nothing that was left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_takes_those_that_are_given_up_one_by_one_and_if_it_fails_too_they_are_dead() {
    for at in BOTH {
        let index = Index::new().sick(|order, _| (order < 3).then(|| Failure::permanent("no")));
        let stood_in = Arc::new(Mutex::new(Vec::new()));
        let noted = stood_in.clone();
        let fallback = move |event: On<OrderPlaced>, _: Cx| {
            noted.lock().expect("nobody panicked").push(event.order);
            std::future::ready(if event.order == 2 { Err(Failure::transient("nor I")) } else { Ok(()) })
        };
        let world = world(at, &index, index.handler(fours()).policy(once()).fallback(fallback)).await;
        let receipts = world.place(0..4).await;
        world.over(4).await;
        // They have no key in common, and through a queue they come in any order.
        let mut stood_in = stood_in.lock().expect("nobody panicked").clone();
        stood_in.sort_unstable();
        assert_eq!(stood_in, [0, 1, 2], "{at:?}");
        let dead = world.dead().await;
        assert_eq!(
            (dead.len(), dead[0].reason, &*dead[0].error),
            (1, Reason::Permanent, "the fallback: nor I")
        );
        if at == At::Pool {
            assert_eq!(receipts[0].handled().await[0].ended, Ended::ByFallback);
        }
        world.app.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_for_dead_letters_hold_for_each_delivery() {
    for at in BOTH {
        let up = Arc::new(AtomicBool::new(false));
        let is_up = up.clone();
        let sick = move |order, _| match order {
            0 => Some(Failure::permanent("never")),
            _ => (!is_up.load(Ordering::SeqCst)).then(|| Failure::transient("refused")),
        };
        let index = Index::new().sick(sick);
        let dead = Dead::to("search-dead")
            .on(Reason::Permanent, Then::Discard)
            .on(Reason::Exhausted, Then::replay(secs(5)));
        let world = world(at, &index, index.handler(four()).policy(once().dead(dead))).await;
        // The failure of a call is that of its first; so that they are told apart, the first one is alone.
        world.place([0]).await;
        world.over(1).await;
        assert_eq!(
            (world.dead().await.len(), world.app.dead_letters().figures().discarded),
            (0, 1),
            "{at:?}"
        );
        world.place([1, 2]).await;
        world.over(3).await;
        let dead = world.dead().await;
        assert_eq!((dead.len(), &*dead[0].destination), (2, "search-dead"), "{at:?}");
        up.store(true, Ordering::SeqCst);
        let gatherer = world.gatherer();
        world.drive(|| gatherer.ended() == 5).await;
        until_empty(&world).await;
        assert_eq!(index.orders(), [(0, 1), (1, 2), (2, 2)].into(), "{at:?}");
        world.app.shutdown().await;
    }
}

async fn until_empty(world: &World) {
    let empty = async {
        while !world.dead().await.is_empty() {
            world.drive_once().await;
        }
    };
    tokio::time::timeout(secs(60), empty).await.expect("they are handled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_changed_while_batches_are_gathered() {
    for at in BOTH {
        let index = Index::new().sick(|_, _| Some(Failure::transient("refused")));
        let world = world(at, &index, index.handler(four()).policy(every(secs(1), 2))).await;
        world.place([1]).await;
        world.over(1).await;
        world.gatherer().guards().change(every(secs(1), 4)).expect("a policy");
        world.place([2]).await;
        world.over(2).await;
        assert_eq!(index.orders(), [(1, 2), (2, 4)].into(), "{at:?}");
        world.app.shutdown().await;
    }
}

#[tokio::test]
async fn what_has_no_meaning_in_memory_is_refused_at_the_start_and_why() {
    for at in BOTH {
        let index = Index::new();
        let policy = Policy::new().quarantine_after(2).bulkhead(2).flag("indexing").timeout(secs(1));
        let handler = index.handler(four()).policy(policy);
        let built = App::builder().module(Module::new("search").on(at.place(handler.clone()))).build().await;
        let faults = built.expect_err("nobody counts").faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        let single = (|_: On<OrderPlaced>, _: Cx| async { Ok(()) }).policy(Policy::new().quarantine_after(2));
        let built = App::builder().module(Module::new("search").on(at.place(single))).build().await;
        assert!(built.expect_err("nobody counts").faults[0].contains("policy.quarantine_after"), "{at:?}");
        assert!(faults[0].contains("policy.quarantine_after") && faults[0].contains("durable"), "{faults:?}");
        let shared = index.handler(four()).policy(Policy::new().rate(Rate::per_second(1).shared()));
        let built = App::builder().module(Module::new("search").on(at.place(shared))).build().await;
        let faults = built.expect_err("there is no store").faults;
        assert!(faults.len() == 1 && faults[0].contains("rate.shared"), "{faults:?}");
        let durable =
            App::builder().store("memory:").module(Module::new("search").on(handler.durable("index")));
        assert!(durable.build().await.is_ok(), "behind a durable subscription it is kept");
    }
}
