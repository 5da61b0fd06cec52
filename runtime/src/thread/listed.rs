//! Every thread that there is, in one list, for a debugger to walk. It is there with the feature `listed` alone: `cargo run --
//! debug APP` builds with it, and nothing else does, because each thread that is made or freed then takes a lock that all share.

use super::control::{Thread, ThreadPtr};
use crate::kernel::irq;
use core::cell::Cell;
use core::ptr;
use isochron_core::lock_rank;
use isochron_core::spinlock::SpinLock;

/// A thread's place in the list. Touched under the list's lock.
pub(super) struct Place {
    previous: Cell<*mut Thread>,
    next: Cell<*mut Thread>,
}

impl Place {
    /// In no list.
    pub const fn new() -> Self {
        Self { previous: Cell::new(ptr::null_mut()), next: Cell::new(ptr::null_mut()) }
    }
}

/// The thread that was made last; from it, all others.
struct Newest(*mut Thread);

// SAFETY: the list's blocks are used under its lock, and leave it before they are freed.
unsafe impl Send for Newest {}

/// The debugger finds it by this name.
static LISTED: SpinLock<Newest> = SpinLock::new(lock_rank::LISTED, Newest(ptr::null_mut()));

/// Puts a new thread in.
///
/// # Safety
/// It was just made.
pub(super) unsafe fn add(thread: ThreadPtr) {
    irq::without(|| {
        let mut newest = LISTED.guard();
        // SAFETY: the thread is alive (the caller), and so is each one in the list; places are touched under the lock.
        unsafe {
            thread.as_ref().place.next.set(newest.0);
            if let Some(next) = newest.0.as_ref() {
                next.place.previous.set(thread.as_ptr());
            }
        }
        newest.0 = thread.as_ptr();
    });
}

/// Takes one out that is about to be freed.
///
/// # Safety
/// It is in the list, and alive.
pub(super) unsafe fn remove(thread: ThreadPtr) {
    irq::without(|| {
        let mut newest = LISTED.guard();
        // SAFETY: the thread is alive (the caller), and so are its neighbours; places are touched under the lock.
        unsafe {
            let (previous, next) = (thread.as_ref().place.previous.get(), thread.as_ref().place.next.get());
            match previous.as_ref() {
                Some(previous) => previous.place.next.set(next),
                None => newest.0 = next,
            }
            if let Some(next) = next.as_ref() {
                next.place.previous.set(previous);
            }
        }
    });
}
