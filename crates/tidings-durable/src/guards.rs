//! The guards of a subscription, and what they live among.

use std::sync::Arc;

use tidings_core::{Defaults, Policy, Registration, Text};
use tidings_policy::{BatchGuards, Faults, Guard, GuardState, Surroundings};
use tidings_store::AnyStore;

use crate::{Config, claims::OwnClaims, counters::StoreCounters};

/// Guards outlive a run of their subscription: an open circuit stays open when the lease was lost and is back.
#[derive(Debug)]
pub(crate) struct Guards {
    /// Asked before each delivery. For a handler of batches it says nothing of calls.
    pub each: Guard,
    /// For a handler of batches: asked before each call.
    pub calls: Option<Guard>,
    batches: Option<BatchGuards>,
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
        let claims = Arc::new(OwnClaims::new(store.clone(), config.tenant.clone(), around.claims.clone()));
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
        if registration.batches.is_none() {
            let each = Guard::new(name.clone(), policy, around)?;
            return Ok(Self { each, calls: None, batches: None, claims });
        }
        // Of a batch, what is about calls is about the call with all of them.
        let batches = BatchGuards::new(name.clone(), policy, around)?;
        let (each, calls) = (batches.each.clone(), Some(batches.calls.clone()));
        Ok(Self { each, calls, batches: Some(batches), claims })
    }

    /// How the policy stands.
    pub(crate) fn state(&self) -> GuardState {
        self.batches.as_ref().map_or_else(|| self.each.state(), BatchGuards::state)
    }

    /// The policy, as it was said last.
    pub(crate) fn policy(&self) -> Policy {
        self.batches.as_ref().map_or_else(|| self.each.policy(), BatchGuards::policy)
    }

    /// Changes it while deliveries run under it, and answers what it was.
    ///
    /// # Errors
    /// What is wrong with it, or cannot change; then nothing has changed.
    pub(crate) fn change(&self, policy: Policy) -> Result<Policy, Faults> {
        match &self.batches {
            None => self.each.change(policy),
            Some(batches) => batches.change(policy),
        }
    }
}
