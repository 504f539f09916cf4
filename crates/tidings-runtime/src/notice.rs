//! What the runtime tells about itself, to be published under `tidings.**`.

use serde_json::{Value, json};
use tidings_core::{Reason, Text};

/// Something happened in a pool.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Something happened to workers.
    Workers {
        /// The pool; empty is the shared one.
        pool: Text,
        /// What.
        notice: tidings_queue::Notice,
    },
    /// Something happened in a handler's guard.
    Policy(tidings_policy::Notice),
    /// A delivery is in the dead letters now.
    DeadLettered {
        /// The handler.
        handler: Text,
        /// The event's id.
        id: Text,
        /// Why.
        reason: Reason,
    },
    /// More than 5 of 100 deliveries have waited longer than the target in the last second.
    QueueSlow {
        /// The pool.
        pool: Text,
        /// How many waited longer.
        late: u64,
        /// Of how many.
        of: u64,
        /// The target, in microseconds.
        target_us: u64,
    },
    /// Publishing takes more of the publishers' time than it should.
    PublishSlow {
        /// The pool.
        pool: Text,
        /// The share, 0 to 1.
        share: f64,
        /// The largest it may be.
        most: f64,
    },
}

impl Notice {
    /// The name under which it is published.
    pub fn name(&self) -> &'static str {
        use tidings_queue::Notice as Queue;
        match self {
            Self::Workers { notice, .. } => match notice {
                Queue::Started { .. } => "tidings.worker.started",
                Queue::Ended { .. } => "tidings.worker.ended",
                Queue::Died { .. } => "tidings.worker.died",
                Queue::Restarted { .. } => "tidings.worker.restarted",
                Queue::Lost { .. } => "tidings.worker.lost",
                Queue::Blocked { .. } => "tidings.worker.blocked",
                Queue::Unblocked { .. } => "tidings.worker.unblocked",
                Queue::Scaled { .. } => "tidings.workers.scaled",
                _ => "tidings.worker.noticed",
            },
            Self::Policy(notice) => notice.name(),
            Self::DeadLettered { .. } => "tidings.delivery.dead-lettered",
            Self::QueueSlow { .. } => "tidings.queue.slow",
            Self::PublishSlow { .. } => "tidings.publish.slow",
        }
    }

    /// What it says, as JSON.
    pub fn body(&self) -> Value {
        use tidings_queue::Notice as Queue;
        match self {
            Self::Workers { pool, notice } => match notice {
                Queue::Died { worker, message, restart_after } => json!({
                    "pool": &**pool, "worker": worker, "message": message,
                    "restart_after_ms": u64::try_from(restart_after.as_millis()).unwrap_or(u64::MAX),
                }),
                Queue::Blocked { worker, span } => json!({
                    "pool": &**pool, "worker": worker,
                    "for_ms": u64::try_from(span.as_millis()).unwrap_or(u64::MAX),
                }),
                Queue::Scaled { from, to, cause } => json!({
                    "pool": &**pool, "from": from, "to": to, "cause": format!("{cause:?}").to_lowercase(),
                }),
                Queue::Started { worker }
                | Queue::Ended { worker }
                | Queue::Restarted { worker }
                | Queue::Unblocked { worker }
                | Queue::Lost { worker, .. } => json!({ "pool": &**pool, "worker": worker }),
                other => json!({ "pool": &**pool, "what": format!("{other:?}") }),
            },
            Self::Policy(notice) => serde_json::to_value(notice).unwrap_or(Value::Null),
            Self::DeadLettered { handler, id, reason } => {
                json!({ "handler": &**handler, "id": &**id, "reason": reason.as_str() })
            }
            Self::QueueSlow { pool, late, of, target_us } => {
                json!({ "pool": &**pool, "late": late, "of": of, "target_us": target_us })
            }
            Self::PublishSlow { pool, share, most } => {
                json!({ "pool": &**pool, "share": share, "most": most })
            }
        }
    }
}
