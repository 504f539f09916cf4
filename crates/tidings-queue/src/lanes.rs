//! What waits at one worker: who is next, and one at a time a key. Does nothing by itself.
//!
//! Entries stay where they were put; what is moved about is their numbers. A key's lane outlives its entries for a while,
//! for most keys come again.

use std::collections::{HashMap, hash_map};

use slab::Slab;

use crate::levels::{LEVELS, Levels, Stands};

/// An entry that waits.
#[derive(Debug)]
pub(crate) struct Job<T> {
    pub(crate) item: T,
    /// Means nothing unless it is keyed.
    pub(crate) key: u64,
    pub(crate) bytes: usize,
    /// When it was pushed, in microseconds.
    pub(crate) since: i64,
    /// Where its key's lane was when it was picked; a guess.
    pub(crate) lane: u32,
    pub(crate) level: u8,
    pub(crate) keyed: bool,
    /// Whether the time is its own, not that of one pushed shortly before.
    pub(crate) stamped: bool,
}

/// What stands in the queues of the levels: an entry without a key, or the turn of a key.
#[derive(Debug, Clone, Copy)]
struct Token {
    since: i64,
    /// Which entry, or which lane.
    at: u32,
    /// A key's turn counts only if it is the newest of its lane: a lane that was lifted has left its old one.
    number: u32,
    level: u8,
    keyed: bool,
}

impl Stands for Token {
    fn since(&self) -> i64 {
        self.since
    }

    fn level(&self) -> u8 {
        self.level
    }
}

/// An entry, and the number of the one behind it.
#[derive(Debug)]
struct Node<T> {
    job: Job<T>,
    next: u32,
}

/// What waits of one key.
#[derive(Debug)]
struct Lane {
    key: u64,
    first: u32,
    last: u32,
    /// How many wait of each level.
    counts: [u32; LEVELS],
    /// The number of its token, and where that was put; there is none at [`NOWHERE`].
    number: u32,
    at: u8,
    /// One of the key runs, perhaps at another worker.
    busy: bool,
}

/// A key that moves to another worker, with what waits of it.
#[derive(Debug)]
pub(crate) struct Leaving<T> {
    key: u64,
    busy: bool,
    jobs: Vec<Job<T>>,
}

const NOWHERE: u8 = LEVELS as u8;

/// The number of no entry.
const NONE: u32 = u32::MAX;

/// How many lanes are kept in which nothing waits or runs.
const IDLE_MAX: usize = 256;

/// For how many entries memory is kept when there are none.
const NODES_KEPT: usize = 4_096;

/// What waits at one worker.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    levels: Levels<Token>,
    nodes: Slab<Node<T>>,
    lanes: Slab<Lane>,
    keys: HashMap<u64, u32, ahash::RandomState>,
    /// How many lanes have nothing to do.
    idle: usize,
    /// How many wait, by their own priority.
    waiting: [usize; LEVELS],
    /// How many of them have no key.
    unkeyed: usize,
    numbers: u32,
}

impl Lane {
    fn new(key: u64) -> Self {
        Self { key, first: NONE, last: NONE, counts: [0; LEVELS], busy: false, number: 0, at: NOWHERE }
    }

    fn push_back<T>(&mut self, nodes: &mut Slab<Node<T>>, job: Job<T>) {
        self.counts[usize::from(job.level)] += 1;
        let at = nodes.insert(Node { job, next: NONE }) as u32;
        match nodes.get_mut(self.last as usize) {
            Some(last) if self.first != NONE => last.next = at,
            _ => self.first = at,
        }
        self.last = at;
    }

    fn push_front<T>(&mut self, nodes: &mut Slab<Node<T>>, job: Job<T>) {
        self.counts[usize::from(job.level)] += 1;
        let at = nodes.insert(Node { job, next: self.first }) as u32;
        if self.first == NONE {
            self.last = at;
        }
        self.first = at;
    }

