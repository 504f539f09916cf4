//! Counts in memory.

use ahash::AHashMap;
use parking_lot::Mutex;
use tidings_core::{Counters, Failure, Handled, Reply, Take, Text, Timestamp};

/// How many counters are kept at once; more than this are refused.
const COUNTERS_MAX: usize = 100_000;

/// Counts for all guards of a process that share it: the reference of what a store does for many processes.
#[derive(Debug, Default)]
pub struct MemoryCounters(Mutex<AHashMap<Text, (Timestamp, u32)>>);

impl MemoryCounters {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn grant(&self, take: &Take) -> Handled<u32> {
        let mut counters = self.0.lock();
        if counters.len() >= COUNTERS_MAX && !counters.contains_key(&take.counter) {
            counters.retain(|_, (window, _)| window.after(take.span) > take.window);
            if counters.len() >= COUNTERS_MAX {
                return Err(Failure::transient(format!("{COUNTERS_MAX} counters are in use")));
            }
        }
        let (window, count) = counters.entry(take.counter.clone()).or_insert((take.window, 0));
        if *window < take.window {
            (*window, *count) = (take.window, 0);
        }
        // Who asks for a window that is over, with a clock that is behind, gets nothing of the one that runs.
        if *window > take.window {
            return Ok(0);
        }
        let granted = take.wanted.min(take.limit.saturating_sub(*count));
        *count += granted;
        Ok(granted)
    }
}

impl Counters for MemoryCounters {
    fn take(&self, take: &Take) -> Reply<'static, Handled<u32>> {
        Reply::Now(self.grant(take))
    }
}
