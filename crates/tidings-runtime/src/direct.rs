//! Handlers that are called directly, by whoever has the event: on the bus.
//!
//! They have the same guard and the same settlement as buffered ones. What differs: nothing waits for them, so that a
//! call their policy refuses fails at once.

use std::sync::Arc;

use tidings_core::{Clock, DeadLetter, Envelope, Failure, Handled, Reason, Text};
use tidings_policy::Guard;
use tidings_queue::Step;
use tokio_util::sync::CancellationToken;

use crate::{
    Callee, Ended, Notice, Outside, PoolConfig,
    job::Job,
    pool::{Pool, Refused, Slot},
    receipt::{Outcomes, Told},
};

/// Handlers that are called directly.
#[derive(Clone)]
pub struct Direct(Arc<Pool>);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectId(u32);

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Direct")
    }
}

impl Direct {
    /// No handler yet.
    pub fn new(
        outside: Arc<dyn Outside>,
        clock: Arc<dyn Clock>,
        notices: Arc<dyn Fn(Notice) + Send + Sync>,
    ) -> Self {
        Self(Pool::new(Text::from("bus"), &PoolConfig::default(), outside, clock, notices, Refused::Fails))
    }

    /// Adds a handler.
    pub fn add(&self, callee: Callee, guard: Guard) -> DirectId {
        DirectId(self.0.add(Slot { callee: Arc::new(callee), guard, gatherer: None }))
    }

    /// Takes a handler away: calls that run end, and none is tried again.
    pub fn remove(&self, handler: DirectId) {
        self.0.remove(handler.0);
    }

    /// The guard of the handler of this name.
    pub fn guard<T>(&self, handler: &str, look: impl FnOnce(&Guard) -> T) -> Option<T> {
        let lineup = self.0.lineup.load();
        let found = lineup.slots.iter().flatten().find(|slot| *slot.callee.name == *handler);
        found.map(|slot| look(&slot.guard))
    }

    /// Calls a handler until it has succeeded or is given up; when `closing`, it is not tried again.
    ///
    /// # Errors
    /// What it failed with last, or that its policy refuses the call.
    pub async fn call(&self, handler: DirectId, event: &Envelope, closing: &CancellationToken) -> Handled {
        let told = Told::of(1);
        self.run(Job::new(event.clone(), handler.0, Some(told.clone())), closing).await?;
        match Outcomes(Some(told)).so_far().into_iter().next().map(|outcome| outcome.ended) {
            Some(Ended::Dead { reason: Reason::Permanent, error }) => Err(Failure::permanent(error)),
            Some(Ended::Dead { error, .. }) => Err(Failure::transient(error)),
            Some(Ended::Refused(why)) => Err(Failure::transient(format!("refused by its policy: {why}"))),
            Some(Ended::Dropped(why)) => Err(Failure::transient(why)),
            Some(Ended::Handled | Ended::ByFallback | Ended::Skipped(_)) | None => Ok(()),
        }
    }

    /// Calls the handler of this name for a dead letter of its, until it has succeeded or is given up again. `None` when
    /// it is not there.
    pub async fn replay(
        &self,
        handler: &str,
        letter: Arc<DeadLetter>,
        event: &Envelope,
        closing: &CancellationToken,
    ) -> Option<Ended> {
        let number = {
            let lineup = self.0.lineup.load();
            let is_it =
                |slot: &Option<Arc<Slot>>| slot.as_ref().is_some_and(|one| *one.callee.name == *handler);
            u32::try_from(lineup.slots.iter().position(is_it)?).ok()?
        };
        let told = Told::of(1);
        let job = Job::replay(event.clone(), number, letter, told.clone());
        if self.run(job, closing).await.is_err() {
            return Some(Ended::Dropped("the application ended"));
        }
        Outcomes(Some(told)).so_far().into_iter().next().map(|outcome| outcome.ended)
    }

    async fn run(&self, job: Job, closing: &CancellationToken) -> Handled {
        let clock = self.0.clock.clone();
        let mut step = self.0.begin(job, clock.now(), std::time::Duration::ZERO);
        loop {
            step = match step {
                Step::Done => break,
                Step::Waiting(next) => next.await,
                Step::Again { item, after } => {
                    tokio::select! {
                        () = clock.sleep(after) => {}
                        () = closing.cancelled() => {
                            let last = item.troubles.as_deref().and_then(|troubles| troubles.last());
                            let error = last.map_or("it was put off", |attempt| &attempt.error);
                            return Err(Failure::transient(format!("not tried again, for the application ends: {error}")));
                        }
                    }
                    self.0.begin(item, clock.now(), std::time::Duration::ZERO)
                }
            };
        }
        Ok(())
    }
}
