//! What waits at one worker: who is next, and one at a time a key. Does nothing by itself.

use std::collections::{HashMap, VecDeque, hash_map};

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
    pub(crate) level: u8,
    pub(crate) keyed: bool,
    /// Whether the time is its own, not that of one pushed shortly before.
    pub(crate) stamped: bool,
}

/// What stands in the queues of the levels.
#[derive(Debug)]
enum Token<T> {
    One(Job<T>),
    /// The turn of a key. It counts only if it is the newest of its lane: a lane that was lifted has left its old one.
    Key {
        key: u64,
        number: u32,
        since: i64,
        level: u8,
    },
}

impl<T> Stands for Token<T> {
    fn since(&self) -> i64 {
        match self {
            Self::One(job) => job.since,
            Self::Key { since, .. } => *since,
        }
    }

    fn level(&self) -> u8 {
        match self {
            Self::One(job) => job.level,
            Self::Key { level, .. } => *level,
        }
    }
}

/// What waits of one key.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    /// The next one: most keys have only that.
    first: Option<Job<T>>,
    rest: VecDeque<Job<T>>,
    /// How many wait of each level.
    counts: [u32; LEVELS],
    /// One of the key runs, perhaps at another worker.
    busy: bool,
    /// The number of its token, and where that was put; there is none at [`NOWHERE`].
    number: u32,
    at: u8,
}

const NOWHERE: u8 = LEVELS as u8;

/// What waits at one worker.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    levels: Levels<Token<T>>,
    lanes: HashMap<u64, Lane<T>, ahash::RandomState>,
    /// How many wait, by their own priority.
    waiting: [usize; LEVELS],
    /// How many of them have no key.
    unkeyed: usize,
    numbers: u32,
}

impl<T> Lane<T> {
    fn new() -> Self {
        Self { first: None, rest: VecDeque::new(), counts: [0; LEVELS], busy: false, number: 0, at: NOWHERE }
    }

    fn push_back(&mut self, job: Job<T>) {
        self.counts[usize::from(job.level)] += 1;
        if self.first.is_none() { self.first = Some(job) } else { self.rest.push_back(job) }
    }

    fn push_front(&mut self, job: Job<T>) {
        self.counts[usize::from(job.level)] += 1;
        if let Some(second) = self.first.replace(job) {
            self.rest.push_front(second);
        }
    }

    fn pop(&mut self) -> Option<Job<T>> {
        let job = self.first.take()?;
        self.first = self.rest.pop_front();
        self.counts[usize::from(job.level)] -= 1;
        Some(job)
    }

    /// The highest level of those that wait.
    fn best(&self) -> Option<u8> {
        self.counts.iter().position(|count| *count > 0).map(|level| level as u8)
    }

    fn jobs(self) -> impl Iterator<Item = Job<T>> {
        self.first.into_iter().chain(self.rest)
    }
}

