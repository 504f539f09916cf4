//! The router against the definition: a list of all patterns, each asked whether it matches.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::rank::{End, Ranks};

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("valid")
}

fn found(router: &Router<u32>, topic: &str) -> Vec<u32> {
    let mut values = Vec::new();
    router.matching(topic, |_, value| values.push(*value));
    values.sort_unstable();
    values
}

fn segment() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("*"), Just("**")]
}

proptest! {
    #[test]
    fn it_finds_exactly_what_the_definition_finds_after_any_inserts_and_removals(
        patterns in proptest::collection::vec(proptest::collection::vec(segment(), 1..6), 0..120),
        removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
        topics in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("d")], 1..6), 1..20),
        tables_are_taken: bool,
    ) {
        let ranks = Ranks::default();
        let mut router = Router::new(7);
        let mut list = Vec::new();
        if tables_are_taken {
            take_all_tables(&mut router);
        }
        for (value, segments) in (0..).zip(&patterns) {
            let (pattern, rank) = (pattern(&segments.join(".")), ranks.next(0, End::Last));
            router.insert(&pattern, rank, value);
            list.push((pattern, rank, value));
        }
        for index in removed {
            if !list.is_empty() {
                let (pattern, rank, value) = list.swap_remove(index.index(list.len()));
                prop_assert!(router.contains(&pattern, rank));
                prop_assert_eq!(router.remove(&pattern, rank), Some(value));
                prop_assert_eq!(router.remove(&pattern, rank), None);
                prop_assert!(!router.contains(&pattern, rank));
            }
        }
        if tables_are_taken {
            // Those that come back find a table, while others of their shape stay where they are.
            router.families.clear();
            for (pattern, rank, value) in list.iter().take(10) {
                prop_assert_eq!(router.remove(pattern, *rank), Some(*value));
                router.insert(pattern, *rank, *value);
            }
        }
        for topic in topics {
            let topic = topic.join(".");
            let mut expected: Vec<u32> =
                list.iter().filter(|(pattern, ..)| pattern.matches(&topic)).map(|(.., value)| *value).collect();
            expected.sort_unstable();
            prop_assert_eq!(router.matching_count(&topic), expected.len());
            prop_assert_eq!(found(&router, &topic), expected, "{}", topic);
        }
        let kept: BTreeSet<&str> = list.iter().map(|(pattern, ..)| pattern.as_str()).collect();
        prop_assert_eq!(router.patterns().collect::<BTreeSet<&str>>(), kept);
        let mut all: Vec<u32> = list.iter().map(|(.., value)| *value).collect();
        all.sort_unstable();
        let mut drained: Vec<u32> = router.drain().collect();
        drained.sort_unstable();
        prop_assert_eq!(drained, all);
        prop_assert!(router.families.is_empty() && router.others.is_empty());
    }
}

/// Gives all tables away to shapes that nothing else here has.
fn take_all_tables(router: &mut Router<u32>) {
    let ranks = Ranks::default();
    for segments in 0..SHAPES_MAX {
        let (stars, more) = (segments % 16, segments / 16);
        let text = format!("x.x.x.x.x.x.x.x{}{}", ".*".repeat(stars), ".y".repeat(more));
        router.insert(&pattern(&text), ranks.next(0, End::Last), 0);
    }
    assert_eq!(router.families.len(), SHAPES_MAX);
}

/// Patterns of 128 different shapes: every combination of literal and `*` in seven positions.
fn many_shapes() -> Vec<Pattern> {
    let text = |mask: u32| {
        let segments: Vec<&str> = (0..7).map(|at| if mask & (1 << at) == 0 { "*" } else { "a" }).collect();
        segments.join(".")
    };
    (0..128).map(|mask| pattern(&text(mask))).collect()
}

#[test]
fn patterns_of_ever_new_shapes_share_a_bounded_number_of_tables_and_are_all_found() {
    let (ranks, mut router) = (Ranks::default(), Router::new(7));
    for (value, pattern) in (0..).zip(many_shapes()) {
        router.insert(&pattern, ranks.next(0, End::Last), value);
    }
    assert!(router.families.len() <= SHAPES_MAX, "{} tables", router.families.len());
    assert_eq!(found(&router, "a.a.a.a.a.a.a").len(), 128);
    assert_eq!(found(&router, "b.a.a.a.a.a.a").len(), 64);
    assert_eq!(found(&router, "a.a.a.a.a.a"), Vec::<u32>::new());
}

