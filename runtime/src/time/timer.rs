//! A timer that calls a function.

use crate::Instant;
use crate::worker::{Action, Home, Next, TimerNode, set_timer};
use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::{NonNull, addr_of_mut};
use isochron_kernel::memory::account;

/// What a [`Timer`] does after its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing, until it is set again.
    Stop,
    /// It calls again then; if that is past, as soon as this interrupt is over. Who always asks for less time than an
    /// interrupt takes leaves the CPU nothing else to do.
    At(Instant),
}

/// Calls a function when its time comes, in interrupt context on the CPU that set it.
///
/// The function must be short and must not block; it may wake threads ([`Thread::unpark`](crate::thread::Thread::unpark)).
/// A panic in it ends the machine. Dropping the timer cancels it, and waits for the end of a call that is under way.
///
/// ```ignore
/// let watcher = thread::current();
/// let mut alarm = Timer::new(move |_| { watcher.unpark(); Then::Stop });
/// alarm.set(Instant::now() + Duration::from_millis(5));
/// ```
pub struct Timer {
    inner: NonNull<Inner<dyn FnMut(Instant) -> Then + Send>>,
    home: Option<Home>,
}

#[repr(C)]
struct Inner<F: ?Sized> {
    node: TimerNode,
    call: UnsafeCell<F>,
}

// SAFETY: the function is `Send`, and is called on one CPU at a time; the node may be set and cancelled from any.
unsafe impl Send for Timer {}
// SAFETY: a shared reference does nothing but ask.
unsafe impl Sync for Timer {}

impl Timer {
    /// A timer that is not set.
    #[must_use]
    pub fn new<F>(call: F) -> Self
    where
        F: FnMut(Instant) -> Then + Send + 'static,
    {
        let node = TimerNode::new(Action::Call(fire::<F>));
        let inner: *mut Inner<dyn FnMut(Instant) -> Then + Send> =
            Box::into_raw(Box::new(Inner { node, call: UnsafeCell::new(call) }));
        // SAFETY: a box is not null.
        Self { inner: unsafe { NonNull::new_unchecked(inner) }, home: None }
    }

    /// Sets it to `deadline`, in place of what it was set to. One that is past is due at once: the call comes as soon as this
    /// CPU takes interrupts, perhaps before this returns.
    pub fn set(&mut self, deadline: Instant) {
        self.cancel();
        // SAFETY: idle, for it has just been cancelled; in a box that lives until `drop`, which cancels first.
        self.home = Some(unsafe { set_timer(self.node(), deadline.ticks()) });
    }

    /// Takes it back. True if it was set, and its function is not called for that any more; false if it has been, or is
    /// called just now: then this returns after the call.
    pub fn cancel(&mut self) -> bool {
        match self.home.take() {
            // SAFETY: set there last, by this owner.
            Some(home) => unsafe { home.cancel(self.node()) },
            None => false,
        }
    }

    fn node(&self) -> NonNull<TimerNode> {
        // SAFETY: alive until `drop`; the field's address, without a reference to it.
        unsafe { NonNull::new_unchecked(addr_of_mut!((*self.inner.as_ptr()).node)) }
    }
}

/// # Safety
/// The node is that of an `Inner<F>`, which is alive, and its call is not under way.
unsafe fn fire<F: FnMut(Instant) -> Then>(node: NonNull<TimerNode>, now: u64) -> Next {
    // SAFETY: the node is the first field (caller), and the call belongs to the one CPU that carries out the action.
    let call = unsafe { &mut *(*node.cast::<Inner<F>>().as_ptr()).call.get() };
    // Whoever it interrupts, that one's group has nothing to do with it.
    match account::suspended(|| call(Instant::from_ticks(now))) {
        Then::Stop => Next::Done,
        Then::At(deadline) => Next::Again(deadline.ticks()),
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
        // SAFETY: from `Box::into_raw` in `new`; idle, so nobody else has it.
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}
