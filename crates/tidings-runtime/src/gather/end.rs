//! What becomes of a delivery whose handler is not called for it again.

use std::time::Duration;

use tidings_core::{Attempt, Failure, GivenUp, Reason, Text, keep_attempt};

use super::{Shared, delivery::Delivery};
use crate::{Calling, Ended, Notice};

/// How long a delivery waits that could not even be kept as a dead letter.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

/// The fallback may stand in, otherwise it is a dead letter; answers its key, which waits until then.
pub(super) async fn give_up(
    shared: &Shared,
    mut delivery: Delivery,
    reason: Reason,
    failure: Failure,
) -> Option<Text> {
    let (callee, job) = (&shared.callee, &delivery.job);
    let timeout = shared.guards.each.timeout();
    if let Some(call) = callee.call_fallback(&job.envelope, job.calls.max(1), timeout) {
        let result = match call {
            Calling::Done(result) => result,
            Calling::Waiting(call) => call.await,
        };
        let Err(failure) = result else {
            shared.count_handled();
            return delivery.end(Ended::ByFallback);
        };
        let error = format!("the fallback: {}", failure.describe());
        note(shared, &mut delivery, error);
    } else if delivery.job.troubles.is_none() {
        note(shared, &mut delivery, failure.describe());
    }
    let job = &delivery.job;
    let now = shared.clock.now();
    let given_up = GivenUp {
        envelope: job.envelope.clone(),
        handler: callee.name.clone(),
        place: shared.place,
        reason,
        dead: shared.guards.policy().dead.unwrap_or_default(),
        before: job.letter.clone(),
        at: now,
        calls: job.calls,
        first_at: job.first.unwrap_or(now),
        attempts: job.troubles.as_deref().cloned().unwrap_or_default(),
    };
    tracing::error!(handler = %callee.name, id = %job.envelope.id(), %reason, %failure, "given up");
    while let Err(trouble) = shared.outside.keep(given_up.clone()).await {
        tracing::error!(handler = %callee.name, %trouble, "a dead letter could not be kept; it is tried again");
        shared.clock.sleep(KEEP_AGAIN).await;
    }
    shared.count(|counts| &counts.dead);
    let (handler, id) = (callee.name.clone(), job.envelope.id().clone());
    (shared.notices)(Notice::DeadLettered { handler, id, reason });
    delivery.end(Ended::Dead { reason, error: failure.describe() })
}

/// Notes what went wrong.
pub(super) fn note(shared: &Shared, delivery: &mut Delivery, error: String) {
    let attempt = Attempt { at: shared.clock.now(), error };
    keep_attempt(delivery.job.troubles.get_or_insert_default(), attempt);
}
