//! How many hold on to a thread's block, and how many of them are wakers that are about to let go.
//!
//! As `Arc` counts, with two differences. References that a wait holds are counted apart, in the low bits: so a thread that is
//! to be ended against its will can be asked whether a waker still has one. And who gives back what is all there is does not
//! write: nobody else has a reference, so nobody can make one, and a load is enough to know it.

use crate::sync::{AtomicUsize, Ordering, const_unless_loom, fence};

/// What a reference counts that a wait holds. A thread has few at a time: one for its wait, and one for each CPU that is about
/// to give back that of an earlier one.
const WAIT: usize = 1;
/// What any other counts.
const REFERENCE: usize = 1 << 12;

/// The count.
#[derive(Debug)]
pub struct References {
    count: AtomicUsize,
}

impl References {
    const_unless_loom! {
        /// Two: what is counted holds on to itself, and whoever made it has a handle.
        pub const fn two() -> Self {
            Self { count: AtomicUsize::new(2 * REFERENCE) }
        }
    }

    /// One more. The caller has one, or knows that somebody does.
    #[inline(always)]
    pub fn count(&self) {
        // Relaxed: a new reference comes from one that is there.
        self.count.fetch_add(REFERENCE, Ordering::Relaxed);
    }

    /// One more for a wait.
    #[inline(always)]
    pub fn count_wait(&self) {
        // Relaxed: as in `count`.
        self.count.fetch_add(WAIT, Ordering::Relaxed);
    }

    /// Gives one back. True: it was the last, and what is counted is the caller's alone.
    #[inline(always)]
    #[must_use]
    pub fn give_back(&self) -> bool {
        self.give(REFERENCE)
    }

    /// Gives one of a wait back. True: it was the last, and what is counted is the caller's alone.
    #[inline(always)]
    #[must_use]
    pub fn give_back_wait(&self) -> bool {
        self.give(WAIT)
    }

    /// Whether a wait holds one now.
    #[inline]
    pub fn any_wait(&self) -> bool {
        self.count.load(Ordering::Relaxed) & (REFERENCE - 1) != 0
    }

    #[inline(always)]
    fn give(&self, count: usize) -> bool {
        // Acquire: partner is the release of every other one's subtraction: their uses come before what the last one does.
        if self.count.load(Ordering::Acquire) == count {
            return true;
        }
        // Release: partners are the load above and the fence below, in whoever is the last.
        if self.count.fetch_sub(count, Ordering::Release) != count {
            return false;
        }
        // Acquire: partner is the release of every other one's subtraction.
        fence(Ordering::Acquire);
        true
    }
}
