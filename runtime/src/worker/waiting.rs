//! One thread's wait for a lock: the node it hangs in a queue, and the park until its token is decided.
//!
//! A waker may decide the token and unpark only later, when the waiter, up for another reason, has long seen the outcome
//! and gone, perhaps for ever. So a queued node carries a reference to its thread, which the waker gives back with the
//! wake-up.

use super::{block, block_until, wake};
use crate::Instant;
use crate::thread::control::{self, ThreadPtr, WaitRef};
use crate::thread::{PreemptGuard, current_ptr, is_doomed};
use core::ptr::NonNull;
use isochron_core::wait_queue::{Granted, WaitNode, WaitToken};
use isochron_kernel::irq;

/// The tag of the only node of a wait.
const WOKEN: u32 = 0;
/// The tag of a time-out.
const TIMED_OUT: u32 = 1;

/// A wait that is about to begin or under way. Exactly one of [`Waiting::block`] and [`Waiting::not_needed`] ends it.
///
/// As long as it lives, the thread is known to have something in queues: its node, or what belongs to it and is taken off some
/// list after the wait. So its waiter must keep it until nothing of it is linked any more, and no longer.
pub(crate) struct Waiting {
    token: WaitToken,
    thread: ThreadPtr,
}

/// A place in a queue, on the waiting thread's stack.
pub(crate) struct Node<P>(WaitNode<ThreadPtr, P>);

impl Waiting {
    /// The running thread will wait.
    #[track_caller]
    pub fn new() -> Self {
        let thread = current_ptr();
        // SAFETY: the running thread's block is alive.
        unsafe { thread.as_ref() }.is_queued.set(true);
        // SAFETY: as above. The reference is the waker's, or taken back below.
        core::mem::forget(unsafe { WaitRef::count(thread) });
        Self { token: WaitToken::new(), thread }
    }

    /// The node to put into a queue.
    pub fn node<P>(&self, payload: P) -> Node<P> {
        Node(WaitNode::new(self.thread, &self.token, WOKEN, payload))
    }

    /// The node was not queued, or was taken out again by the waiter.
    pub fn not_needed(&self) {
        // SAFETY: counted in `new`, and no waker has it.
        drop(unsafe { WaitRef::from_counted(self.thread) });
    }

    /// Parks until a waker has decided the token: true. Or until `deadline`, or because the thread is to die: false, and the
    /// caller takes its node out of the queue, and then calls [`die_if_doomed`](crate::thread::die_if_doomed).
    #[track_caller]
    #[inline(always)]
    pub fn block(&self, deadline: Option<Instant>) -> bool {
        match deadline {
            None => {
                // Not looked at before the first block: mostly nobody was that fast, and if so, the wake-up is there too.
                loop {
                    block(self.thread);
                    if self.token.outcome().is_some() {
                        return true;
                    }
                    if is_doomed(self.thread) && self.give_up() {
                        return false;
                    }
                }
            }
            Some(deadline) => self.block_until(deadline),
        }
    }

    /// Ends the wait without a waker; false if one is about to end it.
    #[cold]
    pub fn give_up(&self) -> bool {
        let ours = self.token.fire(TIMED_OUT);
        if ours {
            self.not_needed();
        }
        ours
    }

    #[track_caller]
    #[inline(never)]
    fn block_until(&self, deadline: Instant) -> bool {
        if block_until(deadline, || self.token.outcome().is_some()) {
            return true;
        }
        if self.give_up() {
            return false;
        }
        // A waker was faster and is about to publish.
        while self.token.outcome().is_none() {
            block(self.thread);
        }
        true
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // SAFETY: the running thread's block is alive.
        unsafe { self.thread.as_ref() }.is_queued.set(false);
    }
}

impl<P> Node<P> {
    /// Its address, for the queue; from then on it must not move.
    pub fn pointer(&mut self) -> NonNull<WaitNode<ThreadPtr, P>> {
        NonNull::from(&mut self.0)
    }
}

/// Held from before a queue hands out a waiter until that is woken: who is killed in between would leave it asleep.
#[inline]
pub(crate) fn undisturbed() -> Option<PreemptGuard> {
    control::current_ptr().map(|_| PreemptGuard::new())
}

/// The waker's last step for a waiter that a queue handed out.
pub(crate) fn end(waiter: ThreadPtr) {
    wake(waiter);
    // SAFETY: counted in `Waiting::new` for whoever takes the node out of its queue.
    drop(unsafe { WaitRef::from_counted(waiter) });
}

/// The same for a number of them, with interrupts masked for one step at a time: `next` is asked until there is none.
pub(crate) fn end_all(first: Option<ThreadPtr>, mut next: impl FnMut() -> Option<ThreadPtr>) {
    let mut woken = first;
    while let Some(waiter) = woken {
        end(waiter);
        woken = irq::without(&mut next);
    }
}

/// The same for all who were granted something at once.
#[inline]
pub(crate) fn end_granted<P>(mut granted: Granted<ThreadPtr, P>) {
    while let Some(waiter) = granted.publish_next() {
        end(waiter);
    }
}

/// The same, for an operation that may have ended somebody's wait.
#[inline]
pub(crate) fn end_any(waiter: Option<ThreadPtr>) {
    if let Some(waiter) = waiter {
        end(waiter);
    }
}
