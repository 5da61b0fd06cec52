//! Counting semaphore, first come, first served, for any number of units at once.
//!
//! # Protocol
//! Units and a [wait queue](crate::wait_queue) behind one short lock. Who asks for units gets them at once if there are
//! enough and nobody waits; else its node is linked, with the number of units as payload. Units that come back are handed
//! to the first in the queue, and to the next, as far as they go; the first that must wait on holds up all behind it. So
//! nobody is passed over: a writer that asks for all units of a reader-writer lock is not starved by readers, and readers
//! that stand in a row enter together.
//!
//! Whoever is woken has its units. Who leaves on a time-out may have been the one that held up the others: they are
//! looked at again.
//!
//! # Rejected
//! A lock-free count: one read-modify-write in place of two for a free semaphore, but a queue that is first come, first
//! served has to be consulted before the count is, and then the count is not alone any more.

use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::const_unless_loom;
use crate::wait_queue::{WaitNode, WaitQueue};
use core::ptr::NonNull;

/// A waiting thread; payload: how many units it asks for.
pub type Node<W> = WaitNode<W, u32>;

/// More units than [`Semaphore::MAX`] would be free: some were released that had not been acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

struct Inner<W: Copy> {
    free: u32,
    waiters: WaitQueue<W, u32>,
}

impl<W: Copy> Inner<W> {
    #[inline(always)]
    fn take(&mut self, units: u32) -> bool {
        let enough = self.waiters.is_empty() && self.free >= units;
        if enough {
            self.free -= units;
        }
        enough
    }

    /// Gives the first in the queue what it waits for, if that is there.
    fn grant(&mut self) -> Option<W> {
        loop {
            let units = *self.waiters.first_payload()?;
            if units > self.free {
                return None;
            }
            if let Some(claim) = self.waiters.pop_first_claimed() {
                self.free -= units;
                return Some(claim.publish());
            }
        }
    }
}

/// A semaphore whose waiters are named by `W`. Interrupts are masked around each call.
pub struct Semaphore<W: Copy> {
    inner: SpinLock<Inner<W>>,
}

impl<W: Copy> Semaphore<W> {
    /// The most units that can be free.
    pub const MAX: u32 = u32::MAX >> 1;

    const_unless_loom! {
        /// A semaphore with `free` units, at most [`MAX`](Self::MAX).
        pub const fn new(free: u32) -> Self {
            assert!(free <= Self::MAX, "more units than a semaphore can count");
            Self { inner: SpinLock::new(lock_rank::SEMAPHORE, Inner { free, waiters: WaitQueue::new() }) }
        }
    }

    /// Takes `units`, if they are free and nobody waits.
    #[inline]
    pub fn try_acquire(&self, units: u32) -> bool {
        self.inner.with(|inner| inner.take(units))
    }

    /// Takes as many units as the node's payload says (true), or links it (false): then park until its token has an
    /// outcome, which means that the units are taken.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn acquire_or_wait(&self, node: NonNull<Node<W>>) -> bool {
        self.inner.with(|inner| {
            // SAFETY: alive and not linked yet (caller), so nobody else touches it.
            let taken = inner.take(unsafe { node.as_ref() }.payload);
            if !taken {
                // SAFETY: the caller's promise.
                unsafe { inner.waiters.push_back(node) };
            }
            taken
        })
    }

    /// Gives back `units`. The waiter returned, if any, has its own now and must be unparked; then ask [`next`](Self::next).
    ///
    /// # Errors
    /// [`TooMany`]; then nothing is changed.
    pub fn release(&self, units: u32) -> Result<Option<W>, TooMany> {
        self.inner.with(|inner| {
            let free = inner.free.checked_add(units).filter(|&free| free <= Self::MAX).ok_or(TooMany)?;
            inner.free = free;
            Ok(inner.grant())
        })
    }

    /// The next waiter that has its units now and must be unparked: until there is none, after one was returned.
    pub fn next(&self) -> Option<W> {
        self.inner.with(Inner::grant)
    }

    /// Unlinks a waiter that leaves: its token has another outcome than this node's. Those behind it may have been held up
    /// by it alone: who is returned must be unparked, and then ask [`next`](Self::next).
    ///
    /// # Safety
    /// The node was linked by [`acquire_or_wait`](Self::acquire_or_wait) of this semaphore, and in no other queue since.
    #[must_use]
    pub unsafe fn forget(&self, node: NonNull<Node<W>>) -> Option<W> {
        self.inner.with(|inner| {
            // SAFETY: the caller's promise.
            unsafe { inner.waiters.remove(node) };
            inner.grant()
        })
    }

    /// How many units are free: a glance.
    pub fn free(&self) -> u32 {
        self.inner.with(|inner| inner.free)
    }
}
