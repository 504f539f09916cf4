//! What becomes of deliveries that are given up.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Faults, join};
use crate::{Reason, Text, span};

/// How many rules there may be: no more than reasons.
const RULES_MAX: usize = 64;

/// What becomes of what is given up.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::{Dead, Reason, Then};
/// let dead = Dead::to("payments-dead")
///     .on(Reason::Exhausted, Then::replay(Duration::from_secs(600)))
///     .on(Reason::Shed, Then::Discard);
/// assert_eq!(dead.then(Reason::Shed), Then::Discard);
/// assert_eq!(dead.then(Reason::Permanent), Then::Hold, "held unless a rule says otherwise");
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dead {
    /// Where it goes; to the dead letters of the subscription unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Text>,
    /// What happens by itself. The first rule that fits holds; without one it is held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<DeadRule>,
}

/// What happens by itself to what was given up for a reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadRule {
    /// The reason; any unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What happens.
    pub then: Then,
}

/// What happens to a dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Then {
    /// It is kept until a person decides.
    Hold,
    /// It is thrown away, and counted.
    Discard,
    /// It is handled again, so often and each time after a wait; then it is held.
    Replay {
        /// The wait.
        #[serde(with = "span")]
        after: Duration,
        /// How often.
        times: u32,
    },
}

impl Then {
    /// Handled again once, after a wait.
    pub fn replay(after: Duration) -> Self {
        Self::Replay { after, times: 1 }
    }
}

impl Dead {
    /// To a named destination.
    pub fn to(destination: impl Into<Text>) -> Self {
        Self { to: Some(destination.into()), rules: Vec::new() }
    }

    /// What happens to what was given up for `reason`.
    #[must_use]
    pub fn on(mut self, reason: Reason, then: Then) -> Self {
        self.rules.push(DeadRule { reason: Some(reason), then });
        self
    }

    /// What happens to all that no rule before this one fits.
    #[must_use]
    pub fn otherwise(mut self, then: Then) -> Self {
        self.rules.push(DeadRule { reason: None, then });
        self
    }

    /// What happens to what was given up for `reason`.
    pub fn then(&self, reason: Reason) -> Then {
        let rule = self.rules.iter().find(|rule| rule.reason.is_none_or(|of| of == reason));
        rule.map_or(Then::Hold, |rule| rule.then.clone())
    }

    pub(super) fn faults(&self, found: &mut Faults) {
        if self.to.as_deref() == Some("") {
            found.add("dead.to", "must have a name");
        }
        if self.rules.len() > RULES_MAX {
            found.add("dead.rules", &format!("at most {RULES_MAX}, not {}", self.rules.len()));
        }
        for (at, rule) in self.rules.iter().take(RULES_MAX).enumerate() {
            if let Then::Replay { times: 0, .. } = rule.then {
                found.add(&format!("dead.rules.{at}.then.replay.times"), "0 never replays; say hold");
            }
            let hidden = |earlier: &DeadRule| earlier.reason.is_none() || earlier.reason == rule.reason;
            if self.rules.iter().take(at).any(hidden) {
                found.add(&format!("dead.rules.{at}"), "is never reached: one before it fits first");
            }
        }
    }
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules.iter().map(|rule| {
            let reason = rule.reason.map_or_else(|| "any".to_owned(), |reason| reason.to_string());
            match &rule.then {
                Then::Hold => format!("{reason}: hold"),
                Then::Discard => format!("{reason}: discard"),
                Then::Replay { after, times } => {
                    format!("{reason}: replay {times} times after {}", span::text(*after))
                }
            }
        });
        let to = self.to.iter().map(|to| format!("dead letters to {to}"));
        match join(to.chain(rules), ", ") {
            line if line.is_empty() => f.write_str("dead letters held"),
            line => f.write_str(&line),
        }
    }
}
