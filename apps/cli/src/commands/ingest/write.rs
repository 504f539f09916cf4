//! Writing batches: several commits in flight, so that one sync makes several durable, in the order of the file.

use std::{collections::VecDeque, future::Future, pin::Pin, task::Poll};

use tidings::{
    StoreError, Text,
    store::{AnyStore, Applied, ErrorKind},
};

use super::{Totals, parse::Batch, rejects::Rejects, relay, relay::Relay};

/// Commits in flight: about half of them are made durable by one sync while the others are being sent on their way.
const FLIGHTS: usize = 32;

/// Bytes of lines in flight, over which no further commit is sent on its way: 32 MiB.
const FLIGHT_BYTES: usize = 32 << 20;

type Answer = Result<Applied, StoreError>;

/// A commit on its way.
struct Flight {
    batch: Batch,
    answer: Pin<Box<dyn Future<Output = Answer>>>,
}

/// Writes batches and counts.
pub struct Writing<'a> {
    pub(super) store: &'a AnyStore,
    pub(super) rejects: Rejects,
    /// What has become of the lines so far.
    pub totals: Totals,
    window: VecDeque<Flight>,
    /// Bytes of lines in the window.
    bytes: usize,
    /// Batches that were not written as they are, in order; they are looked at when nothing is in flight.
    again: Vec<Batch>,
    relay: Relay,
}

impl<'a> Writing<'a> {
    /// Nothing written yet.
    pub fn new(store: &'a AnyStore, rejects: Rejects) -> Self {
        let (window, again, relay) = (VecDeque::new(), Vec::new(), Relay::new());
        Self { store, rejects, totals: Totals::default(), window, bytes: 0, again, relay }
    }

    /// The name of this run.
    pub fn run(&self) -> &Text {
        &self.relay.run
    }

    /// Whether something is being written.
    pub fn in_flight(&self) -> bool {
        !self.window.is_empty()
    }

    /// Whether another batch can be taken.
    pub fn has_room(&self) -> bool {
        self.window.len() < FLIGHTS && self.bytes < FLIGHT_BYTES && self.again.is_empty()
    }

    /// Sends a batch on its way.
    pub async fn submit(&mut self, mut batch: Batch) -> anyhow::Result<()> {
        for reject in std::mem::take(&mut batch.rejects) {
            self.rejects.push(&reject)?;
            self.totals.rejected += 1;
            self.totals.read += 1;
        }
        self.totals.known += batch.doubled;
        self.totals.read += std::mem::take(&mut batch.doubled);
        if batch.events.is_empty() {
            return Ok(());
        }
        let mut commit = std::mem::take(&mut batch.commit);
        self.relay.pass(&mut commit, self.window.is_empty());
        let store = self.store.clone();
        let mut apply: Pin<Box<dyn Future<Output = Answer>>> =
            Box::pin(async move { store.apply(commit).await });
        // A commit takes its place in the queue when it is first polled.
        let answer = match std::future::poll_fn(|cx| Poll::Ready(apply.as_mut().poll(cx))).await {
            Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
            Poll::Pending => apply,
        };
        self.bytes += batch.bytes();
        self.window.push_back(Flight { batch, answer });
        Ok(())
    }

    /// Waits for the oldest commit's answer. It can be dropped and asked for again.
    pub async fn answer(&mut self) -> Answer {
        match self.window.front_mut() {
            Some(flight) => flight.answer.as_mut().await,
            None => std::future::pending().await,
        }
    }

    /// Takes note of the oldest commit's answer.
    pub async fn settled(&mut self, answer: Answer) -> anyhow::Result<()> {
        let Some(Flight { batch, .. }) = self.window.pop_front() else { return Ok(()) };
        self.bytes -= batch.bytes();
        match answer {
            Ok(applied) => {
                self.count(&batch, applied.repeated);
            }
            Err(error) if can_be_mended(&error) => self.again.push(batch),
            Err(error) => {
                // Those behind it have failed as well, or are written and known when it is run again.
                self.window.clear();
                return Err(error.into());
            }
        }
        if self.window.is_empty() {
            for batch in std::mem::take(&mut self.again) {
                self.carefully(batch).await?;
            }
        }
        Ok(())
    }

    fn count(&mut self, batch: &Batch, repeated: bool) {
        let many = batch.events.len() as u64;
        self.totals.read += many;
        if repeated {
            self.totals.known += many;
        } else {
            self.totals.added += many;
        }
        tracing::info!(added = self.totals.added, known = self.totals.known, "written");
    }

    /// The rejected lines, to be finished.
    pub fn into_rejects(self) -> Rejects {
        self.rejects
    }
}

/// Whether looking at the batch alone and closely can help.
fn can_be_mended(error: &StoreError) -> bool {
    match error {
        StoreError::DueTaken { queue, .. } => **queue == *relay::QUEUE,
        error => {
            matches!(
                error.kind(),
                ErrorKind::Conflict | ErrorKind::Refused | ErrorKind::Unknown | ErrorKind::Locked
            )
        }
    }
}
