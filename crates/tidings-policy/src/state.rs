//! How a guard stands.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use tidings_core::Text;

use crate::{BreakerState, plan::Plan};

/// How a guard stands: for `explain`, for health, for metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardState {
    /// The handler.
    pub handler: Text,
    /// Its policy, in a line.
    pub policy: String,
    /// The circuit breaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit: Option<CircuitState>,
    /// What is shed: 0 nothing, 1 low priority, 2 low and normal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shedding: Option<u8>,
    /// The rate limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateState>,
    /// The bulkhead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulkhead: Option<BulkheadState>,
    /// How many more retries may be due within the next minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries_left: Option<usize>,
}

/// How a circuit breaker stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitState {
    /// Its state.
    pub state: BreakerState,
    /// For how many more milliseconds it refuses calls.
    pub refuses_ms: u64,
}

/// How a rate limit stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateState {
    /// How many may start now, where that is one number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u32>,
    /// How many keys are told apart now.
    pub keys: usize,
}

/// How a bulkhead stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkheadState {
    /// The pool's permits.
    pub permits: usize,
    /// Those that are free.
    pub free: usize,
    /// How many deliveries of this handler wait for one.
    pub waiting: usize,
}

impl GuardState {
    pub(crate) fn of(plan: &Plan) -> Self {
        let now = plan.common.around.clock.now();
        let circuit = plan.breaker.as_ref().map(|breaker| {
            let refuses = breaker.refuses(now).unwrap_or_default();
            let refuses_ms = u64::try_from(refuses.as_millis()).unwrap_or(u64::MAX);
            CircuitState { state: breaker.state(), refuses_ms }
        });
        let rate = plan.limiter.as_ref().map(|limiter| {
            let (left, keys) = limiter.left(now);
            RateState { left, keys }
        });
        let bulkhead = plan.pool.as_ref().map(|pool| BulkheadState {
            permits: pool.permits(),
            free: pool.free(),
            waiting: plan.common.waiting.load(Ordering::SeqCst),
        });
        Self {
            handler: plan.common.name.clone(),
            policy: plan.said.clone().resolve(&plan.common.around.defaults).to_string(),
            circuit,
            shedding: plan.shedder.as_ref().map(|shedder| shedder.level()),
            rate,
            bulkhead,
            retries_left: plan.budget.as_ref().map(|budget| budget.left(now)),
        }
    }
}
