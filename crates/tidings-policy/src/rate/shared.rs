//! A rate that is counted together with other processes.

use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::Mutex;
use tidings_core::{Counters, Failure, Handled, Rate, Reply, Take, Text, Timestamp};

use super::meter::{Meter, span};

/// The hundredth part of a limit is fetched at once, so that few starts have to ask.
const PARTS: u32 = 100;

/// The most that are fetched at once.
const BLOCK_MAX: u32 = 100;

/// What has been fetched and not used, a key.
#[derive(Debug, Clone, Copy)]
struct Stock {
    window: i64,
    left: u32,
    /// The window has no more to give.
    empty: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    counters: Arc<dyn Counters>,
    name: Text,
    keys: usize,
    stocks: Mutex<AHashMap<Text, Stock>>,
}

impl Shared {
    pub(super) fn new(name: Text, rate: &Rate, counters: Arc<dyn Counters>) -> Self {
        Self { counters, name, keys: rate.keys as usize, stocks: Mutex::default() }
    }

    /// One of those that were fetched, if there is one; else what to ask. `Err` is that the window is known to be empty.
    pub(super) fn take(
        &self,
        meter: &Meter,
        key: &Text,
        now: i64,
    ) -> Result<Option<Reply<'static, Handled<u32>>>, std::time::Duration> {
        let window = meter.window(now);
        let mut stocks = self.stocks.lock();
        if let Some(stock) = stocks.get_mut(key).filter(|stock| stock.window == window) {
            if stock.left > 0 {
                stock.left -= 1;
                return Ok(None);
            }
            if stock.empty {
                return Err(span(window.saturating_add(meter.per) - now));
            }
        }
        drop(stocks);
        let counter = if key.is_empty() { self.name.clone() } else { format!("{}/{key}", self.name).into() };
        Ok(Some(self.counters.take(&Take {
            counter,
            window: Timestamp::from_micros(window / 1_000),
            span: span(meter.per),
            limit: meter.permits,
            wanted: self.block(meter),
        })))
    }

    /// Takes one of what was granted and keeps the rest. Answers whether there was one.
    pub(super) fn granted(
        &self,
        meter: &Meter,
        key: &Text,
        asked: i64,
        granted: Handled<u32>,
    ) -> Result<bool, Failure> {
        let granted = granted?;
        let window = meter.window(asked);
        let mut stocks = self.stocks.lock();
        if stocks.len() >= self.keys && !stocks.contains_key(key) {
            stocks.retain(|_, stock| stock.window >= window);
            if stocks.len() >= self.keys {
                // Nothing is kept for it; what was fetched beyond the one is lost to this window.
                return Ok(granted > 0);
            }
        }
        let stock = stocks.entry(key.clone()).or_insert(Stock { window, left: 0, empty: false });
        if stock.window != window {
            *stock = Stock { window, left: 0, empty: false };
        }
        stock.empty |= granted < self.block(meter);
        stock.left = stock.left.saturating_add(granted.saturating_sub(1));
        Ok(granted > 0)
    }

    fn block(&self, meter: &Meter) -> u32 {
        (meter.permits / PARTS).clamp(1, BLOCK_MAX)
    }
}
