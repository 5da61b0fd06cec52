//! Doing something once: who does it, who waits for it, who sees that it is done.
//!
//! | word | meaning |
//! | --- | --- |
//! | `NEW` | nobody has begun |
//! | *owner* | that one does it; others wait in the queue |
//! | `DONE` | done, for ever |
//!
//! The word changes under the queue's short lock only; `is_done` looks at it without.
//!
//! An owner is an even number that names a thread. Whoever gives up hands its turn to the first who waits, without a moment in
//! which it is nobody's; and so does a thread that dies in the middle, or whoever finds it dead, which is marked
//! ([`RawOnce::orphan`]). So whoever is woken has its turn, or finds it done.

use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::{AtomicUsize, Ordering, const_unless_loom};
use crate::wait_queue::{Claim, WaitNode, WaitQueue};
use core::ptr::NonNull;

const NEW: usize = 0;
const DONE: usize = 1;

/// The number for a runner that is no thread.
pub const NO_THREAD: usize = 2;

/// A waiting thread; payload: its owner number.
pub type Node<W> = WaitNode<W, usize>;

/// What [`RawOnce::begin`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Begin {
    /// The caller does it, and then calls `finish` or `give_up`.
    Run,
    /// Another does it, and the node is linked: park until its token has an outcome. If it is not done then, the caller does it.
    Waiting,
    /// It is done.
    Done,
    /// The caller is doing it already.
    Twice,
}

struct Inner<W: Copy> {
    waiters: WaitQueue<W, usize>,
    /// Somebody has died in the middle.
    orphaned: bool,
}

/// See the module's documentation. Interrupts are masked around all but `is_done`.
pub struct RawOnce<W: Copy> {
    word: AtomicUsize,
    inner: SpinLock<Inner<W>>,
}

impl<W: Copy> RawOnce<W> {
    const_unless_loom! {
        /// Not begun.
        pub const fn new() -> Self {
            Self {
                word: AtomicUsize::new(NEW),
                inner: SpinLock::new(lock_rank::ONCE_WAITERS, Inner { waiters: WaitQueue::new(), orphaned: false }),
            }
        }
    }

    /// Whether it is done; then all that was done is seen.
    #[inline(always)]
    pub fn is_done(&self) -> bool {
        // Acquire: partner is the release in `finish`.
        self.word.load(Ordering::Acquire) == DONE
    }

    /// Begins, for `owner`, an even number and not 0, if nobody has.
    pub fn try_begin(&self, owner: usize) -> bool {
        self.inner.with(|_| self.take(owner))
    }

    /// The word stands for `owner` if it was new. Under the lock.
    fn take(&self, owner: usize) -> bool {
        let new = self.word.load(Ordering::Relaxed) == NEW;
        if new {
            self.word.store(owner, Ordering::Relaxed);
        }
        new
    }

    /// Begins, or finds out who is faster. The node's payload says for whom.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn begin(&self, node: NonNull<Node<W>>) -> Begin {
        self.inner.with(|inner| {
            // SAFETY: alive and not linked yet (caller), so nobody else touches it.
            let owner = unsafe { node.as_ref() }.payload;
            if self.take(owner) {
                return Begin::Run;
            }
            match self.word.load(Ordering::Relaxed) {
                DONE => Begin::Done,
                runner if runner == owner && owner != NO_THREAD => Begin::Twice,
                _ => {
                    // SAFETY: the caller's promise.
                    unsafe { inner.waiters.push_back(node) };
                    Begin::Waiting
                }
            }
        })
    }

    /// It is done: all who wait are to be fetched from [`next`](Self::next).
    pub fn finish(&self) {
        // Release: partner is the acquire in `is_done`.
        self.inner.with(|_| self.word.store(DONE, Ordering::Release));
    }

    /// The next waiter, who must be unparked: until there is none, after `finish`. (Nobody is linked from then on.)
    pub fn next(&self) -> Option<W> {
        self.inner.with(|inner| inner.waiters.pop_claimed().map(Claim::publish))
    }

    /// It was not done after all: the first of those who wait, who is returned and must be unparked, does it, or the next who comes.
    #[must_use]
    pub fn give_up(&self) -> Option<W> {
        self.inner.with(|inner| self.hand_over(inner))
    }

    fn hand_over(&self, inner: &mut Inner<W>) -> Option<W> {
        let first = inner.waiters.pop_claimed();
        let next = first.map(|mut claim| (*claim.payload(), claim));
        self.word.store(next.as_ref().map_or(NEW, |(owner, _)| *owner), Ordering::Relaxed);
        next.map(|(_, claim)| claim.publish())
    }

    /// For one that is dying, or dead: if it is in the middle of it, marks that, and hands its turn on as `give_up` does.
    #[must_use]
    pub fn orphan(&self, dying: usize) -> Option<W> {
        self.inner.with(|inner| {
            if self.runner() != Some(dying) {
                return None;
            }
            inner.orphaned = true;
            self.hand_over(inner)
        })
    }

    /// Whether somebody has died in the middle of it.
    pub fn is_orphaned(&self) -> bool {
        self.inner.with(|inner| inner.orphaned)
    }

    /// Who is at it: a glance.
    pub fn runner(&self) -> Option<usize> {
        match self.word.load(Ordering::Relaxed) {
            NEW | DONE | NO_THREAD => None,
            owner => Some(owner),
        }
    }

    /// Unlinks a waiter that leaves: its token has another outcome than this node's.
    ///
    /// # Safety
    /// The node was linked by [`begin`](Self::begin) of this one, and in no other queue since.
    pub unsafe fn forget(&self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise.
        self.inner.with(|inner| unsafe { inner.waiters.remove(node) });
    }
}

impl<W: Copy> Default for RawOnce<W> {
    fn default() -> Self {
        Self::new()
    }
}
