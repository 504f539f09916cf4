//! Where publishers leave entries for a worker, and where it sleeps.

use crate::{
    lanes::Job,
    sync::{AtomicBool, AtomicUsize, Mutex, Ordering, Thread, current, lock, park},
};

/// Of a burst, every so many entries get a time of their own; those between share that of the last that did.
const STAMP_EVERY: u32 = 16;

/// An inbox that is emptied whole: its lock is held for as long as one entry takes to be put in, or two pointers to be
/// swapped.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    /// Whether there may be something to do; for a look without the lock.
    hint: AtomicBool,
    len: AtomicUsize,
}

#[derive(Debug)]
struct State<T> {
    jobs: Vec<Job<T>>,
    /// The worker, while it sleeps.
    sleeper: Option<Thread>,
    /// It sleeps because it can take no entries now, and is not to be woken for one.
    full: bool,
    /// There is something to do that is not an entry.
    woken: bool,
    since: i64,
    unstamped: u32,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        let state =
            State { jobs: Vec::new(), sleeper: None, full: false, woken: false, since: 0, unstamped: 0 };
        Self { state: Mutex::new(state), hint: AtomicBool::new(false), len: AtomicUsize::new(0) }
    }

    /// Leaves an entry, if this is still the place for it, and wakes the worker if it sleeps; answers whether it did. `stamp`
    /// reads the time.
    pub(crate) fn push(
        &self,
        mut job: Job<T>,
        still: impl FnOnce() -> bool,
        stamp: impl FnOnce() -> i64,
    ) -> Result<bool, Job<T>> {
        let mut state = lock(&self.state);
        if !still() {
            return Err(job);
        }
        job.stamped = state.jobs.is_empty() || state.unstamped >= STAMP_EVERY;
        if job.stamped {
            (state.since, state.unstamped) = (stamp(), 0);
        }
        state.unstamped += 1;
        job.since = state.since;
        state.jobs.push(job);
        self.len.store(state.jobs.len(), Ordering::Relaxed);
        self.hint.store(true, Ordering::Release);
        let sleeper = if state.full { None } else { state.sleeper.take() };
        drop(state);
        let woken = sleeper.is_some();
        if let Some(sleeper) = sleeper {
            sleeper.unpark();
        }
        Ok(woken)
    }

    /// Gives the worker something else to do: a future that was woken, a key that was freed, a change.
    pub(crate) fn wake(&self) {
        let mut state = lock(&self.state);
        state.woken = true;
        self.hint.store(true, Ordering::Release);
        let sleeper = state.sleeper.take();
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.unpark();
        }
    }

    /// Swaps all entries for an empty list. Called under the lock of the worker's lanes.
    pub(crate) fn take(&self, spare: &mut Vec<Job<T>>) {
        let mut state = lock(&self.state);
        std::mem::swap(&mut state.jobs, spare);
        self.len.store(0, Ordering::Relaxed);
        self.hint.store(state.woken, Ordering::Relaxed);
    }

    /// The worker is about to see to whatever it was woken for.
    pub(crate) fn awake(&self) {
        let mut state = lock(&self.state);
        state.woken = false;
        self.hint.store(!state.jobs.is_empty(), Ordering::Relaxed);
    }

    /// Has somebody else than the worker take all entries, into its lanes, whose lock is held. The worker may have looked and
    /// be about to sleep: nothing is left here to keep it from that, so it is told, when `take` has said elsewhere that
    /// they are there.
    pub(crate) fn empty(&self, take: impl FnOnce(&mut Vec<Job<T>>)) {
        let mut state = lock(&self.state);
        if state.jobs.is_empty() {
            return;
        }
        take(&mut state.jobs);
        self.len.store(0, Ordering::Relaxed);
        // One that sleeps is full, and looks by itself when it is not.
        if state.sleeper.is_none() {
            state.woken = true;
            self.hint.store(true, Ordering::Release);
        }
    }

    /// Holds up publishers while `with` changes whose place this is.
    pub(crate) fn held<R>(&self, with: impl FnOnce(&mut Vec<Job<T>>) -> R) -> R {
        let mut state = lock(&self.state);
        let result = with(&mut state.jobs);
        self.len.store(state.jobs.len(), Ordering::Relaxed);
        result
    }

    /// Whether there may be something to do.
    pub(crate) fn hint(&self) -> bool {
        self.hint.load(Ordering::Acquire)
    }

    /// How many entries are in it.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Sleeps until there is something to do; if it is full, until there is something to do that is not an entry. Whoever
    /// leaves something does so under the lock and takes the sleeper out; so either this sees it, or they see this.
    pub(crate) fn sleep(&self, full: bool) {
        let mut state = lock(&self.state);
        if state.woken || !(full || state.jobs.is_empty()) {
            return;
        }
        (state.sleeper, state.full) = (Some(current()), full);
        drop(state);
        loop {
            park();
            let mut state = lock(&self.state);
            if state.sleeper.is_none() {
                state.full = false;
                return;
            }
        }
    }
}
