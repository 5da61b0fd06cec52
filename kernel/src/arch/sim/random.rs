//! Chance, by a seed.

use core::cell::Cell;

/// A generator of numbers of the SplitMix64 kind: a counter with a stride, and a bijection that mixes it.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// Equal seeds give equal numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// Begins again, with another seed.
    pub fn reseed(&self, seed: u64) {
        self.0.set(seed);
    }

    /// The next number.
    pub fn number(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&self, limit: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(limit)) >> 64) as u64
    }

    /// True once in `of` times.
    pub fn once_in(&self, of: u64) -> bool {
        self.below(of) == 0
    }
}
