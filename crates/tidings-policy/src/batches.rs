//! The guards of a handler of batches: what its policy says of each delivery, and what it says of each call.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
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
    /// One change at a time.
    changing: Arc<Mutex<()>>,
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
        Ok(Self { each, calls, said: Arc::new(ArcSwap::from_pointee(policy)), changing: Arc::default() })
    }

    /// The policy, as it was said.
    pub fn policy(&self) -> Policy {
        Policy::clone(&self.said.load())
    }

    /// Changes the policy while the guards run, as [`Guard::change`], and answers what it was.
    ///
    /// # Errors
    /// As [`Guard::change`]; then nothing has changed.
    pub fn change(&self, policy: Policy) -> Result<Policy, Faults> {
        let changing = self.changing.lock();
        let (for_each, for_calls) = parts(policy.clone(), &self.each.common().around);
        // As a whole it may contradict itself where its parts do not.
        let mut faults = policy.faults();
        if faults.is_empty() {
            faults = self.each.faults(&for_each);
        }
        if !faults.is_empty() {
            return Err(Faults { faults });
        }
        // Only here a pool may refuse, which nobody knows before; what is of each has no pool.
        let calls = self.calls.change_quietly(for_calls)?;
        let each = self.each.change_quietly(for_each)?;
        let before = self.said.swap(Arc::new(policy));
        drop(changing);
        each.tell();
        calls.tell();
        Ok(Policy::clone(&before))
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
