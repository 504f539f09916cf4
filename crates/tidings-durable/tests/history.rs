//! Random histories against a model: whatever fails, crashes, conflicts or is decided by an operator, per key the effects
//! happen in the order of the log, and each event is handled exactly once or was discarded.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use support::{Dice, Fault, Running, Seed, World, ms, on_topic, secs, seeds};
use tidings_core::{
    Commit, Cx, DocumentChange, DocumentKey, DocumentWrite, Envelope, Failure, Policy, Registration, Retry,
    Subscribe, Tenant, View,
};
use tidings_durable::{Carried, Config, Verb};
use tidings_store::{Error, Store};

const LISTS: View = View::new("lists");
const SHARED: View = View::new("shared");

/// Ids whose cause of failure has been removed.
type Healed = Arc<Mutex<HashSet<String>>>;

/// What happens to an event is written in its id: `number-fate`.
fn handler(healed: &Healed) -> Registration {
    let healed = healed.clone();
    let handler = on_topic("s", "order.*", move |event: Envelope, cx: Cx| {
        let healed = healed.clone();
        async move {
            let id = event.id().to_string();
            let fate = id.split_once('-').expect("a fate").1;
            cx.publish_envelope(
                Envelope::build("parcel.sent")
                    .id(format!("p{id}"))
                    .key(event.key().map_or("none", |key| key).to_owned()),
            );
            match fate {
                "once" if cx.attempt() == 1 => return Err(Failure::transient("once")),
                "thrice" if cx.attempt() <= 3 => return Err(Failure::transient("thrice")),
                "panics" if cx.attempt() == 1 => panic!("as it was told"),
                "sick" if !healed.lock().contains(&id) => return Err(Failure::permanent("sick")),
                "late" => {
                    cx.publish_envelope(Envelope::build("letter.sent").id(format!("l{id}"))).after(secs(2));
                }
                _ => {}
            }
            cx.view(LISTS).add("all", "n", 1);
            let shared = cx.view(SHARED).get::<u64>("sum").await?.map_or(0, |sum| *sum);
            if fate == "slow" {
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
            }
            cx.view(SHARED).put("sum", shared + 1);
            if let Some(key) = event.key() {
                cx.view(LISTS).update::<Vec<String>>(key, |list| list.push(id)).await?;
            }
            Ok(())
        }
    });
    handler.policy(Policy::new().retry(Retry::table([ms(100), secs(3), secs(3)])))
}

/// Somebody else adds to the sum.
fn foreign(world: &World) {
    let key = DocumentKey::new("shared", "sum");
    let found =
        world.store.document(&Tenant::default(), &key).now_or_never().expect("at once").expect("read");
    let (version, sum) = found.map_or((0, 0), |document| {
        (document.version, serde_json::from_slice::<u64>(&document.value).expect("a number"))
    });
    let change = DocumentChange::Put((sum + 1_000_000).to_string().into());
    let write = DocumentWrite { key, change, indexed: Arc::from([]), expected: Some(version) };
    world.apply(Commit { documents: vec![write], ..Commit::default() }).expect("applied");
}

fn config(dice: &mut Dice) -> Config {
    Config {
        lanes: 1 + dice.below(3) as usize,
        batch: [1, 3, 10, 1_000][dice.below(4) as usize],
        window: [5, 50, 10_000][dice.below(3) as usize],
        followers_per_key: [0, 2, 1_000][dice.below(3) as usize],
        cached_documents: [1, 100][dice.below(2) as usize],
        ..World::config()
    }
}

fn start<'w>(world: &'w World, dice: &mut Dice, healed: &Healed) -> Running<'w> {
    let concurrency = [1, 3, 64][dice.below(3) as usize];
    let (mut faults, often) = (Dice(dice.roll()), [0, 0, 3, 10][dice.below(4) as usize]);
    let plan = move |_: u64, _: &Commit| match faults.below(100) {
        n if n < often => Fault::AppliedUnknown,
        n if n < 2 * often => Fault::LostUnknown,
        n if n < 3 * often => Fault::Fails(Error::Locked("taken".into())),
        _ => Fault::None,
    };
    world.start_harmed(config(dice), [handler(healed).concurrency(concurrency)], plan)
}

