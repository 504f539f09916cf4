//! Numbers that look random and come from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Many may draw at once; each draw is another number of one sequence (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Dice {
    /// Different for each name, so that handlers that share a seed do not retry in step.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let spread = name.bytes().fold(seed, |at, byte| mix(at ^ u64::from(byte)));
        Self(AtomicU64::new(spread))
    }

    /// Evenly from `0.0..1.0`.
    pub(crate) fn roll(&self) -> f64 {
        let drawn = mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP));
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
        let share = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
        share
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
