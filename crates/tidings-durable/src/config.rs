//! Settings of a node that runs durable subscriptions.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::{COMMIT_BYTES_MAX, PAYLOAD_BYTES_MAX, Tenant, Text, WRITES_MAX, span};

/// Settings of a node. Every field has a test that fails when it is ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who takes the leases: unique a process, and so in no file.
    #[serde(skip, default = "tidings_core::id::next")]
    pub owner: Text,
    /// The source of events that handlers publish; the application's.
    #[serde(skip, default = "source")]
    pub source: Text,
    /// Whose events it handles.
    #[serde(skip)]
    pub tenant: Tenant,
    /// How many lanes call a subscription's handler; keys are divided among them.
    pub lanes: usize,
    /// The most deliveries settled in one commit.
    pub batch: usize,
    /// The most writes in one commit.
    pub writes: usize,
    /// The most bytes in one commit.
    pub bytes: usize,
    /// The largest payload a handler may publish, in bytes; the application's.
    #[serde(skip, default = "payload_bytes")]
    pub payload_bytes: usize,
    /// How many deliveries may be read but not yet settled: the bound on what a checkpoint lists above its watermark.
    pub window: usize,
    /// Waits up to this long are kept in memory; longer ones become rows in the store.
    #[serde(with = "span")]
    pub short_wait: Duration,
    /// How many followers may wait behind one blocked key; further ones are dead-lettered as followers.
    pub followers_per_key: u64,
    /// How many followers may wait in a subscription in all; further ones are dead-lettered as followers.
    pub followers: u64,
    /// How many documents a subscription keeps in memory.
    pub cached_documents: usize,
    /// How long a lease lasts without being renewed.
    #[serde(with = "span")]
    pub lease: Duration,
    /// Seeds the jitter of retries.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            owner: tidings_core::id::next(),
            source: source(),
            tenant: Tenant::default(),
            lanes: std::thread::available_parallelism().map_or(2, usize::from).min(8),
            batch: 1_000,
            writes: WRITES_MAX,
            bytes: COMMIT_BYTES_MAX,
            payload_bytes: payload_bytes(),
            window: 16_384,
            short_wait: Duration::from_secs(1),
            followers_per_key: 1_000,
            followers: 10_000,
            cached_documents: 65_536,
            lease: Duration::from_secs(10),
            seed: 0x7464_6e67,
        }
    }
}

fn source() -> Text {
    Text::from("/tidings")
}

const fn payload_bytes() -> usize {
    PAYLOAD_BYTES_MAX
}

impl Config {
    /// What is wrong with the values, each with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let positive = [
            ("lanes", self.lanes),
            ("batch", self.batch),
            ("writes", self.writes),
            ("bytes", self.bytes),
            ("payload_bytes", self.payload_bytes),
            ("window", self.window),
            ("cached_documents", self.cached_documents),
        ];
        for (field, value) in positive {
            if value == 0 {
                faults.push(format!("{field}: must be at least 1"));
            }
        }
        if self.lease.is_zero() {
            faults.push("lease: must not be 0".into());
        }
        if self.owner.is_empty() {
            faults.push("owner: must not be empty".into());
        }
        faults
    }
}
