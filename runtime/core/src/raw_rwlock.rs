//! The lock of a reader-writer lock: many readers or one writer, first come, first served.
//!
//! # Protocol
//! A count of those who hold it, the numbers of the first of them, and a [wait queue](crate::wait_queue), all behind one short
//! lock. Who comes gets the lock at once if those who hold it allow that and nobody waits; else its node is linked, with what it
//! wants as payload. Whoever gives the lock back hands it to the first in the queue, and to the next, as far as they go
//! together; the first that must wait on holds up all behind it. So writers are not starved, and readers that stand in a row
//! enter together. Whoever is woken has the lock.
//!
//! All that is granted at once is taken out of the queue in the same section of the short lock, and woken behind it: between two
//! of them nobody comes.
//!
//! A holder that dies is struck out of the numbers, by itself or by whoever finds it there ([`RawRwLock::orphan`]). If it wrote,
//! the lock is marked: what it guards may be half changed.
//!
//! # Rejected
//! * *Numbers of all readers*: a list that grows takes memory where there may be none. [`KNOWN`] at a time are known; a
//!   reader beyond them that dies is not found, and writers wait for it.
//! * *A lock-free count of readers*: the numbers would have to change together with it.

use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::const_unless_loom;
use crate::wait_queue::{Granted, WaitNode, WaitQueue};
use core::ptr::NonNull;

/// Holders whose numbers are known.
pub const KNOWN: usize = 4;

/// No holder's number.
const NOBODY: usize = 0;

/// In [`Inner::holders`]: one, and it writes.
const WRITER: u32 = u32::MAX;

/// Who wants the lock, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Its number; 0 for one whose death need not be found out.
    pub owner: usize,
    /// To write, alone.
    pub write: bool,
}

/// A waiting thread.
pub type Node<W> = WaitNode<W, Want>;

/// What became of an attempt to lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Attempt {
    /// The caller has the lock.
    Locked,
    /// The node is linked: park until its token has an outcome, which means that the lock is held.
    Waiting,
}

struct Inner<W: Copy> {
    /// Readers, or [`WRITER`].
    holders: u32,
    /// Somebody has died while it wrote.
    orphaned: bool,
    /// The numbers of some of them, anywhere.
    known: [usize; KNOWN],
    waiters: WaitQueue<W, Want>,
}

impl<W: Copy> Inner<W> {
    #[inline(always)]
    fn may_enter(&self, want: Want) -> bool {
        if want.write { self.holders == 0 } else { self.holders < WRITER - 1 }
    }

    #[inline(always)]
    fn enter(&mut self, want: Want) {
        self.holders = if want.write { WRITER } else { self.holders + 1 };
        if let Some(place) = self.known.iter_mut().find(|place| **place == NOBODY) {
            *place = want.owner;
        }
    }

    #[inline(always)]
    fn try_enter(&mut self, want: Want) -> bool {
        let may = self.waiters.is_empty() && self.may_enter(want);
        if may {
            self.enter(want);
        }
        may
    }

    #[inline(always)]
    fn leave(&mut self, owner: usize) {
        if let Some(place) = self.known.iter_mut().find(|place| **place == owner) {
            *place = NOBODY;
        }
        self.holders = if self.holders == WRITER { 0 } else { self.holders - 1 };
    }

    /// Lets in who may.
    fn grant(&mut self) -> Granted<W, Want> {
        let mut granted = Granted::new();
        while let Some(&want) = self.waiters.first_payload()
            && self.may_enter(want)
        {
            if let Some(claim) = self.waiters.pop_first_claimed() {
                self.enter(want);
                granted.push(claim);
            }
        }
        granted
    }
}

/// A lock that names its waiters by `W`. Interrupts are masked around each call.
pub struct RawRwLock<W: Copy> {
    inner: SpinLock<Inner<W>>,
}

