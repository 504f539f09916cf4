//! One event on its way through a handler of batches.

use std::sync::{Arc, atomic::Ordering};

use tidings_core::{DeliveryInfo, Envelope, Text, Timestamp};
use tidings_policy::Ask;

use super::{Shared, room::Place, run::BatchKey};
use crate::{Ended, job::Job, pool::Counts};

/// A delivery that is gathered, or has been. One that is dropped before it has ended is told so.
pub(super) struct Delivery {
    shared: Arc<Shared>,
    pub job: Job,
    /// The order in which they came.
    pub number: u64,
    /// Where the order of its key is kept, that key.
    pub key: Option<Text>,
    /// Since when it could have been called for.
    pub ready: Timestamp,
    has_ended: bool,
    _place: Place,
}

impl Delivery {
    pub fn new(shared: Arc<Shared>, job: Job, number: u64, ready: Timestamp, place: Place) -> Self {
        let key = job.envelope.key().filter(|_| shared.ordered).cloned();
        shared.held.fetch_add(1, Ordering::SeqCst);
        Self { shared, job, number, key, ready, has_ended: false, _place: place }
    }

    pub fn envelope(&self) -> &Envelope {
        &self.job.envelope
    }

    /// What it is gathered with: its tenant's, and where it is said so, its key's.
    pub fn batch_key(&self) -> BatchKey {
        let event = &self.job.envelope;
        (event.tenant().cloned(), event.key().filter(|_| self.shared.batches.by_key).cloned())
    }

    /// What the policy is asked for it. It is not held there: it waits here, where it holds up nothing but its key.
    pub fn ask(&self, now: Timestamp) -> Ask<'_> {
        Ask {
            envelope: &self.job.envelope,
            attempt: self.job.attempt,
            waited: now.since(self.ready),
            priority: self.job.envelope.priority(),
            since: self.job.first.unwrap_or(now),
            // What waits in memory is gone when the process dies.
            crashes: 0,
            hold: false,
            now,
        }
    }

    pub fn info(&self) -> DeliveryInfo {
        DeliveryInfo { attempt: self.job.calls, ..DeliveryInfo::new(self.job.envelope.clone()) }
    }

    /// It has ended; answers its key.
    pub fn end(mut self, ended: Ended) -> Option<Text> {
        self.has_ended = true;
        self.job.finish(&self.shared.callee.name, ended);
        self.key.take()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.has_ended {
            self.shared.count(|counts| &counts.dropped);
            // Its row stays: it comes back with the next start.
            self.job.spilled = None;
            self.job.finish(&self.shared.callee.name, Ended::Dropped("the application ended"));
        }
        Counts::add(&self.shared.ended);
        if self.shared.held.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.over.notify_waiters();
        }
    }
}
