//! A worker's thread: takes what waits, runs it, drives what is not done, sleeps.

use std::{
    hint::spin_loop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use tidings_core::Timestamp;

use crate::{
    driver::{Driver, Panic, Ticket},
    error::Error,
    keeper,
    lanes::Job,
    levels::priority_of,
    shared::{NEVER, Shared, Slot, micros},
    size::Size,
    work::{Notice, Step, Turn, Work},
};

/// The most entries that are taken under one lock, if they are cheap. So many may be before one that is higher.
const HAND_MAX: usize = 16;

/// Entries that take no longer than this on average are cheap.
const CHEAP: Duration = Duration::from_micros(4);

/// A worker that had nothing to do for no longer than this looks for as long again the next time before it sleeps: to be
/// woken costs whoever wakes it more than that.
const SOON: Duration = Duration::from_micros(10);

/// What a worker takes over from one that is busy, at most at once.
const TAKE_OVER_MAX: usize = 16;

/// What a worker has on its thread; it outlives the thread if that dies.
pub(crate) struct Desk<W: Work> {
    pub(crate) driver: Driver<W::Item>,
    /// Taken, and about to run. The next is the last.
    hand: Vec<Job<W::Item>>,
    hand_max: usize,
    spare: Vec<Job<W::Item>>,
    /// Keys of what was done, which are not free yet, and where their lanes were.
    settled: Vec<(u64, u32)>,
    released: Size,
    /// The latest time that was seen: it does not go backwards.
    now: i64,
    /// Since when it has had nothing to do, and whether the last time something came soon.
    resting: Option<i64>,
    soon: bool,
    /// It may have been woken to take something over.
    rested: bool,
}

struct Worker<'a, W: Work> {
    shared: &'a Arc<Shared<W>>,
    slot: &'a Slot,
    index: usize,
    desk: &'a mut Desk<W>,
}

impl<W: Work> Desk<W> {
    pub(crate) fn new(shared: &Shared<W>, index: usize) -> Self {
        Self {
            driver: Driver::new(shared.post.clone(), index),
            hand: Vec::with_capacity(HAND_MAX),
            hand_max: 1,
            spare: Vec::new(),
            settled: Vec::with_capacity(HAND_MAX),
            released: Size::default(),
            now: i64::MIN,
            resting: None,
            soon: false,
            rested: false,
        }
    }
}

/// Starts a thread for a worker. The caller has marked it as alive.
pub(crate) fn spawn<W: Work>(
    shared: &Arc<Shared<W>>,
    index: usize,
    desk: Desk<W>,
    again: bool,
) -> Result<(), Error> {
    let begun = shared.clone();
    let name = format!("tidings-worker-{index}");
    let body = move || body(begun, index, desk, again);
    thread::Builder::new().name(name).spawn(body).map(drop).map_err(Error::thread)
}

fn body<W: Work>(shared: Arc<Shared<W>>, index: usize, mut desk: Desk<W>, again: bool) {
    let runtime = shared.runtime.clone();
    let _context = runtime.enter();
    let begun = if again { Notice::Restarted { worker: index } } else { Notice::Started { worker: index } };
    let worked = catch_unwind(AssertUnwindSafe(|| {
        shared.notice(begun);
        Worker { shared: &shared, slot: &shared.slots[index], index, desk: &mut desk }.work_off();
    }));
    Worker { shared: &shared, slot: &shared.slots[index], index, desk: &mut desk }.put_down();
    match worked {
        Ok(()) => {
            drop(desk);
            if shared.is_stopped() {
                shared.slots[index].life.lock().alive = false;
            }
            // A panic in a notice has nobody left to tell.
            drop(catch_unwind(AssertUnwindSafe(|| shared.notice(Notice::Ended { worker: index }))));
            shared.ended.notify_waiters();
        }
        Err(panic) => keeper::died(&shared, index, desk, &panic),
    }
}

