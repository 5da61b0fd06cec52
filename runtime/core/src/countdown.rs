//! One waits until a number of others have left.
//!
//! Whoever leaves is told whether it was the last, and then wakes the one that waits; that one may find the count at zero
//! before the wake-up has come, and go: so nobody touches the count after having left.

use crate::sync::{AtomicUsize, Ordering, const_unless_loom};

/// How many have not left yet.
#[derive(Debug)]
pub struct Countdown {
    left: AtomicUsize,
}

impl Countdown {
    const_unless_loom! {
        /// Nobody is there.
        pub const fn new() -> Self {
            Self { left: AtomicUsize::new(0) }
        }
    }

    /// One more. By the one that waits, or by one that counts and has not left.
    #[inline]
    pub fn enter(&self) {
        // Relaxed: who enters is known to the caller only, and handed over by other ways.
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// One leaves. True: it was the last that was there.
    ///
    /// # Safety
    /// `this` is alive, and the caller counts as there. When it has left, `this` may be gone.
    #[inline]
    #[must_use]
    pub unsafe fn leave(this: *const Self) -> bool {
        // SAFETY: alive (caller).
        // Release: partner is the load in `is_over`: all that was done before is seen.
        unsafe { (*this).left.fetch_sub(1, Ordering::Release) == 1 }
    }

    /// Whether all have left; then all that they did is seen.
    #[inline]
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Acquire: partners are the subtractions in `leave`.
        self.left.load(Ordering::Acquire) == 0
    }

    /// How many are there: a glance.
    #[must_use]
    pub fn count(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

impl Default for Countdown {
    fn default() -> Self {
        Self::new()
    }
}
