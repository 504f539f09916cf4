//! When a batch is complete.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{some, span};

/// When a batch is complete, and how much may be in open ones.
///
/// ```
/// use std::time::Duration;
/// use tidings_flow::Batching;
/// let batching = Batching::new().items(500).age(Duration::from_millis(200));
/// assert!(batching.faults().is_empty());
/// assert_eq!(batching.items(0).faults().len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batching {
    /// The most items in a batch.
    pub items: usize,
    /// The most bytes in a batch, where there is a measure.
    pub bytes: Option<usize>,
    /// How long the first item of a batch waits at most.
    pub age: Duration,
    /// The most keys with an open batch; for one more, the oldest batch is completed before its time.
    pub keys: usize,
    /// The most items in all open batches; for one more, the oldest batch is completed before its time.
    pub open_items: usize,
}

impl Default for Batching {
    /// 100 items or one second, 10,000 keys, 100,000 items in open batches, no bound in bytes.
    fn default() -> Self {
        Self { items: 100, bytes: None, age: Duration::from_secs(1), keys: 10_000, open_items: 100_000 }
    }
}

impl Batching {
    /// The defaults: 100 items or one second.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most items in a batch.
    #[must_use]
    pub fn items(self, items: usize) -> Self {
        Self { items, ..self }
    }

    /// The most bytes in a batch.
    #[must_use]
    pub fn bytes(self, bytes: usize) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// How long the first item of a batch waits at most.
    #[must_use]
    pub fn age(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// The most keys with an open batch.
    #[must_use]
    pub fn keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }

    /// The most items in all open batches.
    #[must_use]
    pub fn open_items(self, open_items: usize) -> Self {
        Self { open_items, ..self }
    }

    /// What is wrong with the values, each with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        some(&mut faults, "items", self.items, "or no batch could hold anything");
        some(&mut faults, "bytes", self.bytes.unwrap_or(1), "or no item would fit in");
        span(&mut faults, "age", self.age);
        some(&mut faults, "keys", self.keys, "or there could be no batch");
        if self.open_items < self.items {
            let (open, items) = (self.open_items, self.items);
            faults.push(format!("open_items: {open} is less than the {items} items of one batch"));
        }
        faults
    }
}
