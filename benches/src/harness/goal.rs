//! What a figure was to be.

use std::fmt;

use super::Summary;

/// Over this part of the median, the interquartile range is too wide for a verdict.
pub const SPREAD_MAX: f64 = 0.10;

/// A bound on a peer's ratio to another peer, or on its figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    bound: Bound,
    base: Base,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What is bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// The ratio to the table's reference.
    Reference,
    /// The ratio to this peer.
    Peer(String),
    /// The figure itself.
    Figure,
}

/// The ratio to the reference is to be at most this.
pub fn at_most(ratio: f64) -> Goal {
    Goal { bound: Bound::AtMost(ratio), base: Base::Reference }
}

/// The ratio to the reference is to be at least this.
pub fn at_least(ratio: f64) -> Goal {
    Goal { bound: Bound::AtLeast(ratio), base: Base::Reference }
}

impl Goal {
    /// Of the ratio to this peer, not to the reference.
    pub fn of(self, peer: impl Into<String>) -> Self {
        Self { base: Base::Peer(peer.into()), ..self }
    }

    /// Of the figure itself, in the table's unit. Only for what does not depend on the machine, or for a limit that
    /// somebody was promised.
    pub fn absolute(self) -> Self {
        Self { base: Base::Figure, ..self }
    }

    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    /// What became of it.
    pub(super) fn verdict(&self, summary: &Summary) -> &'static str {
        let reached = match self.bound {
            Bound::AtMost(most) => summary.median <= most,
            Bound::AtLeast(least) => summary.median >= least,
        };
        match (summary.spread() <= SPREAD_MAX, reached) {
            (false, _) => "no verdict (spread over 10 %)",
            (true, true) => "reached",
            (true, false) => "missed",
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bound {
            Bound::AtMost(most) => write!(f, "≤ {most}")?,
            Bound::AtLeast(least) => write!(f, "≥ {least}")?,
        }
        match &self.base {
            Base::Reference => f.write_str(" ×"),
            Base::Peer(peer) => write!(f, " × {peer}"),
            Base::Figure => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_reached_when_the_median_keeps_it() {
        let at = |median: f64| Summary { min: median, lower: median, median, upper: median, max: median };
        for (goal, kept, broken) in [(at_most(2.0), 2.0, 2.01), (at_least(0.5), 0.5, 0.49)] {
            assert_eq!(goal.verdict(&at(kept)), "reached");
            assert_eq!(goal.verdict(&at(broken)), "missed");
        }
    }

    #[test]
    fn there_is_no_verdict_where_the_rounds_differ_too_much() {
        let wide = Summary { min: 0.9, lower: 0.94, median: 1.0, upper: 1.05, max: 1.1 };
        assert_eq!(at_most(2.0).verdict(&wide), "no verdict (spread over 10 %)");
        let narrow = Summary { lower: 0.96, ..wide };
        assert_eq!(at_most(2.0).verdict(&narrow), "reached");
    }

    #[test]
    fn a_goal_says_what_it_is_about() {
        assert_eq!(at_most(2.1).to_string(), "≤ 2.1 ×");
        assert_eq!(at_least(1.2).of("PostgreSQL").to_string(), "≥ 1.2 × PostgreSQL");
        assert_eq!(at_most(16.0).absolute().to_string(), "≤ 16");
    }
}
