//! Which of two sides disposes of what they share: the one that leaves last.
//!
//! A thread leaves its result for its handle, and the handle may be dropped without looking. Whoever of the two leaves
//! second finds the other gone and drops the result, on its own stack and in its own time, which is why a plain count of
//! references will not do: the last reference of a thread goes in the middle of a switch.

use crate::sync::{AtomicU32, Ordering, const_unless_loom};

/// The word that both sides leave by.
#[derive(Debug)]
pub struct LastOfTwo {
    left: AtomicU32,
}

impl LastOfTwo {
    const_unless_loom! {
        /// Both sides are there.
        pub const fn new() -> Self {
            Self { left: AtomicU32::new(0) }
        }
    }

    /// One side leaves, once. True: it is the last, and what is shared is its alone.
    #[inline]
    #[must_use]
    pub fn leave(&self) -> bool {
        // Release and acquire: partner is the other side's swap here. The last one sees all that the first one wrote.
        self.left.swap(1, Ordering::AcqRel) == 1
    }
}

impl Default for LastOfTwo {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_the_last() {
        let word = LastOfTwo::new();
        assert!(!word.leave());
        assert!(word.leave());
    }
}
