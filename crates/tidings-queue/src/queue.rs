//! The queue as its users see it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidings_core::Clock;
use tokio::runtime::Handle;

use crate::{
    config::Config,
    entry::{Entry, Full, Left, Why},
    error::Error,
    figures::{Figures, Percentiles, WorkerFigures},
    histogram::{Histogram, Merged},
    keeper,
    lanes::Job,
    levels::{level_of, priority_of},
    shared::{NEVER, Shared, Slot, micros, weights},
    size::Size,
    work::{Cause, Work},
};

/// How long the end of a queue waits for a thread that is in a handler.
const GRACE: Duration = Duration::from_millis(100);

/// A bounded queue and its workers. When it is dropped, its workers end and what waits is dropped; to lose nothing, await
/// [`drained`](Self::drained) first.
pub struct Queue<W: Work> {
    pub(crate) shared: Arc<Shared<W>>,
}

impl<W: Work> Queue<W> {
    /// Starts the workers. `runtime` is the context in which the work runs; its timers have to be driven.
    ///
    /// # Errors
    /// If settings mean nothing, or the machine gives no thread.
    pub fn start(
        config: Config,
        work: Arc<W>,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Result<Self, Error> {
        Error::settings(config.faults())?;
        let workers = config.workers;
        let queue = Self { shared: Shared::new(config, work, clock.clone(), runtime.clone()) };
        queue.shared.scale(workers, Cause::Asked)?;
        runtime.spawn(keeper::keep(Arc::downgrade(&queue.shared), clock));
        Ok(queue)
    }

    /// Takes an entry if there is room and nobody waits for it.
    ///
    /// # Errors
    /// Gives the entry back if there is none, or the queue is closed.
    pub fn push(&self, entry: Entry<W::Item>) -> Result<(), Full<W::Item>> {
        match self.shared.room.take(entry.bytes) {
            Ok(()) => {
                self.leave(entry);
                Ok(())
            }
            Err(why) => Err(Full { entry, why }),
        }
    }

    /// Takes an entry as soon as there is room, in the order in which they asked; waits for `deadline` at most.
    ///
    /// # Errors
    /// Gives the entry back if there was no room until then, or never can be, or the queue is closed.
    pub async fn push_waiting(&self, entry: Entry<W::Item>, deadline: Duration) -> Result<(), Full<W::Item>> {
        let room = &self.shared.room;
        let why = match room.take(entry.bytes) {
            Ok(()) => {
                self.leave(entry);
                return Ok(());
            }
            Err(Why::Closed) => return Err(Full { entry, why: Why::Closed }),
            Err(_) if entry.bytes > room.most().bytes => return Err(Full { entry, why: Why::Bytes }),
            Err(why) => why,
        };
        let mut line = room.line_up(Size::one(entry.bytes));
        let granted = tokio::select! {
            biased;
            granted = &mut line.granted => granted.ok(),
            () = self.shared.clock.sleep(deadline) => {
                room.let_in();
                line.granted.try_recv().ok()
            }
        };
        match granted {
            Some(reserved) => {
                reserved.used();
                self.leave(entry);
                Ok(())
            }
            None => Err(Full { entry, why: if room.taken.is_closed() { Why::Closed } else { why } }),
        }
    }

    /// Takes an entry, and if there is no room drops what waits: of the lowest priority the oldest first, as many as it
    /// takes. Nothing that runs or waits to run again is dropped. Answers what was dropped.
    ///
    /// # Errors
    /// Gives the entry back, and has dropped nothing, if what waits is not enough or the queue is closed.
    pub fn push_dropping_oldest(&self, entry: Entry<W::Item>) -> Result<Vec<W::Item>, Full<W::Item>> {
        let (mut dropped, mut held) = (Vec::new(), Size::default());
        let why = loop {
            match self.shared.room.exchange(held, entry.bytes) {
                Ok(()) => {
                    self.shared.dropped.fetch_add(dropped.len() as u64, Ordering::Relaxed);
                    self.leave(entry);
                    return Ok(dropped.into_iter().map(|job: Job<W::Item>| job.item).collect());
                }
                Err(why) if why == Why::Closed || entry.bytes > self.shared.room.most().bytes => break why,
                Err(why) => match self.drop_one() {
                    Some(job) => {
                        held.add(Size::one(job.bytes));
                        dropped.push(job);
                    }
                    None => break why,
                },
            }
        };
        let now = self.shared.now();
        for job in dropped.into_iter().rev() {
            self.shared.post.put_back(job, now);
        }
        Err(Full { entry, why })
    }

    /// Takes an entry from inside a handler, which must not wait for the queue it is to make room in: up to a tenth more
    /// than there may be, and also while the queue is closed and worked off.
    ///
    /// # Errors
    /// Gives the entry back if that is taken too.
    pub fn push_over(&self, entry: Entry<W::Item>) -> Result<(), Full<W::Item>> {
        if self.shared.is_stopped() {
            return Err(Full { entry, why: Why::Closed });
        }
        match self.shared.room.take_over(Size::one(entry.bytes)) {
            Ok(()) => {
                self.leave(entry);
                Ok(())
            }
            Err(why) => Err(Full { entry, why }),
        }
    }

    /// Leaves an entry for which there is room.
    pub(crate) fn leave(&self, entry: Entry<W::Item>) {
        let Entry { item, key, priority, bytes } = entry;
        let (keyed, key, level) = (key.is_some(), key.unwrap_or(0), level_of(priority));
        let job = Job { item, key, bytes, since: 0, lane: 0, level, keyed, stamped: false };
        self.shared.post.push(job, || self.shared.now());
    }

    fn drop_one(&self) -> Option<Job<W::Item>> {
        let (post, now) = (&self.shared.post, self.shared.now());
        let first = |worker: usize| {
            let (level, since) = post.lanes_of(worker, now).droppable()?;
            Some((std::cmp::Reverse(level), since, worker))
        };
        let (_, _, worker) = (0..post.len()).filter_map(first).min()?;
        let mut lanes = post.lanes_of(worker, now);
        let job = lanes.drop_one(now);
        post.place(worker).sized(&lanes);
        job
    }

    /// Changes the number of workers, 1 to [`WORKERS_MAX`](crate::WORKERS_MAX). Nothing is lost and no order changes. A worker that is too
    /// many ends when what it drives has ended. Automatic scaling goes on from there.
    ///
    /// # Errors
    /// If there can be no such number, the queue has ended, or the machine gives no thread.
    pub fn scale(&self, workers: usize) -> Result<(), Error> {
        let config = Config { workers, ..self.config() };
        Error::settings(config.faults())?;
        self.shared.config.lock().workers = workers;
        self.shared.scale(workers, Cause::Asked)
    }

    /// The settings.
    pub fn config(&self) -> Config {
        self.shared.config.lock().clone()
    }

    /// Changes the settings, all of which may be changed at any time. A bound below what is there lets nothing in until
    /// enough has gone.
    ///
    /// # Errors
    /// If they mean nothing: then nothing is changed. If the machine gives no thread: then only that is not.
    pub fn set(&self, config: Config) -> Result<(), Error> {
        Error::settings(config.faults())?;
        let shared = &self.shared;
        shared.room.set(config.events_max, config.bytes_max);
        shared.spin.store(config.spin.as_nanos() as u64, Ordering::Relaxed);
        shared.concurrency.store(config.concurrency, Ordering::Relaxed);
        shared.timings.store(config.timings, Ordering::Relaxed);
        for worker in 0..shared.post.len() {
            shared.post.place(worker).lanes().set(weights(config.order), micros(config.ageing));
            shared.post.place(worker).inbox.wake();
        }
        let before = std::mem::replace(&mut *shared.config.lock(), config.clone());
        shared.changed.notify_one();
        if before.workers == config.workers { Ok(()) } else { shared.scale(config.workers, Cause::Asked) }
    }

    /// How it is now. The figures are read one after another while the queue goes on.
    pub fn figures(&self) -> Figures {
        let shared = &self.shared;
        let (taken, active) = (shared.room.taken.get(), shared.active.load(Ordering::SeqCst));
        let mut waiting = [0; 3];
        let mut workers = Vec::new();
        for (worker, slot) in shared.slots.iter().enumerate() {
            let figures = self.figures_of(worker, slot, worker < active, &mut waiting);
            workers.extend(figures);
        }
        let sum = |of: &dyn Fn(&Slot) -> u64| shared.slots.iter().map(of).sum();
        Figures {
            events: taken.events,
            bytes: taken.bytes,
            utilisation: shared.utilisation(),
            critical: waiting[0],
            normal: waiting[1],
            low: waiting[2],
            delayed: sum(&|slot| slot.delayed.load(Ordering::Relaxed) as u64) as usize,
            processed: sum(&|slot| slot.processed.load(Ordering::Relaxed)),
            lost: sum(&|slot| slot.lost.load(Ordering::Relaxed)),
            dropped: shared.dropped.load(Ordering::Relaxed),
            wait: percentiles(shared.slots.iter().map(|slot| &slot.wait), Duration::from_micros),
            processing: percentiles(shared.slots.iter().map(|slot| &slot.processing), Duration::from_nanos),
            workers,
        }
    }

    fn figures_of(
        &self,
        worker: usize,
        slot: &Slot,
        serving: bool,
        waiting: &mut [usize; 3],
    ) -> Option<WorkerFigures> {
        let own = self.shared.post.lanes_of(worker, self.shared.now()).waiting();
        for (sum, more) in waiting.iter_mut().zip(own) {
            *sum += more;
        }
        let in_flight = slot.in_flight.load(Ordering::Relaxed);
        let figures = WorkerFigures {
            worker,
            serving,
            active: in_flight > 0 || slot.turn.load(Ordering::Relaxed) % 2 == 1,
            asleep: slot.idle_since.load(Ordering::Relaxed) != NEVER,
            blocked: slot.blocked.load(Ordering::SeqCst),
            down: slot.life.lock().down,
            in_flight,
            waiting: own.iter().sum(),
            processed: slot.processed.load(Ordering::Relaxed),
            restarted: slot.restarted.load(Ordering::Relaxed),
        };
        (serving || figures.processed > 0 || figures.active).then_some(figures)
    }

    /// Takes nothing more, except from inside handlers; what is there is worked off.
    pub fn close(&self) {
        self.shared.room.close();
    }

    /// Closes, waits until all is worked off, for `deadline` at most, and ends the workers. Answers what was left.
    pub async fn drained(&self, deadline: Duration) -> Left<W::Item> {
        let shared = &self.shared;
        self.close();
        tokio::select! {
            biased;
            () = self.emptied() => {}
            () = shared.clock.sleep(deadline) => {}
        }
        shared.stop();
        tokio::select! {
            biased;
            () = self.ended() => {}
            () = shared.clock.sleep(GRACE) => {}
        }
        let mut waiting = Vec::new();
        for worker in 0..shared.post.len() {
            let mut lanes = shared.post.lanes_of(worker, shared.now());
            waiting.extend(lanes.drain());
            shared.post.place(worker).sized(&lanes);
        }
        let size = waiting.iter().fold(Size::default(), |mut sum, job| {
            sum.add(Size::one(job.bytes));
            sum
        });
        shared.room.give_back(size);
        let running = shared.room.taken.get().events;
        Left { waiting: waiting.into_iter().map(entry).collect(), running }
    }

    /// Nothing is there any more.
    pub(crate) async fn emptied(&self) {
        let room = &self.shared.room;
        loop {
            let empty = room.empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if room.taken.get().events == 0 {
                return;
            }
            empty.await;
        }
    }

    /// No worker has a thread any more.
    async fn ended(&self) {
        loop {
            let ended = self.shared.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.shared.slots.iter().all(|slot| !slot.life.lock().alive) {
                return;
            }
            ended.await;
        }
    }
}

fn entry<T>(job: Job<T>) -> Entry<T> {
    let key = job.keyed.then_some(job.key);
    Entry { item: job.item, key, priority: priority_of(job.level), bytes: job.bytes }
}

fn percentiles<'a>(
    histograms: impl Iterator<Item = &'a Histogram>,
    unit: fn(u64) -> Duration,
) -> Percentiles {
    let merged = Merged::of(histograms);
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|part| unit(merged.percentile(part)));
    Percentiles { mean: unit(merged.mean()), p50, p95, p99 }
}

impl<W: Work> std::fmt::Debug for Queue<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("taken", &self.shared.room.taken.get()).finish_non_exhaustive()
    }
}

impl<W: Work> Drop for Queue<W> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
