//! Patterns and topics for the jobs about matching: the same for every peer, and the same in every run.

use std::collections::HashSet;

/// Patterns to subscribe to, all different, and topics to ask for, all different.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Only forms that every peer knows: literals, `*` for one segment, and `**` as the last segment.
    pub patterns: Vec<String>,
    /// Each made from one of the patterns, so that it has at least one listener.
    pub topics: Vec<String>,
}

/// How many different words there are in the first, second and last place of a plain topic.
const REGIONS: u64 = 16;
const KINDS: u64 = 24;
const VERBS: u64 = 8;

/// Orders of kinds in regions: half of the patterns are literal, the others of six shapes with wildcards.
pub fn plain(patterns: usize, topics: usize) -> Topics {
    let mut random = Random::new(11);
    let ids = (patterns as u64 / 4).max(4);
    let make = |random: &mut Random| {
        let (region, kind) = (random.below(REGIONS), random.below(KINDS));
        let (id, verb) = (random.below(ids), random.below(VERBS));
        let [region, kind, id, verb] =
            [format!("region-{region}"), format!("kind-{kind}"), format!("o{id}"), format!("verb-{verb}")];
        match random.below(12) {
            0 => format!("{region}.*.{id}.{verb}"),
            1 => format!("{region}.{kind}.{id}.*"),
            2 => format!("{region}.{kind}.{id}.**"),
            3 => format!("*.{kind}.{id}.{verb}"),
            4 => format!("*.{kind}.{id}.**"),
            5 => format!("{region}.*.{id}.**"),
            _ => format!("{region}.{kind}.{id}.{verb}"),
        }
    };
    let patterns = different(patterns, || make(&mut random));
    let fill = |random: &mut Random, at: usize| match at {
        0 => format!("region-{}", random.below(REGIONS)),
        1 => format!("kind-{}", random.below(KINDS)),
        _ => format!("verb-{}", random.below(VERBS)),
    };
    asked(patterns, topics, fill)
}

/// How many words there are for one place of a long topic.
const WORDS: u64 = 1_000;

/// How many places of a long topic may be wild, after the first.
const PLACES: u64 = 16;

/// Long patterns, every one with wildcards in other places than any other, and all with the same first word: what is
/// worst for an index by the places of wildcards.
pub fn of_many_shapes(patterns: usize, topics: usize) -> Topics {
    long(patterns, topics, |number| number)
}

/// As many and as long, but all with their wildcards in the same places.
pub fn of_one_shape(patterns: usize, topics: usize) -> Topics {
    long(patterns, topics, |_| 0b0101_0101_0101_0101)
}

fn long(patterns: usize, topics: usize, wild: impl Fn(u64) -> u64) -> Topics {
    let mut random = Random::new(13);
    // Numbers times an odd constant, modulo a power of two: each once, but mixed.
    let mut number = 0_u64;
    let mut make = || {
        number += 1;
        let wild = wild(number.wrapping_mul(40_503) % (1 << PLACES));
        let word = |at: u64| {
            if wild & (1 << at) == 0 { format!("w{}", random.below(WORDS)) } else { "*".to_owned() }
        };
        let words: Vec<String> = (0..PLACES).map(word).collect();
        format!("tenant.{}", words.join("."))
    };
    let patterns = different(patterns, &mut make);
    asked(patterns, topics, |random, _| format!("w{}", random.below(WORDS)))
}

fn different(count: usize, mut make: impl FnMut() -> String) -> Vec<String> {
    let mut seen = HashSet::with_capacity(count);
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let text = make();
        if seen.insert(text.clone()) {
            all.push(text);
        }
    }
    all
}

/// Topics that match a pattern each, chosen at random; `fill` gives the word for a wildcard in a place.
fn asked(patterns: Vec<String>, count: usize, fill: impl Fn(&mut Random, usize) -> String) -> Topics {
    let mut random = Random::new(17);
    let mut seen = HashSet::new();
    let mut topics = Vec::with_capacity(count);
    // Few patterns may not give that many different topics; then there are fewer.
    for _ in 0..count * 2 {
        let Some(pattern) = patterns.get(random.below(patterns.len() as u64) as usize) else { break };
        let words: Vec<String> = pattern
            .split('.')
            .enumerate()
            .map(|(at, word)| if word.starts_with('*') { fill(&mut random, at) } else { word.to_owned() })
            .collect();
        let topic = words.join(".");
        if topics.len() < count && seen.insert(topic.clone()) {
            topics.push(topic);
        }
    }
    Topics { patterns, topics }
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Pattern;

    use super::*;

    fn check(topics: &Topics) {
        let patterns: Vec<Pattern> =
            topics.patterns.iter().map(|text| Pattern::parse(text).expect("valid")).collect();
        for topic in &topics.topics {
            assert!(patterns.iter().any(|pattern| pattern.matches(topic)), "{topic}");
        }
        let different: HashSet<&String> = topics.patterns.iter().collect();
        assert_eq!(different.len(), topics.patterns.len());
    }

    #[test]
    fn every_topic_has_a_listener_and_no_pattern_comes_twice() {
        for topics in [plain(1_000, 100), plain(10, 100), of_many_shapes(500, 50), of_one_shape(500, 50)] {
            check(&topics);
        }
        assert_eq!(plain(10, 100).patterns, plain(10, 100).patterns);
    }

    #[test]
    fn no_two_patterns_of_the_adversary_have_their_wildcards_in_the_same_places() {
        let wild = |text: &String| text.split('.').map(|word| word == "*").collect::<Vec<_>>();
        let shapes: HashSet<_> = of_many_shapes(50_000, 1).patterns.iter().map(wild).collect();
        assert_eq!(shapes.len(), 50_000);
        let shapes: HashSet<_> = of_one_shape(1_000, 1).patterns.iter().map(wild).collect();
        assert_eq!(shapes.len(), 1);
    }
}