    fn pop<T>(&mut self, nodes: &mut Slab<Node<T>>) -> Option<Job<T>> {
        let Node { job, next } = nodes.try_remove(self.first as usize)?;
        self.first = next;
        self.counts[usize::from(job.level)] -= 1;
        Some(job)
    }

    fn is_empty(&self) -> bool {
        self.first == NONE
    }

    fn is_idle(&self) -> bool {
        self.is_empty() && !self.busy
    }

    /// The highest level of those that wait.
    fn best(&self) -> Option<u8> {
        self.counts.iter().position(|count| *count > 0).map(|level| level as u8)
    }

    fn since<T>(&self, nodes: &Slab<Node<T>>) -> Option<i64> {
        nodes.get(self.first as usize).map(|node| node.job.since)
    }
}

impl<T> Lanes<T> {
    pub(crate) fn new(weights: Option<[u32; LEVELS]>, ageing: i64) -> Self {
        Self {
            levels: Levels::new(weights, ageing),
            nodes: Slab::new(),
            lanes: Slab::new(),
            keys: HashMap::default(),
            idle: 0,
            waiting: [0; LEVELS],
            unkeyed: 0,
            numbers: 0,
        }
    }

    pub(crate) fn set(&mut self, weights: Option<[u32; LEVELS]>, ageing: i64) {
        self.levels.set(weights, ageing);
    }

    /// How many wait, by their own priority.
    pub(crate) fn waiting(&self) -> [usize; LEVELS] {
        self.waiting
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.iter().sum()
    }

    /// Gives memory back that only many entries need, when there are none.
    pub(crate) fn tidy(&mut self) {
        if self.nodes.is_empty() && self.nodes.capacity() > NODES_KEPT {
            self.nodes = Slab::new();
            self.levels.queues().iter_mut().for_each(|queue| queue.shrink_to(NODES_KEPT));
        }
    }

    /// Whether any could be taken over by another worker.
    pub(crate) fn has_unkeyed(&self) -> bool {
        self.unkeyed > 0
    }

    /// Lets one stand behind those that wait.
    pub(crate) fn push(&mut self, job: Job<T>, now: i64) {
        self.waiting[usize::from(job.level)] += 1;
        if job.keyed {
            let at = self.lane_of(job.key);
            self.lanes[at].push_back(&mut self.nodes, job);
            return self.queue(at, now);
        }
        self.unkeyed += 1;
        let (since, level) = (job.since, job.level);
        let at = self.nodes.insert(Node { job, next: NONE }) as u32;
        self.levels.push(level, Token { since, at, number: 0, level, keyed: false });
    }

    /// Puts one back to the front of its key.
    pub(crate) fn put_back(&mut self, job: Job<T>, now: i64) {
        let at = self.push_front(job);
        self.queue(at, now);
    }

    /// Puts one that runs again before those of its key. The key is free then.
    pub(crate) fn again(&mut self, job: Job<T>, now: i64) {
        if !job.keyed {
            return self.push(job, now);
        }
        let at = self.push_front(job);
        self.free(at, now);
    }

    fn push_front(&mut self, job: Job<T>) -> usize {
        self.waiting[usize::from(job.level)] += 1;
        let at = self.lane_of(job.key);
        self.lanes[at].push_front(&mut self.nodes, job);
        at
    }

    /// The lane of a key, which has something to do from now on.
    fn lane_of(&mut self, key: u64) -> usize {
        match self.keys.entry(key) {
            hash_map::Entry::Occupied(at) => {
                let at = *at.get() as usize;
                self.idle -= usize::from(self.lanes[at].is_idle());
                at
            }
            hash_map::Entry::Vacant(place) => {
                *place.insert(self.lanes.insert(Lane::new(key)) as u32) as usize
            }
        }
    }

