//! What is the same delivery, and is handled once.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::{Text, span};

/// What is the same delivery, and is handled once: it is claimed before the work and finished after it.
///
/// ```
/// use tidings_core::Idempotency;
/// let by_message = Idempotency::by_id();
/// let by_order = Idempotency::by_field("order").stored();
/// assert_ne!(by_message, by_order);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Idempotency {
    /// What is the same.
    pub by: By,
    /// How long it is remembered after it was handled.
    #[serde(with = "span")]
    pub ttl: Duration,
    /// How long a claim holds without being finished: after it, whoever had it is taken to have died, and a late finish
    /// is refused. The call's timeout and five seconds unless said.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub lease: Option<Duration>,
    /// Who remembers.
    pub keep: Keeper,
}

/// What is the same delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The same event: source and id.
    #[default]
    Id,
    /// The same event key. What has none is told apart by its id.
    Key,
    /// The same value in this field of the payload. What has none is told apart by its id.
    Field(Text),
    /// For each event key, what is not newer: this field of the payload is a whole number that rises. What has no key
    /// or no number is told apart by its id.
    Version(Text),
}

/// Who remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeper {
    /// This process, until it ends.
    #[default]
    Memory,
    /// The store, for all processes.
    Store,
}

impl Default for Idempotency {
    /// By id, for 24 hours, in memory.
    fn default() -> Self {
        let ttl = Duration::from_secs(24 * 60 * 60);
        Self { by: By::Id, ttl, lease: None, keep: Keeper::Memory }
    }
}

impl Idempotency {
    /// The same event is handled once.
    pub fn by_id() -> Self {
        Self::default()
    }

    /// The same event key is handled once.
    pub fn by_key() -> Self {
        Self { by: By::Key, ..Self::default() }
    }

    /// The same value in a field of the payload is handled once.
    pub fn by_field(field: impl Into<Text>) -> Self {
        Self { by: By::Field(field.into()), ..Self::default() }
    }

    /// For each event key, only a higher number in this field is handled.
    pub fn by_version(field: impl Into<Text>) -> Self {
        Self { by: By::Version(field.into()), ..Self::default() }
    }

    /// How long it is remembered after it was handled.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long a claim holds without being finished.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Remembered by the store, for all processes.
    #[must_use]
    pub fn stored(mut self) -> Self {
        self.keep = Keeper::Store;
        self
    }

    pub(super) fn faults(&self, found: &mut Faults) {
        found.span("idempotency.ttl", Some(self.ttl), "nothing is remembered");
        found.span("idempotency.lease", self.lease, "a claim is lost before the work begins");
        match &self.by {
            By::Field(field) if field.is_empty() => found.add("idempotency.by.field", "must have a name"),
            By::Version(field) if field.is_empty() => found.add("idempotency.by.version", "must have a name"),
            By::Id | By::Key | By::Field(_) | By::Version(_) => {}
        }
    }
}

impl fmt::Display for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            By::Id => f.write_str("once an id")?,
            By::Key => f.write_str("once a key")?,
            By::Field(field) => write!(f, "once a value of {field}")?,
            By::Version(field) => write!(f, "only a newer {field} of a key")?,
        }
        write!(f, " within {}", span::text(self.ttl))?;
        f.write_str(match self.keep {
            Keeper::Memory => ", in memory",
            Keeper::Store => ", in the store",
        })
    }
}
