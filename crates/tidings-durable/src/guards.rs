//! The guards of a subscription, and what they live among.

use std::sync::Arc;

use tidings_core::{Defaults, Keeper, Policy, Registration, Text};
use tidings_policy::{Faults, Guard, Surroundings};
use tidings_store::AnyStore;

use crate::{Config, claims::OwnClaims, counters::StoreCounters};

/// Guards outlive a run of their subscription: an open circuit stays open when the lease was lost and is back.
#[derive(Debug)]
pub(crate) struct Guards {
    /// Asked before each delivery. For a handler of batches it says nothing of calls.
    pub each: Guard,
    /// For a handler of batches: asked before each call.
    pub calls: Option<Guard>,
    pub timed: bool,
    pub claims: Arc<OwnClaims>,
}

impl Guards {
    pub(crate) fn new(
        name: &Text,
        registration: &Registration,
        store: &AnyStore,
        config: &Config,
        around: &Surroundings,
    ) -> Result<Self, Faults> {
        let policy = registration.policy.clone();
        let in_store = policy.idempotency.as_ref().is_some_and(|once| once.keep == Keeper::Store);
        let memory = around.claims.clone();
        let claims = Arc::new(OwnClaims::new(store.clone(), config.tenant.clone(), in_store, memory));
        let around = Surroundings {
            stored_claims: Some(claims.clone()),
            counters: Some(around.counters.clone().unwrap_or_else(|| {
                Arc::new(StoreCounters::new(store.clone(), config.tenant.clone(), around.clock.clone()))
            })),
            seed: config.seed,
            defaults: Defaults::durable(),
            fallback: registration.fallback.is_some(),
            ..around.clone()
        };
        let timed = policy.circuit.is_some() || policy.shed.is_some();
        if registration.batches.is_none() {
            return Ok(Self { each: Guard::new(name.clone(), policy, around)?, calls: None, timed, claims });
        }
        // Of a batch, what is about calls is about the call with all of them.
        let (each, calls) = parts(policy);
        Ok(Self {
            each: Guard::new(name.clone(), each, around.clone())?,
            calls: Some(Guard::new(name.clone(), calls, around)?),
            timed,
            claims,
        })
    }
}

/// What a policy says of each delivery, and of each call, of a handler of batches.
fn parts(policy: Policy) -> (Policy, Policy) {
    let calls = Policy {
        circuit: policy.circuit.clone(),
        bulkhead: policy.bulkhead.clone(),
        timeout: policy.timeout,
        ..Policy::new()
    };
    // The timeout is that of the whole, as it decides how long a claim holds.
    let timeout = policy.clone().resolve(&Defaults::durable()).timeout;
    (Policy { circuit: None, bulkhead: None, timeout, ..policy }, calls)
}