impl<W: Copy> RawRwLock<W> {
    const_unless_loom! {
        /// A free lock.
        pub const fn new() -> Self {
            Self {
                inner: SpinLock::new(
                    lock_rank::RWLOCK,
                    Inner { holders: 0, orphaned: false, known: [NOBODY; KNOWN], waiters: WaitQueue::new() },
                ),
            }
        }
    }

    /// Takes the lock, if it is to be had and nobody waits.
    #[inline(always)]
    pub fn try_lock(&self, want: Want) -> bool {
        self.inner.with(|inner| inner.try_enter(want))
    }

    /// Takes the lock, or links `node`, whose payload says for whom.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn lock_or_wait(&self, node: NonNull<Node<W>>) -> Attempt {
        self.inner.with(|inner| {
            // SAFETY: alive and not linked yet (caller), so nobody else touches it.
            if inner.try_enter(unsafe { node.as_ref() }.payload) {
                return Attempt::Locked;
            }
            // SAFETY: the caller's promise.
            unsafe { inner.waiters.push_back(node) };
            Attempt::Waiting
        })
    }

    /// Gives the lock back for `owner`, who has it, if nobody waits; otherwise [`unlock`](Self::unlock) must follow.
    #[inline(always)]
    #[must_use]
    pub fn try_unlock(&self, owner: usize) -> bool {
        self.inner.with(|inner| {
            let alone = inner.waiters.is_empty();
            if alone {
                inner.leave(owner);
            }
            alone
        })
    }

    /// Gives the lock back for `owner`, who has it. Those returned have it now.
    pub fn unlock(&self, owner: usize) -> Granted<W, Want> {
        self.inner.with(|inner| {
            inner.leave(owner);
            inner.grant()
        })
    }

    /// The writer reads from now on. Those returned do, too.
    pub fn downgrade(&self) -> Granted<W, Want> {
        self.inner.with(|inner| {
            inner.holders = 1;
            inner.grant()
        })
    }

    /// Unlinks a waiter that leaves: its token has another outcome than this node's. Those behind it may have been held up by it
    /// alone: those returned have the lock now.
    ///
    /// # Safety
    /// The node was linked by [`lock_or_wait`](Self::lock_or_wait) of this lock, and in no other queue since.
    pub unsafe fn forget(&self, node: NonNull<Node<W>>) -> Granted<W, Want> {
        self.inner.with(|inner| {
            // SAFETY: the caller's promise.
            unsafe { inner.waiters.remove(node) };
            inner.grant()
        })
    }

    /// For a holder that is dying, or dead: gives back all it has of the lock, and marks that if it wrote. Those returned have the lock
    /// now.
    pub fn orphan(&self, dying: usize) -> Granted<W, Want> {
        self.inner.with(|inner| {
            while dying != NOBODY && inner.known.contains(&dying) {
                inner.orphaned |= inner.holders == WRITER;
                inner.leave(dying);
            }
            inner.grant()
        })
    }

    /// Whether a thread has died while it wrote. Exact for who has the lock.
    pub fn is_orphaned(&self) -> bool {
        self.inner.with(|inner| inner.orphaned)
    }

    /// Takes that mark off.
    pub fn clear_orphaned(&self) {
        self.inner.with(|inner| inner.orphaned = false);
    }

    /// Whether `owner` is known to have it.
    pub fn is_held_by(&self, owner: usize) -> bool {
        self.inner.with(|inner| owner != NOBODY && inner.known.contains(&owner))
    }

    /// Whether `want` would wait for itself: it has the lock, and one of the two is to write.
    pub fn is_twice(&self, want: Want) -> bool {
        self.is_held_by(want.owner) && (want.write || self.inner.with(|inner| inner.holders == WRITER))
    }

    /// Who is known to have it now; 0 for nobody.
    pub fn known_holders(&self) -> [usize; KNOWN] {
        self.inner.with(|inner| inner.known)
    }
}

impl<W: Copy> Default for RawRwLock<W> {
    fn default() -> Self {
        Self::new()
    }
}
