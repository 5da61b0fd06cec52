//! A gate that opens when a count comes down to zero: barrier, wait group.
//!
//! # Protocol
//! A count, a generation and a [wait queue](crate::wait_queue) behind one short lock. Who waits links a node that says in
//! which generation it came. Whoever brings the count to zero begins the next generation, and then wakes those of the
//! former, one by one and outside the lock: they are the first in the queue, and those who come meanwhile, for the next
//! opening, are told from them by their generation.
//!
//! Who leaves on a time-out has come too late for that if its generation is over: then the gate has opened for it.

use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::const_unless_loom;
use crate::wait_queue::{WaitNode, WaitQueue};
use core::ptr::NonNull;

/// A waiting thread; payload: the generation it waits for the end of, written by the gate.
pub type Node<W> = WaitNode<W, u32>;

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Arrival {
    /// It was the last: the gate has opened.
    Last,
    /// The node is linked: park until its token has an outcome.
    Waiting,
}

/// The count is zero, or would be too great for its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCount;

struct Inner<W: Copy> {
    count: u32,
    generation: u32,
    waiters: WaitQueue<W, u32>,
}

impl<W: Copy> Inner<W> {
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    unsafe fn link(&mut self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise; not linked yet, so nobody else touches the payload.
        unsafe {
            (*node.as_ptr()).payload = self.generation;
            self.waiters.push_back(node);
        }
    }

    fn open(&mut self, next: u32) {
        self.count = next;
        self.generation = self.generation.wrapping_add(1);
    }

    /// The next waiter of a generation that is over.
    fn pop(&mut self) -> Option<W> {
        while *self.waiters.first_payload()? != self.generation {
            if let Some(claim) = self.waiters.pop_first_claimed() {
                return Some(claim.publish());
            }
        }
        None
    }
}

/// A gate whose waiters are named by `W`. Interrupts are masked around each call.
pub struct Gate<W: Copy> {
    inner: SpinLock<Inner<W>>,
}

impl<W: Copy> Gate<W> {
    const_unless_loom! {
        /// A gate that `count` arrivals open.
        pub const fn new(count: u32) -> Self {
            Self { inner: SpinLock::new(lock_rank::GATE, Inner { count, generation: 0, waiters: WaitQueue::new() }) }
        }
    }

    /// One arrival at a barrier of `of`: it waits, unless it is the last; then the count begins anew, and the others are to
    /// be fetched from [`next`](Self::next).
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn arrive(&self, node: NonNull<Node<W>>, of: u32) -> Arrival {
        self.inner.with(|inner| {
            if inner.count <= 1 {
                inner.open(of);
                return Arrival::Last;
            }
            inner.count -= 1;
            // SAFETY: the caller's promise.
            unsafe { inner.link(node) };
            Arrival::Waiting
        })
    }

    /// Takes back an arrival whose token has another outcome than its node's. False: the gate has opened meanwhile.
    ///
    /// # Safety
    /// The node was linked by [`arrive`](Self::arrive) of this gate, and in no other queue since.
    #[must_use]
    pub unsafe fn withdraw(&self, node: NonNull<Node<W>>) -> bool {
        self.inner.with(|inner| {
            // SAFETY: alive (caller); its generation is written under this lock only.
            let in_time = unsafe { node.as_ref() }.payload == inner.generation;
            // SAFETY: the caller's promise.
            unsafe { inner.waiters.remove(node) };
            inner.count += u32::from(in_time);
            in_time
        })
    }

    /// Adds `more` to the count of a wait group.
    ///
    /// # Errors
    /// [`BadCount`] if it would overflow.
    pub fn add(&self, more: u32) -> Result<(), BadCount> {
        self.inner.with(|inner| {
            inner.count = inner.count.checked_add(more).ok_or(BadCount)?;
            Ok(())
        })
    }

    /// Brings the count of a wait group down by one. True: it is zero now, and all who wait are to be fetched from
    /// [`next`](Self::next).
    ///
    /// # Errors
    /// [`BadCount`] if it was zero.
    pub fn done(&self) -> Result<bool, BadCount> {
        self.inner.with(|inner| {
            let left = inner.count.checked_sub(1).ok_or(BadCount)?;
            inner.count = left;
            if left == 0 {
                inner.open(0);
            }
            Ok(left == 0)
        })
    }

    /// The next waiter of a generation that is over, who must be unparked: until there is none, after the gate has opened.
    pub fn next(&self) -> Option<W> {
        self.inner.with(Inner::pop)
    }

    /// Waits for a wait group: true if its count is zero, else the node is linked.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`].
    pub unsafe fn pass_or_wait(&self, node: NonNull<Node<W>>) -> bool {
        self.inner.with(|inner| {
            let open = inner.count == 0;
            if !open {
                // SAFETY: the caller's promise.
                unsafe { inner.link(node) };
            }
            open
        })
    }

    /// Unlinks a waiter of a wait group that leaves: its token has another outcome than this node's. False: the gate has
    /// opened meanwhile.
    ///
    /// # Safety
    /// The node was linked by [`pass_or_wait`](Self::pass_or_wait) of this gate, and in no other queue since.
    #[must_use]
    pub unsafe fn forget(&self, node: NonNull<Node<W>>) -> bool {
        self.inner.with(|inner| {
            // SAFETY: as in `withdraw`.
            let in_time = unsafe { node.as_ref() }.payload == inner.generation;
            // SAFETY: the caller's promise.
            unsafe { inner.waiters.remove(node) };
            in_time
        })
    }

    /// What is left of the count: a glance.
    pub fn count(&self) -> u32 {
        self.inner.with(|inner| inner.count)
    }
}
