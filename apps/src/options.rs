//! The arguments of the latency suite: `[NAME]... [samples=N] [noise_ms=N] [litmus=N] [list]`.

use crate::arguments::{BadNumber, number};
use alloc::vec::Vec;
use core::fmt;

/// Milliseconds that `noise_gap` watches a core, unless told otherwise.
pub const DEFAULT_NOISE_MS: u64 = 1000;

/// What the suite was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options<'a> {
    /// The measures to run; empty: all.
    pub only: Vec<&'a str>,
    /// Samples of each measure, in place of its own number.
    pub samples: Option<u64>,
    /// How long `noise_gap` watches.
    pub noise_ms: u64,
    /// Rounds of each form of the litmus test, in place of as many as fit into its time.
    pub litmus: Option<u64>,
    /// Only name the measures.
    pub list: bool,
}

/// A word that means nothing here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadOption<'a> {
    /// Neither a measure nor an option.
    Unknown {
        /// The word.
        given: &'a str,
        /// What there is.
        names: &'a [&'static str],
    },
    /// An option whose number is out of range or none.
    Number(BadNumber<'a>),
}

impl<'a> From<BadNumber<'a>> for BadOption<'a> {
    fn from(error: BadNumber<'a>) -> Self {
        Self::Number(error)
    }
}

impl fmt::Display for BadOption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(error) => error.fmt(f),
            Self::Unknown { given, names } => {
                write!(f, "there is no measure `{given}`: say samples=N, noise_ms=N, litmus=N, list, or of")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
        }
    }
}

impl<'a> Options<'a> {
    /// Reads the program's arguments; `names` are the measures there are.
    ///
    /// # Errors
    /// The first word that means nothing.
    pub fn parse(words: impl Iterator<Item = &'a str>, names: &'a [&'static str]) -> Result<Self, BadOption<'a>> {
        let mut options =
            Self { only: Vec::new(), samples: None, noise_ms: DEFAULT_NOISE_MS, litmus: None, list: false };
        for word in words {
            match word.split_once('=') {
                Some(("samples", value)) => options.samples = Some(number("samples=", value, 1, 1_000_000)?),
                Some(("noise_ms", value)) => options.noise_ms = number("noise_ms=", value, 1, 600_000)?,
                Some(("litmus", value)) => options.litmus = Some(number("litmus=", value, 1, 1_000_000_000_000)?),
                None if word == "list" => options.list = true,
                None if names.contains(&word) => options.only.push(word),
                _ => return Err(BadOption::Unknown { given: word, names }),
            }
        }
        Ok(options)
    }

    /// Whether the measure `name` is to be run.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["clock_read", "noise_gap"];

    fn parse(text: &str) -> Result<Options<'_>, BadOption<'_>> {
        Options::parse(text.split_whitespace(), NAMES)
    }

    #[test]
    fn nothing_asks_for_all() {
        let options = parse("").unwrap();
        assert!(NAMES.iter().all(|name| options.wants(name)));
        assert_eq!((options.samples, options.noise_ms, options.litmus, options.list), (None, 1000, None, false));
    }

    #[test]
    fn names_choose() {
        let options = parse("noise_gap noise_ms=10 litmus=10000000 samples=7").unwrap();
        assert!(options.wants("noise_gap") && !options.wants("clock_read"));
        assert_eq!((options.samples, options.noise_ms, options.litmus), (Some(7), 10, Some(10_000_000)));
    }

    #[test]
    fn unknown_words_are_answered_with_the_names() {
        for word in ["clock", "samples", "sample=3", "list=1", "=", "noise_gap=1"] {
            let text = parse(word).unwrap_err().to_string();
            assert!(text.contains(&format!("`{word}`")) && text.ends_with("clock_read noise_gap"), "{text}");
            assert!(!text.contains('\n'));
        }
    }

    #[test]
    fn numbers_have_a_range() {
        for word in ["samples=0", "samples=", "samples=many", "noise_ms=0", "noise_ms=600001", "litmus=-1"] {
            assert!(matches!(parse(word), Err(BadOption::Number(_))), "{word}");
        }
    }
}
