//! What surrounds the calls of a handler, as data beside it.
//!
//! Here is only what a policy says: it can be written in a file, compared, shown in a line and checked. The guard of
//! `tidings-policy` runs it, in the order in which [`Policy`]'s fields stand. Start with [`Policy`].

mod bulkhead;
mod circuit;
mod dead;
mod faults;
mod idempotency;
mod rate;
mod retry;
mod shed;

use std::{fmt, time::Duration};

pub use bulkhead::Bulkhead;
pub use circuit::{CALL_TIMEOUT, Circuit, CircuitMode, Slow, Trip, Window};
pub use dead::{Dead, DeadRule, Then};
use faults::{Faults, join};
pub use idempotency::{By, Idempotency, Keeper};
pub use rate::{Per, Rate, RateKind};
pub use retry::{Backoff, Retry};
use serde::{Deserialize, Serialize};
pub use shed::Shed;

use crate::{Text, span};

/// What surrounds the calls of one handler. The order of the fields is the order in which a delivery meets them.
///
/// What is not said is off; retries and the timeout have a default that depends on where the handler runs
/// ([`Defaults`]).
///
/// ```
/// use std::time::Duration;
/// use tidings_core::{Circuit, Policy, Rate, Retry};
/// let (ms, secs) = (Duration::from_millis, Duration::from_secs);
/// let policy = Policy::new()
///     .retry(Retry::exponential(ms(100), secs(30)).attempts(5))
///     .timeout(secs(10))
///     .circuit(Circuit::open_after(5).probe_after(secs(30)))
///     .bulkhead(16)
///     .rate(Rate::per_second(1_000));
/// assert!(policy.faults().is_empty());
/// assert_eq!(policy.retry.as_ref().map(|retry| retry.attempts), Some(5));
/// assert!(policy.to_string().starts_with("circuit opens after 5 failures in a row"));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// A feature flag that has to be on for the delivery's key, besides those set on the event, handler or topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<Text>,
    /// How often the process may die with a delivery in its hands before the delivery is quarantined: at the second
    /// time, unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine_after: Option<u32>,
    /// The most a delivery may take from its first attempt on, waits included; over it, it is given up.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// When calls are not even tried, because they have been failing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit: Option<Circuit>,
    /// What is refused when latency passes its target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shed: Option<Shed>,
    /// How many deliveries may start in a span of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many calls may run at once, together with others of the same pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulkhead: Option<Bulkhead>,
    /// What is the same delivery, and is handled once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// How long one call may take; over it the call is dropped and counts as a transient failure.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// When a failed delivery is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What becomes of what is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead: Option<Dead>,
}

/// How often a process may die with a delivery in its hands, unless a policy says otherwise.
pub const QUARANTINE_AFTER: u32 = 2;

/// What a policy means where it says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// When a failed delivery is tried again.
    pub retry: Retry,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Defaults {
    /// In memory, on the bus or buffered: four attempts after 1, 2 and 4 seconds, and 30 seconds a call.
    pub fn buffered() -> Self {
        let waits = [1, 2, 4].map(Duration::from_secs);
        Self { retry: Retry::table(waits), ..Self::durable() }
    }

    /// Behind a durable subscription: five attempts, exponential from a second, and 30 seconds a call.
    pub fn durable() -> Self {
        Self { retry: Retry::default(), timeout: Duration::from_secs(30) }
    }
}

impl Policy {
    /// Nothing said: retries and the timeout of the place, and else nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A feature flag that has to be on.
    #[must_use]
    pub fn flag(mut self, name: impl Into<Text>) -> Self {
        self.flag = Some(name.into());
        self
    }

    /// The most a delivery may take from its first attempt on.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How often the process may die with a delivery in its hands before it is quarantined.
    #[must_use]
    pub fn quarantine_after(mut self, crashes: u32) -> Self {
        self.quarantine_after = Some(crashes);
        self
    }

    /// What is the same delivery, and is handled once.
    #[must_use]
    pub fn idempotent(mut self, idempotency: Idempotency) -> Self {
        self.idempotency = Some(idempotency);
        self
    }

    /// What is refused when latency passes its target.
    #[must_use]
    pub fn shed(mut self, shed: Shed) -> Self {
        self.shed = Some(shed);
        self
    }

    /// How many deliveries may start in a span of time.
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// When calls are not even tried.
    #[must_use]
    pub fn circuit(mut self, circuit: Circuit) -> Self {
        self.circuit = Some(circuit);
        self
    }

    /// How many calls may run at once: a number for the handler alone, or a [`Bulkhead`] with a named pool.
    #[must_use]
    pub fn bulkhead(mut self, bulkhead: impl Into<Bulkhead>) -> Self {
        self.bulkhead = Some(bulkhead.into());
        self
    }

