//! That something has happened: given by any number, taken by one, kept until it is.
//!
//! A thread that polls a future by itself parks when that is not ready, and is to look again when a waker was called. Its
//! permit does not tell: whatever else it waits for in between takes that too.

use crate::sync::{AtomicU32, Ordering, const_unless_loom};

/// See the module's documentation.
#[derive(Debug)]
pub struct Notice {
    given: AtomicU32,
}

impl Notice {
    const_unless_loom! {
        /// Not given.
        pub const fn new() -> Self {
            Self { given: AtomicU32::new(0) }
        }
    }

    /// Gives it. True: it was not there, and the caller wakes the one who takes.
    #[inline]
    #[must_use]
    pub fn give(&self) -> bool {
        // Release: partner is the swap in `take`, also through one that was given already: hence a read-modify-write.
        self.given.swap(1, Ordering::Release) == 0
    }

    /// Takes it, if it was given: then all that its givers wrote before is seen.
    #[inline]
    #[must_use]
    pub fn take(&self) -> bool {
        // Acquire: partner is the swap in `give`.
        self.given.swap(0, Ordering::Acquire) != 0
    }
}

impl Default for Notice {
    fn default() -> Self {
        Self::new()
    }
}
