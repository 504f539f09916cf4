//! When calls are not even tried, because they have been failing.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::span;

/// How long one call may take behind a circuit breaker, unless the policy or the circuit says otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The most calls, or probes, a circuit breaker may be asked to remember.
const CALLS_MAX: usize = 100_000;

/// A circuit breaker: after too many failures calls are refused for a while, then a few probes decide.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::Circuit;
/// let five_in_a_row = Circuit::open_after(5).probe_after(Duration::from_secs(30));
/// let half_of_the_last = Circuit::failing(0.5).of_at_least(10).over_calls(100).probes(3);
/// assert_ne!(five_in_a_row, half_of_the_last);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Circuit {
    /// What opens it.
    pub trip: Trip,
    /// Which calls count as slow; none unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// How long it stays open before it lets probes through.
    #[serde(with = "span")]
    pub reset: Duration,
    /// How many calls it lets through half-open. By failures in a row, the first probe that fails opens it again, and
    /// it closes when all have worked; by share, it is decided when all have answered.
    pub probes: u32,
    /// How long one call may take; [`CALL_TIMEOUT`] where neither this nor the policy's timeout is said.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub call_timeout: Option<Duration>,
    /// Whether it works by itself.
    pub mode: CircuitMode,
}

/// What opens a circuit breaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Trip {
    /// So many failures in a row.
    Consecutive(u32),
    /// A share of failures among the latest calls.
    Rate {
        /// The share of failures, over 0 and up to 1, at which it opens.
        share: f64,
        /// With fewer calls than this nothing is decided.
        calls_min: u32,
        /// Which calls are the latest.
        window: Window,
    },
}

/// Which calls are the latest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// So many.
    Calls(u32),
    /// Those of this span, kept in ten parts of it.
    Time(#[serde(with = "span")] Duration),
}

/// Which calls count as slow, and what that does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// Calls that take longer.
    #[serde(with = "span")]
    pub after: Duration,
    /// The share of slow calls at which a breaker by rate opens. A breaker by failures in a row has none: it takes a
    /// slow call for a failed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

/// Whether a circuit breaker works by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CircuitMode {
    /// It opens and closes by what it sees.
    #[default]
    Auto,
    /// It refuses every call until told otherwise.
    Open,
    /// It lets every call through and counts nothing.
    Disabled,
}

impl Default for Circuit {
    /// Open after five failures in a row, for 30 seconds; one probe.
    fn default() -> Self {
        Self {
            trip: Trip::Consecutive(5),
            slow: None,
            reset: Duration::from_secs(30),
            probes: 1,
            call_timeout: None,
            mode: CircuitMode::Auto,
        }
    }
}

impl Circuit {
    /// Opens after so many failures in a row.
    pub fn open_after(failures: u32) -> Self {
        Self { trip: Trip::Consecutive(failures), ..Self::default() }
    }

    /// Opens when this share of the last 100 calls failed, once there were ten.
    pub fn failing(share: f64) -> Self {
        let trip = Trip::Rate { share, calls_min: 10, window: Window::Calls(100) };
        Self { trip, ..Self::default() }
    }

    /// With fewer calls than this nothing is decided by share.
    #[must_use]
    pub fn of_at_least(mut self, calls: u32) -> Self {
        if let Trip::Rate { calls_min, .. } = &mut self.trip {
            *calls_min = calls;
        }
        self
    }

    /// The share is that of so many latest calls.
    #[must_use]
    pub fn over_calls(mut self, calls: u32) -> Self {
        if let Trip::Rate { window, .. } = &mut self.trip {
            *window = Window::Calls(calls);
        }
        self
    }

    /// The share is that of the calls of this last span.
    #[must_use]
    pub fn over(mut self, span: Duration) -> Self {
        if let Trip::Rate { window, .. } = &mut self.trip {
            *window = Window::Time(span);
        }
        self
    }

