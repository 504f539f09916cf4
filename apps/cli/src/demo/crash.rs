//! The same shop in a process that is killed, again and again, and goes on each time.
//!
//! This process only watches: it reads the store, and when the work has come to a point drawn from the seed it waits some
//! more microseconds and sends SIGKILL. A point that has been passed already, because a kill came late, means a kill
//! while the next process is still finding out where things stand.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tidings::{Mode, Position, open_store, store::AnyStore};

use super::{
    customers::Customers,
    dice::Dice,
    follow::{Follower, Seen},
    home::Home,
    itself,
    live::{Live, TICK},
    report::Work,
};
use crate::output::number::count;

/// How often the store is asked how far the work has come.
const LOOK: Duration = Duration::from_micros(500);

/// A kill comes up to so many microseconds after its point.
const LATE_MICROS: u64 = 3_000;

/// How many events an order has, roughly; only to spread the kills.
const EVENTS_PER_ORDER: f64 = 4.8;

/// The last kill comes before this share of the work is done, so that there is work left for it to interrupt.
const LAST: f64 = 0.85;

/// Below this many orders for each kill the work may be done before the last one.
const ORDERS_PER_KILL_MIN: u64 = 100;

/// What the dice are thrown for.
const MOMENTS: u64 = u64::MAX;

/// A process at work. It is killed when nobody watches it any more.
struct Worker {
    process: Child,
    words: File,
}

impl Worker {
    fn start(home: &Home, open: u64) -> Result<Self> {
        let words = tempfile::tempfile()?;
        let mut command = itself(home)?;
        command
            .args(["--at-work", "--open", &open.to_string()])
            .stdout(Stdio::null())
            .stderr(words.try_clone()?);
        Ok(Self { process: command.spawn().context("starting the shop")?, words })
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// What became of one that ended by itself.
    fn ended(&mut self, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let mut said = String::new();
        self.words.rewind()?;
        self.words.read_to_string(&mut said)?;
        bail!("the shop ended by itself with {status}: {}", said.trim());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that has ended cannot be killed any more, which is as well.
        drop(self.kill());
    }
}

/// Runs the shop to its end through so many kills.
///
/// # Errors
/// When it does not go on, or ends before all the kills.
pub async fn run(home: &Home, customers: &Customers, kills: u64, open: u64, live: &mut Live) -> Result<Work> {
    let orders = customers.shop.orders;
    ensure!(
        orders / kills >= ORDERS_PER_KILL_MIN,
        "{orders} orders are over before {kills} kills; place at least {}",
        kills * ORDERS_PER_KILL_MIN
    );
    let store = open_store(&home.url, Mode::ReadOnly).await.with_context(|| home.url.clone())?;
    let mut watcher = Watcher { follower: Follower::new(store.clone()), drawn: Instant::now() };
    watcher.follower.catch_up().await?;
    let before = watcher.follower.seen.clone();
    let begun = Instant::now();
    let mut worker = Worker::start(home, open)?;
    let mut killed = Vec::new();
    for (point, late) in moments(customers.shop.seed, before.position, orders, kills) {
        while store.head().await? < point {
            if let Some(status) = worker.process.try_wait()? {
                worker.ended(status)?;
                let so_far = killed.len();
                bail!("all orders had ended after {so_far} of {kills} kills; place more, or kill less often");
            }
            watcher.look(live).await?;
            tokio::time::sleep(LOOK).await;
        }
        spin(late);
        worker.kill()?;
        let at = store.head().await?;
        killed.push(at);
        live.note(&format!("  killed at event {} ({} of {kills})", count(at), killed.len()));
        worker = Worker::start(home, open)?;
    }
    let status = loop {
        if let Some(status) = worker.process.try_wait()? {
            break status;
        }
        watcher.look(live).await?;
        tokio::time::sleep(TICK / 10).await;
    };
    worker.ended(status)?;
    let took = begun.elapsed();
    watcher.follower.catch_up().await?;
    let after: Seen = watcher.follower.seen;
    live.show(&after);
    close(store).await?;
    Ok(Work { took, before, after, retries: None, kills: Some(killed) })
}

/// Positions at which to kill, and how much later.
fn moments(seed: u64, from: Position, orders: u64, kills: u64) -> Vec<(Position, Duration)> {
    let mut dice = Dice::of(seed, MOMENTS);
    let end = (orders as f64 * EVENTS_PER_ORDER * LAST) as u64;
    let mut points: Vec<_> = (0..kills)
        .map(|_| {
            let point = from + 1 + dice.below(end.saturating_sub(from));
            (point, Duration::from_micros(dice.below(LATE_MICROS)))
        })
        .collect();
    points.sort_unstable();
    points
}

/// A sleep would be rounded up to a millisecond.
fn spin(span: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < span {
        std::hint::spin_loop();
    }
}

/// Reads the log now and then, to show how it goes.
struct Watcher {
    follower: Follower,
    drawn: Instant,
}

impl Watcher {
    async fn look(&mut self, live: &mut Live) -> Result<()> {
        if self.drawn.elapsed() >= TICK {
            self.follower.catch_up().await?;
            live.show(&self.follower.seen);
            self.drawn = Instant::now();
        }
        Ok(())
    }
}

async fn close(store: AnyStore) -> Result<()> {
    store.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_over_the_work_and_repeat_with_their_seed() {
        let moments_of = |seed| moments(seed, 40, 20_000, 10);
        assert_eq!(moments_of(7), moments_of(7));
        assert_ne!(moments_of(7), moments_of(8));
        assert!(moments_of(7).is_sorted());
        assert!(moments_of(7).iter().all(|(point, _)| (41..=81_640).contains(point)));
    }
}