    /// How long one call may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// When a failed delivery is tried again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// What becomes of what is given up.
    #[must_use]
    pub fn dead(mut self, dead: Dead) -> Self {
        self.dead = Some(dead);
        self
    }

    /// The same, with what `other` says wherever this says nothing.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            flag: self.flag.or(other.flag),
            deadline: self.deadline.or(other.deadline),
            quarantine_after: self.quarantine_after.or(other.quarantine_after),
            idempotency: self.idempotency.or(other.idempotency),
            shed: self.shed.or(other.shed),
            rate: self.rate.or(other.rate),
            circuit: self.circuit.or(other.circuit),
            bulkhead: self.bulkhead.or(other.bulkhead),
            timeout: self.timeout.or(other.timeout),
            retry: self.retry.or(other.retry),
            dead: self.dead.or(other.dead),
        }
    }

    /// The same with retries and timeout decided: what was said, else what a circuit breaker asks for, else the
    /// defaults of the place. Where both the policy and its circuit breaker name a timeout, the shorter holds.
    #[must_use]
    pub fn resolve(mut self, place: &Defaults) -> Self {
        let circuit = self.circuit.as_ref();
        let timeout = match (self.timeout, circuit.and_then(|circuit| circuit.call_timeout)) {
            (Some(said), Some(circuit)) => said.min(circuit),
            (Some(said), None) | (None, Some(said)) => said,
            (None, None) if circuit.is_some() => CALL_TIMEOUT,
            (None, None) => place.timeout,
        };
        self.timeout = Some(timeout);
        self.retry.get_or_insert_with(|| place.retry.clone());
        self
    }

    /// How long one call may take; where nothing was said or resolved, what [`Defaults::durable`] says.
    pub fn call_timeout(&self) -> Duration {
        self.timeout.unwrap_or_else(|| Defaults::durable().timeout)
    }

    /// The wait after failed attempt number `attempt`, as [`Retry::wait_after`]; where nothing was said or resolved,
    /// what [`Defaults::durable`] says.
    pub fn wait_after(&self, attempt: u32, dice: f64) -> Option<Duration> {
        match &self.retry {
            Some(retry) => retry.wait_after(attempt, dice),
            None => Defaults::durable().retry.wait_after(attempt, dice),
        }
    }

    /// The most retries a minute, if there is a bound.
    pub fn budget_per_minute(&self) -> Option<u32> {
        self.retry.as_ref().and_then(|retry| retry.budget_per_minute)
    }

    /// What is wrong with the values, each with the path of its field.
    pub fn faults(&self) -> Vec<String> {
        let mut found = Faults::default();
        if self.flag.as_deref() == Some("") {
            found.add("flag", "must have a name");
        }
        found.span("deadline", self.deadline, "every delivery is over it");
        if self.quarantine_after == Some(0) {
            found.add("quarantine_after", "0 would quarantine what never ran; the least is 1");
        }
        found.span("timeout", self.timeout, "every call fails");
        if let (Some(deadline), Some(timeout)) = (self.deadline, self.timeout)
            && timeout > deadline
        {
            found.add("timeout", "is longer than the deadline of the whole delivery, so it is never reached");
        }
        self.circuit.iter().for_each(|part| part.faults(self.timeout, &mut found));
        self.shed.iter().for_each(|part| part.faults(&mut found));
        self.rate.iter().for_each(|part| part.faults(&mut found));
        self.bulkhead.iter().for_each(|part| part.faults(&mut found));
        self.idempotency.iter().for_each(|part| part.faults(&mut found));
        self.retry.iter().for_each(|part| part.faults(&mut found));
        self.dead.iter().for_each(|part| part.faults(&mut found));
        found.into_vec()
    }
}

impl fmt::Display for Policy {
    /// One line, in the order in which a delivery meets it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = [
            self.flag.as_ref().map(|flag| format!("flag {flag}")),
            self.quarantine_after.map(|crashes| format!("quarantine after {crashes} crashes")),
            self.deadline.map(|deadline| format!("deadline {}", span::text(deadline))),
            self.circuit.as_ref().map(ToString::to_string),
            self.shed.as_ref().map(ToString::to_string),
            self.rate.as_ref().map(ToString::to_string),
            self.bulkhead.as_ref().map(ToString::to_string),
            self.idempotency.as_ref().map(ToString::to_string),
            self.timeout.map(|timeout| format!("timeout {}", span::text(timeout))),
            self.retry.as_ref().map(ToString::to_string),
            self.dead.as_ref().map(ToString::to_string),
        ];
        match join(said.into_iter().flatten(), "; ") {
            line if line.is_empty() => f.write_str("the defaults of its place"),
            line => f.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests;