    /// Takes calls longer than `after` for slow; by rate it opens when all are, or as [`Circuit::slow_share`] says.
    #[must_use]
    pub fn slow_after(mut self, after: Duration) -> Self {
        self.slow = Some(Slow { after, share: None });
        self
    }

    /// The share of slow calls at which a breaker by rate opens.
    #[must_use]
    pub fn slow_share(mut self, share: f64) -> Self {
        if let Some(slow) = &mut self.slow {
            slow.share = Some(share);
        }
        self
    }

    /// How long it stays open before it lets probes through.
    #[must_use]
    pub fn probe_after(mut self, reset: Duration) -> Self {
        self.reset = reset;
        self
    }

    /// How many calls it lets through half-open.
    #[must_use]
    pub fn probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// How long one call may take.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// Whether it works by itself.
    #[must_use]
    pub fn mode(mut self, mode: CircuitMode) -> Self {
        self.mode = mode;
        self
    }

    pub(super) fn faults(&self, timeout: Option<Duration>, found: &mut Faults) {
        match &self.trip {
            Trip::Consecutive(0) => {
                found.add("circuit.trip.consecutive", "0 would open it without a failure")
            }
            Trip::Consecutive(_) => {}
            Trip::Rate { share, calls_min, window } => {
                found.share("circuit.trip.rate.share", *share, f64::MIN_POSITIVE);
                found.count("circuit.trip.rate.calls_min", *calls_min as usize, CALLS_MAX);
                match window {
                    Window::Calls(calls) => {
                        found.count("circuit.trip.rate.window.calls", *calls as usize, CALLS_MAX);
                        if calls < calls_min {
                            let what = "the window never holds as many as it needs, so it would never open";
                            found.add("circuit.trip.rate.calls_min", what);
                        }
                    }
                    Window::Time(span) => {
                        found.span("circuit.trip.rate.window.time", Some(*span), "no call is in it");
                    }
                }
            }
        }
        if let Some(slow) = &self.slow {
            let limit = self.call_timeout.or(timeout).unwrap_or(CALL_TIMEOUT);
            if slow.after >= limit {
                let what = format!("no call takes longer than its timeout of {}", span::text(limit));
                found.add("circuit.slow.after", &what);
            }
            match (slow.share, &self.trip) {
                (Some(_), Trip::Consecutive(_)) => {
                    found.add("circuit.slow.share", "means nothing to a breaker by failures in a row");
                }
                (Some(share), Trip::Rate { .. }) => {
                    found.share("circuit.slow.share", share, f64::MIN_POSITIVE);
                }
                (None, _) => {}
            }
        }
        found.span("circuit.reset", Some(self.reset), "it never refuses a call");
        found.count("circuit.probes", self.probes as usize, CALLS_MAX);
        found.span("circuit.call_timeout", self.call_timeout, "every call fails");
        if let (Some(call), Some(timeout)) = (self.call_timeout, timeout)
            && call > timeout
        {
            found.add("circuit.call_timeout", "is longer than the policy's timeout, so it is never reached");
        }
    }
}

impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            CircuitMode::Auto => {}
            CircuitMode::Open => return f.write_str("circuit forced open"),
            CircuitMode::Disabled => return f.write_str("circuit disabled"),
        }
        match &self.trip {
            Trip::Consecutive(failures) => write!(f, "circuit opens after {failures} failures in a row")?,
            Trip::Rate { share, calls_min, window } => {
                write!(f, "circuit opens at {} % of at least {calls_min} of the last ", share * 100.0)?;
                match window {
                    Window::Calls(calls) => write!(f, "{calls} calls")?,
                    Window::Time(span) => write!(f, "{}", span::text(*span))?,
                }
            }
        }
        if let Some(slow) = &self.slow {
            write!(f, ", slow after {}", span::text(slow.after))?;
            if let Some(share) = slow.share {
                write!(f, " at {} %", share * 100.0)?;
            }
        }
        write!(f, ", {} probes after {}", self.probes, span::text(self.reset))
    }
}
