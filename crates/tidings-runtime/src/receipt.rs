//! What became of a published event in the handlers it went to, to be awaited.

use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tidings_core::{Reason, Text};
use tokio::sync::Notify;

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The handler returned `Ok`.
    Handled,
    /// The handler gave up and its fallback returned `Ok`.
    ByFallback,
    /// It was not called, and never will be: a feature flag is off, somebody had handled it before, or its time was over.
    Skipped(&'static str),
    /// Its policy refused the call, and nothing keeps the event: the circuit is open, or the rate limit reached.
    Refused(&'static str),
    /// It is in the dead letters.
    Dead {
        /// Why.
        reason: Reason,
        /// What went wrong last.
        error: String,
    },
    /// It is nowhere: its queue was full and told to make room, it was shed, or its handler was taken away.
    Dropped(&'static str),
}

/// What became of an event in one handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The handler's name.
    pub handler: Text,
    /// How often it was called.
    pub attempts: u32,
    /// How it ended.
    pub ended: Ended,
}

/// Collects the outcomes of one event.
#[derive(Debug, Default)]
pub(crate) struct Told {
    state: Mutex<State>,
    all: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    /// Mostly there is one handler, and then this needs no memory of its own.
    outcomes: SmallVec<[Outcome; 1]>,
}

impl Told {
    pub fn of(deliveries: usize) -> Arc<Self> {
        let state = State { open: deliveries, outcomes: SmallVec::new() };
        Arc::new(Self { state: Mutex::new(state), all: Notify::new() })
    }

    /// Says how a delivery has ended, once for each that holds this. What nobody is to hear is not said.
    pub fn tell(self: &Arc<Self>, outcome: impl FnOnce() -> Outcome) {
        // Others can only come from others that are there.
        if Arc::strong_count(self) == 1 {
            return;
        }
        let outcome = outcome();
        let mut state = self.state.lock();
        state.outcomes.push(outcome);
        state.open = state.open.saturating_sub(1);
        if state.open == 0 {
            drop(state);
            self.all.notify_waiters();
        }
    }
}

/// The outcomes of one event in its buffered handlers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outcomes(pub(crate) Option<Arc<Told>>);

impl Outcomes {
    /// Waits until every delivery of the event has ended, however often it is tried again.
    pub async fn all(&self) -> Vec<Outcome> {
        let Some(told) = &self.0 else { return Vec::new() };
        loop {
            let notified = told.all.notified();
            {
                let state = told.state.lock();
                if state.open == 0 {
                    return state.outcomes.to_vec();
                }
            }
            notified.await;
        }
    }

    /// What has ended so far.
    pub fn so_far(&self) -> Vec<Outcome> {
        self.0.as_ref().map_or_else(Vec::new, |told| told.state.lock().outcomes.to_vec())
    }
}
