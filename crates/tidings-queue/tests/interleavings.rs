//! What several threads share, under every order of their steps that the scheduler of `shuttle` thinks of.
//!
//! The same files as in the library, with that scheduler's locks, counters and threads in place of the real ones.

#![allow(dead_code, unreachable_pub, missing_docs)]

mod sync {
    pub(crate) use shuttle::sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
    pub(crate) use shuttle::thread::{Thread, current, park};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("no panic under it")
    }
}

#[path = "../src/inbox.rs"]
mod inbox;
#[path = "../src/lanes.rs"]
mod lanes;
#[path = "../src/levels.rs"]
mod levels;
#[path = "../src/post.rs"]
mod post;
#[path = "../src/size.rs"]
mod size;

use std::sync::Arc;

use lanes::Job;
use post::Post;
use shuttle::{sync::Mutex, thread};
use size::{Size, Taken};
use sync::{AtomicBool, AtomicUsize, Ordering};

/// How many orders are tried.
const TIMES: usize = 1_000;

const MOST: Size = Size { events: 3, bytes: 5 };

fn job(item: usize, key: Option<u64>) -> Job<usize> {
    let (keyed, key) = (key.is_some(), key.unwrap_or(0));
    Job { item, key, bytes: 1, since: 0, lane: 0, level: (item % 3) as u8, keyed, stamped: false }
}

/// Workers that do nothing but count, and sleep when they found nothing.
struct Yard {
    post: Post<usize>,
    seen: Mutex<Vec<usize>>,
    running: AtomicBool,
    left: AtomicUsize,
}

impl Yard {
    fn new(items: usize) -> Arc<Self> {
        Arc::new(Self {
            post: Post::new(2, Some([3, 2, 1]), i64::MAX),
            seen: Mutex::new(Vec::new()),
            running: AtomicBool::new(false),
            left: AtomicUsize::new(items),
        })
    }

    fn work(&self, worker: usize) {
        let (mut spare, mut settled) = (Vec::new(), Vec::new());
        while self.left.load(Ordering::SeqCst) > 0 {
            let place = self.post.place(worker);
            if place.inbox.hint() {
                place.inbox.awake();
            }
            // As the worker does: where it sees nothing, it does not take the lock.
            let some = place.waiting() > 0 || !settled.is_empty();
            let (picked, more) =
                if some { pick(&self.post, worker, &mut spare, &mut settled) } else { (None, false) };
            for (key, guess) in settled.drain(..) {
                self.post.settle(worker, key, guess, None, 0);
            }
            let Some(job) = picked else {
                self.post.idle(worker, true);
                if !take_over(&self.post, worker) {
                    place.inbox.sleep(false);
                }
                self.post.idle(worker, false);
                continue;
            };
            if more {
                self.post.wake_idle(worker);
            }
            if job.keyed {
                assert!(!self.running.swap(true, Ordering::SeqCst), "two of a key at once");
                thread::yield_now();
            }
            sync::lock(&self.seen).push(job.item);
            if job.keyed {
                self.running.store(false, Ordering::SeqCst);
                // Both ways: at once, and with the next look at the lanes.
                match job.item % 2 {
                    0 => self.post.settle(worker, job.key, job.lane, None, 0),
                    _ => settled.push((job.key, job.lane)),
                }
            }
            place.busy(0);
            if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.post.place(0).inbox.wake();
                self.post.place(1).inbox.wake();
            }
        }
    }
}

/// The next one a worker runs, and whether others could take over what is left.
fn pick(
    post: &Post<usize>,
    worker: usize,
    spare: &mut Vec<Job<usize>>,
    settled: &mut Vec<(u64, u32)>,
) -> (Option<Job<usize>>, bool) {
    let place = post.place(worker);
    let mut lanes = place.lanes();
    post.settle_own(worker, &mut lanes, settled, 0);
    place.inbox.take(spare);
    for job in spare.drain(..) {
        lanes.push(job, 0);
    }
    let picked = lanes.pick();
    place.sized(&lanes);
    place.busy(usize::from(picked.is_some()));
    (picked, lanes.has_unkeyed())
}

fn take_over(post: &Post<usize>, worker: usize) -> bool {
    let others = (0..post.len()).filter(|other| *other != worker && post.is_open(worker));
    for other in others.filter(|other| post.place(*other).is_busy() && post.place(*other).waiting() > 0) {
        let mut taken = Vec::new();
        let mut lanes = post.lanes_of(other, 0);
        lanes.unkeyed(16, &mut taken);
        post.place(other).sized(&lanes);
        drop(lanes);
        if !taken.is_empty() {
            let mut own = post.place(worker).lanes();
            taken.into_iter().for_each(|job| own.push(job, 0));
            post.place(worker).sized(&own);
            return true;
        }
    }
    false
}

#[test]
fn no_entry_is_lost_and_no_key_out_of_order_while_its_partition_moves() {
    let run = || {
        let yard = Yard::new(6);
        let mut threads = Vec::new();
        for worker in 0..2 {
            let yard = yard.clone();
            threads.push(thread::spawn(move || yard.work(worker)));
        }
        let publisher = yard.clone();
        threads.push(thread::spawn(move || {
            for item in 0..3 {
                publisher.post.push(job(item, Some(7)), || 0);
            }
        }));
        let publisher = yard.clone();
        threads.push(thread::spawn(move || {
            for item in 3..6 {
                publisher.post.push(job(item, None), || 0);
            }
        }));
        let scaler = yard.clone();
        threads.push(thread::spawn(move || {
            for open in [0b10, 0b01, 0b11] {
                scaler.post.open(open, 0);
            }
        }));
        for thread in threads {
            thread.join().expect("no panic");
        }
        let mut seen = sync::lock(&yard.seen).clone();
        let keyed: Vec<_> = seen.iter().copied().filter(|item| *item < 3).collect();
        assert_eq!(keyed, [0, 1, 2]);
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    };
    shuttle::check_random(run, TIMES);
    shuttle::check_pct(run, TIMES, 3);
}

