//! Events that are published later: rows with a due time, and the one task that publishes them.
//!
//! One commit takes the row and appends the event, under the scheduler's lease; the event has had its id since it was
//! scheduled. So it is published once, whatever dies in between.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tidings_core::{
    Clock, Commit, DueChange, Envelope, Fence, Handled, OrFail, Text, Timestamp, cloudevents,
};
use tidings_store::{AnyStore, Error, ErrorKind, Lease, Tenants};
use tokio_util::sync::CancellationToken;

use crate::{Config, node::Published};

/// The queue of events to be published later.
pub const SCHEDULE: &str = "$schedule";

/// The lease of the task that publishes them.
const LEASE: &str = "scheduler";

/// How many rows one commit publishes at most.
const BATCH: usize = 500;

/// A scheduled event as it is kept: one CloudEvent in JSON.
///
/// # Errors
/// A payload that is not what its envelope says it is.
pub(crate) fn body(envelope: &Envelope) -> Handled<Bytes> {
    cloudevents::write(envelope, None).map(Bytes::from).permanent()
}

/// The task that publishes what is due.
pub(crate) struct Scheduler {
    pub store: AnyStore,
    pub clock: Arc<dyn Clock>,
    pub config: Config,
    pub published: Published,
    pub stop: CancellationToken,
}

impl Scheduler {
    pub(crate) async fn run(self) {
        let mut beats = self.store.beats();
        let mut epoch = None;
        loop {
            beats.borrow_and_update();
            let wait = match self.turn(&mut epoch).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(%error, "scheduled events wait");
                    if error.kind() == ErrorKind::Closed {
                        return;
                    }
                    Some(Duration::from_secs(1))
                }
            };
            let sleep = async {
                match wait {
                    Some(span) => self.clock.sleep(span).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = sleep => {}
                changed = beats.changed() => if changed.is_err() { break },
            }
        }
        if let Err(error) = self.store.release(LEASE, &self.config.owner).await {
            tracing::debug!(%error, "the scheduler's lease runs out by itself");
        }
    }

    /// Publishes what is due; answers how long to wait, or that there is nothing to wait for.
    async fn turn(&self, epoch: &mut Option<(u64, Timestamp)>) -> Result<Option<Duration>, Error> {
        let tenants = Tenants::One(self.config.tenant.clone());
        loop {
            let rows = self.store.due(&tenants, SCHEDULE, Timestamp::MAX, BATCH).await?;
            let Some((_, first)) = rows.first() else { return Ok(None) };
            let now = self.clock.now();
            if first.due > now {
                return Ok(Some(first.due.since(now).min(Duration::from_secs(3_600))));
            }
            let epoch = match *epoch {
                Some((epoch, until)) if now < until => epoch,
                _ => match self.store.lease(LEASE, &self.config.owner, self.config.lease).await? {
                    Lease::Granted { epoch: granted } => {
                        *epoch = Some((granted, now.after(self.config.lease / 2)));
                        granted
                    }
                    Lease::Held { until, .. } => {
                        return Ok(Some(until.since(now).max(Duration::from_millis(100))));
                    }
                },
            };
            let mut commit = Commit { tenant: self.config.tenant.clone(), ..Commit::default() };
            commit.fences.push(Fence { lease: LEASE.into(), epoch });
            let mut events = Vec::new();
            for (_, row) in rows.into_iter().filter(|(_, row)| row.due <= now) {
                match cloudevents::read(&row.body) {
                    Ok(incoming) => {
                        commit.push_event(incoming.envelope.clone());
                        events.push(incoming.envelope);
                    }
                    Err(error) => {
                        tracing::error!(id = %row.id, %error, "a scheduled event cannot be read; it is dropped")
                    }
                }
                commit.due.push(DueChange::Take { queue: Text::from(SCHEDULE), id: row.id });
            }
            match self.store.apply(commit).await {
                Ok(_) => (self.published)(&events),
                // Somebody took a row: look again.
                Err(Error::DueTaken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