fn history(seed: u64) {
    let _seed = Seed(seed);
    let (world, mut dice, healed) = (World::new(), Dice(seed), Healed::default());
    let keys = 2 + dice.below(6);
    let mut put: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut number, mut foreigners) = (0, 0);
    // Ids that an operator wanted to discard, and those of which it was answered that it is done.
    let (mut asked, mut discarded) = (BTreeSet::new(), BTreeSet::new());
    let mut node = start(&world, &mut dice, &healed);
    for _ in 0..60 {
        match dice.below(12) {
            0..=4 => {
                let fates =
                    ["ok", "ok", "ok", "ok", "once", "thrice", "panics", "sick", "slow", "slow", "late"];
                for _ in 0..=dice.below(6) {
                    number += 1;
                    let id = format!("{number}-{}", fates[dice.below(fates.len() as u64) as usize]);
                    let mut event = Envelope::build("order.placed").source("/test").id(id.clone());
                    let key = match dice.below(keys + 1) {
                        n if n == keys => String::new(),
                        n => format!("k{n}"),
                    };
                    if !key.is_empty() {
                        event = event.key(key.clone());
                    }
                    put.entry(key).or_default().push(id);
                    world.put([event]);
                }
            }
            5 => world.pass(ms(dice.below(500))),
            6 => world.pass(ms(dice.below(6_000))),
            7 => {
                foreign(&world);
                foreigners += 1;
            }
            8 => {
                node.crash();
                node = start(&world, &mut dice, &healed);
            }
            9 if dice.below(2) == 0 => {
                node.stop();
                node = start(&world, &mut dice, &healed);
            }
            // Not waiting for quiet: the operator meets whatever is going on.
            9 | 10 => {
                let letters = world.dead("s");
                if !letters.is_empty() {
                    let letter = &letters[dice.below(letters.len() as u64) as usize];
                    if dice.below(4) > 0 {
                        healed.lock().insert(letter.id.to_string());
                    }
                    world
                        .ask("s", Verb::Replay { positions: vec![letter.position], pace: None })
                        .expect("asked");
                }
            }
            _ => {
                let letters = world.dead("s");
                if !letters.is_empty() {
                    let letter = &letters[dice.below(letters.len() as u64) as usize];
                    asked.insert(letter.id.to_string());
                    let answer = world.ask("s", Verb::Discard { positions: vec![letter.position] });
                    if let Ok(Carried::ByNode(answer) | Carried::Here(answer)) = answer
                        && answer.done == 1
                    {
                        discarded.insert(letter.id.to_string());
                    }
                }
            }
        }
        // Sometimes everybody works a little before the next thing happens.
        if dice.below(2) == 0 {
            world.quiet();
        }
    }
    node.link.heal();
    healed.lock().extend(put.values().flatten().cloned());
    for _ in 0..50 {
        node.settle();
        let positions: Vec<_> = world.dead("s").iter().map(|letter| letter.position).collect();
        if positions.is_empty() {
            break;
        }
        world.replay("s", positions);
    }
    world.pass(secs(5));
    node.settle();
    // The model.
    assert_eq!((world.dead("s").len(), world.rows("s")), (0, vec![]));
    assert_eq!(world.checkpoint("s").watermark, world.head());
    let parcels = world.ids("parcel.sent");
    let handled: BTreeSet<String> = parcels.iter().map(|id| id[1..].to_owned()).collect();
    assert_eq!(handled.len(), parcels.len(), "no event is there twice");
    let mut lost = BTreeSet::new();
    for (key, ids) in &put {
        let kept: Vec<_> = ids.iter().filter(|id| handled.contains(*id)).cloned().collect();
        lost.extend(ids.iter().filter(|id| !handled.contains(*id)).cloned());
        if key.is_empty() {
            continue;
        }
        let list = world.doc("lists", key).unwrap_or_else(|| serde_json::json!([]));
        assert_eq!(list, serde_json::json!(kept), "effects of {key}, in order");
        let ids: BTreeSet<_> = kept.iter().collect();
        let events: Vec<_> =
            parcels.iter().map(|id| id[1..].to_owned()).filter(|id| ids.contains(id)).collect();
        assert_eq!(events, kept, "events of {key}, in order");
    }
    assert!(lost.is_subset(&asked), "nothing is lost: {lost:?} of {asked:?}");
    assert!(discarded.is_subset(&lost), "what was discarded is not handled: {discarded:?} {lost:?}");
    let count = handled.len() as u64;
    if count > 0 {
        assert_eq!(world.doc("lists", "all"), Some(serde_json::json!({"n": count})));
        assert_eq!(world.doc("shared", "sum"), Some((count + 1_000_000 * foreigners).into()));
    }
    let late: BTreeSet<_> = world.ids("letter.sent").into_iter().map(|id| id[1..].to_owned()).collect();
    let expected: BTreeSet<_> = handled.iter().filter(|id| id.ends_with("late")).cloned().collect();
    assert_eq!((world.ids("letter.sent").len(), late), (expected.len(), expected));
    assert_eq!(world.scheduled(), 0);
    let left = node.stop();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn per_key_effects_happen_in_order_and_each_event_is_handled_once_or_was_discarded() {
    for seed in seeds(60) {
        history(seed);
    }
}
