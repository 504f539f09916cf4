//! Who looks after the workers: restarts those that died, reports those that are blocked, follows the load.

use std::{
    sync::{
        Arc, Weak,
        atomic::{Ordering, fence},
    },
    time::Duration,
};

use tidings_core::Clock;

use crate::{
    config::Scaling,
    driver::Panic,
    error::Error,
    shared::{NEVER, Shared, Slot, micros},
    work::{Cause, Notice, Work},
    worker::{self, Desk, back_off, forgiven},
};

/// What the keeper remembers from one look to the next.
struct Seen {
    /// Of each worker, the last turn and since when it is that.
    turns: Vec<(u64, i64)>,
    /// Of each worker, its idle time when the load was last looked at.
    idle: Vec<i64>,
    looked: i64,
    /// How many times in a row the load was too high, or too low if it is negative.
    streak: i64,
}

/// Runs until the queue ends.
pub(crate) async fn keep<W: Work>(shared: Weak<Shared<W>>, clock: Arc<dyn Clock>) {
    let mut seen = None;
    loop {
        let Some((tick, changed)) = shared.upgrade().filter(|shared| !shared.is_stopped()).map(|shared| {
            let now = shared.now();
            seen.get_or_insert_with(|| Seen::new(&shared, now));
            (shared.tick(), shared.changed.clone())
        }) else {
            return;
        };
        match tick {
            Some(tick) => tokio::select! {
                () = clock.sleep(tick) => {}
                () = changed.notified() => {}
            },
            None => changed.notified().await,
        }
        let Some(shared) = shared.upgrade().filter(|shared| !shared.is_stopped()) else { return };
        if let Some(seen) = &mut seen {
            shared.look(seen);
        }
    }
}

impl Seen {
    fn new<W: Work>(shared: &Shared<W>, now: i64) -> Self {
        let turns = shared.slots.iter().map(|slot| (slot.turn.load(Ordering::Acquire), now)).collect();
        let idle = shared.slots.iter().map(|slot| slot.idle_until(now)).collect();
        Self { turns, idle, looked: now, streak: 0 }
    }
}

impl<W: Work> Shared<W> {
    /// How long until the next look; nothing when there is nothing to look after until a worker says so.
    fn tick(&self) -> Option<Duration> {
        let config = self.config.lock();
        let blocked = config.blocked_after / 2;
        match &config.scaling {
            Some(scaling) => Some(blocked.min(scaling.interval)),
            None => (!self.may_doze()).then_some(blocked),
        }
    }

    /// Whether all workers sleep. Either this sees that one does not, or that one sees, when it has said that it does not,
    /// that the keeper is to be woken.
    fn may_doze(&self) -> bool {
        self.dozing.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let sleeps = |slot: &Slot| {
            let idle = slot.idle_since.load(Ordering::SeqCst) != NEVER || !slot.life.lock().alive;
            idle && !slot.blocked.load(Ordering::SeqCst)
        };
        let all = self.slots.iter().all(sleeps);
        if !all {
            self.dozing.store(false, Ordering::SeqCst);
        }
        all
    }

