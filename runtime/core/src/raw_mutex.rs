//! The lock of a mutex: one word on the fast path, a queue in the order of ranks behind it.
//!
//! # Protocol
//! | word | meaning |
//! | --- | --- |
//! | 0 | free |
//! | *owner* | held by that owner, nobody waits |
//! | *owner* + 1 | held by that owner, somebody waits or is about to |
//! | 1 | free, somebody waits (barging alone) |
//!
//! An owner is an even number that names a thread. It costs two instructions on each side; in return a thread that takes
//! a lock twice is told so instead of waiting for itself for ever, and a waiter can tell who holds it up.
//!
//! Locking a free mutex and unlocking one that nobody waits for are one compare-and-swap each. All else happens under
//! the queue's short lock: a contender marks the word and links its node; the holder that finds the mark hands the
//! mutex over to the first in the queue, without freeing it in between, so nobody overtakes those who wait, and whoever is
//! woken has the mutex. The queue is in the order of ranks, first come, first served among equals.
//!
//! The other mode is barging, `free_slow`: the holder frees the word and wakes the first in the queue, who competes with
//! whoever comes. Faster when the sections are short, because the lock stays on the CPU where it is; but the longest wait
//! has no bound.
//!
//! A holder that dies is found dead by the next who wants the lock (`take_over`), or its lock is handed on for it (`orphan`);
//! either way the lock is marked: what it guards may be half changed.
//!
//! The mark is set only under the queue's lock and together with a linked node (or an acquisition), so a holder that
//! finds none has nobody to wake, and one that finds it sees who waits.
//!
//! # Rejected
//! Barging as the default: a thread can starve, and the longest wait is what this runtime is about.

use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::{AtomicU32, AtomicUsize, Ordering, const_unless_loom};
use crate::wait_queue::{Claim, WaitNode, WaitQueue};
use core::ptr::NonNull;

const FREE: usize = 0;
const CONTENDED: usize = 1;

/// Who wants a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// Its owner number.
    pub owner: usize,
    /// A higher one goes first.
    pub rank: u16,
}

/// A waiting thread.
pub type Node<W> = WaitNode<W, Contender>;

/// What a word says of those who wait.
fn mark<W: Copy>(waiters: &WaitQueue<W, Contender>) -> usize {
    if waiters.is_empty() { 0 } else { CONTENDED }
}

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
    waiters: SpinLock<WaitQueue<W, Contender>>,
    /// 1: an owner has died with it.
    orphaned: AtomicU32,
}

impl<W: Copy> RawMutex<W> {
    const_unless_loom! {
        /// A free lock.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(FREE), waiters: SpinLock::new(lock_rank::MUTEX_WAITERS, WaitQueue::new()), orphaned: AtomicU32::new(0) }
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

    /// Takes the lock, or links `node`, whose payload says for whom.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn lock_or_wait(&self, node: NonNull<Node<W>>) -> Attempt {
        self.waiters.with(|waiters| {
            // SAFETY: alive and not linked yet (caller), so nobody else touches it.
            let Contender { owner, rank } = unsafe { node.as_ref() }.payload;
            let mut word = self.word.load(Ordering::Relaxed);
            loop {
                if word & !CONTENDED == owner {
                    return Attempt::Twice;
                }
                let free = word & !CONTENDED == FREE;
                let new = if free { owner | word } else { word | CONTENDED };
                // Acquire: partners as in `try_lock`. (Needed only when it was free.)
                match self.word.compare_exchange(word, new, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) if free => return Attempt::Locked,
                    Ok(_) => {
                        // SAFETY: the caller's promise.
                        unsafe { waiters.push_ordered(node, |other| other.rank < rank) };
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
        self.waiters.with(|waiters| self.hand_over(waiters))
    }

    fn hand_over(&self, waiters: &mut WaitQueue<W, Contender>) -> Option<W> {
        match waiters.pop_claimed() {
            Some(mut claim) => {
                let mark = mark(waiters);
                // Relaxed: the token's publication hands the section's writes over. Nobody else changes the word: it is
                // not free, and `lock_or_wait` is shut out.
                self.word.store(claim.payload().owner | mark, Ordering::Relaxed);
                Some(claim.publish())
            }
            None => {
                // Release: partners are the acquires in `try_lock` and `lock_or_wait`.
                self.word.store(FREE, Ordering::Release);
                None
            }
        }
    }

    /// Frees the lock, and returns the first who waits, if any, who must be unparked and then tries again.
    #[must_use]
    pub fn free_slow(&self) -> Option<W> {
        self.waiters.with(|waiters| {
            let first = waiters.pop_claimed();
            let mark = mark(waiters);
            // Release: partners are the acquires in `try_lock` and `lock_or_wait`. Nobody else changes the word: it is not
            // free, and `lock_or_wait` is shut out.
            self.word.store(FREE | mark, Ordering::Release);
            first.map(Claim::publish)
        })
    }

    /// Takes the lock from an owner that has died with it, and marks it orphaned. False: that is not the owner.
    pub fn take_over(&self, dead: usize, owner: usize) -> bool {
        self.waiters.with(|waiters| {
            let mark = mark(waiters);
            let mut word = self.word.load(Ordering::Relaxed);
            while word & !CONTENDED == dead {
                // Relaxed: what the dead one wrote is seen by whoever has learnt of its death.
                match self.word.compare_exchange(word, owner | mark, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => {
                        self.orphaned.store(1, Ordering::Relaxed);
                        return true;
                    }
                    Err(now) => word = now,
                }
            }
            false
        })
    }

    /// For an owner that is dying: marks the lock orphaned, if it has it, and hands it on. The one returned must be unparked.
    #[must_use]
    pub fn orphan(&self, dying: usize) -> Option<W> {
        self.waiters.with(|waiters| {
            if self.word.load(Ordering::Relaxed) & !CONTENDED != dying {
                return None;
            }
            self.orphaned.store(1, Ordering::Relaxed);
            self.hand_over(waiters)
        })
    }

    /// Whether an owner has died with it. Exact for the holder.
    pub fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed) != 0
    }

    /// Takes that mark off.
    pub fn clear_orphaned(&self) {
        self.orphaned.store(0, Ordering::Relaxed);
    }

    /// Moves a waiter forward to where a higher rank has its place. False: it does not wait here any more.
    ///
    /// # Safety
    /// The node is alive, was linked by [`lock_or_wait`](Self::lock_or_wait) of this lock, and in no other queue since.
    pub unsafe fn raise(&self, node: NonNull<Node<W>>, rank: u16) -> bool {
        // SAFETY: the caller's promise; the payload of a linked node is touched under this lock only.
        self.waiters.with(|waiters| unsafe {
            if !waiters.is_linked(node) {
                return false;
            }
            if (*node.as_ptr()).payload.rank < rank {
                waiters.remove(node);
                (*node.as_ptr()).payload.rank = rank;
                waiters.push_ordered(node, |other| other.rank < rank);
            }
            true
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

    /// The rank of the first who waits.
    pub fn first_rank(&self) -> Option<u16> {
        self.waiters.with(|waiters| waiters.first_payload().map(|first| first.rank))
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
