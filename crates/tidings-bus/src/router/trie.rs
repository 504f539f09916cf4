//! Where patterns go for whose shape there is no table: a trie of segments.
//!
//! Nobody pays for a level before it is needed: a node is a short list until that is full, and only then is it split by
//! the next segment. So memory follows the number of patterns and not their length. All places that a topic may have
//! reached are followed side by side, each once, so that no number of `**` makes it slower than there are nodes, times
//! the topic's segments. As in the tables, a hash only narrows, and what is found is verified.

use std::{collections::HashMap, hash::BuildHasherDefault};

use tidings_core::Pattern;

use super::{AlreadyHashed, Listeners, segments::Segments};

/// How many patterns a node lists before it is split.
const LISTED: usize = 8;

/// Patterns and what is filed under each.
pub(super) enum Trie<V> {
    /// A few, to be gone through.
    List(Vec<(Pattern, Listeners<V>)>),
    /// More, by their next segment. Never without any pattern.
    Split(Box<Split<V>>),
}

/// Patterns by the segment in one place.
pub(super) struct Split<V> {
    /// By the hash of a literal segment.
    literals: HashMap<u64, Trie<V>, BuildHasherDefault<AlreadyHashed>>,
    /// Behind `*`.
    one: Trie<V>,
    /// Behind `**`.
    any: Trie<V>,
    /// Those that end before this place.
    ended: Vec<(Pattern, Listeners<V>)>,
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl<V> Default for Split<V> {
    fn default() -> Self {
        Self { literals: HashMap::default(), one: Trie::default(), any: Trie::default(), ended: Vec::new() }
    }
}

impl<V> Trie<V> {
    /// Whether there is no pattern.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::List(list) if list.is_empty())
    }

    /// What is filed under a pattern; made if it is missing. The depth is that of this node.
    pub(super) fn entry(&mut self, pattern: &Pattern, depth: usize, seed: u64) -> &mut Listeners<V> {
        if let Self::List(list) = self
            && list.len() >= LISTED
            && !list.iter().any(|(have, _)| have == pattern)
        {
            let mut split = Split::default();
            for (have, listeners) in std::mem::take(list) {
                *split.entry(&have, depth, seed) = listeners;
            }
            *self = Self::Split(Box::new(split));
        }
        match self {
            Self::List(list) => listed(list, pattern),
            Self::Split(split) => split.entry(pattern, depth, seed),
        }
    }

    /// What is filed under a pattern.
    pub(super) fn get(&self, pattern: &Pattern, seed: u64) -> Option<&Listeners<V>> {
        let (mut node, mut segments) = (self, pattern.as_str().split('.'));
        let list = loop {
            match node {
                Self::List(list) => break list,
                Self::Split(split) => match segments.next() {
                    Some("*") => node = &split.one,
                    Some("**") => node = &split.any,
                    Some(literal) => node = split.literals.get(&Segments::hash(literal, seed))?,
                    None => break &split.ended,
                },
            }
        };
        list.iter().find(|(have, _)| have == pattern).map(|(_, listeners)| listeners)
    }

    /// Changes what is filed under a pattern, and forgets the pattern with the last of it.
    pub(super) fn change<R>(
        &mut self,
        pattern: &Pattern,
        depth: usize,
        seed: u64,
        change: impl FnOnce(&mut Listeners<V>) -> R,
    ) -> Option<R> {
        match self {
            Self::List(list) => changed(list, pattern, change),
            Self::Split(split) => {
                let answer = split.change(pattern, depth, seed, change);
                if split.is_empty() {
                    *self = Self::default();
                }
                answer
            }
        }
    }

    /// Calls `found` for each pattern that matches, once.
    pub(super) fn matching<'a>(
        &'a self,
        topic: &str,
        segments: &Segments,
        mut found: impl FnMut(&'a Listeners<V>),
    ) {
        let (mut reached, mut lists) = (Vec::new(), Vec::new());
        reach(self, false, &mut reached, &mut lists);
        for hash in segments.hashes() {
            let mut next = Vec::with_capacity(reached.len() + 2);
            for (split, stays) in reached {
                if let Some(node) = split.literals.get(hash) {
                    reach(node, false, &mut next, &mut lists);
                }
                reach(&split.one, false, &mut next, &mut lists);
                if stays {
                    next.push((split, true));
                }
            }
            // Behind `**` a place may be reached on more than one way.
            if next.iter().any(|(_, stays)| *stays) {
                next.sort_unstable_by_key(|(split, _)| address(*split));
                next.dedup_by_key(|(split, _)| address(*split));
            }
            reached = next;
        }
        lists.extend(reached.into_iter().map(|(split, _)| &*split.ended));
        lists.sort_unstable_by_key(|list| list.as_ptr().addr());
        lists.dedup_by_key(|list| list.as_ptr().addr());
        for (_, listeners) in lists.into_iter().flatten().filter(|(pattern, _)| pattern.matches(topic)) {
            found(listeners);
        }
    }

