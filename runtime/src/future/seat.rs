//! The executor threads that there are, by thread: looked at when one dies.

use super::record::Record;
use crate::thread::control::ThreadPtr;
use alloc::alloc::Layout;
use alloc::boxed::Box;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::AtomicPtr;
use isochron_kernel::memory::{OutOfMemory, heap};

/// One executor thread: in the heap, and not on its stack, which is nobody's when it dies.
pub(super) struct Seat {
    /// Dangling until it begins.
    pub thread: ThreadPtr,
    /// Its slot.
    pub index: usize,
    /// The task that it polls; null for none. Its own.
    pub task: AtomicPtr<Record>,
    next: Option<NonNull<Self>>,
}

// SAFETY: a thread's address may be sent and shared; the link is the list's.
unsafe impl Send for Seat {}
// SAFETY: as above.
unsafe impl Sync for Seat {}

impl Seat {
    /// Of an executor that is about to be made.
    pub const fn new(index: usize) -> Self {
        Self { thread: NonNull::dangling(), index, task: AtomicPtr::new(null_mut()), next: None }
    }
}

/// All of them, in a list of which each seat is a part: nobody needs memory to begin or to end.
pub(super) struct Seats {
    first: Option<NonNull<Seat>>,
}

// SAFETY: the list owns the seats in it.
unsafe impl Send for Seats {}

impl Seats {
    pub const fn new() -> Self {
        Self { first: None }
    }

    /// Adds the seat of `thread`; it stays where it is until it is taken out.
    pub fn add(&mut self, mut seat: Box<Seat>, thread: ThreadPtr) -> NonNull<Seat> {
        seat.thread = thread;
        seat.next = self.first;
        let seat = NonNull::from(Box::leak(seat));
        self.first = Some(seat);
        seat
    }

    /// That of `thread`.
    pub fn find(&self, thread: ThreadPtr) -> Option<&Seat> {
        let mut at = self.first;
        while let Some(seat) = at {
            // SAFETY: seats in the list are alive.
            let seat = unsafe { seat.as_ref() };
            if seat.thread == thread {
                return Some(seat);
            }
            at = seat.next;
        }
        None
    }

    /// Takes that of `thread` out.
    pub fn take(&mut self, thread: ThreadPtr) -> Option<Box<Seat>> {
        let mut link = &raw mut self.first;
        // SAFETY: the link is the list's own, or that of a seat in the list, which is alive.
        while let Some(seat) = unsafe { *link } {
            let raw = seat.as_ptr();
            // SAFETY: as above; what is out of the list was made by `Box::leak` in `add`.
            unsafe {
                if (*raw).thread == thread {
                    *link = (*raw).next;
                    return Some(Box::from_raw(raw));
                }
                link = &raw mut (*raw).next;
            }
        }
        None
    }
}

/// A box, if there is memory for it.
pub(super) fn boxed<T>(value: T) -> Result<Box<T>, OutOfMemory> {
    const { assert!(size_of::<T>() > 0) };
    // Executors and tasks are in no group, whoever makes them.
    let memory = heap::alloc_uncharged(Layout::new::<T>()).cast::<T>();
    if memory.is_null() {
        return Err(OutOfMemory);
    }
    // SAFETY: fresh memory of the right size and alignment.
    unsafe {
        memory.write(value);
        Ok(Box::from_raw(memory))
    }
}
