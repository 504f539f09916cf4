//! What guards share through the store: flags, claims, counts.

mod support;

use std::sync::Arc;

use futures_util::FutureExt;
use support::{Calls, DAWN, World, on, once, order, secs};
use tidings_core::{
    Claim, ClaimAsk, Claimed, Claims, Clock, Counters, Flag, Flags, Subscribe, Take, Tenant, Text,
};
use tidings_durable::{FLAG_HISTORY, StoreClaims, StoreCounters, StoreFlags};
use tidings_policy::{FlagTarget, MemoryFlags, Surroundings};
use tokio_util::sync::CancellationToken;

fn flags(world: &World) -> StoreFlags {
    StoreFlags::new(world.store.clone(), Tenant::default(), Arc::new(world.clock.clone()))
}

#[test]
fn a_flag_set_in_the_store_is_noticed_by_a_running_node_within_a_second_and_comes_back() {
    let (world, calls, copy) = (World::new(), Calls::default(), Arc::new(MemoryFlags::new()));
    copy.set("beta".into(), Some(Flag::Off), "settings", DAWN).expect("a flag");
    let around = Surroundings { flags: copy.clone(), ..Surroundings::default() };
    let noted = calls.clone();
    let handler = on("s", move |event, cx| {
        noted.note(&event, &cx);
        async { Ok(()) }
    });
    let node = world.start_among(World::config(), around, [handler.policy(once().flag("beta"))]);
    let (followed, stop) = (flags(&world).over(copy.clone()), CancellationToken::new());
    let ended = stop.clone();
    world.run(async { drop(tokio::spawn(followed.follow(ended))) });
    let mut put = 0;
    let mut expect = |flag: Option<Option<Flag>>, handled: usize| {
        if let Some(flag) = flag {
            let kept = flags(&world);
            world.run(async move { kept.set(&"beta".into(), flag, "ann").await }).expect("set");
        }
        world.pass(secs(1));
        put += 1;
        world.put([order("k", put)]);
        node.settle();
        assert_eq!(calls.len(), handled, "{flag:?}");
    };
    expect(None, 0);
    expect(Some(Some(Flag::On)), 1);
    expect(Some(Some(Flag::Off)), 1);
    expect(Some(Some(Flag::Percent(100.0))), 2);
    expect(Some(None), 2);
    let changes = copy.changes();
    assert_eq!(&*changes[1].by, "ann", "who it was is known here, too");
    stop.cancel();
}

#[test]
fn who_changed_a_flag_from_what_to_what_and_when_is_kept_and_bounded() {
    let world = World::new();
    let kept = flags(&world);
    for (flag, by) in [(Some(Flag::Off), "ann"), (Some(Flag::Percent(25.0)), "bob"), (None, "ann")] {
        world.clock.advance(secs(1));
        let (kept, by) = (kept.clone(), by.to_owned());
        world.run(async move { kept.set(&"topic:order.**".into(), flag, &by).await }).expect("set");
    }
    let history = kept.history().now_or_never().expect("at once").expect("read");
    let told: Vec<_> = history.iter().map(|one| (&*one.by, one.before, one.after)).collect();
    let quarter = Some(Flag::Percent(25.0));
    assert_eq!(
        told,
        [("ann", None, Some(Flag::Off)), ("bob", Some(Flag::Off), quarter), ("ann", quarter, None)]
    );
    assert!(history.is_sorted_by_key(|one| one.at) && history[0].at == DAWN.after(secs(1)));
    assert_eq!(history[0].target, FlagTarget::Topic("order.**".into()));
    let wrong = kept.set(&"a".into(), Some(Flag::Percent(101.0)), "ann").now_or_never().expect("at once");
    assert!(wrong.expect_err("refused").to_string().contains("101"));
    for n in 0..1_010 {
        let flag = Some(Flag::Percent(f64::from(n % 100)));
        kept.set(&"a".into(), flag, "bob").now_or_never().expect("at once").expect("set");
    }
    assert_eq!(world.docs(FLAG_HISTORY).len(), 1_000);
    assert_eq!(kept.all().now_or_never().expect("at once").expect("read").len(), 1);
}

