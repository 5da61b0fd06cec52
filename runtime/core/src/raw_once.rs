//! Doing something once: who does it, who waits for it, who sees that it is done.
//!
//! | word | meaning |
//! | --- | --- |
//! | `NEW` | nobody has begun |
//! | `RUNNING` | one does it; others wait in the queue |
//! | `DONE` | done, for ever |
//!
//! The word changes under the queue's short lock only; `is_done` looks at it without.

use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::{AtomicU32, Ordering, const_unless_loom};
use crate::wait_queue::{Claim, WaitNode, WaitQueue};
use core::ptr::NonNull;

const NEW: u32 = 0;
const RUNNING: u32 = 1;
const DONE: u32 = 2;

/// What [`RawOnce::begin`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Begin {
    /// The caller does it, and then calls `finish` or `give_up`.
    Run,
    /// Another does it, and the node is linked: park until its token has an outcome, then look again.
    Waiting,
    /// It is done.
    Done,
}

/// See the module's documentation. Interrupts are masked around all but `is_done`.
pub struct RawOnce<W: Copy> {
    word: AtomicU32,
    waiters: SpinLock<WaitQueue<W>>,
}

impl<W: Copy> RawOnce<W> {
    const_unless_loom! {
        /// Not begun.
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(NEW), waiters: SpinLock::new(lock_rank::ONCE_WAITERS, WaitQueue::new()) }
        }
    }

    /// Whether it is done; then all that was done is seen.
    #[inline(always)]
    pub fn is_done(&self) -> bool {
        // Acquire: partner is the release in `finish`.
        self.word.load(Ordering::Acquire) == DONE
    }

    /// Begins, or finds out who is faster.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn begin(&self, node: NonNull<WaitNode<W>>) -> Begin {
        self.waiters.with(|waiters| match self.word.load(Ordering::Relaxed) {
            NEW => {
                self.word.store(RUNNING, Ordering::Relaxed);
                Begin::Run
            }
            RUNNING => {
                // SAFETY: the caller's promise.
                unsafe { waiters.push_back(node) };
                Begin::Waiting
            }
            _ => Begin::Done,
        })
    }

    /// It is done: all who wait are to be fetched from [`next`](Self::next).
    pub fn finish(&self) {
        // Release: partner is the acquire in `is_done`.
        self.waiters.with(|_| self.word.store(DONE, Ordering::Release));
    }

    /// The next waiter, who must be unparked: until there is none, after `finish`. (Nobody is linked from then on.)
    pub fn next(&self) -> Option<W> {
        self.waiters.with(|waiters| waiters.pop_claimed().map(Claim::publish))
    }

    /// It was not done after all: the first of those who wait, who must be unparked, or the next who comes begins anew.
    #[must_use]
    pub fn give_up(&self) -> Option<W> {
        self.waiters.with(|waiters| {
            self.word.store(NEW, Ordering::Relaxed);
            waiters.pop_claimed().map(Claim::publish)
        })
    }

    /// Unlinks a waiter that leaves: its token has another outcome than this node's.
    ///
    /// # Safety
    /// The node was linked by [`begin`](Self::begin) of this one, and in no other queue since.
    pub unsafe fn forget(&self, node: NonNull<WaitNode<W>>) {
        // SAFETY: the caller's promise.
        self.waiters.with(|waiters| unsafe { waiters.remove(node) });
    }
}

impl<W: Copy> Default for RawOnce<W> {
    fn default() -> Self {
        Self::new()
    }
}
