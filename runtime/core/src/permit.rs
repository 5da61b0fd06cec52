//! The permit that `unpark` leaves for the next `park`: one, however often it is given.
//!
//! It is apart from the permit of the [thread state](crate::thread_state), which ends waits of every kind: a thread that
//! waits for a channel must not use up an `unpark` that was meant for its next `park`.

use crate::sync::{AtomicBool, Ordering, const_unless_loom};

/// See the module's documentation.
#[derive(Debug)]
pub struct Permit {
    given: AtomicBool,
}

impl Permit {
    const_unless_loom! {
        /// Not given.
        pub const fn new() -> Self {
            Self { given: AtomicBool::new(false) }
        }
    }

    /// Gives the permit. Anybody may.
    #[inline(always)]
    pub fn give(&self) {
        // A swap, and not a store, though what was there does not matter: only a read-modify-write continues the release
        // sequence of a giver before, whose writes must be seen with the same permit.
        // Release: partner is the swap in `take`.
        self.given.swap(true, Ordering::Release);
    }

    /// Takes the permit if it was given; then all that the givers wrote before is seen. Only its owner does.
    #[inline(always)]
    pub fn take(&self) -> bool {
        // The swap, and not a plain store after the load: a permit given again in between is taken too, and what its
        // giver wrote must be seen with it.
        // Acquire: partner is the swap in `give`.
        self.given.load(Ordering::Relaxed) && self.given.swap(false, Ordering::Acquire)
    }
}

impl Default for Permit {
    fn default() -> Self {
        Self::new()
    }
}
