//! A histogram of whole numbers with buckets that grow: exact below 16, then within a sixteenth.
//!
//! One thread writes, so that a record is a load and a store; any other may read.

use std::sync::atomic::{AtomicU64, Ordering};

const SUB_BITS: u32 = 4;
const SUB: u64 = 1 << SUB_BITS;
const BUCKETS: usize = ((64 - SUB_BITS as usize) + 1) << SUB_BITS;

/// What one worker records.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// Several histograms added up.
#[derive(Debug)]
pub(crate) struct Merged {
    buckets: Vec<u64>,
    count: u64,
    sum: u64,
}

fn bucket(value: u64) -> usize {
    if value < SUB {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - SUB_BITS;
    (((shift + 1) as usize) << SUB_BITS) + ((value >> shift) & (SUB - 1)) as usize
}

/// The largest value that falls into a bucket.
fn top(bucket: usize) -> u64 {
    if bucket < SUB as usize {
        return bucket as u64;
    }
    let (shift, sub) = ((bucket >> SUB_BITS) as u32 - 1, bucket as u64 & (SUB - 1));
    ((SUB + sub) << shift) + ((1 << shift) - 1)
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Records a value so many times. Only ever called by one thread.
    pub(crate) fn record(&self, value: u64, times: u64) {
        let add = |cell: &AtomicU64, more: u64| {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        };
        add(&self.buckets[bucket(value)], times);
        add(&self.sum, value.saturating_mul(times));
    }
}

impl Merged {
    pub(crate) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut merged = Self { buckets: vec![0; BUCKETS], count: 0, sum: 0 };
        for histogram in histograms {
            for (into, from) in merged.buckets.iter_mut().zip(&histogram.buckets) {
                *into += from.load(Ordering::Relaxed);
            }
            merged.sum = merged.sum.wrapping_add(histogram.sum.load(Ordering::Relaxed));
        }
        merged.count = merged.buckets.iter().sum();
        merged
    }

    pub(crate) fn mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }

    /// The value that this part of all records does not exceed.
    pub(crate) fn percentile(&self, part: f64) -> u64 {
        let rank = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map_or(0, top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_within_a_sixteenth() {
        for value in
            (0..64).map(|shift| 1_u64 << shift).flat_map(|power| [power, power | (power / 3), power - 1])
        {
            let told = top(bucket(value));
            assert!(told >= value && told - value <= value / 16, "{value} told as {told}");
        }
        assert_eq!(top(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn percentiles_are_those_of_all_that_was_merged() {
        let (one, two) = (Histogram::new(), Histogram::new());
        (1..=5).for_each(|value| one.record(value, 1));
        two.record(10, 5);
        let merged = Merged::of([&one, &two].into_iter());
        assert_eq!([0.1, 0.5, 0.9].map(|part| merged.percentile(part)), [1, 5, 10]);
        assert_eq!(merged.mean(), (15 + 50) / 10);
        assert_eq!(Merged::of(std::iter::empty()).percentile(0.5), 0);
    }
}