#[test]
fn a_copy_of_flags_reads_only_what_has_changed() {
    let world = World::new();
    let copy = Arc::new(MemoryFlags::new());
    let mut followed = flags(&world).over(copy.clone());
    let ask = tidings_core::FlagAsk { flag: None, event: "order.placed", handler: "s", key: "k" };
    flags(&world)
        .set(&"event:order.placed".into(), Some(Flag::Off), "ann")
        .now_or_never()
        .expect("at once")
        .expect("set");
    assert_eq!(copy.off(&ask), None, "nobody has looked");
    followed.look().now_or_never().expect("at once").expect("read");
    followed.look().now_or_never().expect("at once").expect("read");
    assert_eq!(copy.off(&ask).as_deref(), Some("event:order.placed"));
    assert_eq!(copy.changes().len(), 1);
}

fn ask(world: &World, key: &str, version: Option<u64>) -> ClaimAsk {
    let (scope, key, now) = (Text::from("mail/receipt"), Text::from(key), support::now(world));
    ClaimAsk { scope, key, version, lease: secs(10), now }
}

fn claim(world: &World, claims: &StoreClaims, key: &str, version: Option<u64>) -> Claimed {
    let answer = claims.claim(&ask(world, key, version)).get().now_or_never().expect("at once");
    answer.expect("the store answers")
}

fn mine(claimed: Claimed) -> Claim {
    match claimed {
        Claimed::Mine(claim) => claim,
        other => panic!("not mine: {other:?}"),
    }
}

#[test]
fn of_two_processes_one_claims_a_thing_and_a_late_holder_is_refused() {
    let world = World::new();
    let claims = || StoreClaims::new(world.store.clone(), Tenant::default());
    let (one, two, day) = (claims(), claims(), secs(86_400));
    let first = mine(claim(&world, &one, "a", None));
    assert!(
        matches!(claim(&world, &two, "a", None), Claimed::Running(until) if until == DAWN.after(secs(10)))
    );
    world.clock.advance(secs(11));
    let second = mine(claim(&world, &two, "a", None));
    let late = one.finish(&first, day, support::now(&world)).get().now_or_never().expect("at once");
    assert!(late.expect_err("lost").is_permanent());
    two.release(&second).get().now_or_never().expect("at once").expect("released");
    let third = mine(claim(&world, &one, "a", None));
    one.finish(&third, day, support::now(&world)).get().now_or_never().expect("at once").expect("finished");
    assert_eq!(claim(&world, &two, "a", None), Claimed::Finished);
    world.clock.advance(day);
    mine(claim(&world, &two, "a", None));
}

#[test]
fn of_versions_only_a_higher_one_is_new_also_after_a_release() {
    let world = World::new();
    let claims = StoreClaims::new(world.store.clone(), Tenant::default());
    let now = support::now(&world);
    let five = mine(claim(&world, &claims, "k", Some(5)));
    claims.finish(&five, secs(100), now).get().now_or_never().expect("at once").expect("finished");
    assert_eq!(claim(&world, &claims, "k", Some(4)), Claimed::Finished);
    let six = mine(claim(&world, &claims, "k", Some(6)));
    claims.release(&six).get().now_or_never().expect("at once").expect("released");
    assert_eq!(claim(&world, &claims, "k", Some(5)), Claimed::Finished);
    mine(claim(&world, &claims, "k", Some(6)));
}

#[test]
fn counts_grant_no_more_than_the_limit_over_all_who_count() {
    let world = World::new();
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let counters = || StoreCounters::new(world.store.clone(), Tenant::default(), clock.clone());
    let (one, two) = (counters(), counters());
    let take = |counters: &StoreCounters, window, wanted| {
        let take = Take { counter: "mail".into(), window, span: secs(1), limit: 100, wanted };
        counters.take(&take).get().now_or_never().expect("at once").expect("the store answers")
    };
    let next = DAWN.after(secs(1));
    assert_eq!((take(&one, DAWN, 60), take(&two, DAWN, 60), take(&one, DAWN, 1)), (60, 40, 0));
    assert_eq!(take(&two, next, 60), 60);
    assert_eq!(take(&one, DAWN, 60), 0, "a clock that is behind gets nothing");
    assert_eq!(take(&one, next, 60), 40);
}