#[test]
fn a_pattern_that_was_filed_both_ways_is_removed_from_both_places() {
    let (ranks, mut router) = (Ranks::default(), Router::new(7));
    let shapes = many_shapes();
    let filed: Vec<Rank> = shapes
        .iter()
        .map(|pattern| {
            let rank = ranks.next(0, End::Last);
            router.insert(pattern, rank, 1);
            rank
        })
        .collect();
    let (late, first) = (&shapes[127], &shapes[1]);
    assert_eq!(router.remove(first, filed[1]), Some(1));
    let again = ranks.next(0, End::Last);
    router.insert(late, again, 2);
    assert!(router.contains(late, filed[127]) && router.contains(late, again));
    let mut both = router.remove_pattern(late);
    both.sort_unstable();
    assert_eq!(both, [1, 2]);
    assert!(!router.contains(late, filed[127]) && !router.contains(late, again));
}

#[test]
fn segments_that_collide_are_told_apart_by_comparing_them() {
    let (ranks, mut router) = (Ranks::default(), Router::new(7));
    router.insert(&pattern("a.*"), ranks.next(0, End::Last), 1);
    let (_, key) = router.place(&pattern("a.*")).expect("one");
    let filed = router.families[0].table.remove(key, |_| true).expect("one");
    let topic = Segments::of("b.x", 7).expect("few");
    let collision = router.families[0].shape.key(&topic).expect("fits");
    router.families[0].table.insert(collision, filed);
    assert_eq!(found(&router, "b.x"), Vec::<u32>::new());
}

#[test]
fn a_name_with_more_segments_than_a_topic_can_have_matches_nothing() {
    let mut router = Router::new(7);
    router.insert(&Pattern::all(), Ranks::default().next(0, End::Last), 1);
    assert_eq!(found(&router, &["a"; 32].join(".")), [1]);
    assert_eq!(found(&router, &["a"; 33].join(".")), Vec::<u32>::new());
}

impl<V> Router<V> {
    fn contains(&self, pattern: &Pattern, rank: Rank) -> bool {
        self.get(pattern, rank).is_some()
    }
}

#[test]
fn many_wildcards_in_the_trie_cost_no_more_than_its_nodes_and_find_each_pattern_once() {
    let (ranks, mut router) = (Ranks::default(), Router::new(7));
    take_all_tables(&mut router);
    for (value, mask) in (1..).zip(0..512_u32) {
        let segment = |at: u32| if mask & (1 << at) == 0 { "**.a" } else { "a.**" };
        let text: Vec<&str> = (0..9).map(segment).collect();
        router.insert(&pattern(&text.join(".").replace("**.**", "**")), ranks.next(0, End::Last), value);
    }
    assert!(!router.others.is_empty());
    assert_eq!(found(&router, &["a"; 32].join(".")), (1..=512).collect::<Vec<_>>());
    assert_eq!(found(&router, &["a"; 9].join(".")), (1..=512).collect::<Vec<_>>());
    assert_eq!(found(&router, &["a"; 8].join(".")), Vec::<u32>::new());
}

#[test]
fn patterns_with_several_double_wildcards_do_not_all_fall_into_one_place() {
    let (ranks, mut router) = (Ranks::default(), Router::new(7));
    for value in 0..10_000 {
        router.insert(&pattern(&format!("**.w{value}.**")), ranks.next(0, End::Last), value);
    }
    assert!(router.families.is_empty(), "no table would tell them apart");
    assert_eq!(found(&router, "a.w77.b"), [77]);
    assert_eq!(found(&router, "w77.w78"), [77, 78]);
}

#[test]
fn a_pattern_with_one_listener_is_small() {
    type Listener = std::sync::Arc<dyn crate::hear::Hear<tidings_core::Envelope>>;
    assert!(size_of::<Filed<Listener>>() <= 72, "{}", size_of::<Filed<Listener>>());
}
