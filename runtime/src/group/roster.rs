//! The threads that are in a group with a limit on its memory, so that all of them can be ended.
//!
//! A thread joins when it comes into the group and leaves at its end, or for another group. The list goes through what few
//! threads have (`Extras`), so it takes no memory. Who is to be ended is taken off the list, a few at a time, but counts as a
//! member until it has left: then nothing of it runs any more.

use crate::thread::control::{Thread, ThreadPtr, ThreadRef};
use crate::thread::count_one_more;
use core::cell::Cell;
use core::ptr;
use isochron_core::lock_rank;
use isochron_core::spinlock::SpinLock;
use isochron_kernel::irq;

/// A group's threads.
pub(super) struct Roster {
    list: SpinLock<List>,
}

struct List {
    first: *const Thread,
    /// Those in the list, and those that were taken off it and have not left.
    members: usize,
    /// Those that were taken off it and have not left.
    taken: usize,
    /// Of these, those that nobody waits for any more.
    late: usize,
}

// SAFETY: a pointer to threads in the list, which are shared by themselves; their places are used under the list's lock.
unsafe impl Send for List {}

/// A thread's place in the roster of its group: under that roster's lock.
pub(crate) struct Place {
    next: Cell<*const Thread>,
    prev: Cell<*const Thread>,
    /// It is in the list.
    listed: Cell<bool>,
}

impl Place {
    pub const fn new() -> Self {
        Self { next: Cell::new(ptr::null()), prev: Cell::new(ptr::null()), listed: Cell::new(false) }
    }
}

/// # Safety
/// The thread is in the list, or about to be.
unsafe fn place<'a>(thread: *const Thread) -> &'a Place {
    // SAFETY: who is in the list is alive, and has a place of its own.
    unsafe { &(*thread).extras().place }
}

impl List {
    /// # Safety
    /// The thread is not in the list, alive, and stays so until it is taken off.
    unsafe fn link(&mut self, thread: *const Thread) {
        // SAFETY: the caller's; the first one is in the list.
        unsafe {
            let its = place(thread);
            its.next.set(self.first);
            its.prev.set(ptr::null());
            its.listed.set(true);
            if !self.first.is_null() {
                place(self.first).prev.set(thread);
            }
        }
        self.first = thread;
    }

    /// # Safety
    /// The thread is in the list.
    unsafe fn unlink(&mut self, thread: *const Thread) {
        // SAFETY: the caller's; its neighbours are in the list.
        unsafe {
            let its = place(thread);
            let (next, prev) = (its.next.get(), its.prev.get());
            its.listed.set(false);
            if prev.is_null() {
                self.first = next;
            } else {
                place(prev).next.set(next);
            }
            if !next.is_null() {
                place(next).prev.set(prev);
            }
        }
    }
}

impl Roster {
    /// Nobody.
    pub const fn new() -> Self {
        Self { list: SpinLock::new(lock_rank::ROSTER, List { first: ptr::null(), members: 0, taken: 0, late: 0 }) }
    }

    /// A thread comes in.
    ///
    /// # Safety
    /// It is in no roster, has extras of its own, is alive, and leaves before it is gone.
    pub unsafe fn join(&self, thread: ThreadPtr) {
        irq::without(|| {
            self.list.with(|list| {
                list.members += 1;
                // SAFETY: the caller's.
                unsafe { list.link(thread.as_ptr()) };
            });
        });
    }

    /// A thread leaves. True: it was the last, or the last of those that were taken off the list and are waited for.
    ///
    /// # Safety
    /// It has joined, and not left.
    pub unsafe fn leave(&self, thread: ThreadPtr) -> bool {
        irq::without(|| {
            self.list.with(|list| {
                // SAFETY: the caller's; where it is in a list, that is this one.
                unsafe {
                    if place(thread.as_ptr()).listed.get() {
                        list.unlink(thread.as_ptr());
                        list.members -= 1;
                        return list.members == 0;
                    }
                }
                list.members -= 1;
                list.taken -= 1;
                list.late = list.late.min(list.taken);
                list.taken == list.late
            })
        })
    }

    /// How many there are.
    pub fn members(&self) -> usize {
        irq::without(|| self.list.with(|list| list.members))
    }

    /// Whether some of those that were taken off the list have not left, and are waited for.
    pub fn is_waited_for(&self) -> bool {
        irq::without(|| self.list.with(|list| list.taken > list.late))
    }

    /// Those that were taken off the list so far are not waited for any more.
    pub fn wait_no_more(&self) {
        irq::without(|| self.list.with(|list| list.late = list.taken));
    }

    /// Takes up to `N` threads off the list, which are to be ended.
    pub fn take<const N: usize>(&self) -> [Option<ThreadRef>; N] {
        let mut taken = [const { None }; N];
        irq::without(|| {
            self.list.with(|list| {
                for place in &mut taken {
                    let Some(first) = ptr::NonNull::new(list.first.cast_mut()) else { break };
                    // SAFETY: it is in the list, and so alive: it has not left yet.
                    unsafe {
                        list.unlink(first.as_ptr());
                        list.taken += 1;
                        *place = Some(count_one_more(first));
                    }
                }
            });
        });
        taken
    }
}
