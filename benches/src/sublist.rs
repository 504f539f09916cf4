//! A trie of patterns in the form that the NATS server calls a sublist, as a peer: one map a level, `*` and `>` beside
//! it, and a cache of results in front.
//!
//! Written from its description and in Rust, so that it differs in the algorithm alone. `**` as the last segment stands
//! for `>` but, as with the other peers, also for no segment at all.

use std::{collections::HashMap, sync::Arc};

/// How many results the cache holds, as in the original.
const CACHED: usize = 1024;

/// How many segments a topic may have.
const SEGMENTS: usize = 32;

/// Patterns, and under each the numbers of who listens.
#[derive(Debug, Default)]
pub struct Sublist {
    root: Level,
    cache: HashMap<Box<str>, Arc<[u32]>, ahash::RandomState>,
}

#[derive(Debug, Default)]
struct Level {
    literals: HashMap<Box<str>, Self, ahash::RandomState>,
    star: Option<Box<Self>>,
    rest: Vec<u32>,
    here: Vec<u32>,
}

impl Sublist {
    /// Adds a listener. The cache is emptied, which is the simplest of what the original does.
    pub fn insert(&mut self, pattern: &str, listener: u32) {
        let list = self.root.list(pattern);
        list.push(listener);
        self.cache.clear();
    }

    /// Takes a listener out.
    pub fn remove(&mut self, pattern: &str, listener: u32) {
        let segments: Vec<&str> = pattern.split('.').collect();
        self.root.remove(&segments, listener);
        self.cache.clear();
    }

    /// Who listens to a topic, without asking the cache.
    pub fn matching(&self, topic: &str) -> Vec<u32> {
        let (mut segments, mut count) = ([""; SEGMENTS], 0);
        for (place, segment) in segments.iter_mut().zip(topic.split('.')) {
            *place = segment;
            count += 1;
        }
        let mut found = Vec::new();
        self.root.matching(segments.get(..count).unwrap_or_default(), &mut found);
        found
    }

    /// Who listens to a topic, from the cache if it is there.
    pub fn cached(&mut self, topic: &str) -> Arc<[u32]> {
        if let Some(found) = self.cache.get(topic) {
            return found.clone();
        }
        let found: Arc<[u32]> = self.matching(topic).into();
        if self.cache.len() >= CACHED {
            self.cache.clear();
        }
        self.cache.insert(topic.into(), found.clone());
        found
    }
}

impl Level {
    fn list(&mut self, pattern: &str) -> &mut Vec<u32> {
        let mut level = self;
        for segment in pattern.split('.') {
            level = match segment {
                "**" => return &mut level.rest,
                "*" => level.star.get_or_insert_default(),
                literal => level.literals.entry(literal.into()).or_default(),
            };
        }
        &mut level.here
    }

    fn remove(&mut self, segments: &[&str], listener: u32) {
        let Some((first, behind)) = segments.split_first() else {
            return self.here.retain(|have| *have != listener);
        };
        match *first {
            "**" => self.rest.retain(|have| *have != listener),
            "*" => {
                if let Some(star) = &mut self.star {
                    star.remove(behind, listener);
                    self.star.take_if(|star| star.is_empty());
                }
            }
            literal => {
                if let Some(next) = self.literals.get_mut(literal) {
                    next.remove(behind, listener);
                    if next.is_empty() {
                        self.literals.remove(literal);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.star.is_none() && self.rest.is_empty() && self.here.is_empty()
    }

    fn matching(&self, segments: &[&str], found: &mut Vec<u32>) {
        found.extend_from_slice(&self.rest);
        let Some((first, behind)) = segments.split_first() else {
            return found.extend_from_slice(&self.here);
        };
        if let Some(next) = self.literals.get(*first) {
            next.matching(behind, found);
        }
        if let Some(next) = &self.star {
            next.matching(behind, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Pattern;

    use super::*;
    use crate::topics;

    #[test]
    fn it_finds_what_the_definition_finds_before_and_after_removals() {
        let topics = topics::plain(400, 200);
        let mut sublist = Sublist::default();
        for (number, pattern) in (0..).zip(&topics.patterns) {
            sublist.insert(pattern, number);
        }
        for left in [400, 200, 0] {
            for (number, pattern) in (0..).zip(&topics.patterns).skip(left) {
                sublist.remove(pattern, number);
            }
            for topic in &topics.topics {
                let matches = |text: &str| Pattern::parse(text).expect("valid").matches(topic);
                let expected: Vec<u32> = (0..)
                    .zip(topics.patterns.iter().take(left))
                    .filter(|(_, text)| matches(text))
                    .map(|(number, _)| number)
                    .collect();
                let mut found = sublist.matching(topic);
                found.sort_unstable();
                assert_eq!(found, expected, "{topic}");
                assert_eq!(sublist.cached(topic).len(), expected.len());
                assert_eq!(sublist.cached(topic).len(), expected.len(), "and again, now from the cache");
            }
        }
        assert!(sublist.root.is_empty());
    }
}