    /// None of this key runs any more. `guess` is where its lane was.
    pub(crate) fn settle(&mut self, key: u64, guess: u32, now: i64) {
        let guessed = self.lanes.get(guess as usize).is_some_and(|lane| lane.key == key);
        let at = if guessed { Some(guess) } else { self.keys.get(&key).copied() };
        if let Some(at) = at {
            self.free(at as usize, now);
        }
    }

    fn free(&mut self, at: usize, now: i64) {
        let Some(lane) = self.lanes.get_mut(at).filter(|lane| !lane.is_idle()) else { return };
        lane.busy = false;
        if !lane.is_empty() {
            return self.queue(at, now);
        }
        if self.idle < IDLE_MAX {
            self.idle += 1;
        } else {
            let lane = self.lanes.remove(at);
            self.keys.remove(&lane.key);
        }
    }

    /// Lets a key stand where it belongs, if it does not yet.
    fn queue(&mut self, at: usize, now: i64) {
        let lane = &mut self.lanes[at];
        let Some(best) = lane.best().filter(|best| !lane.busy && *best < lane.at) else { return };
        self.numbers = self.numbers.wrapping_add(1);
        (lane.number, lane.at) = (self.numbers, best);
        let token = Token { since: now, at: at as u32, number: lane.number, level: best, keyed: true };
        self.levels.push(best, token);
    }

    /// The next one to run; if it has a key, the key is busy until it is settled.
    pub(crate) fn pick(&mut self) -> Option<Job<T>> {
        let (lanes, nodes) = (&mut self.lanes, &mut self.nodes);
        let job = self.levels.pop(|token| {
            if !token.keyed {
                return nodes.try_remove(token.at as usize).map(|node| node.job);
            }
            let lane = lanes.get_mut(token.at as usize);
            let lane = lane.filter(|lane| !lane.busy && lane.number == token.number)?;
            let mut job = lane.pop(nodes)?;
            (lane.busy, lane.at, job.lane) = (true, NOWHERE, token.at);
            Some(job)
        })?;
        self.waiting[usize::from(job.level)] -= 1;
        self.unkeyed -= usize::from(!job.keyed);
        Some(job)
    }

    /// Lifts what has waited long enough.
    pub(crate) fn age(&mut self, now: i64) {
        self.levels.age(now);
    }

    /// Takes out the keys that belong elsewhere, with what waits of them.
    pub(crate) fn leaving(&mut self, elsewhere: impl Fn(u64) -> bool) -> Vec<Leaving<T>> {
        let mut all = Vec::new();
        let (lanes, nodes) = (&mut self.lanes, &mut self.nodes);
        for (_, at) in self.keys.extract_if(|key, _| elsewhere(*key)) {
            let mut lane = lanes.remove(at as usize);
            if lane.is_idle() {
                self.idle -= 1;
                continue;
            }
            for (waiting, count) in self.waiting.iter_mut().zip(lane.counts) {
                *waiting -= count as usize;
            }
            let jobs = std::iter::from_fn(|| lane.pop(nodes)).collect();
            all.push(Leaving { key: lane.key, busy: lane.busy, jobs });
        }
        all
    }

    /// Takes over a key.
    pub(crate) fn arrive(&mut self, leaving: Leaving<T>, now: i64) {
        let Leaving { key, busy, jobs } = leaving;
        let at = self.lane_of(key);
        let lane = &mut self.lanes[at];
        lane.busy = busy;
        for job in jobs {
            self.waiting[usize::from(job.level)] += 1;
            lane.push_back(&mut self.nodes, job);
        }
        self.queue(at, now);
    }

