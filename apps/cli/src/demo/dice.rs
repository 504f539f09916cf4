//! Chance that comes from a seed, so that the same seed gives the same demo again.

/// A source of chance (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A source for the thing of this number, independent of its neighbours.
    pub fn of(seed: u64, number: u64) -> Self {
        let mut dice = Self(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.roll();
        dice
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `end`, or 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias is one in billions: `end` is small.
        self.roll().checked_rem(end).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_number_give_the_same_and_others_do_not() {
        let rolls = |seed, number| {
            let mut dice = Dice::of(seed, number);
            (0..4).map(|_| dice.roll()).collect::<Vec<_>>()
        };
        assert_eq!(rolls(7, 1), rolls(7, 1));
        assert_ne!(rolls(7, 1), rolls(7, 2));
        assert_ne!(rolls(7, 1), rolls(8, 1));
        assert_eq!(Dice::of(7, 1).below(0), 0);
        assert!((0..1_000).all(|number| Dice::of(7, number).below(10) < 10));
    }
}
