//! Ticks to nanoseconds and back, without division, exact to a nanosecond over 100 years.
//!
//! `ns = ticks * multiplier >> shift`, with the product in 128 bits (two instructions on both architectures). The
//! multiplier is chosen as large as 64 bits allow, so that its relative error is below 2^-63 for clocks of 1 GHz
//! and slower (2^-62 up to 2 GHz, and so on).

/// What is passed in a second.
const NS_PER_SECOND: u64 = 1_000_000_000;

/// A conversion by a fixed ratio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    multiplier: u64,
    shift: u32,
}

impl Scale {
    /// From ticks of a clock of `hz` to nanoseconds.
    ///
    /// # Panics
    /// If `hz` is 0.
    #[must_use]
    pub const fn to_ns(hz: u64) -> Self {
        Self::ratio(NS_PER_SECOND, hz)
    }

    /// From nanoseconds to ticks of a clock of `hz`.
    ///
    /// # Panics
    /// If `hz` is 0.
    #[must_use]
    pub const fn to_ticks(hz: u64) -> Self {
        Self::ratio(hz, NS_PER_SECOND)
    }

    const fn ratio(numerator: u64, denominator: u64) -> Self {
        assert!(denominator != 0 && numerator != 0, "a clock that does not tick");
        // The largest shift at which the multiplier still fits 64 bits.
        let mut shift = 127 - (numerator as u128).ilog2();
        loop {
            let multiplier = ((numerator as u128) << shift) / denominator as u128;
            if multiplier <= u64::MAX as u128 && shift <= 127 {
                return Self { multiplier: multiplier as u64, shift };
            }
            shift -= 1;
        }
    }

    /// The two numbers it is made of, for storing them.
    #[must_use]
    pub const fn parts(self) -> (u64, u32) {
        (self.multiplier, self.shift)
    }

    /// A conversion from the numbers that [`Scale::parts`] gave.
    #[inline(always)]
    #[must_use]
    pub const fn from_parts(multiplier: u64, shift: u32) -> Self {
        Self { multiplier, shift }
    }

    /// Converts, rounding down; saturates at `u64::MAX`.
    #[inline]
    #[must_use]
    pub const fn apply(self, value: u64) -> u64 {
        let wide = (value as u128 * self.multiplier as u128) >> (self.shift & 127);
        if wide > u64::MAX as u128 { u64::MAX } else { wide as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_S: u64 = 31_557_600;

    #[test]
    fn exact_over_a_hundred_years() {
        for hz in
            [1_000_000, 19_200_000, 24_000_000, 54_000_000, 62_500_000, 1_000_000_000, 2_899_999_999, 5_000_000_000]
        {
            let scale = Scale::to_ns(hz);
            for seconds in [0, 1, 3600, YEAR_S, 100 * YEAR_S] {
                let exact = u128::from(seconds) * 1_000_000_000;
                let got = u128::from(scale.apply(seconds * hz));
                assert!(exact - got <= 1, "{hz} Hz, {seconds} s: {got} for {exact}");
            }
        }
    }

    #[test]
    fn there_and_back() {
        for hz in [54_000_000u64, 62_500_000, 3_000_000_000] {
            let (ns, ticks) = (Scale::to_ns(hz), Scale::to_ticks(hz));
            for t in [1, 7, 1000, hz, hz * 86_400] {
                let back = ticks.apply(ns.apply(t));
                assert!(t - back <= hz / NS_PER_SECOND + 1, "{hz} Hz: {t} came back as {back}");
            }
        }
    }

    #[test]
    fn a_gigahertz_is_the_identity() {
        let scale = Scale::to_ns(1_000_000_000);
        for t in [0, 1, 123_456_789, u64::MAX >> 1] {
            assert_eq!(scale.apply(t), t);
        }
    }

    #[test]
    fn never_wraps() {
        assert_eq!(Scale::to_ns(1_000_000).apply(u64::MAX), u64::MAX);
    }
}
