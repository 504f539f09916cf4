//! Where patterns go for whose shape there is no table: a trie of segments.
//!
//! Nobody pays for a level before it is needed: a node is a short list until that is full, and only then is it split by
//! the next segment. So memory follows the number of patterns and not their length. All places that a topic may have
//! reached are followed side by side, each once, so that no number of `**` makes it slower than there are nodes, times
//! the topic's segments. As in the tables, a hash only narrows, and what is found is verified; beside each pattern in a
//! list stands the hash of one of its segments, so that most need not even be looked at.

use std::{collections::HashMap, hash::BuildHasherDefault};

use tidings_core::Pattern;

use super::{AlreadyHashed, Listeners, segments::Segments};

/// How many patterns a node lists before it is split.
const LISTED: usize = 8;

/// Patterns and what is filed under each.
pub(super) enum Trie<V> {
    /// A few, to be gone through.
    List(Vec<Listed<V>>),
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
    ended: Vec<Listed<V>>,
}

/// A pattern in a list.
pub(super) struct Listed<V> {
    mark: Mark,
    pattern: Pattern,
    listeners: Listeners<V>,
}

/// The last literal segment before any `**`: in the lower byte its place, counted from 1, or 0 if there is none; above
/// that its hash.
#[derive(Clone, Copy)]
struct Mark(u64);

impl Mark {
    const PLACE: u64 = 0xff;

    fn of(pattern: &Pattern, seed: u64) -> Self {
        let fixed = pattern.as_str().split('.').take_while(|segment| *segment != "**");
        let last = (1..).zip(fixed).filter(|(_, segment)| *segment != "*").last();
        Self(last.map_or(0, |(place, literal)| Segments::hash(literal, seed) & !Self::PLACE | place))
    }

    /// Whether a topic may match the pattern.
    #[inline]
    fn may_match(self, segments: &Segments) -> bool {
        let Some(at) = ((self.0 & Self::PLACE) as usize).checked_sub(1) else { return true };
        segments.hashes().get(at).is_some_and(|hash| (hash ^ self.0) & !Self::PLACE == 0)
    }
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
            && !list.iter().any(|listed| listed.pattern == *pattern)
        {
            let mut split = Split::default();
            for listed in std::mem::take(list) {
                *split.entry(&listed.pattern, depth, seed) = listed.listeners;
            }
            *self = Self::Split(Box::new(split));
        }
        match self {
            Self::List(list) => listed(list, pattern, seed),
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
        list.iter().find(|listed| listed.pattern == *pattern).map(|listed| &listed.listeners)
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
        let (mut reached, mut next, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        let mut again = false;
        reach(self, false, &mut reached, &mut lists);
        for hash in segments.hashes() {
            for (split, stays) in reached.drain(..) {
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
                again = true;
                next.sort_unstable_by_key(|(split, _)| address(*split));
                next.dedup_by_key(|(split, _)| address(*split));
            }
            std::mem::swap(&mut reached, &mut next);
        }
        lists.extend(reached.into_iter().map(|(split, _)| &*split.ended));
        if again {
            lists.sort_unstable_by_key(|list| list.as_ptr().addr());
            lists.dedup_by_key(|list| list.as_ptr().addr());
        }
        for listed in lists.into_iter().flatten().filter(|listed| listed.mark.may_match(segments)) {
            if listed.pattern.matches(topic) {
                found(&listed.listeners);
            }
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
            all.extend(list.iter().map(|listed| (&listed.pattern, &listed.listeners)));
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
            all.extend(list.into_iter().map(|listed| listed.listeners));
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
            None => return listed(&mut self.ended, pattern, seed),
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
    lists: &mut Vec<&'a [Listed<V>]>,
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

fn listed<'a, V>(list: &'a mut Vec<Listed<V>>, pattern: &Pattern, seed: u64) -> &'a mut Listeners<V> {
    let at = list.iter().position(|listed| listed.pattern == *pattern).unwrap_or(list.len());
    if at == list.len() {
        let mark = Mark::of(pattern, seed);
        list.push(Listed { mark, pattern: pattern.clone(), listeners: Listeners::default() });
    }
    let Some(listed) = list.get_mut(at) else { unreachable!("it was found or added just now") };
    &mut listed.listeners
}

fn changed<V, R>(
    list: &mut Vec<Listed<V>>,
    pattern: &Pattern,
    change: impl FnOnce(&mut Listeners<V>) -> R,
) -> Option<R> {
    let at = list.iter().position(|listed| listed.pattern == *pattern)?;
    let listed = list.get_mut(at)?;
    let answer = change(&mut listed.listeners);
    if listed.listeners.is_empty() {
        list.swap_remove(at);
    }
    Some(answer)
}
