//! Which worker an entry goes to, and how keys move between workers.
//!
//! Keys belong to partitions, a partition to one worker at a time. Two locks guard a worker's part: that of its lanes,
//! and that of its inbox, taken in this order, and of several workers by their number. Whoever leaves an entry looks
//! again, under the lock of the inbox, whether it is still the right one; whoever moves a partition holds all four locks
//! of the two workers. So the order of a key survives the move without any message.

use std::cell::Cell;

use crate::{
    inbox::Inbox,
    lanes::{Job, Lanes},
    levels::LEVELS,
    sync::{AtomicU8, AtomicU32, AtomicUsize, Mutex, MutexGuard, Ordering, fence, lock},
};

/// How many partitions keys are divided into.
pub(crate) const PARTITIONS: usize = 256;

/// One worker's part.
#[derive(Debug)]
pub(crate) struct Place<T> {
    pub(crate) inbox: Inbox<T>,
    lanes: Mutex<Lanes<T>>,
    /// How many wait in the lanes, for a look without the lock.
    len: AtomicUsize,
    /// How many the worker has in hand.
    busy: AtomicUsize,
}

/// All workers' parts.
#[derive(Debug)]
pub(crate) struct Post<T> {
    places: Vec<Place<T>>,
    owners: Vec<AtomicU8>,
    /// The workers that get entries, a bit each.
    open: AtomicU32,
    /// The workers that sleep or are about to, a bit each.
    idle: AtomicU32,
    /// Whoever changes who gets what.
    moving: Mutex<()>,
}

impl<T> Post<T> {
    /// With this many places, of which the first is open.
    pub(crate) fn new(places: usize, weights: Option<[u32; LEVELS]>, ageing: i64) -> Self {
        let place = || Place {
            inbox: Inbox::new(),
            lanes: Mutex::new(Lanes::new(weights, ageing)),
            len: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
        };
        Self {
            places: (0..places).map(|_| place()).collect(),
            owners: (0..PARTITIONS).map(|_| AtomicU8::new(0)).collect(),
            open: AtomicU32::new(1),
            idle: AtomicU32::new(0),
            moving: Mutex::new(()),
        }
    }

