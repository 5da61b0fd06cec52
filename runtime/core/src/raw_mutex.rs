//! The lock of a mutex: one word on the fast path, a fair queue behind it.
//!
//! # Protocol
//! | word | meaning |
//! | --- | --- |
//! | 0 | free |
//! | 1 | held, nobody waits |
//! | 2 | held, somebody waits or is about to |
//!
//! Locking a free mutex and unlocking one that nobody waits for are one compare-and-swap each. All else happens under
//! the queue's short lock: a contender sets the word to 2 and links its node; the holder that finds a 2 hands the
//! mutex over to the first in the queue, without freeing it in between, so the order is first come, first served, and
//! whoever is woken has the mutex.
//!
//! The word becomes 2 only under the queue's lock and together with a linked node (or an acquisition), so a holder that
//! finds 1 has nobody to wake, and one that finds 2 sees who waits.
//!
//! # Rejected
//! Freeing the word and letting the woken one compete (barging): faster when the sections are short, but a thread can
//! starve, and the longest wait is what this runtime is about.

use crate::spinlock::SpinLock;
use crate::sync::{AtomicU32, Ordering, const_unless_loom};
use crate::wait_queue::{WaitNode, WaitQueue};
use core::ptr::NonNull;

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// A lock that names its waiters by `W`. Interrupts are masked around all but `try_lock` and `try_unlock`.
pub struct RawMutex<W> {
    word: AtomicU32,
    waiters: SpinLock<WaitQueue<W>>,
}

impl<W: Copy> RawMutex<W> {
    const_unless_loom! {
        /// A free lock.
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(FREE), waiters: SpinLock::new(WaitQueue::new()) }
        }
    }

    /// Takes the lock if it is free.
    #[inline(always)]
    pub fn try_lock(&self) -> bool {
        // Acquire: partners are the releases in `try_unlock` and `unlock_slow`.
        self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Frees the lock if nobody waits; otherwise `unlock_slow` must follow. By the holder only.
    #[inline(always)]
    #[must_use]
    pub fn try_unlock(&self) -> bool {
        // Release: partners are the acquires in `try_lock` and `lock_or_wait`.
        self.word.compare_exchange(HELD, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock (true), or links `node` (false): then park until its token has an outcome, which means that the
    /// lock is held.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn lock_or_wait(&self, node: NonNull<WaitNode<W>>) -> bool {
        self.waiters.with(|waiters| {
            // Acquire: partners as in `try_lock`.
            if self.word.swap(CONTENDED, Ordering::Acquire) == FREE {
                // Said to be contended though nobody may wait: the unlock will look at the queue in vain, once.
                return true;
            }
            // SAFETY: the caller's promise.
            unsafe { waiters.push_back(node) };
            false
        })
    }

    /// Frees the lock, or hands it to the first who waits: that one is returned and must be unparked.
    #[must_use]
    pub fn unlock_slow(&self) -> Option<W> {
        self.waiters.with(|waiters| match waiters.pop_claimed() {
            Some(claim) => {
                // Relaxed: the token's publication hands the section's writes over. Nobody else changes the word: it is
                // not free, and `lock_or_wait` is shut out.
                self.word.store(if waiters.is_empty() { HELD } else { CONTENDED }, Ordering::Relaxed);
                Some(claim.publish())
            }
            None => {
                // Release: partners are the acquires in `try_lock` and `lock_or_wait`.
                self.word.store(FREE, Ordering::Release);
                None
            }
        })
    }

    /// Whether somebody holds the lock: a glance.
    pub fn is_locked(&self) -> bool {
        self.word.load(Ordering::Relaxed) != FREE
    }
}

impl<W: Copy> Default for RawMutex<W> {
    fn default() -> Self {
        Self::new()
    }
}
