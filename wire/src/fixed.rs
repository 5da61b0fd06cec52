//! [`Fixed`]: a decimal with three places, without floating point.

/// A quantity in thousandths of its unit, printed as a decimal: `12.345`, `7`, `-0.5`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Fixed(i64);

/// The most bytes a printed [`Fixed`] takes: sign, 16 digits, point, 3 digits.
pub(crate) const MAX_PRINTED: usize = 21;

impl Fixed {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many thousandths of the unit.
    #[must_use]
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// A whole number of units; one past what fits becomes the largest that does.
    #[must_use]
    pub const fn from_int(units: u64) -> Self {
        if units > (i64::MAX / 1000) as u64 { Self(i64::MAX) } else { Self(units as i64 * 1000) }
    }

    /// `numerator / denominator` units, rounded down to a thousandth; what does not fit becomes the largest that does.
    /// A division by nothing gives zero.
    ///
    /// ```
    /// # use isochron_wire::Fixed;
    /// assert_eq!(Fixed::from_ratio(100, 3).to_string(), "33.333");
    /// ```
    #[must_use]
    pub const fn from_ratio(numerator: u64, denominator: u64) -> Self {
        if denominator == 0 {
            return Self::ZERO;
        }
        let whole = Self::from_int(numerator / denominator).0;
        // Digit by digit, so that the remainder cannot overflow and no 128-bit division is linked in.
        let (mut rest, mut places, mut digit) = (numerator % denominator, 0, 0);
        while digit < 3 {
            let (mut times, mut sum, mut count) = (0, 0u64, 0);
            while times < 10 {
                // sum < denominator and rest < denominator: subtract first where the sum would pass it.
                if sum >= denominator - rest {
                    sum -= denominator - rest;
                    count += 1;
                } else {
                    sum += rest;
                }
                times += 1;
            }
            places = places * 10 + count;
            rest = sum;
            digit += 1;
        }
        Self(whole.saturating_add(places))
    }

    /// The thousandths.
    #[must_use]
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// The nearest floating-point number of units.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The whole units, rounded toward zero.
    #[must_use]
    pub const fn whole(self) -> i64 {
        self.0 / 1000
    }

    /// Reads what is printed: at most three places, nothing else around the number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, places) = digits.split_once('.').map_or((digits, None), |(w, p)| (w, Some(p)));
        let mut value = decimal(whole)?.checked_mul(1000)?;
        if let Some(places) = places {
            let scale = match places.len() {
                1 => 100,
                2 => 10,
                3 => 1,
                _ => return None,
            };
            value = value.checked_add(decimal(places)? * scale)?;
        }
        if negative { 0i64.checked_sub_unsigned(value).map(Self) } else { i64::try_from(value).ok().map(Self) }
    }

    /// Puts the decimal into `buffer` and returns the part used.
    pub(crate) fn print(self, buffer: &mut [u8; MAX_PRINTED]) -> &str {
        let magnitude = self.0.unsigned_abs();
        let mut at = MAX_PRINTED;
        let mut put = |byte: u8| {
            at -= 1;
            buffer[at] = byte;
        };
        let mut places = magnitude % 1000;
        if places != 0 {
            let mut width = 3;
            while places.is_multiple_of(10) {
                places /= 10;
                width -= 1;
            }
            for _ in 0..width {
                put(b'0' + (places % 10) as u8);
                places /= 10;
            }
            put(b'.');
        }
        let mut whole = magnitude / 1000;
        loop {
            put(b'0' + (whole % 10) as u8);
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        if self.0 < 0 {
            put(b'-');
        }
        core::str::from_utf8(&buffer[at..]).unwrap_or("")
    }
}

impl core::fmt::Display for Fixed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.print(&mut [0; MAX_PRINTED]))
    }
}

/// An unsigned decimal of nothing but digits.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_back() {
        for (thousandths, text) in [
            (0, "0"),
            (7000, "7"),
            (12_345, "12.345"),
            (500, "0.5"),
            (-500, "-0.5"),
            (1, "0.001"),
            (1_010, "1.01"),
            (i64::MAX, "9223372036854775.807"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            let fixed = Fixed::from_thousandths(thousandths);
            assert_eq!(fixed.to_string(), text);
            assert_eq!(Fixed::parse(text), Some(fixed));
        }
        assert_eq!(format!("{:>6}", Fixed::from_thousandths(1500)), "   1.5");
    }

    #[test]
    fn refuses_what_is_not_exact() {
        for text in ["", "-", ".", "1.", ".5", "1.2345", "1e3", "+1", " 1", "1 ", "9223372036854775.808", "1.-5", "--1"]
        {
            assert_eq!(Fixed::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn ratios() {
        assert_eq!(Fixed::from_ratio(1, 8).thousandths(), 125);
        assert_eq!(Fixed::from_ratio(2, 3).thousandths(), 666);
        assert_eq!(Fixed::from_ratio(u64::MAX, u64::MAX).thousandths(), 1000);
        assert_eq!(Fixed::from_ratio(u64::MAX - 1, u64::MAX).thousandths(), 999);
        assert_eq!(Fixed::from_ratio(5, 0), Fixed::ZERO);
        assert_eq!(Fixed::from_ratio(u64::MAX, 1).thousandths(), i64::MAX);
        assert_eq!(Fixed::from_int(3).whole(), 3);
        assert!((Fixed::from_thousandths(2500).to_f64() - 2.5).abs() < 1e-12);
    }
}
