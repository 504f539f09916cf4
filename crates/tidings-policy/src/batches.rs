//! The guards of a handler of batches: what its policy says of each delivery, and what it says of each call.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tidings_core::{Policy, Text};

use crate::{Faults, Guard, GuardState, MemoryFlags, Surroundings, plan::LEASE_MORE};

/// The two guards of a handler of batches, made of one policy.
///
/// ```
/// use tidings_core::{Circuit, Idempotency, Policy};
/// use tidings_policy::{BatchGuards, Surroundings};
///
/// let policy = Policy::new().circuit(Circuit::open_after(5)).idempotent(Idempotency::by_key());
/// let guards = BatchGuards::new("search/index", policy.clone(), Surroundings::default())?;
/// assert!(guards.each.policy().circuit.is_none() && guards.calls.policy().idempotency.is_none());
/// assert_eq!(guards.policy(), policy);
/// # Ok::<(), tidings_policy::Faults>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchGuards {
    /// Asked for each delivery of a complete batch: flag, quarantine, deadline, shedding, rate, idempotency, retries.
    pub each: Guard,
    /// Asked once for the call with all of them: circuit, bulkhead, timeout. It never refuses for what one delivery is.
    pub calls: Guard,
    said: Arc<ArcSwap<Policy>>,
}

impl BatchGuards {
    /// The guards of the handler called `name`.
    ///
    /// # Errors
    /// As [`Guard::new`].
    pub fn new(name: impl Into<Text>, policy: Policy, around: Surroundings) -> Result<Self, Faults> {
        let faults = policy.faults();
        if !faults.is_empty() {
            return Err(Faults { faults });
        }
        let name = name.into();
        let (each, calls) = parts(policy.clone(), &around);
        // Whether a feature is on is asked for each delivery; a call is not about one.
        let of_calls = Surroundings { flags: Arc::new(MemoryFlags::new()), ..around.clone() };
        let each = Guard::new(name.clone(), each, around)?;
        let calls = Guard::new(name, calls, of_calls)?;
        Ok(Self { each, calls, said: Arc::new(ArcSwap::from_pointee(policy)) })
    }

    /// The policy, as it was said.
    pub fn policy(&self) -> Policy {
        Policy::clone(&self.said.load())
    }

    /// Changes the policy while the guards run, as [`Guard::change`].
    ///
    /// # Errors
    /// As [`Guard::change`]; then nothing has changed.
    pub fn change(&self, policy: Policy) -> Result<(), Faults> {
        let faults = policy.faults();
        if !faults.is_empty() {
            return Err(Faults { faults });
        }
        let before = self.each.policy();
        let (each, calls) = parts(policy.clone(), &self.each.common().around);
        self.each.change(each)?;
        if let Err(faults) = self.calls.change(calls) {
            // What was good a moment ago is so still.
            self.each.change(before)?;
            return Err(faults);
        }
        self.said.store(Arc::new(policy));
        Ok(())
    }

    /// How they stand, as one.
    pub fn state(&self) -> GuardState {
        let (each, calls) = (self.each.state(), self.calls.state());
        let policy = self.policy().resolve(&self.each.common().around.defaults).to_string();
        GuardState { policy, circuit: calls.circuit, bulkhead: calls.bulkhead, ..each }
    }

    /// Whether attempt number `attempt` is the last one a delivery has.
    pub fn is_last(&self, attempt: u32) -> bool {
        let policy = self.policy().resolve(&self.each.common().around.defaults);
        policy.wait_after(attempt, 0.5).is_none()
    }
}

/// What a policy says of each delivery, and of each call.
fn parts(policy: Policy, around: &Surroundings) -> (Policy, Policy) {
    let calls = Policy {
        circuit: policy.circuit.clone(),
        bulkhead: policy.bulkhead.clone(),
        timeout: policy.timeout,
        ..Policy::new()
    };
    // A claim holds as long as a call may take, and a fallback may take as long as a call.
    let timeout = policy.clone().resolve(&around.defaults).call_timeout();
    let mut each = Policy { circuit: None, bulkhead: None, ..policy };
    each.timeout = Some(each.deadline.map_or(timeout, |deadline| deadline.min(timeout)));
    if let Some(once) = &mut each.idempotency {
        once.lease.get_or_insert(timeout.saturating_add(LEASE_MORE));
    }
    (each, calls)
}