    pub(crate) fn place(&self, worker: usize) -> &Place<T> {
        &self.places[worker]
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Leaves an entry with the worker it belongs to.
    pub(crate) fn push(&self, mut job: Job<T>, stamp: impl Fn() -> i64) {
        loop {
            let (worker, pushed) = if job.keyed {
                let owner = &self.owners[partition(job.key)];
                let worker = owner.load(Ordering::Acquire);
                let still = || owner.load(Ordering::Acquire) == worker;
                let worker = usize::from(worker);
                (worker, self.places[worker].inbox.push(job, still, &stamp))
            } else {
                let open = self.open.load(Ordering::Acquire);
                let worker = self.less_loaded(open);
                let pushed = self.places[worker].inbox.push(job, || self.is_open(worker), &stamp);
                if pushed.is_ok() && self.has_several() {
                    // Either this sees that the worker is busy, or that one sees what was left.
                    fence(Ordering::SeqCst);
                    if self.places[worker].is_busy() {
                        self.wake_idle(worker);
                    }
                }
                (worker, pushed)
            };
            match pushed {
                Ok(woken) => {
                    // Who looks for one that sleeps is not to take this one, which has something to do.
                    if woken && self.has_several() {
                        self.idle(worker, false);
                    }
                    return;
                }
                Err(again) => job = again,
            }
        }
    }

    /// Whether a worker gets entries.
    pub(crate) fn is_open(&self, worker: usize) -> bool {
        self.open.load(Ordering::Acquire) & (1 << worker) != 0
    }

    fn has_several(&self) -> bool {
        self.open.load(Ordering::Acquire).count_ones() > 1
    }

    /// One that sleeps may take over what was left behind a busy worker. Either this sees that it sleeps, or it sees,
    /// after it has said so, what was left. One that is woken for this and has something else to do by then
    /// [passes it on](Self::pass_on).
    pub(crate) fn wake_idle(&self, busy: usize) {
        if !self.has_several() {
            return;
        }
        fence(Ordering::SeqCst);
        loop {
            let idle = self.idle.load(Ordering::SeqCst) & self.open.load(Ordering::Acquire) & !(1 << busy);
            if idle == 0 {
                return;
            }
            let one = idle.trailing_zeros();
            // Of two that look at once, each wakes another.
            if self.idle.fetch_and(!(1 << one), Ordering::SeqCst) & (1 << one) != 0 {
                return self.places[one as usize].inbox.wake();
            }
        }
    }

    /// Whether something was left for a worker since it said that it is busy, by somebody who may not have seen it.
    pub(crate) fn is_left_behind(&self, worker: usize) -> bool {
        if !self.has_several() {
            return false;
        }
        fence(Ordering::SeqCst);
        self.places[worker].inbox.len() > 0
    }

    /// A worker that slept, or was about to, begins with something: if it was woken to take something over, another has to.
    pub(crate) fn pass_on(&self, worker: usize) {
        if !self.has_several() {
            return;
        }
        fence(Ordering::SeqCst);
        let left = |other: &usize| *other != worker && self.places[*other].is_busy();
        let mut others =
            (0..self.places.len()).filter(left).filter(|other| self.places[*other].waiting() > 0);
        if let Some(busy) = others.next() {
            self.wake_idle(busy);
        }
    }

    /// Says whether a worker sleeps. Having said that it does, it has to look once more for what it could take over.
    pub(crate) fn idle(&self, worker: usize, idle: bool) {
        if idle {
            self.idle.fetch_or(1 << worker, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        } else {
            self.idle.fetch_and(!(1 << worker), Ordering::SeqCst);
        }
    }

    /// Of two open workers, the one with less to do; one that sleeps if that has anything to do.
    fn less_loaded(&self, open: u32) -> usize {
        let first = open.trailing_zeros() as usize;
        let count = open.count_ones();
        if count <= 1 {
            return first;
        }
        thread_local!(static TURN: Cell<u32> = const { Cell::new(0) });
        let turn = TURN.with(|turn| {
            turn.set(turn.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
            turn.get() >> 8
        });
        let (one, other) =
            (nth(open, turn % count), nth(open, (turn % count + 1 + turn / count % (count - 1)) % count));
        let (one_load, other_load) = (self.places[one].load(), self.places[other].load());
        let idle = self.idle.load(Ordering::Relaxed) & open;
        if one_load.min(other_load) > 0 && idle != 0 {
            return idle.trailing_zeros() as usize;
        }
        if other_load < one_load { other } else { one }
    }

    /// Opens exactly these workers, and moves what has to move: keys to new owners, evenly and as few as can be, and
    /// what has no key away from those that are closed. Answers whether anything was to be changed.
    pub(crate) fn open(&self, workers: u32, now: i64) -> bool {
        let _moving = lock(&self.moving);
        if self.open.swap(workers, Ordering::AcqRel) == workers {
            return false;
        }
        let target = self.even(workers);
        let bits = |worker: usize| workers & (1 << worker) != 0;
        for from in 0..self.places.len() {
            for to in 0..self.places.len() {
                let moved = (0..PARTITIONS).any(|at| self.owner(at) == from && target[at] == to);
                if from != to && moved {
                    self.hand_over(from, to, &target, now);
                }
            }
        }
        for closed in (0..self.places.len()).filter(|worker| !bits(*worker)) {
            let mut out = Vec::new();
            let mut lanes = self.lanes_of(closed, now);
            let all = lanes.len();
            lanes.unkeyed(all, &mut out);
            self.places[closed].sized(&lanes);
            drop(lanes);
            for job in out {
                let since = job.since;
                self.push(job, || since);
            }
        }
        true
    }

    fn owner(&self, at: usize) -> usize {
        usize::from(self.owners[at].load(Ordering::Acquire))
    }

    /// Who is to own each partition.
    fn even(&self, workers: u32) -> Vec<usize> {
        let count = workers.count_ones() as usize;
        let (least, more) = (PARTITIONS / count.max(1), PARTITIONS % count.max(1));
        let share = |nth: usize| least + usize::from(nth < more);
        let mut room: Vec<_> =
            (0..count).map(|nth_one| (nth(workers, nth_one as u32), share(nth_one))).collect();
        let mut target: Vec<usize> = (0..PARTITIONS).map(|at| self.owner(at)).collect();
        let mut homeless = Vec::new();
        for (at, owner) in target.iter().enumerate() {
            match room.iter_mut().find(|(worker, left)| worker == owner && *left > 0) {
                Some((_, left)) => *left -= 1,
                None => homeless.push(at),
            }
        }
        for at in homeless {
            if let Some((worker, left)) = room.iter_mut().find(|(_, left)| *left > 0) {
                (target[at], *left) = (*worker, *left - 1);
            }
        }
        target
    }

    fn hand_over(&self, from: usize, to: usize, target: &[usize], now: i64) {
        let (low, high) = (from.min(to), from.max(to));
        let (mut one, mut two) = (lock(&self.places[low].lanes), lock(&self.places[high].lanes));
        let (giver, taker) = if from == low { (&mut one, &mut two) } else { (&mut two, &mut one) };
        self.places[low].inbox.held(|first| {
            self.places[high].inbox.held(|second| {
                for job in (if from == low { first } else { second }).drain(..) {
                    giver.push(job, now);
                }
                let moves = |at: usize| self.owner(at) == from && target[at] == to;
                for leaving in giver.leaving(|key| moves(partition(key))) {
                    taker.arrive(leaving, now);
                }
                for at in (0..PARTITIONS).filter(|at| moves(*at)) {
                    self.owners[at].store(to as u8, Ordering::Release);
                }
            });
        });
        self.places[from].sized(giver);
        self.places[to].sized(taker);
        drop((one, two));
        self.places[from].inbox.wake();
        self.places[to].inbox.wake();
    }

    /// A worker's lanes, with all that was left in its inbox.
    pub(crate) fn lanes_of(&self, worker: usize, now: i64) -> MutexGuard<'_, Lanes<T>> {
        let place = &self.places[worker];
        let mut lanes = lock(&place.lanes);
        place.inbox.empty(|jobs| {
            jobs.drain(..).for_each(|job| lanes.push(job, now));
            place.sized(&lanes);
        });
        lanes
    }

    /// Puts one back that was taken out without being run, to the front of its key.
    pub(crate) fn put_back(&self, job: Job<T>, now: i64) {
        if !job.keyed {
            let since = job.since;
            return self.push(job, || since);
        }
        let owner = &self.owners[partition(job.key)];
        loop {
            let lives = owner.load(Ordering::Acquire);
            let place = &self.places[usize::from(lives)];
            let mut lanes = lock(&place.lanes);
            if owner.load(Ordering::Acquire) == lives {
                lanes.put_back(job, now);
                place.sized(&lanes);
                drop(lanes);
                return place.inbox.wake();
            }
        }
    }

    /// Ends what a worker has run of these keys, under a lock of its lanes that it has. `out` is left with those that live
    /// elsewhere by now.
    pub(crate) fn settle_own(
        &self,
        worker: usize,
        lanes: &mut Lanes<T>,
        out: &mut Vec<(u64, u32)>,
        now: i64,
    ) {
        // Whoever moves a key holds this lock.
        out.retain(|(key, guess)| {
            let own = self.owner(partition(*key)) == worker;
            if own {
                lanes.settle(*key, *guess, now);
            }
            !own
        });
    }

    /// Ends an entry with a key, or lets it run again, wherever the key lives by now. `guess` is where its lane was.
    pub(crate) fn settle(&self, worker: usize, key: u64, guess: u32, again: Option<Job<T>>, now: i64) {
        let owner = &self.owners[partition(key)];
        loop {
            let lives = owner.load(Ordering::Acquire);
            let place = &self.places[usize::from(lives)];
            let mut lanes = lock(&place.lanes);
            if owner.load(Ordering::Acquire) != lives {
                continue;
            }
            match again {
                Some(job) => lanes.again(job, now),
                None => lanes.settle(key, guess, now),
            }
            place.sized(&lanes);
            drop(lanes);
            if usize::from(lives) != worker {
                place.inbox.wake();
            }
            return;
        }
    }
}

impl<T> Place<T> {
    /// The lanes as they are, without what is in the inbox.
    pub(crate) fn lanes(&self) -> MutexGuard<'_, Lanes<T>> {
        lock(&self.lanes)
    }

    /// To be called under the lanes' lock whenever their number has changed.
    pub(crate) fn sized(&self, lanes: &Lanes<T>) {
        self.len.store(lanes.len(), Ordering::Relaxed);
    }

    /// About how many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.inbox.len() + self.len.load(Ordering::Relaxed)
    }

    /// About how many wait or are in hand.
    fn load(&self) -> usize {
        self.waiting() + self.busy.load(Ordering::Relaxed)
    }

    /// Says how many the worker has in hand.
    pub(crate) fn busy(&self, count: usize) {
        self.busy.store(count, Ordering::Relaxed);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }
}

/// The partition of a key: its low bits would do for a hash, and its high ones for a number.
pub(crate) fn partition(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

/// The number of the n-th bit that is set.
fn nth(bits: u32, n: u32) -> usize {
    let mut bits = bits;
    for _ in 0..n {
        bits &= bits.wrapping_sub(1);
    }
    bits.trailing_zeros() as usize
}
