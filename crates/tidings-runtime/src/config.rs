//! Settings of a pool: its queue and workers, what happens when there is no room, and its limits.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_core::span;

use crate::Overflow;

/// Settings of buffered handlers: the pool everybody shares, and pools of their own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The pool of handlers that name none.
    pub shared: PoolConfig,
    /// Pools that handlers name; one that is not here has the settings of the shared one.
    pub pools: BTreeMap<String, PoolConfig>,
}

/// Settings of one pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// The queue and its workers.
    pub queue: tidings_queue::Config,
    /// What happens to an event for which there is no room.
    pub overflow: Overflow,
    /// Whether deliveries that are dropped for want of room go to the dead letters; otherwise they are only counted.
    pub keep_dropped: bool,
    /// The most events a second that are taken in; no limit unless said. More are treated as if there was no room.
    pub input_per_second: Option<f64>,
    /// The most deliveries a second that are handed to handlers; no limit unless said. More wait in the queue.
    pub processing_per_second: Option<f64>,
    /// How long 95 of 100 deliveries may wait at most; over it, somebody is told (`tidings.queue.slow`).
    #[serde(with = "span")]
    pub latency_target: Duration,
    /// The largest share of a publisher's time that publishing may take, 0 to 1; over it, somebody is told
    /// (`tidings.publish.slow`).
    pub caller_share_max: f64,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            queue: tidings_queue::Config::default(),
            overflow: Overflow::default(),
            keep_dropped: false,
            input_per_second: None,
            processing_per_second: None,
            latency_target: Duration::from_millis(100),
            caller_share_max: 0.05,
        }
    }
}

impl Config {
    /// The settings of the pool called `name`.
    pub fn of(&self, name: &str) -> &PoolConfig {
        self.pools.get(name).unwrap_or(&self.shared)
    }

    /// What is wrong with the values, each with the path of its field.
    pub fn faults(&self) -> Vec<String> {
        let named = self.pools.iter().map(|(name, pool)| (format!("pools.{name}"), pool));
        let mut faults = Vec::new();
        for (path, pool) in std::iter::once(("shared".to_owned(), &self.shared)).chain(named) {
            faults.extend(pool.faults().into_iter().map(|fault| format!("{path}.{fault}")));
        }
        if self.pools.contains_key("") {
            faults.push("pools: a pool has a name".into());
        }
        faults
    }
}

impl PoolConfig {
    /// What is wrong with the values, each with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<_> =
            self.queue.faults().into_iter().map(|fault| format!("queue.{fault}")).collect();
        for (field, rate) in [
            ("input_per_second", self.input_per_second),
            ("processing_per_second", self.processing_per_second),
        ] {
            if let Some(rate) = rate
                && !(rate.is_finite() && rate > 0.0)
            {
                faults.push(format!("{field}: must be over 0, not {rate}; say nothing for no limit"));
            }
        }
        if self.latency_target.is_zero() {
            faults.push("latency_target: must not be 0, or every delivery is late".into());
        }
        if !(0.0..=1.0).contains(&self.caller_share_max) {
            faults.push(format!("caller_share_max: must be between 0 and 1, not {}", self.caller_share_max));
        }
        if let Overflow::Wait(most) = &self.overflow
            && most.is_zero()
        {
            faults.push("overflow.wait: 0 is not waiting; say `refuse`".into());
        }
        if self.keep_dropped && !matches!(self.overflow, Overflow::DropNewest | Overflow::DropOldest) {
            faults.push(
                "keep_dropped: nothing is dropped; say `overflow = \"drop-oldest\"` or `\"drop-newest\"`"
                    .into(),
            );
        }
        faults
    }
}
