//! What is refused when it is too much.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::span;

/// What is refused when latency passes its target: low priority first, then normal, never critical.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shed {
    /// The latency, wait and call together, whose mean over `over` should not be passed.
    #[serde(with = "span")]
    pub target: Duration,
    /// The span over which the mean is taken, and for which a decision holds.
    #[serde(default = "Shed::second", with = "span")]
    pub over: Duration,
    /// At how many times the target normal priority is refused too.
    #[serde(default = "Shed::twice")]
    pub normal_at: f64,
}

impl Shed {
    fn second() -> Duration {
        Duration::from_secs(1)
    }

    fn twice() -> f64 {
        2.0
    }

    /// Low priority is refused when the mean latency of a second was over `target`, normal at twice that.
    pub fn over(target: Duration) -> Self {
        Self { target, over: Self::second(), normal_at: Self::twice() }
    }

    /// The span over which the mean is taken.
    #[must_use]
    pub fn every(mut self, span: Duration) -> Self {
        self.over = span;
        self
    }

    /// At how many times the target normal priority is refused too.
    #[must_use]
    pub fn normal_at(mut self, times: f64) -> Self {
        self.normal_at = times;
        self
    }

    pub(super) fn faults(&self, found: &mut Faults) {
        found.span("shed.target", Some(self.target), "everything is over it");
        found.span("shed.over", Some(self.over), "there is nothing to take a mean of");
        if !(self.normal_at >= 1.0 && self.normal_at.is_finite()) {
            let what = format!("must be at least 1, or normal is refused before low, not {}", self.normal_at);
            found.add("shed.normal_at", &what);
        }
    }
}

impl fmt::Display for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, over) = (span::text(self.target), span::text(self.over));
        write!(f, "shed low over {target} in {over}, normal at {} times that", self.normal_at)
    }
}
