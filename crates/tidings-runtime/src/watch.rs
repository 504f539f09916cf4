//! Looks once a second whether deliveries wait too long, or publishing takes too much of the publishers' time.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tidings_core::Clock;

use crate::{Notice, buffered::Running};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// One delivery in so many may be late: 95 of 100 are not.
const LATE_ONE_IN: u64 = 20;

/// Runs as long as the pool is there.
pub(crate) async fn run(running: Weak<Running>, clock: Arc<dyn Clock>) {
    let (mut seen_before, mut late_before) = (0, 0);
    let (mut was_late, mut was_slow) = (false, false);
    let mut last = clock.now();
    loop {
        clock.sleep(EVERY).await;
        let Some(running) = running.upgrade() else { return };
        if running.queue.is_closed() {
            return;
        }
        let (latency_target, most) = {
            let config = running.config.read();
            (config.latency_target, config.caller_share_max)
        };
        let (seen, late) = (running.queue.processed(), running.pool.late.load(Ordering::Relaxed));
        let (of, late_now) = (seen - seen_before, late - late_before);
        (seen_before, late_before) = (seen, late);
        let is_late = late_now * LATE_ONE_IN > of.max(late_now);
        if is_late && !was_late {
            let target_us = u64::try_from(latency_target.as_micros()).unwrap_or(u64::MAX);
            let pool = running.pool.name.clone();
            tracing::warn!(%pool, late = late_now, of, ?latency_target, "deliveries wait too long");
            (running.pool.notices)(Notice::QueueSlow { pool, late: late_now, of, target_us });
        }
        was_late = is_late;

        let now = clock.now();
        let span = now.since(last).as_secs_f64();
        last = now;
        #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
        let share = running.caller.take() as f64 / 1e9 / span.max(1e-3);
        let is_slow = share > most;
        if is_slow && !was_slow {
            let pool = running.pool.name.clone();
            tracing::warn!(%pool, share, most, "publishing takes too much of the publishers' time");
            (running.pool.notices)(Notice::PublishSlow { pool, share, most });
        }
        was_slow = is_slow;
    }
}
