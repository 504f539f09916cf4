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
        let mut held = None;
        loop {
            beats.borrow_and_update();
            let wait = match self.turn(&mut held).await {
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
    async fn turn(&self, held: &mut Option<(u64, Timestamp)>) -> Result<Option<Duration>, Error> {
        let tenants = Tenants::One(self.config.tenant.clone());
        loop {
            let rows = self.store.due(&tenants, SCHEDULE, Timestamp::MAX, BATCH).await?;
            let Some((_, first)) = rows.first() else { return Ok(None) };
            let now = self.clock.now();
            if first.due > now {
                return Ok(Some(first.due.since(now).min(Duration::from_secs(3_600))));
            }
            let epoch = match *held {
                Some((epoch, until)) if now < until => epoch,
                _ => match self.store.lease(LEASE, &self.config.owner, self.config.lease).await? {
                    Lease::Granted { epoch: granted } => {
                        *held = Some((granted, now.after(self.config.lease / 2)));
                        granted
                    }
                    Lease::Held { until, .. } => {
                        return Ok(Some(until.since(now).max(Duration::from_millis(100))));
                    }
                },
            };
            let mut due = Vec::new();
            for (_, row) in rows.into_iter().filter(|(_, row)| row.due <= now) {
                let event = cloudevents::read(&row.body).map(|incoming| incoming.envelope);
                if let Err(error) = &event {
                    tracing::error!(id = %row.id, %error, "a scheduled event cannot be read; it is dropped");
                }
                due.push((row.id, event.ok()));
            }
            if let Err(error) = self.publish(epoch, &due).await {
                if matches!(error, Error::Fenced { .. }) {
                    *held = None;
                }
                return Err(error);
            }
        }
    }

    /// Takes the rows and appends their events: all at once if that is possible, else one by one.
    async fn publish(&self, epoch: u64, due: &[(Text, Option<Envelope>)]) -> Result<(), Error> {
        let mut commit = Commit { tenant: self.config.tenant.clone(), ..Commit::default() };
        commit.fences.push(Fence { lease: LEASE.into(), epoch });
        commit.due.extend(
            due.iter().map(|(id, _)| DueChange::Take { queue: Text::from(SCHEDULE), id: id.clone() }),
        );
        let without_events = commit.clone();
        let events: Vec<Envelope> = due.iter().filter_map(|(_, event)| event.clone()).collect();
        events.iter().for_each(|event| commit.push_event(event.clone()));
        let mut unknown = false;
        loop {
            match self.store.apply(commit.clone()).await {
                Ok(applied) => {
                    if applied.repeated {
                        // The events are there already; perhaps the rows are, too.
                        self.take(without_events).await?;
                    }
                    if unknown || !applied.repeated {
                        (self.published)(&events);
                    }
                    return Ok(());
                }
                // Somebody took a row: look again.
                Err(Error::DueTaken { .. }) => return Ok(()),
                Err(error @ Error::Fenced { .. }) => return Err(error),
                Err(error) if error.kind() == ErrorKind::Unknown => {
                    tracing::warn!(%error, "scheduled events are published again, to know whether they were");
                    unknown = true;
                    tokio::select! {
                        () = self.stop.cancelled() => return Err(error),
                        () = self.clock.sleep(Duration::from_secs(1)) => {}
                    }
                }
                Err(error) if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Refused) => {
                    return Err(error);
                }
                Err(error) if due.len() == 1 => {
                    tracing::error!(id = %due[0].0, %error, "a scheduled event cannot be published; it is dropped");
                    return self.take(without_events).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "scheduled events are published one by one");
                    for one in due.chunks(1) {
                        Box::pin(self.publish(epoch, one)).await?;
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn take(&self, commit: Commit) -> Result<(), Error> {
        match self.store.apply(commit).await {
            Ok(_) | Err(Error::DueTaken { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