    /// A worker has something to do, or there is a new one.
    pub(crate) fn wake_keeper(&self) {
        fence(Ordering::SeqCst);
        if self.dozing.load(Ordering::SeqCst) && self.dozing.swap(false, Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }

    fn look(self: &Arc<Self>, seen: &mut Seen) {
        let now = self.now();
        self.look_at_turns(seen, now);
        let scaling = self.config.lock().scaling.clone();
        if let Some(scaling) = scaling.filter(|scaling| now - seen.looked >= micros(scaling.interval)) {
            self.look_at_load(&scaling, seen, now);
        }
    }

    fn look_at_turns(&self, seen: &mut Seen, now: i64) {
        let after = self.config.lock().blocked_after;
        let mut notices = Vec::new();
        for (worker, slot) in self.slots.iter().enumerate() {
            let (turn, at) = &mut seen.turns[worker];
            let current = slot.turn.load(Ordering::Acquire);
            if current % 2 == 0 || current != *turn {
                (*turn, *at) = (current, now);
                if slot.blocked.swap(false, Ordering::SeqCst) {
                    notices.push(Notice::Unblocked { worker });
                }
            } else if now - *at >= micros(after) && !slot.blocked.swap(true, Ordering::SeqCst) {
                let span = Duration::from_micros(u64::try_from(now - *at).unwrap_or(0));
                notices.push(Notice::Blocked { worker, span });
            }
        }
        if !notices.is_empty() {
            self.regroup();
        }
        for notice in notices {
            self.notice(notice);
        }
    }

    /// How busy the workers were since the last look, 0 to 1, or how full the queue is, whichever is more.
    fn load(&self, seen: &Seen, active: usize, now: i64) -> f64 {
        let span = (now - seen.looked).max(1) as f64;
        let concurrency = self.concurrency.load(Ordering::Relaxed).max(1) as f64;
        let busy = |worker: usize| {
            let slot = &self.slots[worker];
            let idle = (slot.idle_until(now) - seen.idle[worker]) as f64 / span;
            let driving = slot.in_flight.load(Ordering::Relaxed) as f64 / concurrency;
            (1.0 - idle).max(driving).clamp(0.0, 1.0)
        };
        let busy = (0..active).map(busy).sum::<f64>() / active.max(1) as f64;
        busy.max(self.utilisation())
    }

    /// How much of the room is taken, 0 to 1.
    pub(crate) fn utilisation(&self) -> f64 {
        let (taken, most) = (self.room.taken.get(), self.room.most());
        (taken.events as f64 / most.events as f64).max(taken.bytes as f64 / most.bytes as f64)
    }

    fn look_at_load(self: &Arc<Self>, scaling: &Scaling, seen: &mut Seen, now: i64) {
        let active = self.active.load(Ordering::SeqCst);
        let load = self.load(seen, active, now);
        let streak = if load >= scaling.up {
            seen.streak.max(0) + 1
        } else if load <= scaling.down {
            seen.streak.min(0) - 1
        } else {
            0
        };
        let fresh = Seen::new(self, now);
        (seen.idle, seen.looked, seen.streak) = (fresh.idle, now, streak);
        let held = streak.unsigned_abs() >= u64::from(scaling.hold);
        let (to, cause) = match streak {
            up if up > 0 && held => (active + 1, Cause::Busy),
            down if down < 0 && held => (active - 1, Cause::Idle),
            _ => (active, Cause::Idle),
        };
        let to = to.clamp(scaling.min, scaling.max);
        if to == active {
            return;
        }
        seen.streak = 0;
        if let Err(error) = self.scale(to, cause) {
            tracing::warn!(%error, to, "the number of workers could not be changed");
        }
    }

    /// Changes the number of workers.
    pub(crate) fn scale(self: &Arc<Self>, to: usize, cause: Cause) -> Result<(), Error> {
        let scaling = self.scaling.lock();
        if self.is_stopped() {
            return Err(Error::ended());
        }
        let from = self.active.swap(to, Ordering::SeqCst);
        for worker in 0..to {
            if let Err(error) = self.enliven(worker) {
                // Those there are go on.
                self.active.store(worker.max(from.min(to)), Ordering::SeqCst);
                self.regroup();
                return Err(error);
            }
        }
        self.regroup();
        for worker in to..from {
            self.post.place(worker).inbox.wake();
        }
        drop(scaling);
        if from != to && from != 0 {
            self.notice(Notice::Scaled { from, to, cause });
        }
        Ok(())
    }

    /// Sees to it that a worker has a thread, unless it is to be restarted anyway.
    fn enliven(self: &Arc<Self>, worker: usize) -> Result<(), Error> {
        let mut life = self.slots[worker].life.lock();
        if life.alive || life.down {
            return Ok(());
        }
        worker::spawn(self, worker, Desk::new(self, worker), false)?;
        (life.alive, life.deaths, life.begun) = (true, 0, self.now());
        drop(life);
        self.wake_keeper();
        Ok(())
    }
}

/// A panic came out of the work: the thread ends, and another takes its desk after a while.
pub(crate) fn died<W: Work>(shared: &Arc<Shared<W>>, worker: usize, desk: Desk<W>, panic: &Panic) {
    let (first, most) = {
        let config = shared.config.lock();
        (config.restart_first, config.restart_max)
    };
    let now = shared.now();
    let after = {
        let mut life = shared.slots[worker].life.lock();
        let deaths = if forgiven(life.begun, now, most) { 1 } else { life.deaths.saturating_add(1) };
        (life.alive, life.down, life.deaths) = (false, true, deaths);
        back_off(first, most, deaths)
    };
    shared.regroup();
    let weak = Arc::downgrade(shared);
    let sleep = shared.clock.sleep(after);
    shared.runtime.spawn(restart(weak, worker, desk, sleep));
    let notice = Notice::Died { worker, message: message(panic), restart_after: after };
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.notice(notice)));
    if told.is_err() {
        tracing::error!(worker, "a worker died, and so did who was to be told");
    }
    shared.ended.notify_waiters();
}

async fn restart<W: Work>(
    shared: Weak<Shared<W>>,
    worker: usize,
    desk: Desk<W>,
    sleep: tidings_core::BoxFuture<'static, ()>,
) {
    let Some(stopping) = shared.upgrade().map(|shared| shared.stopping.clone()) else { return };
    let stopped = stopping.notified();
    if shared.upgrade().is_none_or(|shared| shared.is_stopped()) {
        return;
    }
    tokio::select! {
        () = sleep => {}
        () = stopped => {}
    }
    let Some(shared) = shared.upgrade().filter(|shared| !shared.is_stopped()) else { return };
    let spawned = {
        let slot = &shared.slots[worker];
        let mut life = slot.life.lock();
        let spawned = worker::spawn(&shared, worker, desk, true);
        (life.down, life.alive, life.begun) = (false, spawned.is_ok(), shared.now());
        slot.restarted.fetch_add(1, Ordering::Relaxed);
        spawned
    };
    shared.wake_keeper();
    if let Err(error) = spawned {
        shared.notice(Notice::NoThread { worker, message: error.to_string() });
    }
    shared.regroup();
}

fn message(panic: &Panic) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}
