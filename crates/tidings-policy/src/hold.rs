//! Waiting for what a delivery has met on its way, and going on from there.

use futures_util::future::{Either, select};
use tidings_core::{BoxFuture, Envelope, Priority};

use crate::{
    Ask, Permit, Refusal,
    admit::{Blocked, SOON, Stage, admit, claimed, counted, deadline},
};

/// What an ask needs to be remembered by while it waits.
struct Kept {
    envelope: Envelope,
    priority: Priority,
    crashes: u32,
    hold: bool,
}

/// Waits for what blocks, as long as the policy says, and goes on.
pub(crate) fn wait(
    permit: Permit,
    ask: &Ask<'_>,
    blocked: Blocked,
) -> BoxFuture<'static, Result<Permit, Refusal>> {
    let (envelope, permit) = (ask.envelope.clone(), permit.keep());
    let kept = Kept { envelope, priority: ask.priority, crashes: ask.crashes, hold: ask.hold };
    Box::pin(go_on(permit, kept, blocked))
}

async fn go_on(mut permit: Permit, kept: Kept, mut blocked: Blocked) -> Result<Permit, Refusal> {
    let clock = permit.plan.common.around.clock.clone();
    let began = permit.now;
    loop {
        let stage = match blocked {
            Blocked::Turn(wait) => {
                clock.sleep(wait).await;
                Stage::Bulkhead
            }
            Blocked::Window(wait) => {
                clock.sleep(wait).await;
                Stage::Rate
            }
            Blocked::Counted(answer) => {
                let granted = answer.await;
                let plan = permit.plan.clone();
                let Some(limiter) = &plan.limiter else { return Ok(permit) };
                match counted(&plan, limiter, &kept.envelope, kept.hold, permit.now, granted)? {
                    None => Stage::Bulkhead,
                    Some(Blocked::Window(wait)) => {
                        clock.sleep(wait).await;
                        Stage::Rate
                    }
                    Some(other) => {
                        blocked = other;
                        continue;
                    }
                }
            }
            Blocked::Bulkhead(_place) => {
                let plan = permit.plan.clone();
                let Some(pool) = &plan.pool else { return Ok(permit) };
                let (came, limit) = (Box::pin(pool.wait()), clock.sleep(plan.queue_wait));
                match select(came, limit).await {
                    Either::Left(_) => permit.held.pooled = true,
                    Either::Right(_) => return Err(Refusal::BulkheadTimeout { retry_after: SOON }),
                }
                Stage::Probe
            }
            Blocked::Claimed(answer) => {
                claimed(&mut permit, answer.await)?;
                Stage::Call
            }
        };
        permit.now = clock.now();
        deadline(&permit.plan, permit.since, permit.now)?;
        let waited = permit.waited + permit.now.since(began);
        let ask = Ask {
            envelope: &kept.envelope,
            attempt: permit.attempt,
            waited,
            priority: kept.priority,
            since: permit.since,
            crashes: kept.crashes,
            now: permit.now,
            hold: kept.hold,
        };
        match admit(&mut permit, &ask, stage)? {
            Some(more) => blocked = more,
            None => {
                permit.waited = waited;
                return Ok(permit);
            }
        }
    }
}
