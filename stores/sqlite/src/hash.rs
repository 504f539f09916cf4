//! The hash of the caches: fast for small numbers and short texts, seeded anew in each process so that nobody can
//! choose names that collide. Nothing hashed with it is kept.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::LazyLock,
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u64));

/// Makes [`Quick`] hashers.
#[derive(Debug, Clone)]
pub(crate) struct QuickBuilder(u64);

impl Default for QuickBuilder {
    fn default() -> Self {
        Self(*SEED)
    }
}

impl BuildHasher for QuickBuilder {
    type Hasher = Quick;

    fn build_hasher(&self) -> Quick {
        Quick(self.0)
    }
}

/// A hasher.
#[derive(Debug)]
pub(crate) struct Quick(u64);

impl Quick {
    fn mix(&mut self, number: u64) {
        // A folded multiplication spreads every bit over all others.
        let wide = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (wide as u64) ^ ((wide >> 64) as u64);
    }
}

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_i64(&mut self, number: i64) {
        self.mix(number as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_spread_over_all_bits() {
        let builder = QuickBuilder::default();
        let hashes: Vec<u64> = (0..4_096_i64).map(|number| builder.hash_one(number)).collect();
        let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 52).collect();
        let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0xfff).collect();
        assert!(high.len() > 2_000 && low.len() > 2_000, "{} {}", high.len(), low.len());
    }
}
