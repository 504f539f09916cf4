//! When a failed delivery is tried again.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Faults, join};
use crate::span;

/// The most retries a minute a budget may name: each of them is remembered for a minute.
const BUDGET_MAX: u32 = 1_000_000;

/// When a failed delivery is tried again. Permanent failures never are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Calls in all, the first included.
    pub attempts: u32,
    /// How the wait grows.
    pub backoff: Backoff,
    /// The wait grows no further than this. Jitter comes after it, so that capped waits spread as evenly as others.
    #[serde(with = "span")]
    pub cap: Duration,
    /// Each wait is multiplied by a factor drawn evenly from `1 - jitter ..= 1 + jitter`.
    pub jitter: f64,
    /// The most retries a minute over all deliveries of the handler; a retry over the budget waits for its turn. `None`
    /// is no bound; at most 1,000,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_per_minute: Option<u32>,
}

/// How the wait before each retry grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// Always the same.
    Constant(#[serde(with = "span")] Duration),
    /// Once, twice, three times this.
    Linear(#[serde(with = "span")] Duration),
    /// This, then doubling.
    Exponential(#[serde(with = "span")] Duration),
    /// One entry a retry; the last repeats.
    Table(#[serde(with = "span::list")] Vec<Duration>),
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

    /// Always the same wait. The cap is raised to it.
    pub fn constant(wait: Duration) -> Self {
        Self { backoff: Backoff::Constant(wait), cap: wait.max(Self::default().cap), ..Self::default() }
    }

    /// `step`, twice `step`, three times `step`, at most `cap`.
    pub fn linear(step: Duration, cap: Duration) -> Self {
        Self { backoff: Backoff::Linear(step), cap, ..Self::default() }
    }

    /// `first`, then doubling, at most `cap`.
    pub fn exponential(first: Duration, cap: Duration) -> Self {
        Self { backoff: Backoff::Exponential(first), cap, ..Self::default() }
    }

    /// These waits, the last repeating. Attempts are one more than entries; the cap is raised to the longest.
    pub fn table(waits: impl Into<Vec<Duration>>) -> Self {
        let waits = waits.into();
        let attempts = u32::try_from(waits.len()).unwrap_or(u32::MAX).saturating_add(1);
        let cap = waits.iter().copied().fold(Self::default().cap, Duration::max);
        Self { attempts, backoff: Backoff::Table(waits), cap, ..Self::default() }
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

    pub(super) fn faults(&self, found: &mut Faults) {
        if self.attempts == 0 {
            found.add("retry.attempts", "must be at least 1, the first call");
        }
        found.share("retry.jitter", self.jitter, 0.0);
        let (waits, longest) = match &self.backoff {
            Backoff::Constant(wait) | Backoff::Linear(wait) | Backoff::Exponential(wait) => (1, *wait),
            Backoff::Table(waits) => (waits.len(), waits.iter().copied().max().unwrap_or_default()),
        };
        if waits == 0 && self.attempts > 1 {
            found.add("retry.backoff", "a table needs at least one entry");
        }
        if longest > self.cap && self.attempts > 1 {
            let (longest, cap) = (span::text(longest), span::text(self.cap));
            found.add("retry.cap", &format!("{cap} is less than the {longest} of the backoff"));
        }
        match self.budget_per_minute {
            Some(0) => found.add("retry.budget_per_minute", "0 would never retry; say attempts = 1"),
            Some(budget) if budget > BUDGET_MAX => {
                found.add("retry.budget_per_minute", &format!("at most {BUDGET_MAX}, not {budget}"));
            }
            Some(_) | None => {}
        }
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts <= 1 {
            return f.write_str("no retry");
        }
        write!(f, "{} attempts, {}, at most {}", self.attempts, self.backoff, span::text(self.cap))?;
        if self.jitter > 0.0 {
            write!(f, " ±{} %", self.jitter * 100.0)?;
        }
        match self.budget_per_minute {
            Some(budget) => write!(f, ", {budget} retries a minute"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(wait) => write!(f, "{} each", span::text(*wait)),
            Self::Linear(step) => write!(f, "linear from {}", span::text(*step)),
            Self::Exponential(first) => write!(f, "exponential from {}", span::text(*first)),
            Self::Table(waits) => {
                write!(f, "after {}", join(waits.iter().map(|wait| span::text(*wait)), "/"))
            }
        }
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
    fn what_is_said_is_waited_also_over_the_default_cap() {
        assert_eq!(Retry::constant(ms(60_000)).jitter(0.0).wait_after(1, 0.5), Some(ms(60_000)));
        assert_eq!(Retry::table([ms(1), ms(60_000)]).jitter(0.0).wait_after(2, 0.5), Some(ms(60_000)));
    }
}
