//! What happens when a handler fails, as data beside the handler.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What surrounds the calls of one handler.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::{Policy, Retry};
/// let policy = Policy::new()
///     .retry(Retry::exponential(Duration::from_millis(100), Duration::from_secs(30)).attempts(5))
///     .timeout(Duration::from_secs(10));
/// assert_eq!(policy.retry.attempts, 5);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// When a failed delivery is tried again.
    pub retry: Retry,
    /// How long one call may take; over it the call is dropped and counts as a transient failure.
    pub timeout: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { retry: Retry::default(), timeout: Duration::from_secs(30) }
    }
}

impl Policy {
    /// The defaults: [`Retry::default`] and 30 seconds a call.
    pub fn new() -> Self {
        Self::default()
    }

    /// When a failed delivery is tried again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How long one call may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What is wrong with the values, each with the path of its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.retry.faults();
        if self.timeout.is_zero() {
            faults.push("timeout: must not be 0, or every call fails".into());
        }
        faults
    }
}

/// When a failed delivery is tried again. Permanent failures never are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Calls in all, the first included.
    pub attempts: u32,
    /// How the wait grows.
    pub backoff: Backoff,
    /// The wait grows no further than this. Jitter comes after it, so that capped waits spread as evenly as others.
    pub cap: Duration,
    /// Each wait is multiplied by a factor drawn evenly from `1 - jitter ..= 1 + jitter`.
    pub jitter: f64,
    /// The most retries a minute over all deliveries of the handler; a retry over the budget waits for its turn. `None`
    /// is no bound.
    pub budget_per_minute: Option<u32>,
}

/// How the wait before each retry grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// Always the same.
    Constant(Duration),
    /// Once, twice, three times this.
    Linear(Duration),
    /// This, then doubling.
    Exponential(Duration),
    /// One entry a retry; the last repeats.
    Table(Vec<Duration>),
}

impl Default for Retry {
    /// Five attempts, exponential from one second, at most 30 seconds, jitter of a quarter.
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Backoff::Exponential(Duration::from_secs(1)),
            cap: Duration::from_secs(30),
            jitter: 0.25,
            budget_per_minute: None,
        }
    }
}

impl Retry {
    /// One attempt, no retry.
    pub fn none() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// Always the same wait.
    pub fn constant(wait: Duration) -> Self {
        Self { backoff: Backoff::Constant(wait), ..Self::default() }
    }

    /// `step`, twice `step`, three times `step`, at most `cap`.
    pub fn linear(step: Duration, cap: Duration) -> Self {
        Self { backoff: Backoff::Linear(step), cap, ..Self::default() }
    }

    /// `first`, then doubling, at most `cap`.
    pub fn exponential(first: Duration, cap: Duration) -> Self {
        Self { backoff: Backoff::Exponential(first), cap, ..Self::default() }
    }

    /// These waits, the last repeating. Attempts are one more than entries.
    pub fn table(waits: impl Into<Vec<Duration>>) -> Self {
        let waits = waits.into();
        let attempts = u32::try_from(waits.len()).unwrap_or(u32::MAX).saturating_add(1);
        Self { attempts, backoff: Backoff::Table(waits), ..Self::default() }
    }

    /// Calls in all, the first included.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The share by which each wait varies up and down, 0 to 1.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// The most retries a minute over all deliveries of the handler.
    #[must_use]
    pub fn budget(mut self, per_minute: u32) -> Self {
        self.budget_per_minute = Some(per_minute);
        self
    }

    /// The wait after failed attempt number `attempt` (from 1), or `None` when that was the last. `dice` is drawn evenly
    /// from `0.0..1.0`.
    pub fn wait_after(&self, attempt: u32, dice: f64) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let nth = attempt.max(1);
        let base = match &self.backoff {
            Backoff::Constant(wait) => *wait,
            Backoff::Linear(step) => step.saturating_mul(nth),
            Backoff::Exponential(first) => {
                first.saturating_mul(1_u32.checked_shl(nth - 1).unwrap_or(u32::MAX))
            }
            Backoff::Table(waits) => {
                let at = (nth as usize - 1).min(waits.len().saturating_sub(1));
                waits.get(at).copied().unwrap_or_default()
            }
        };
        let factor = 1.0 + self.jitter * (2.0 * dice - 1.0);
        Some(Duration::from_secs_f64(base.min(self.cap).as_secs_f64() * factor.max(0.0)))
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.attempts == 0 {
            faults.push("retry.attempts: must be at least 1, the first call".into());
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            faults.push(format!("retry.jitter: must be between 0 and 1, not {}", self.jitter));
        }
        if matches!(&self.backoff, Backoff::Table(waits) if waits.is_empty()) && self.attempts > 1 {
            faults.push("retry.backoff: a table needs at least one entry".into());
        }
        if self.budget_per_minute == Some(0) {
            faults.push("retry.budget_per_minute: 0 would never retry; say attempts = 1".into());
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn waits_grow_as_the_backoff_says() {
        let waits = |retry: Retry| (1..=6).map(|n| retry.wait_after(n, 0.5)).collect::<Vec<_>>();
        let some = |list: [u64; 4]| list.iter().map(|n| Some(ms(*n))).chain([None, None]).collect::<Vec<_>>();
        assert_eq!(waits(Retry::constant(ms(100))), some([100; 4]));
        assert_eq!(waits(Retry::linear(ms(100), ms(250))), some([100, 200, 250, 250]));
        assert_eq!(waits(Retry::exponential(ms(100), ms(500))), some([100, 200, 400, 500]));
        assert_eq!(waits(Retry::table([ms(1), ms(2)]).attempts(5)), some([1, 2, 2, 2]));
        assert_eq!(Retry::none().wait_after(1, 0.5), None);
        assert!(Retry::exponential(ms(1_000), ms(30_000)).attempts(u32::MAX).wait_after(200, 0.5).is_some());
    }

    #[test]
    fn jitter_spreads_evenly_both_ways_also_at_the_cap() {
        let retry = Retry::constant(ms(1_000));
        assert_eq!(retry.wait_after(1, 0.0), Some(ms(750)));
        assert_eq!(retry.wait_after(1, 1.0), Some(ms(1_250)));
        assert_eq!(retry.clone().jitter(0.0).wait_after(1, 1.0), Some(ms(1_000)));
        assert_eq!(Retry { cap: ms(100), ..retry }.wait_after(1, 1.0), Some(ms(125)));
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let policy = Policy::new()
            .timeout(Duration::ZERO)
            .retry(Retry { budget_per_minute: Some(0), ..Retry::table([]).attempts(0).jitter(f64::NAN) });
        assert_eq!(policy.faults().len(), 4);
        assert_eq!(Policy::new().retry(Retry::table([]).attempts(2)).faults().len(), 1);
        assert!(Policy::new().faults().is_empty());
    }
}
