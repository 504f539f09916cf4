//! How long something takes, counted in buckets whose width grows with the value.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Each power of two is split into this many buckets, as a power of two: with 16, a bucket is 6 per cent wide.
const SPLIT_BITS: u32 = 4;

/// Buckets to a power of two.
const SPLIT: usize = 1 << SPLIT_BITS;

/// The largest value that is told apart, as a power of two: 2^40 nanoseconds are 18 minutes.
const LARGEST_BITS: u32 = 40;

/// All buckets: the values below `SPLIT` have one each, then follow `SPLIT` for each power of two.
const BUCKETS: usize = SPLIT * (LARGEST_BITS - SPLIT_BITS + 1) as usize;

/// A histogram of fixed size that threads fill without a lock. It has its five kilobytes from the first value on.
#[derive(Default)]
pub(crate) struct Histogram {
    buckets: OnceLock<Box<[AtomicU64]>>,
    max: AtomicU64,
}

impl Histogram {
    pub(crate) fn record(&self, value: u64) {
        let buckets = self.buckets.get_or_init(|| (0..BUCKETS).map(|_| AtomicU64::new(0)).collect());
        if let Some(bucket) = buckets.get(bucket_of(value)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.max.fetch_max(value, Ordering::Relaxed);
    }

    /// The largest value, exactly.
    pub(crate) fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// For each of these parts of a hundred, a value that so many do not exceed, but for the width of a bucket; 0
    /// where nothing was recorded.
    pub(crate) fn percentiles<const N: usize>(&self, percents: [u64; N]) -> [u64; N] {
        let Some(buckets) = self.buckets.get() else { return [0; N] };
        let counts: Vec<u64> = buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        percents.map(|percent| {
            let wanted = (total.saturating_mul(percent)).div_ceil(100);
            let mut seen = 0;
            let reached = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            reached.map_or(0, largest_in).min(self.max())
        })
    }

    pub(crate) fn reset(&self) {
        for bucket in self.buckets.get().into_iter().flatten() {
            bucket.store(0, Ordering::Relaxed);
        }
        self.max.store(0, Ordering::Relaxed);
    }
}

fn bucket_of(value: u64) -> usize {
    if value < SPLIT as u64 {
        return value as usize;
    }
    let power = value.ilog2();
    let within = (value >> (power - SPLIT_BITS)) as usize - SPLIT;
    (SPLIT * (power - SPLIT_BITS + 1) as usize + within).min(BUCKETS - 1)
}

/// The largest value that falls into a bucket.
fn largest_in(bucket: usize) -> u64 {
    if bucket < SPLIT {
        return bucket as u64;
    }
    if bucket >= BUCKETS - 1 {
        // Everything larger falls into the last one.
        return u64::MAX;
    }
    let shift = (bucket / SPLIT - 1) as u32;
    let lowest = ((SPLIT + bucket % SPLIT) as u64) << shift;
    lowest + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_bucket_begins_where_the_one_before_ends() {
        for bucket in 0..BUCKETS - 2 {
            let largest = largest_in(bucket);
            assert_eq!((bucket_of(largest), bucket_of(largest + 1)), (bucket, bucket + 1), "{bucket}");
        }
        assert_eq!((bucket_of(u64::MAX), bucket_of((1 << LARGEST_BITS) + 1)), (BUCKETS - 1, BUCKETS - 1));
    }

    #[test]
    fn nothing_recorded_is_nothing_and_a_reset_forgets() {
        let histogram = Histogram::default();
        assert_eq!((histogram.percentiles([50, 99]), histogram.max()), ([0, 0], 0));
        histogram.record(u64::MAX);
        assert_eq!((histogram.percentiles([50, 99]), histogram.max()), ([u64::MAX; 2], u64::MAX));
        histogram.reset();
        assert_eq!((histogram.percentiles([50, 99]), histogram.max()), ([0, 0], 0));
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_list_but_for_the_width_of_a_bucket(
            mut values in proptest::collection::vec(prop_oneof![0..40_u64, 0..100_000_u64, 0..1_u64 << 39], 1..300),
        ) {
            let histogram = Histogram::default();
            for value in &values {
                histogram.record(*value);
            }
            values.sort_unstable();
            for (percent, told) in [1, 50, 95, 99, 100].into_iter().zip(histogram.percentiles([1, 50, 95, 99, 100])) {
                let exact = values[(values.len() * percent as usize).div_ceil(100) - 1];
                prop_assert!(told >= exact && told <= exact + exact / SPLIT as u64, "{percent}: {told} for {exact}");
            }
            prop_assert_eq!(histogram.max(), values[values.len() - 1]);
        }
    }
}
