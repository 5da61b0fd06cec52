//! The lock of a mutex: one word on the fast path, a fair queue behind it.
//!
//! # Protocol
//! | word | meaning |
//! | --- | --- |
//! | 0 | free |
//! | *owner* | held by that owner, nobody waits |
//! | *owner* + 1 | held by that owner, somebody waits or is about to |
//!
//! An owner is an even number that names a thread. It costs two instructions on each side; in return a thread that takes
//! a lock twice is told so instead of waiting for itself for ever, and a waiter can tell who holds it up.
//!
//! Locking a free mutex and unlocking one that nobody waits for are one compare-and-swap each. All else happens under
//! the queue's short lock: a contender marks the word and links its node; the holder that finds the mark hands the
//! mutex over to the first in the queue, without freeing it in between, so the order is first come, first served, and
//! whoever is woken has the mutex.
//!
//! The mark is set only under the queue's lock and together with a linked node (or an acquisition), so a holder that
//! finds none has nobody to wake, and one that finds it sees who waits.
//!
//! # Rejected
//! Freeing the word and letting the woken one compete (barging): faster when the sections are short, but a thread can
//! starve, and the longest wait is what this runtime is about.

use crate::spinlock::SpinLock;
use crate::sync::{AtomicUsize, Ordering, const_unless_loom};
use crate::wait_queue::{WaitNode, WaitQueue};
use core::ptr::NonNull;

const FREE: usize = 0;
const CONTENDED: usize = 1;

/// A waiting thread; payload: its owner number.
pub type Node<W> = WaitNode<W, usize>;

/// What became of an attempt to lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Attempt {
    /// The caller has the lock.
    Locked,
    /// The node is linked: park until its token has an outcome, which means that the lock is held.
    Waiting,
    /// The caller had the lock already.
    Twice,
}

/// A lock that names its waiters by `W`. Interrupts are masked around all but `try_lock` and `try_unlock`.
pub struct RawMutex<W> {
    word: AtomicUsize,
    waiters: SpinLock<WaitQueue<W, usize>>,
}

impl<W: Copy> RawMutex<W> {
    const_unless_loom! {
        /// A free lock.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(FREE), waiters: SpinLock::new(WaitQueue::new()) }
        }
    }

    /// Takes the lock for `owner`, an even number and not 0, if it is free.
    #[inline(always)]
    pub fn try_lock(&self, owner: usize) -> bool {
        // Acquire: partners are the releases in `try_unlock` and `unlock_slow`.
        self.word.compare_exchange(FREE, owner, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Frees the lock if nobody waits; otherwise `unlock_slow` must follow. By the holder only.
    #[inline(always)]
    #[must_use]
    pub fn try_unlock(&self, owner: usize) -> bool {
        // Release: partners are the acquires in `try_lock` and `lock_or_wait`.
        self.word.compare_exchange(owner, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock, or links `node`, whose payload is the owner number.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn lock_or_wait(&self, node: NonNull<Node<W>>) -> Attempt {
        self.waiters.with(|waiters| {
            // SAFETY: alive and not linked yet (caller), so nobody else touches it.
            let owner = unsafe { node.as_ref() }.payload;
            let mut word = self.word.load(Ordering::Relaxed);
            loop {
                if word & !CONTENDED == owner {
                    return Attempt::Twice;
                }
                let new = if word == FREE { owner } else { word | CONTENDED };
                // Acquire: partners as in `try_lock`. (Needed only when it was free.)
                match self.word.compare_exchange(word, new, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(FREE) => return Attempt::Locked,
                    Ok(_) => {
                        // SAFETY: the caller's promise.
                        unsafe { waiters.push_back(node) };
                        return Attempt::Waiting;
                    }
                    Err(now) => word = now,
                }
            }
        })
    }

    /// Frees the lock, or hands it to the first who waits: that one is returned and must be unparked.
    #[must_use]
    pub fn unlock_slow(&self) -> Option<W> {
        self.waiters.with(|waiters| match waiters.pop_claimed() {
            Some(mut claim) => {
                let mark = if waiters.is_empty() { 0 } else { CONTENDED };
                // Relaxed: the token's publication hands the section's writes over. Nobody else changes the word: it is
                // not free, and `lock_or_wait` is shut out.
                self.word.store(*claim.payload() | mark, Ordering::Relaxed);
                Some(claim.publish())
            }
            None => {
                // Release: partners are the acquires in `try_lock` and `lock_or_wait`.
                self.word.store(FREE, Ordering::Release);
                None
            }
        })
    }

    /// Unlinks a waiter that leaves: its token has another outcome than this node's.
    ///
    /// # Safety
    /// The node was linked by [`lock_or_wait`](Self::lock_or_wait) of this lock, and in no other queue since.
    pub unsafe fn forget(&self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise. The mark stays: the unlock will look at the queue in vain, once.
        self.waiters.with(|waiters| unsafe { waiters.remove(node) });
    }

    /// Who holds the lock: a glance.
    pub fn owner(&self) -> Option<usize> {
        match self.word.load(Ordering::Relaxed) & !CONTENDED {
            FREE => None,
            owner => Some(owner),
        }
    }
}

impl<W: Copy> Default for RawMutex<W> {
    fn default() -> Self {
        Self::new()
    }
}
