//! Numbers on a program's command line, with an error that says what would have been right.

use core::fmt;

/// A word that should have been a number of a certain range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadNumber<'a> {
    /// What it was for.
    pub what: &'static str,
    /// The word.
    pub given: &'a str,
    /// The smallest number allowed.
    pub least: u64,
    /// The largest.
    pub most: u64,
}

impl fmt::Display for BadNumber<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, given, least, most } = self;
        write!(f, "{what} cannot be `{given}`: say a whole number from {least} to {most}")
    }
}

/// Reads `given` as a whole number from `least` to `most`.
///
/// # Errors
/// [`BadNumber`] for anything else.
pub fn number<'a>(what: &'static str, given: &'a str, least: u64, most: u64) -> Result<u64, BadNumber<'a>> {
    match given.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(BadNumber { what, given, least, most }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_their_range() {
        assert_eq!(number("threads", "1", 1, 64), Ok(1));
        assert_eq!(number("threads", "64", 1, 64), Ok(64));
    }

    #[test]
    fn nonsense_is_named() {
        for given in ["", "0", "65", "-1", "four", "1.5", "99999999999999999999"] {
            let error = number("threads", given, 1, 64).unwrap_err();
            assert_eq!(error.to_string(), format!("threads cannot be `{given}`: say a whole number from 1 to 64"));
        }
    }
}
