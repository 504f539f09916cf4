//! How it starts, with what an earlier run left, and how it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_core::{Envelope, Handled};
use tidings_queue::Why;

use super::{Buffered, EVENT_BYTES, PoolLeft, Running, Stop};
use crate::{
    Ended,
    job::{Job, Row},
    pool::Counts,
    spill::Spiller,
};

impl Buffered {
    /// Brings back what an earlier run had spilled, and goes on doing so.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(&self) -> Handled {
        if self.0.started.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let pools = self.0.pools.read().clone();
        for (index, running) in pools.iter().enumerate() {
            let Some(spiller) = &running.spiller else { continue };
            spiller.recover().await?;
            self.bring_back_from(index, spiller);
        }
        Ok(())
    }

    pub(super) fn bring_back_from(&self, pool: usize, spiller: &Arc<Spiller>) {
        let (weak, row_of) = (Arc::downgrade(&self.0), spiller.clone());
        let bring_back = spiller.clone().run(move |event, number| {
            let (inner, spiller) = (weak.upgrade(), row_of.clone());
            async move {
                match inner {
                    Some(inner) => Self(inner).bring_back(pool, &event, number, spiller).await,
                    None => false,
                }
            }
        });
        self.0.tasks.spawn_on(bring_back, &self.0.ground.runtime);
    }

    /// Puts a spilled event into its pool's queue, waiting for room. Answers whether it was taken in.
    async fn bring_back(&self, pool: usize, event: &Envelope, number: u64, spiller: Arc<Spiller>) -> bool {
        let stops = self.stops(event.name());
        let pools = self.0.pools.read().clone();
        let here = |stop: &&Stop| pools.get(pool).is_some_and(|running| Arc::ptr_eq(running, &stop.running));
        let Some(Stop { running, routes }) = stops.iter().find(here) else {
            // Nobody selects it any more.
            spiller.done(number);
            return true;
        };
        let bytes = event.payload().map_or(0, |payload| payload.len()) + EVENT_BYTES;
        let reserved = loop {
            // As long as it takes: the row is safe meanwhile.
            match running.queue.reserve_waiting(routes.len(), bytes, Duration::from_secs(3_600)).await {
                Ok(reserved) => break reserved,
                Err(Why::Closed) => return false,
                Err(_) => {}
            }
        };
        let row = Arc::new(Row { number, open: AtomicUsize::new(routes.len()), spiller });
        self.push(running, reserved, event, routes, bytes, None, Some(&row));
        true
    }

    /// Takes nothing in from outside any more; what handlers publish still comes in.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// Waits until everything that is in the queues has ended, however often it is tried again.
    pub async fn settled(&self) {
        loop {
            let pools = self.0.pools.read().clone();
            for running in &pools {
                running.queue.settled().await;
            }
            let idle = |running: &Arc<Running>| {
                running.queue.figures().events == 0
                    && !running.spiller.as_ref().is_some_and(|spiller| spiller.is_active())
            };
            if pools.iter().all(idle) {
                return;
            }
            // Rows come back one after the other; there is no other sign of the last one.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Closes, works off what is there until the deadline, and ends the threads. What is left is told and counted.
    pub async fn drained(&self, deadline: Duration) -> Vec<PoolLeft> {
        self.close();
        let pools = self.0.pools.read().clone();
        for running in &pools {
            if let Some(spiller) = &running.spiller {
                spiller.stop();
            }
        }
        let mut all = Vec::new();
        let clock = &self.0.ground.clock;
        let begun = clock.now();
        for running in &pools {
            let rest = deadline.saturating_sub(clock.now().since(begun));
            let left = running.queue.drained(rest).await;
            if !left.is_empty() {
                all.push(PoolLeft {
                    pool: running.pool.name.to_string(),
                    waiting: left.waiting.len(),
                    running: left.running,
                });
            }
            for entry in left.waiting {
                let name = running.pool.slot(entry.item.handler).map(|slot| slot.callee.name.clone());
                Counts::add(&running.pool.counts.dropped);
                let job = entry.item;
                // Its row stays: it comes back with the next start.
                let job = Job { spilled: None, ..job };
                job.end(&name.unwrap_or_default(), Ended::Dropped("the application ended"));
            }
            if let Some(spiller) = &running.spiller
                && let Err(failure) = spiller.sweep().await
            {
                tracing::warn!(pool = %running.pool.name, %failure, "rows of events that were handled stay");
            }
        }
        self.0.tasks.close();
        all
    }
}