impl<W: Work> Worker<'_, W> {
    fn work_off(&mut self) {
        while !self.shared.is_stopped() {
            if self.place().hint() {
                self.place().awake();
            }
            let driven = self.drive();
            let picked = self.pick();
            self.run_hand();
            if driven || picked || self.take_over() {
                continue;
            }
            if self.may_end() {
                return;
            }
            self.rest();
        }
    }

    fn place(&self) -> &crate::inbox::Inbox<W::Item> {
        &self.shared.post.place(self.index).inbox
    }

    /// Lets go of what is in hand, so that others find it, when the thread ends.
    fn put_down(&mut self) {
        while let Some(job) = self.desk.hand.pop() {
            self.requeue(job);
        }
        self.flush();
        self.settle();
        self.idle(None);
        self.shared.post.place(self.index).busy(0);
        self.shared.post.idle(self.index, false);
    }

    /// Polls what was woken.
    fn drive(&mut self) -> bool {
        let mut any = false;
        for _ in 0..HAND_MAX {
            if self.desk.driver.is_empty() {
                break;
            }
            let Some((ticket, step)) = self.desk.driver.poll() else { break };
            any = true;
            self.step(ticket, step, true);
        }
        if any {
            self.flush();
            self.settle();
        }
        any
    }

    /// Frees the keys of what was done.
    fn settle(&mut self) {
        if self.desk.settled.is_empty() {
            return;
        }
        let (post, now) = (&self.shared.post, self.desk.now);
        let place = post.place(self.index);
        let mut lanes = place.lanes();
        post.settle_own(self.index, &mut lanes, &mut self.desk.settled, now);
        place.sized(&lanes);
        drop(lanes);
        self.settle_elsewhere();
    }

    fn settle_elsewhere(&mut self) {
        for (key, guess) in self.desk.settled.drain(..) {
            self.shared.post.settle(self.index, key, guess, None, self.desk.now);
        }
    }

    /// Takes what is next into the hand.
    fn pick(&mut self) -> bool {
        let free =
            self.shared.concurrency.load(Ordering::Relaxed).saturating_sub(self.desk.driver.in_flight());
        let most = free.min(self.desk.hand_max);
        let place = self.shared.post.place(self.index);
        if most == 0 || place.waiting() == 0 {
            self.settle();
            return false;
        }
        self.read_clock();
        let now = self.desk.now;
        let mut lanes = place.lanes();
        self.shared.post.settle_own(self.index, &mut lanes, &mut self.desk.settled, now);
        // Before the new ones come, so that what rises stands before them.
        lanes.age(now);
        place.inbox.take(&mut self.desk.spare);
        if let (Some(since), Some(first)) = (self.desk.resting, self.desk.spare.first()) {
            self.desk.soon = first.since - since <= micros(SOON);
            self.desk.resting = None;
        }
        for job in self.desk.spare.drain(..) {
            lanes.push(job, now);
        }
        for _ in 0..most {
            let Some(job) = lanes.pick() else { break };
            self.desk.hand.push(job);
        }
        place.sized(&lanes);
        place.busy(self.desk.hand.len());
        let more = lanes.has_unkeyed();
        drop(lanes);
        self.settle_elsewhere();
        if !self.desk.hand.is_empty() {
            if more || self.shared.post.is_left_behind(self.index) {
                self.shared.post.wake_idle(self.index);
            }
            if std::mem::take(&mut self.desk.rested) {
                self.shared.post.pass_on(self.index);
            }
        }
        self.desk.hand.reverse();
        if self.timings() {
            for job in self.desk.hand.iter().filter(|job| job.stamped) {
                self.slot.wait.record(u64::try_from(now - job.since).unwrap_or(0), 1);
            }
        }
        !self.desk.hand.is_empty()
    }

    fn timings(&self) -> bool {
        self.shared.timings.load(Ordering::Relaxed)
    }

    fn read_clock(&mut self) {
        self.desk.now = self.desk.now.max(self.shared.now());
    }

    fn run_hand(&mut self) {
        let count = self.desk.hand.len();
        if count == 0 {
            return;
        }
        let begun = Instant::now();
        let mut ended = 0;
        while let Some(job) = self.desk.hand.pop() {
            ended += u64::from(self.run(job, begun));
        }
        self.shared.post.place(self.index).busy(0);
        let span = begun.elapsed();
        let each = span / count as u32;
        if ended > 0 && self.timings() {
            self.slot.processing.record(each.as_nanos() as u64, ended);
        }
        // In a small queue nothing is taken ahead: it would be seen in what little room there is.
        let most = (self.shared.room.most().events / 128).clamp(1, HAND_MAX);
        self.desk.hand_max = if each <= CHEAP { (self.desk.hand_max * 2).min(most) } else { 1 };
        self.flush();
    }

    /// Answers whether it ended here and now.
    fn run(&mut self, job: Job<W::Item>, begun: Instant) -> bool {
        let Job { item, key, bytes, since, lane, level, keyed, .. } = job;
        let ticket = Ticket { key, lane, keyed, level, bytes, delayed: false, begun };
        let turn = Turn {
            worker: self.index,
            now: Timestamp::from_micros(self.desk.now),
            priority: priority_of(level),
            key: keyed.then_some(key),
            since: Timestamp::from_micros(since),
            scope: std::marker::PhantomData,
        };
        self.at_work(true);
        let step = catch_unwind(AssertUnwindSafe(|| self.shared.work.run(item, &turn)));
        let ended = self.step(ticket, step, false);
        self.at_work(false);
        ended
    }

    /// Says that a handler begins or ends; the number is another one each time.
    fn at_work(&self, begins: bool) {
        let turn = self.slot.turn.load(Ordering::Relaxed);
        self.slot.turn.store(((turn + 1) | 1) + u64::from(!begins), Ordering::Release);
    }

    /// Does what the work answered. Answers whether the entry is done with, or in the queue again.
    fn step(&mut self, ticket: Ticket, step: Result<Step<W::Item>, Panic>, later: bool) -> bool {
        let mut step = step;
        loop {
            match step {
                Err(panic) => self.lose(ticket, panic),
                Ok(Step::Done) => {
                    if ticket.keyed {
                        self.desk.settled.push((ticket.key, ticket.lane));
                    }
                    count(&self.slot.processed);
                    self.desk.released.add(Size::one(ticket.bytes));
                    if later && self.timings() {
                        self.slot.processing.record(ticket.begun.elapsed().as_nanos() as u64, 1);
                    }
                    return true;
                }
                Ok(Step::Again { item, after }) if after.is_zero() => {
                    self.read_clock();
                    let Ticket { key, lane, keyed, level, bytes, .. } = ticket;
                    let since = self.desk.now;
                    self.requeue(Job { item, key, bytes, since, lane, level, keyed, stamped: true });
                    return true;
                }
                Ok(Step::Again { item, after }) => {
                    self.desk.driver.delay(ticket, item, after, &*self.shared.clock);
                    self.in_flight();
                    return false;
                }
                Ok(Step::Waiting(future)) => match self.desk.driver.first(ticket, future) {
                    Some(next) => step = next,
                    None => {
                        self.in_flight();
                        return false;
                    }
                },
            }
        }
    }

    fn in_flight(&self) {
        self.slot.in_flight.store(self.desk.driver.in_flight(), Ordering::Relaxed);
        self.slot.delayed.store(self.desk.driver.delayed(), Ordering::Relaxed);
    }

    fn requeue(&mut self, job: Job<W::Item>) {
        let now = self.desk.now;
        if job.keyed {
            self.shared.post.settle(self.index, job.key, job.lane, Some(job), now);
        } else {
            self.shared.post.push(job, || now);
        }
    }

    /// The work broke on an item: the item is gone, and so is this worker.
    fn lose(&mut self, ticket: Ticket, panic: Panic) -> ! {
        let Ticket { key, lane, keyed, level, bytes, .. } = ticket;
        if keyed {
            self.shared.post.settle(self.index, key, lane, None, self.desk.now);
        }
        count(&self.slot.lost);
        if self.slot.turn.load(Ordering::Relaxed) % 2 == 1 {
            self.at_work(false);
        }
        self.desk.released.add(Size::one(bytes));
        let (key, priority) = (keyed.then_some(key), priority_of(level));
        self.shared.notice(Notice::Lost { worker: self.index, key, priority, bytes });
        resume_unwind(panic)
    }

    /// Gives back the room of what was settled.
    fn flush(&mut self) {
        self.in_flight();
        // More follow at once: another hand of cheap ones.
        let follow = self.desk.hand_max > 1;
        self.shared.room.give_more_back(std::mem::take(&mut self.desk.released), follow);
    }

    /// Takes over what waits without a key behind a worker that is busy.
    fn take_over(&mut self) -> bool {
        let post = &self.shared.post;
        if !post.is_open(self.index)
            || self.desk.driver.in_flight() >= self.shared.concurrency.load(Ordering::Relaxed)
        {
            return false;
        }
        let active = self.shared.active.load(Ordering::Relaxed);
        for other in (0..active).filter(|other| *other != self.index) {
            let load = post.place(other).waiting();
            if !post.place(other).is_busy() || load == 0 {
                continue;
            }
            let mut taken = Vec::new();
            let mut lanes = post.lanes_of(other, self.desk.now);
            lanes.unkeyed(load.div_ceil(2).min(TAKE_OVER_MAX), &mut taken);
            post.place(other).sized(&lanes);
            drop(lanes);
            if taken.is_empty() {
                continue;
            }
            let own = post.place(self.index);
            let mut lanes = own.lanes();
            for job in taken {
                lanes.push(job, self.desk.now);
            }
            own.sized(&lanes);
            return true;
        }
        false
    }

    /// Whether this worker is no longer needed and has nothing left; then it is marked as gone.
    fn may_end(&self) -> bool {
        let needed = || self.index < self.shared.active.load(Ordering::SeqCst);
        let place = self.shared.post.place(self.index);
        if needed() || !self.desk.driver.is_empty() || place.waiting() > 0 {
            return false;
        }
        let mut life = self.slot.life.lock();
        if needed() {
            return false;
        }
        life.alive = false;
        true
    }

    /// Looks a little longer, then sleeps.
    fn rest(&mut self) {
        self.flush();
        self.shared.room.let_in();
        let full = self.desk.driver.in_flight() >= self.shared.concurrency.load(Ordering::Relaxed);
        let mut spin = Duration::from_nanos(self.shared.spin.load(Ordering::Relaxed));
        if self.desk.resting.is_none() {
            self.desk.resting = Some(self.shared.now());
        }
        if self.desk.soon {
            spin = spin.max(SOON);
        }
        if !full && !spin.is_zero() && self.spun(spin) {
            return;
        }
        // Full of handlers that wait, it is not idle.
        if !full {
            self.desk.rested = true;
            self.shared.post.idle(self.index, true);
            if self.take_over() {
                return self.shared.post.idle(self.index, false);
            }
            self.idle(Some(self.shared.now()));
            self.shared.work.idle();
            self.desk.spare.shrink_to(HAND_MAX);
            self.shared.post.place(self.index).lanes().tidy();
        }
        self.place().sleep(full);
        self.idle(None);
        self.shared.wake_keeper();
        self.shared.post.idle(self.index, false);
    }

    fn spun(&self, spin: Duration) -> bool {
        let begun = Instant::now();
        loop {
            for _ in 0..16 {
                if self.place().hint() {
                    return true;
                }
                // Not too often: each look takes a line of the cache away from who is about to leave something.
                (0..4).for_each(|_| spin_loop());
            }
            if begun.elapsed() >= spin {
                return false;
            }
        }
    }

    /// Notes since when it has nothing to do.
    fn idle(&self, since: Option<i64>) {
        let before = self.slot.idle_since.load(Ordering::Relaxed);
        if before != NEVER {
            let total = self.slot.idle.load(Ordering::Relaxed);
            self.slot.idle.store(total + (self.shared.now() - before).max(0), Ordering::Relaxed);
        }
        self.slot.idle_since.store(since.unwrap_or(NEVER), Ordering::Relaxed);
    }
}

/// One more; only its own thread writes it.
fn count(counter: &std::sync::atomic::AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The back-off before a worker is restarted that died so many times in a row.
pub(crate) fn back_off(first: Duration, most: Duration, deaths: u32) -> Duration {
    first.saturating_mul(1 << deaths.saturating_sub(1).min(31)).min(most)
}

/// Whether a worker has lived long enough for its deaths to be forgotten.
pub(crate) fn forgiven(begun: i64, now: i64, most: Duration) -> bool {
    now.saturating_sub(begun) >= micros(most)
}