    /// Takes out up to `most` that have no key, the highest and oldest first. Looks no further than it has to: at most
    /// at twice as many of each level. `out` is empty.
    pub(crate) fn unkeyed(&mut self, most: usize, out: &mut Vec<Job<T>>) {
        for queue in self.levels.queues() {
            let mut keyed = Vec::new();
            for _ in 0..queue.len().min(most.saturating_mul(2)) {
                if out.len() >= most {
                    break;
                }
                match queue.pop_front() {
                    Some(token) if token.keyed => keyed.push(token),
                    Some(token) => out.extend(self.nodes.try_remove(token.at as usize).map(|node| node.job)),
                    None => break,
                }
            }
            for token in keyed.into_iter().rev() {
                queue.push_front(token);
            }
        }
        for job in out.iter() {
            self.waiting[usize::from(job.level)] -= 1;
        }
        self.unkeyed -= out.len();
    }

    /// Where the one stands that would be dropped first, and since when: of the lowest that wait, the oldest.
    pub(crate) fn droppable(&mut self) -> Option<(u8, i64)> {
        self.sweep();
        if let Some((level, at)) = self.behind() {
            return self.lanes[at].since(&self.nodes).map(|since| (level, since));
        }
        let mut fronts = self.levels.queues().iter().enumerate().rev();
        let (level, token) = fronts.find_map(|(level, queue)| Some((level as u8, *queue.front()?)))?;
        let own = || self.lanes[token.at as usize].since(&self.nodes);
        Some((level, if token.keyed { own().unwrap_or(token.since) } else { token.since }))
    }

    /// Takes that one out.
    pub(crate) fn drop_one(&mut self, now: i64) -> Option<Job<T>> {
        self.sweep();
        let job = if let Some((_, at)) = self.behind() {
            self.lanes[at].pop(&mut self.nodes)?
        } else {
            let mut fronts = self.levels.queues().iter_mut().rev();
            let token = fronts.find_map(|queue| queue.pop_front())?;
            let at = token.at as usize;
            if token.keyed {
                let lane = self.lanes.get_mut(at)?;
                lane.at = NOWHERE;
                // It is busy until it is freed, which puts it where it belongs by now.
                lane.busy = true;
                let job = lane.pop(&mut self.nodes)?;
                self.free(at, now);
                job
            } else {
                self.nodes.try_remove(at)?.job
            }
        };
        self.waiting[usize::from(job.level)] -= 1;
        self.unkeyed -= usize::from(!job.keyed);
        Some(job)
    }

    /// Forgets tokens at the fronts that count no more.
    fn sweep(&mut self) {
        let lanes = &self.lanes;
        let counts = |token: &Token| {
            let lane = lanes.get(token.at as usize);
            !token.keyed || lane.is_some_and(|lane| lane.at != NOWHERE && lane.number == token.number)
        };
        for queue in self.levels.queues() {
            while queue.front().is_some_and(|token| !counts(token)) {
                queue.pop_front();
            }
        }
    }

    /// A key that runs, behind which lower ones wait than stand anywhere.
    fn behind(&mut self) -> Option<(u8, usize)> {
        let lowest = (0..LEVELS).rev().find(|level| self.waiting[*level] > 0)?;
        if !self.levels.queues()[lowest].is_empty() {
            return None;
        }
        let followers = self.lanes.iter().filter(|(_, lane)| lane.busy && lane.counts[lowest] > 0);
        let oldest = followers.min_by_key(|(_, lane)| lane.since(&self.nodes).unwrap_or(i64::MAX))?;
        Some((lowest as u8, oldest.0))
    }

    /// Everything that waits, in order a key.
    pub(crate) fn drain(&mut self) -> Vec<Job<T>> {
        let mut all = Vec::with_capacity(self.len());
        let nodes = &mut self.nodes;
        for queue in self.levels.queues() {
            for token in queue.drain(..).filter(|token| !token.keyed) {
                all.extend(nodes.try_remove(token.at as usize).map(|node| node.job));
            }
        }
        for mut lane in self.lanes.drain() {
            all.extend(std::iter::from_fn(|| lane.pop(nodes)));
        }
        self.keys.clear();
        (self.waiting, self.unkeyed, self.idle) = ([0; LEVELS], 0, 0);
        all
    }
}
