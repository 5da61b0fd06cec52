//! Numbers on a program's command line, with an error that says what would have been right.

use alloc::string::{String, ToString};
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

/// A number that a program takes: what it is for, what it is if nothing is said, the smallest and the largest allowed.
pub type Wanted = (&'static str, u64, u64, u64);

/// Reads `words` as the numbers that are wanted, in their order; those that are left out at the end are as usual.
///
/// # Errors
/// What is wrong, in a line: a number out of range or none, or too many words.
///
/// ```
/// use isochron_apps::arguments::numbers;
/// let wanted = [("the size", 10, 1, 100), ("the rounds", 3, 1, 9)];
/// assert_eq!(numbers(["20"].into_iter(), wanted), Ok([20, 3]));
/// assert!(numbers(["20", "10"].into_iter(), wanted).unwrap_err().contains("the rounds"));
/// ```
pub fn numbers<'a, const N: usize>(
    mut words: impl Iterator<Item = &'a str>,
    wanted: [Wanted; N],
) -> Result<[u64; N], String> {
    let mut found = [0; N];
    for (found, (what, usual, least, most)) in found.iter_mut().zip(wanted) {
        let word = words.next().map(|word| number(what, word, least, most)).transpose();
        *found = word.map_err(|error| error.to_string())?.unwrap_or(usual);
    }
    match words.next() {
        Some(word) => Err(alloc::format!("there are {N} numbers to say, and `{word}` is one more")),
        None => Ok(found),
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

    #[test]
    fn what_is_left_out_is_as_usual() {
        let wanted = [("threads", 4, 1, 64), ("rounds", 9, 1, 100)];
        let read = |text: &'static str| numbers(text.split_whitespace(), wanted);
        assert_eq!((read(""), read("2"), read("2 3")), (Ok([4, 9]), Ok([2, 9]), Ok([2, 3])));
        assert!(read("2 3 4").unwrap_err().contains("`4`"));
        assert!(read("65").unwrap_err().contains("threads"));
    }
}
