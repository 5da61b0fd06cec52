//! A task's wait at a channel: as `channel_wait.rs`, but a waker is called, and no thread woken.
//!
//! Channels name those who wait by their threads. A task has none, so all of them name one thread that has ended long ago: its
//! state says that there is nothing to be woken, off the path of those that wait as threads, and only then it is asked whether it
//! is that one. What is to be done then lies around the wait's token.

use crate::sync::OnceLock;
use crate::thread::control::{ThreadPtr, ThreadRef};
use crate::thread::{Traits, packet};
use crate::worker::Worker;
use alloc::boxed::Box;
use core::ptr::NonNull;
use core::task::{Context, Waker};
use isochron_core::layers::Rank;
use isochron_core::wait_queue::{WaitNode, WaitToken, Wake};
use isochron_kernel::irq::Masked;

/// The tag of a wait that its task has given up.
const GIVEN_UP: u32 = 1;

static STAND_IN: OnceLock<ThreadRef> = OnceLock::new();

/// The thread that stands in for tasks, if one has ever waited.
pub(super) fn stand_in() -> Option<ThreadPtr> {
    STAND_IN.get().map(ThreadRef::as_ptr)
}

/// # Panics
/// If there is no memory for it, the first time.
fn make_stand_in() -> ThreadPtr {
    if let Some(thread) = stand_in() {
        return thread;
    }
    let traits = Traits { pinned: None, rank: Rank::NORMAL, extras: None, stack_size: 0 };
    let thread = packet::allocate(|| (), traits).expect("no memory for what stands in for tasks");
    // SAFETY: it was just made, with two references, and is never run.
    let thread = unsafe { ThreadRef::from_counted(thread) };
    let _killed = thread.state.exit();
    // If another thread was faster, its one is taken; this one stays, unused.
    let _ours = STAND_IN.set(thread);
    STAND_IN.get().expect("one of them was set").as_ptr()
}

#[repr(C)]
struct Common {
    /// First: whoever ends the wait knows where it is.
    token: WaitToken,
    waker: Waker,
}

#[repr(C)]
struct Parts<P> {
    common: Common,
    node: WaitNode<ThreadPtr, P>,
}

/// A wait in a queue: in the heap, and not in the future: a thread that dies leaves its stack to others, and a node there would
/// stay in its queue.
pub(crate) struct TaskWait<P> {
    parts: NonNull<Parts<P>>,
}

// SAFETY: the wait belongs to its future; what others touch of it is made for that.
unsafe impl<P: Send> Send for TaskWait<P> {}
// SAFETY: a shared reference does nothing but ask.
unsafe impl<P: Send> Sync for TaskWait<P> {}

impl<P> TaskWait<P> {
    /// A wait that is about to begin.
    pub fn new(waker: Waker, payload: P) -> Self {
        Self::with_tag(waker, 0, payload)
    }

    /// The same, whose node has a tag.
    pub fn with_tag(waker: Waker, tag: u32, payload: P) -> Self {
        let stand_in = make_stand_in();
        let parts = Box::into_raw(Box::new(Parts {
            common: Common { token: WaitToken::new(), waker },
            node: WaitNode::with_token(stand_in, NonNull::dangling(), tag, payload),
        }));
        // SAFETY: a box is not null. The node is in no queue yet, so it is made anew, with the address of its token, and from that
        // the whole can be reached.
        unsafe {
            let parts = NonNull::new_unchecked(parts);
            let payload = (&raw mut (*parts.as_ptr()).node.payload).read();
            (&raw mut (*parts.as_ptr()).node).write(WaitNode::with_token(stand_in, parts.cast(), tag, payload));
            Self { parts }
        }
    }

    /// The node, for a queue. From then on the wait must not be dropped before it is over, or given up and forgotten there.
    pub fn node(&self) -> NonNull<WaitNode<ThreadPtr, P>> {
        // SAFETY: the field's address, in a box that is alive.
        unsafe { NonNull::new_unchecked(&raw mut (*self.parts.as_ptr()).node) }
    }

    fn common(&self) -> &Common {
        // SAFETY: alive; the token is made for sharing, and nobody writes the waker.
        unsafe { &(*self.parts.as_ptr()).common }
    }

    /// Whether whoever ends the wait wakes whom `context` is of.
    pub fn will_wake(&self, context: &Context<'_>) -> bool {
        self.common().waker.will_wake(context.waker())
    }

    /// Whether somebody has ended it, or is about to: then it is over when this returns.
    pub fn is_over(&self) -> bool {
        let token = &self.common().token;
        if !token.is_claimed() {
            return false;
        }
        // The waker has its interrupts masked until it has published; but its CPU may have lost its CPU.
        let mut spins = 0_u32;
        while token.outcome().is_none() {
            spins += 1;
            if spins.is_multiple_of(128) {
                Worker::yield_current();
            }
            isochron_kernel::arch::cpu::spin_hint();
        }
        true
    }

    /// Gives it up: the caller takes the node out of its queue. False: somebody has ended it, and it is over.
    pub fn give_up(&self) -> bool {
        self.common().token.fire(GIVEN_UP) || !self.is_over()
    }

    /// What is left in the node.
    pub fn into_payload(self) -> P {
        let parts = self.parts;
        core::mem::forget(self);
        // SAFETY: from `Box::into_raw` in `new`; the wait is over, or has never begun, so nobody else has it.
        unsafe { Box::from_raw(parts.as_ptr()) }.node.payload
    }
}

impl<P> Drop for TaskWait<P> {
    fn drop(&mut self) {
        // SAFETY: as in `into_payload`.
        drop(unsafe { Box::from_raw(self.parts.as_ptr()) });
    }
}

/// Ends a wait of a task's, and unmasks interrupts.
///
/// # Safety
/// The wait is one of a [`TaskWait`].
pub(super) unsafe fn end(wake: Wake<ThreadPtr>, irq: impl Masked) {
    // SAFETY: the token lies in a `Common`, whose address it has; alive until the publication.
    let token = wake.token().expect("a task is never handed over");
    // SAFETY: as above.
    let waker = unsafe { token.cast::<Common>().as_ref() }.waker.clone();
    wake.publish();
    drop(irq);
    waker.wake();
}
