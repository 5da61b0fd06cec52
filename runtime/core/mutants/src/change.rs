//! One change to one text, at a place that must be found exactly once.

/// Why a change was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// The text is not there: the source has moved on.
    Stale,
    /// The text is there so many times.
    Ambiguous(usize),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stale => write!(f, "its text is not in the source: the mutant is stale"),
            Self::Ambiguous(times) => write!(f, "its text is in the source {times} times, not once"),
        }
    }
}

/// `text` with `new` in the place of the only `old`.
pub fn replace_once(text: &str, old: &str, new: &str) -> Result<String, Misfit> {
    match text.matches(old).count() {
        1 => Ok(text.replacen(old, new, 1)),
        0 => Err(Misfit::Stale),
        times => Err(Misfit::Ambiguous(times)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_there_once() {
        assert_eq!(replace_once("a fence; a load", "fence", "nothing"), Ok("a nothing; a load".to_owned()));
        assert_eq!(replace_once("a load", "fence", ""), Err(Misfit::Stale));
        assert_eq!(replace_once("fence, fence", "fence", ""), Err(Misfit::Ambiguous(2)));
    }
}