/// Three workers, each of which holds up its thread until all have something: none may lie behind one that is held up while
/// another sleeps.
#[test]
fn as_many_run_at_once_as_there_are_workers_however_they_are_left() {
    const WORKERS: usize = 3;
    struct Held {
        post: Post<usize>,
        arrived: Mutex<usize>,
        all: shuttle::sync::Condvar,
    }
    fn work(held: &Held, worker: usize) {
        let (post, mut spare, mut rested) = (&held.post, Vec::new(), false);
        loop {
            let place = post.place(worker);
            if place.inbox.hint() {
                place.inbox.awake();
            }
            let some = place.waiting() > 0;
            let (picked, more) =
                if some { pick(post, worker, &mut spare, &mut Vec::new()) } else { (None, false) };
            if picked.is_some() {
                if more || post.is_left_behind(worker) {
                    post.wake_idle(worker);
                }
                if rested {
                    post.pass_on(worker);
                }
                let mut arrived = sync::lock(&held.arrived);
                *arrived += 1;
                held.all.notify_all();
                while *arrived < WORKERS {
                    arrived = held.all.wait(arrived).expect("no panic under it");
                }
                return;
            }
            rested = true;
            post.idle(worker, true);
            if !take_over(post, worker) {
                place.inbox.sleep(false);
            }
            post.idle(worker, false);
        }
    }
    let run = || {
        let post = Post::new(WORKERS, Some([3, 2, 1]), i64::MAX);
        post.open(0b111, 0);
        let held = Arc::new(Held { post, arrived: Mutex::new(0), all: shuttle::sync::Condvar::new() });
        let workers = (0..WORKERS).map(|worker| {
            let held = held.clone();
            thread::spawn(move || work(&held, worker))
        });
        let workers: Vec<_> = workers.collect();
        (0..WORKERS).for_each(|item| held.post.push(job(item, None), || 0));
        workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
    };
    // A request that is not passed on is found in one of some thousands.
    shuttle::check_random(run, 5 * TIMES);
    shuttle::check_pct(run, 5 * TIMES, 3);
}

#[test]
fn who_only_looks_at_what_waits_leaves_no_worker_asleep_beside_it() {
    let run = || {
        let yard = Yard::new(3);
        let mut threads: Vec<_> = (0..2)
            .map(|worker| {
                let yard = yard.clone();
                thread::spawn(move || yard.work(worker))
            })
            .collect();
        let (publisher, onlooker) = (yard.clone(), yard.clone());
        threads.push(thread::spawn(move || {
            for (item, key) in [(0, Some(7)), (1, None), (2, Some(7))] {
                publisher.post.push(job(item, key), || 0);
            }
        }));
        threads.push(thread::spawn(move || {
            for _ in 0..2 {
                (0..2).for_each(|worker| assert!(onlooker.post.lanes_of(worker, 0).len() <= 3));
            }
        }));
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let mut seen = sync::lock(&yard.seen).clone();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    };
    shuttle::check_random(run, TIMES);
    shuttle::check_pct(run, TIMES, 3);
}

#[test]
fn a_worker_that_goes_to_sleep_is_woken_by_whatever_comes() {
    let bounded = || {
        let inbox: Arc<inbox::Inbox<usize>> = Arc::new(inbox::Inbox::new());
        let wakes = inbox.clone();
        let other = thread::spawn(move || wakes.wake());
        // Full of what waits, it sleeps through entries, and not through what wakes it.
        assert!(inbox.push(job(1, None), || true, || 0).is_ok());
        inbox.sleep(true);
        assert!(inbox.hint());
        other.join().expect("no panic");
    };
    shuttle::check_random(woken_by_an_entry, TIMES);
    shuttle::check_random(bounded, TIMES);
}

fn woken_by_an_entry() {
    let inbox = Arc::new(inbox::Inbox::new());
    let pushes = inbox.clone();
    let other = thread::spawn(move || {
        for item in 0..2 {
            assert!(pushes.push(job(item, None), || true, || 0).is_ok());
        }
    });
    let (mut jobs, mut count) = (Vec::new(), 0);
    while count < 2 {
        inbox.sleep(false);
        inbox.awake();
        inbox.take(&mut jobs);
        count += jobs.drain(..).count();
    }
    other.join().expect("no panic");
}

#[test]
fn no_more_is_ever_taken_than_there_is_and_all_comes_back() {
    let run = || {
        let (taken, inside) = (Arc::new(Taken::new()), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (1..=3)
            .map(|bytes| {
                let (taken, inside) = (taken.clone(), inside.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        if taken.exchange(Size::default(), Size::one(bytes), MOST, false).is_ok() {
                            let before = inside.fetch_add(bytes, Ordering::SeqCst);
                            assert!(before + bytes <= MOST.bytes);
                            inside.fetch_sub(bytes, Ordering::SeqCst);
                            taken.give_back(Size::one(bytes));
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(taken.get(), Size::default());
        taken.close();
        assert_eq!(taken.exchange(Size::default(), Size::one(1), MOST, false), Err(size::None::Closed));
    };
    shuttle::check_random(run, TIMES);
}