impl<T> Lanes<T> {
    pub(crate) fn new(weights: Option<[u32; LEVELS]>, ageing: i64) -> Self {
        Self {
            levels: Levels::new(weights, ageing),
            lanes: HashMap::default(),
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

    /// Whether any could be taken over by another worker.
    pub(crate) fn has_unkeyed(&self) -> bool {
        self.unkeyed > 0
    }

    /// Takes one that waits.
    pub(crate) fn push(&mut self, job: Job<T>, now: i64) {
        self.waiting[usize::from(job.level)] += 1;
        if !job.keyed {
            self.unkeyed += 1;
            return self.levels.push(job.level, Token::One(job));
        }
        let key = job.key;
        self.lanes.entry(key).or_insert_with(Lane::new).push_back(job);
        self.queue(key, now);
    }

    /// Puts one back to the front of its key.
    pub(crate) fn put_back(&mut self, job: Job<T>, now: i64) {
        let key = job.key;
        self.waiting[usize::from(job.level)] += 1;
        self.lanes.entry(key).or_insert_with(Lane::new).push_front(job);
        self.queue(key, now);
    }

    /// Puts one that runs again before those of its key. The key is free then.
    pub(crate) fn again(&mut self, job: Job<T>, now: i64) {
        if !job.keyed {
            return self.push(job, now);
        }
        let key = job.key;
        self.waiting[usize::from(job.level)] += 1;
        self.lanes.entry(key).or_insert_with(Lane::new).push_front(job);
        self.settle(key, now);
    }

    /// None of this key runs any more.
    pub(crate) fn settle(&mut self, key: u64, now: i64) {
        let hash_map::Entry::Occupied(mut lane) = self.lanes.entry(key) else { return };
        lane.get_mut().busy = false;
        if lane.get().first.is_none() {
            lane.remove();
        } else {
            self.queue(key, now);
        }
    }

    /// Lets a key stand where it belongs, if it does not yet.
    fn queue(&mut self, key: u64, now: i64) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let Some(best) = lane.best().filter(|best| !lane.busy && *best < lane.at) else { return };
        self.numbers = self.numbers.wrapping_add(1);
        (lane.number, lane.at) = (self.numbers, best);
        self.levels.push(best, Token::Key { key, number: lane.number, since: now, level: best });
    }

    /// The next one to run; if it has a key, the key is busy until it is settled.
    pub(crate) fn pick(&mut self) -> Option<Job<T>> {
        let lanes = &mut self.lanes;
        let job = self.levels.pop(|token| match token {
            Token::One(job) => Some(job),
            Token::Key { key, number, .. } => {
                let lane = lanes.get_mut(&key).filter(|lane| !lane.busy && lane.number == number)?;
                let job = lane.pop()?;
                (lane.busy, lane.at) = (true, NOWHERE);
                Some(job)
            }
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
    pub(crate) fn leaving(&mut self, elsewhere: impl Fn(u64) -> bool) -> Vec<(u64, Lane<T>)> {
        let gone: Vec<_> = self.lanes.extract_if(|key, _| elsewhere(*key)).collect();
        for (_, lane) in &gone {
            for (waiting, count) in self.waiting.iter_mut().zip(lane.counts) {
                *waiting -= count as usize;
            }
        }
        gone
    }

    /// Takes over a key.
    pub(crate) fn arrive(&mut self, key: u64, mut lane: Lane<T>, now: i64) {
        for (waiting, count) in self.waiting.iter_mut().zip(lane.counts) {
            *waiting += count as usize;
        }
        lane.at = NOWHERE;
        self.lanes.insert(key, lane);
        self.queue(key, now);
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
                    Some(Token::One(job)) => out.push(job),
                    Some(token) => keyed.push(token),
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
        if let Some((level, key)) = self.behind() {
            return self.lanes[&key].first.as_ref().map(|job| (level, job.since));
        }
        let lanes = &self.lanes;
        let fronts = self.levels.queues().iter().enumerate().rev();
        fronts.filter_map(|(level, queue)| queue.front().map(|token| (level as u8, token))).next().map(
            |(level, token)| {
                let since = match token {
                    Token::One(job) => job.since,
                    Token::Key { key, since, .. } => {
                        lanes[key].first.as_ref().map_or(*since, |job| job.since)
                    }
                };
                (level, since)
            },
        )
    }

    /// Takes that one out.
    pub(crate) fn drop_one(&mut self, now: i64) -> Option<Job<T>> {
        self.sweep();
        let job = if let Some((_, key)) = self.behind() {
            self.lanes.get_mut(&key)?.pop()?
        } else {
            match self.levels.queues().iter_mut().rev().find_map(VecDeque::pop_front)? {
                Token::One(job) => job,
                Token::Key { key, .. } => {
                    let lane = self.lanes.get_mut(&key)?;
                    lane.at = NOWHERE;
                    let job = lane.pop()?;
                    self.settle(key, now);
                    job
                }
            }
        };
        self.waiting[usize::from(job.level)] -= 1;
        self.unkeyed -= usize::from(!job.keyed);
        Some(job)
    }

    /// Forgets tokens at the fronts that count no more.
    fn sweep(&mut self) {
        let lanes = &self.lanes;
        for queue in self.levels.queues() {
            while let Some(Token::Key { key, number, .. }) = queue.front() {
                if lanes.get(key).is_some_and(|lane| lane.at != NOWHERE && lane.number == *number) {
                    break;
                }
                queue.pop_front();
            }
        }
    }

    /// A key that runs, behind which lower ones wait than stand anywhere.
    fn behind(&mut self) -> Option<(u8, u64)> {
        let lowest = (0..LEVELS).rev().find(|level| self.waiting[*level] > 0)?;
        if !self.levels.queues()[lowest].is_empty() {
            return None;
        }
        let followers = self.lanes.iter().filter(|(_, lane)| lane.busy && lane.counts[lowest] > 0);
        let oldest =
            followers.min_by_key(|(_, lane)| lane.first.as_ref().map_or(i64::MAX, |job| job.since))?;
        Some((lowest as u8, *oldest.0))
    }

    /// Everything that waits, in order a key.
    pub(crate) fn drain(&mut self) -> Vec<Job<T>> {
        let mut all = Vec::with_capacity(self.len());
        for queue in self.levels.queues() {
            for token in queue.drain(..) {
                if let Token::One(job) = token {
                    all.push(job);
                }
            }
        }
        all.extend(self.lanes.drain().flat_map(|(_, lane)| lane.jobs()));
        (self.waiting, self.unkeyed) = ([0; LEVELS], 0);
        all
    }
}