    /// All patterns, in no order.
    pub(super) fn all(&self) -> Vec<(&Pattern, &Listeners<V>)> {
        let (mut all, mut nodes) = (Vec::new(), vec![self]);
        while let Some(node) = nodes.pop() {
            let list = match node {
                Self::List(list) => list,
                Self::Split(split) => {
                    nodes.extend(split.literals.values().chain([&split.one, &split.any]));
                    &split.ended
                }
            };
            all.extend(list.iter().map(|(pattern, listeners)| (pattern, listeners)));
        }
        all
    }

    /// Everything that is filed, taking it apart.
    pub(super) fn into_all(self) -> Vec<Listeners<V>> {
        let (mut all, mut nodes) = (Vec::new(), vec![self]);
        while let Some(node) = nodes.pop() {
            let list = match node {
                Self::List(list) => list,
                Self::Split(split) => {
                    nodes.extend(split.literals.into_values().chain([split.one, split.any]));
                    split.ended
                }
            };
            all.extend(list.into_iter().map(|(_, listeners)| listeners));
        }
        all
    }
}

impl<V> Split<V> {
    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.one.is_empty() && self.any.is_empty() && self.ended.is_empty()
    }

    fn entry(&mut self, pattern: &Pattern, depth: usize, seed: u64) -> &mut Listeners<V> {
        let node = match pattern.as_str().split('.').nth(depth) {
            None => return listed(&mut self.ended, pattern),
            Some("*") => &mut self.one,
            Some("**") => &mut self.any,
            Some(literal) => self.literals.entry(Segments::hash(literal, seed)).or_default(),
        };
        node.entry(pattern, depth + 1, seed)
    }

    fn change<R>(
        &mut self,
        pattern: &Pattern,
        depth: usize,
        seed: u64,
        change: impl FnOnce(&mut Listeners<V>) -> R,
    ) -> Option<R> {
        match pattern.as_str().split('.').nth(depth) {
            None => changed(&mut self.ended, pattern, change),
            Some("*") => self.one.change(pattern, depth + 1, seed, change),
            Some("**") => self.any.change(pattern, depth + 1, seed, change),
            Some(literal) => {
                let hash = Segments::hash(literal, seed);
                let node = self.literals.get_mut(&hash)?;
                let answer = node.change(pattern, depth + 1, seed, change);
                if node.is_empty() {
                    self.literals.remove(&hash);
                }
                answer
            }
        }
    }
}

/// Notes that a topic has reached a node. With `stays` it is behind `**` and stays reached.
fn reach<'a, V>(
    mut node: &'a Trie<V>,
    mut stays: bool,
    reached: &mut Vec<(&'a Split<V>, bool)>,
    lists: &mut Vec<&'a [(Pattern, Listeners<V>)]>,
) {
    // `**` may stand for nothing, so that what is behind it is reached as well.
    loop {
        match node {
            Trie::List(list) if list.is_empty() => return,
            Trie::List(list) => return lists.push(list),
            Trie::Split(split) => {
                reached.push((split, stays));
                (node, stays) = (&split.any, true);
            }
        }
    }
}

fn address<T>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

fn listed<'a, V>(list: &'a mut Vec<(Pattern, Listeners<V>)>, pattern: &Pattern) -> &'a mut Listeners<V> {
    let at = list.iter().position(|(have, _)| have == pattern).unwrap_or(list.len());
    if at == list.len() {
        list.push((pattern.clone(), Listeners::default()));
    }
    let Some((_, listeners)) = list.get_mut(at) else { unreachable!("it was found or added just now") };
    listeners
}

fn changed<V, R>(
    list: &mut Vec<(Pattern, Listeners<V>)>,
    pattern: &Pattern,
    change: impl FnOnce(&mut Listeners<V>) -> R,
) -> Option<R> {
    let at = list.iter().position(|(have, _)| have == pattern)?;
    let (_, listeners) = list.get_mut(at)?;
    let answer = change(listeners);
    if listeners.is_empty() {
        list.swap_remove(at);
    }
    Some(answer)
}
