//! Who waits for a condition: the queue of a condition variable.
//!
//! # Protocol
//! A [wait queue](crate::wait_queue) behind one short lock. A waiter links its node *before* it lets go of the mutex that
//! guards the condition; whoever changes the condition does so with the mutex held, and notifies after that: it finds the
//! node, or the waiter has seen the change. So no notification is lost, and none is kept: one that finds nobody is gone.
//!
//! Waking all means those who waited when it began: who comes back to wait meanwhile is not woken again.

use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::const_unless_loom;
use crate::wait_queue::{Claim, WaitNode, WaitQueue};
use core::ptr::NonNull;

/// A waiting thread; payload: its number in the order of coming, written by the queue.
pub type Node<W> = WaitNode<W, u64>;

struct Inner<W: Copy> {
    next: u64,
    waiters: WaitQueue<W, u64>,
}

/// A queue whose waiters are named by `W`. Interrupts are masked around each call.
pub struct Notify<W: Copy> {
    inner: SpinLock<Inner<W>>,
}

impl<W: Copy> Notify<W> {
    const_unless_loom! {
        /// Nobody waits.
        pub const fn new() -> Self {
            Self { inner: SpinLock::new(lock_rank::NOTIFY, Inner { next: 0, waiters: WaitQueue::new() }) }
        }
    }

    /// Links `node`: let go of the mutex, then park until its token has an outcome.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn wait(&self, node: NonNull<Node<W>>) {
        self.inner.with(|inner| {
            // SAFETY: the caller's promise; not linked yet, so nobody else touches the payload.
            unsafe {
                (*node.as_ptr()).payload = inner.next;
                inner.waiters.push_back(node);
            }
            inner.next += 1;
        });
    }

    /// Ends the wait of the one who has waited longest; it must be unparked.
    #[must_use]
    pub fn one(&self) -> Option<W> {
        self.inner.with(|inner| inner.waiters.pop_claimed().map(Claim::publish))
    }

    /// What [`one_before`](Self::one_before) takes to end the wait of all who wait now.
    pub fn mark(&self) -> u64 {
        self.inner.with(|inner| inner.next)
    }

    /// Ends the wait of one who came before the mark was made; it must be unparked.
    #[must_use]
    pub fn one_before(&self, mark: u64) -> Option<W> {
        self.inner.with(|inner| {
            while *inner.waiters.first_payload()? < mark {
                if let Some(claim) = inner.waiters.pop_first_claimed() {
                    return Some(claim.publish());
                }
            }
            None
        })
    }

    /// Unlinks a waiter that leaves: its token has another outcome than this node's.
    ///
    /// # Safety
    /// The node was linked by [`wait`](Self::wait) of this queue, and in no other since.
    pub unsafe fn forget(&self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise.
        self.inner.with(|inner| unsafe { inner.waiters.remove(node) });
    }
}

impl<W: Copy> Default for Notify<W> {
    fn default() -> Self {
        Self::new()
    }
}
