//! What waits to be written, and the thread that writes it.
//!
//! One thread of the operating system takes as many works as there are and has them done in one transaction. Who comes
//! alone to an idle store does its own work, without the way to that thread and back. Lock order: the queue is never
//! held while the writer is waited for.

use std::{
    collections::VecDeque,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tidings_store::Error;
use tokio::{runtime::RuntimeFlavor, sync::oneshot};

use crate::writer::{Done, Patience, Work, Writer};

/// How often another process's commits are looked for while somebody listens: 20 times a second.
const WATCH: Duration = Duration::from_millis(50);

/// A caller does its own work only while that takes less than this: a slow disk must not hold up a runtime's worker.
const IN_PLACE_MICROS_MAX: u64 = 1_000;

/// The largest commit a caller writes by itself.
const IN_PLACE_WRITES_MAX: usize = 64;
const IN_PLACE_BYTES_MAX: usize = 64 << 10;

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Done, Error>>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
    watched: bool,
    /// At how many jobs the thread wants to be woken; 0 while it works.
    wanted: usize,
}

/// Callers that were answered just now: most of them come back at once.
#[derive(Clone, Copy)]
struct Answered {
    many: usize,
    /// How long to wait for them.
    until: Instant,
}

/// The thread waits for callers it has just answered at most this part of the time that answering them took. One sync
/// then serves all of them, and not half of them in turns; if they do not come back, not much is lost.
const GATHERING: u32 = 4;

/// Shared by the callers and the thread.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    writer: Mutex<Writer>,
    group: usize,
    /// Whether the last group had more than one work: then callers are many, and the thread serves them better.
    crowded: AtomicBool,
    /// How long the last works took, smoothed.
    micros: AtomicU64,
    closed: AtomicBool,
    /// Whether looking for other processes' commits failed the last time: said once, not 20 times a second.
    blind: AtomicBool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    pub(crate) fn new(writer: Writer, group: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            writer: Mutex::new(writer),
            group: group.max(1),
            crowded: AtomicBool::new(false),
            micros: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            blind: AtomicBool::new(false),
        })
    }

    /// Has `work` done.
    pub(crate) async fn submit(&self, work: Work) -> Result<Done, Error> {
        let work = match self.in_place(work) {
            Ok(answer) => return answer,
            Err(work) => work,
        };
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(Error::Closed);
            }
            waiting.jobs.push_back(Job { work, answer });
            if waiting.wanted > 0 && waiting.jobs.len() >= waiting.wanted {
                waiting.wanted = 0;
                self.wake.notify_one();
            }
        }
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// Does the work on the calling thread, if it is alone and that is safe; else gives it back.
    fn in_place(&self, work: Work) -> Result<Result<Done, Error>, Work> {
        if !self.suits(&work) {
            return Err(work);
        }
        let Some(mut writer) = self.writer.try_lock() else { return Err(work) };
        {
            let waiting = self.waiting.lock();
            if waiting.closed {
                return Ok(Err(Error::Closed));
            }
            if !waiting.jobs.is_empty() {
                return Err(work);
            }
        }
        let begun = Instant::now();
        let answers = writer.run(&[&work], Patience::None);
        self.took(begun);
        match answers {
            // Another process writes: the thread can wait for it.
            None => Err(work),
            Some(mut answers) => Ok(answers.pop().unwrap_or(Err(Error::Closed))),
        }
    }

    fn suits(&self, work: &Work) -> bool {
        if self.crowded.load(Ordering::Relaxed) || self.micros.load(Ordering::Relaxed) > IN_PLACE_MICROS_MAX {
            return false;
        }
        // The only thread of a runtime has other tasks to run while the disk syncs.
        let roomy = tokio::runtime::Handle::try_current()
            .map_or(true, |runtime| runtime.runtime_flavor() != RuntimeFlavor::CurrentThread);
        roomy
            && match work {
                Work::Apply(commit) => {
                    commit.writes() <= IN_PLACE_WRITES_MAX && commit.bytes() <= IN_PLACE_BYTES_MAX
                }
                Work::Lease { .. } | Work::Release { .. } => true,
            }
    }

    fn took(&self, begun: Instant) {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let before = self.micros.load(Ordering::Relaxed);
        self.micros.store(before - before / 8 + micros / 8, Ordering::Relaxed);
    }

    /// From now on other processes' commits are looked for.
    pub(crate) fn watch(&self) {
        let mut waiting = self.waiting.lock();
        if !waiting.watched {
            waiting.watched = true;
            self.wake.notify_one();
        }
    }

    /// No more work is taken; what waits is still done.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.waiting.lock().closed = true;
        self.wake.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Looks at the writer between two groups.
    pub(crate) fn with_writer<T>(&self, look: impl FnOnce(&mut Writer) -> T) -> T {
        look(&mut self.writer.lock())
    }

    /// What the thread does, until the queue is closed and empty. `listened` says whether somebody waits for beats.
    pub(crate) fn serve(&self, listened: impl Fn() -> bool) {
        let mut answered = None;
        while let Some(jobs) = self.take(&listened, answered) {
            if jobs.is_empty() {
                self.look_around();
            } else {
                answered = Some(self.serve_group(jobs));
            }
        }
    }

    fn serve_group(&self, jobs: Vec<Job>) -> Answered {
        let (many, begun) = (jobs.len(), Instant::now());
        self.crowded.store(jobs.len() > 1, Ordering::Relaxed);
        let works: Vec<_> = jobs.iter().map(|job| &job.work).collect();
        let answers = {
            let mut writer = self.writer.lock();
            let begun = Instant::now();
            let answers = writer.run(&works, Patience::Whole);
            self.took(begun);
            answers.unwrap_or_default()
        };
        for (job, answer) in jobs.into_iter().zip(answers) {
            // Who does not wait any more has gone away; what it wanted is done all the same.
            let _ = job.answer.send(answer);
        }
        let now = Instant::now();
        Answered { many, until: now + (now - begun) / GATHERING }
    }

    /// The next group; an empty one when it is time to look for other processes' commits; none at the end.
    fn take(&self, listened: &impl Fn() -> bool, answered: Option<Answered>) -> Option<Vec<Job>> {
        let mut waiting = self.waiting.lock();
        // Those that waited meanwhile, and those that will.
        let all = answered.map(|answered| (waiting.jobs.len() + answered.many).min(self.group));
        loop {
            if !waiting.jobs.is_empty() {
                if let (Some(all), Some(answered)) = (all, answered)
                    && waiting.jobs.len() < all
                    && !waiting.closed
                {
                    waiting.wanted = all;
                    if !self.wake.wait_until(&mut waiting, answered.until).timed_out() {
                        continue;
                    }
                }
                waiting.wanted = 0;
                let many = waiting.jobs.len().min(self.group);
                return Some(waiting.jobs.drain(..many).collect());
            }
            if waiting.closed {
                return None;
            }
            waiting.watched = listened();
            waiting.wanted = 1;
            if !waiting.watched {
                self.wake.wait(&mut waiting);
            } else if self.wake.wait_for(&mut waiting, WATCH).timed_out() && waiting.jobs.is_empty() {
                waiting.wanted = 0;
                return if waiting.closed { None } else { Some(Vec::new()) };
            }
        }
    }

    fn look_around(&self) {
        // Whoever has the writer looks for itself.
        let Some(mut writer) = self.writer.try_lock() else { return };
        match writer.watch() {
            Ok(()) => self.blind.store(false, Ordering::Relaxed),
            Err(error) if !self.blind.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "cannot look for other processes' commits");
            }
            Err(_) => {}
        }
    }
}
