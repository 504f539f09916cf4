//! Follows the log and counts: how far the orders have come, how fast, and how long they take.
//!
//! It reads the store like any other reader, so it works as well on the store of another process. It proves nothing;
//! that is the matter of `prove`.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use tidings::{
    Position, Timestamp,
    store::{AnyStore, Beat, Read},
};
use tokio::sync::watch;

use super::figures::Durations;

/// The most events one read takes.
const PAGE: usize = 2_000;

/// Reads on from where it is.
pub struct Follower {
    store: AnyStore,
    /// What it has seen.
    pub seen: Seen,
    /// When the orders that are still open were placed.
    open: HashMap<u64, Timestamp>,
    /// Numbers placed beyond the first that is missing.
    ahead: BTreeSet<u64>,
}

/// How far the orders have come.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Up to which position of the log.
    pub position: Position,
    /// Events so far.
    pub events: u64,
    /// Orders placed.
    pub placed: u64,
    /// Every order below this number is placed.
    pub first_missing: u64,
    /// Orders whose goods were put aside.
    pub reserved: u64,
    /// Orders paid.
    pub paid: u64,
    /// Orders on their way to the customer.
    pub shipped: u64,
    /// Orders that came to an end, good or not.
    pub ended: u64,
    /// How long they took, from placed to ended, by the log's own times.
    pub latency: Durations,
}

impl Follower {
    /// A follower that has seen nothing yet.
    pub fn new(store: AnyStore) -> Self {
        let seen = Seen { first_missing: 1, ..Seen::default() };
        Self { store, seen, open: HashMap::new(), ahead: BTreeSet::new() }
    }

    /// Signs of life of the store.
    pub fn beats(&self) -> watch::Receiver<Beat> {
        self.store.beats()
    }

    /// Reads everything there is; answers how many orders ended in it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn catch_up(&mut self) -> Result<u64> {
        let before = self.seen.ended;
        loop {
            let page = self.store.read(&Read::after(self.seen.position).limit(PAGE)).await?;
            for event in &page.events {
                self.take(event.envelope.name(), event.envelope.key().map(|key| &**key), event.recorded);
            }
            self.seen.position = page.next;
            if page.end {
                return Ok(self.seen.ended - before);
            }
        }
    }

    fn take(&mut self, name: &str, key: Option<&str>, at: Timestamp) {
        let seen = &mut self.seen;
        seen.events += 1;
        let Some(order) = key.and_then(|key| key.parse::<u64>().ok()) else { return };
        match name {
            "order.placed" => {
                seen.placed += 1;
                self.open.insert(order, at);
                self.ahead.insert(order);
                while self.ahead.remove(&seen.first_missing) {
                    seen.first_missing += 1;
                }
            }
            "stock.reserved" => seen.reserved += 1,
            "payment.charged" => seen.paid += 1,
            "parcel.shipped" => seen.shipped += 1,
            "order.completed" | "order.cancelled" => {
                seen.ended += 1;
                if let Some(placed) = self.open.remove(&order) {
                    seen.latency.record(at.since(placed));
                }
            }
            _ => {}
        }
    }
}
