//! Any sequence of registrations, ends and emissions, against a plain list.

mod common;

use common::{Diary, Placed};
use proptest::prelude::*;
use tidings_bus::{Bus, Guard};
use tidings_core::{Envelope, Pattern};

#[derive(Debug, Clone)]
enum Step {
    On { first: bool, once: bool, priority: i32 },
    Subscribe { pattern: &'static str, first: bool, once: bool, priority: i32 },
    End(prop::sample::Index),
    Remove(&'static str),
    Emit(Way),
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Type,
    Handle,
    Shared,
    Envelope,
    OtherName,
}

const PATTERNS: [&str; 6] = ["order.placed", "order.*", "**", "*.placed", "order.**.placed", "stock.*"];

fn step() -> impl Strategy<Value = Step> {
    let way = prop_oneof![
        Just(Way::Type),
        Just(Way::Handle),
        Just(Way::Shared),
        Just(Way::Envelope),
        Just(Way::OtherName)
    ];
    prop_oneof![
        2 => (any::<bool>(), any::<bool>(), -1..=1)
            .prop_map(|(first, once, priority)| Step::On { first, once, priority }),
        2 => (prop::sample::select(&PATTERNS[..]), any::<bool>(), any::<bool>(), -1..=1)
            .prop_map(|(pattern, first, once, priority)| Step::Subscribe { pattern, first, once, priority }),
        2 => any::<prop::sample::Index>().prop_map(Step::End),
        1 => prop::sample::select(&PATTERNS[..]).prop_map(Step::Remove),
        4 => way.prop_map(Step::Emit),
    ]
}

/// A listener as the definition sees it.
struct Plain {
    number: usize,
    topic: &'static str,
    once: bool,
    priority: i32,
}

/// Where a listener joins: behind all of higher priority, and behind those of its own unless it goes first of them.
fn join(list: &mut Vec<Plain>, plain: Plain, first: bool) {
    let goes_before =
        |other: &Plain| other.priority > plain.priority || (other.priority == plain.priority && !first);
    let at = list.iter().take_while(|other| goes_before(other)).count();
    list.insert(at, plain);
}

proptest! {
    #[test]
    fn it_calls_whom_a_plain_list_says_in_that_order(steps in proptest::collection::vec(step(), 1..60)) {
        let (bus, diary) = (Bus::new(), Diary::default());
        let emitter = bus.emitter::<Placed>();
        let mut list: Vec<Plain> = Vec::new();
        let mut guards: Vec<(usize, Guard)> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::On { first, once, priority } => {
                    let entry = diary.clone();
                    let mut listen = bus.listen().priority(priority);
                    if first { listen = listen.first() }
                    if once { listen = listen.once() }
                    guards.push((number, listen.on(move |_: &Placed| entry.write(number))));
                    let plain = Plain { number, topic: "order.placed", once, priority };
                    join(&mut list, plain, first);
                }
                Step::Subscribe { pattern, first, once, priority } => {
                    let entry = diary.clone();
                    let mut listen = bus.listen().priority(priority);
                    if first { listen = listen.first() }
                    if once { listen = listen.once() }
                    guards.push((number, listen.subscribe(pattern, move |_| entry.write(number)).expect("valid")));
                    let plain = Plain { number, topic: pattern, once, priority };
                    join(&mut list, plain, first);
                }
                Step::End(index) if !guards.is_empty() => {
                    let (number, guard) = guards.swap_remove(index.index(guards.len()));
                    prop_assert_eq!(guard.is_live(), list.iter().any(|plain| plain.number == number));
                    drop(guard);
                    list.retain(|plain| plain.number != number);
                }
                Step::End(_) => {}
                Step::Remove(text) => {
                    let before = list.len();
                    list.retain(|plain| plain.topic != text);
                    prop_assert_eq!(bus.remove(text), before - list.len());
                }
                Step::Emit(way) => {
                    let name = if matches!(way, Way::OtherName) { "stock.placed" } else { "order.placed" };
                    let envelope = Envelope::build(name).json(b"1".as_slice()).finish().expect("valid");
                    let matches = |plain: &Plain| Pattern::parse(plain.topic).expect("valid").matches(name);
                    let expected: Vec<String> =
                        list.iter().filter(|plain| matches(plain)).map(|plain| plain.number.to_string()).collect();
                    prop_assert_eq!(bus.listener_count(name), expected.len());
                    let heard = match way {
                        Way::Type => bus.emit(&Placed(1)),
                        Way::Handle => emitter.emit(&Placed(1)),
                        Way::Shared => bus.emit_shared(&Placed(1).into()),
                        Way::Envelope | Way::OtherName => bus.emit_envelope(&envelope),
                    };
                    prop_assert_eq!(diary.take(), expected.join(" "));
                    prop_assert_eq!(heard, expected.len());
                    list.retain(|plain| !(plain.once && matches(plain)));
                }
            }
            let mut names: Vec<&str> = list.iter().map(|plain| plain.topic).collect();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(bus.names(), names);
        }
    }
}
