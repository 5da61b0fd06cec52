//! Memory of stacks: all of one beforehand, what nobody uses, and what a thread has to do with a stack that has grown.

use super::control::{GROWN, Thread, ThreadPtr};
use super::{current_ptr, packed, stack_range};
use crate::sync::Mutex;
use core::ptr;
use isochron_core::thread_state::Stillness;
use isochron_kernel::arch::context::Context;
use isochron_kernel::boot::VirtAddr;
use isochron_kernel::memory::stack::InUse;
use isochron_kernel::memory::{OutOfMemory, stack};

/// Backs all of the running thread's stack now: from here on it takes no page fault to grow, and cannot die for want of memory
/// for it; none of it is [trimmed](trim_stacks) as long as it lives. For threads that must not be late, or not fail; the main thread
/// does it at its beginning.
///
/// In a process it does nothing: there the host backs a stack as it is used.
///
/// # Errors
/// [`OutOfMemory`]: then some of it may be backed.
///
/// # Panics
/// Outside a thread.
pub fn back_stack() -> Result<(), OutOfMemory> {
    let me = current_ptr();
    if packed::is_packed(me) {
        return Ok(());
    }
    Thread::keep_stack(me);
    stack::back(VirtAddr::new(stack_range().start))
}

/// Who trims, one at a time.
static TRIMMER: Mutex<()> = Mutex::new(());

/// Gives back the memory that stacks have grown by and do not use: all but their upper 8 KiB of those that nobody has, wherever they
/// lie ready, and of those of threads that wait what lies below their stack pointers, but for the page that follows. How many bytes
/// it was.
///
/// A stack grows by a page fault for each 4 KiB that its thread goes down. It stays as it is when its thread comes up again, and when
/// that has ended, and serves the next thread; so what many threads have once needed stays with them until somebody calls this, or
/// until memory is short. A thread whose stack was trimmed takes those faults again when it goes as deep again. What a thread has
/// [backed](back_stack) stays.
///
/// Every other CPU is interrupted once, if there was something to give back, and once more if threads wait for channels with it. In a
/// process the host does that.
///
/// ```ignore
/// isochron::thread::spawn(|| work_that_goes_deep()).join();
/// let bytes = isochron::thread::trim_stacks();
/// ```
///
/// # Panics
/// Outside a thread, in a packed thread (it may take more stack than there is), and with interrupts masked.
pub fn trim_stacks() -> usize {
    assert!(!packed::is_packed(current_ptr()), "a packed thread has no room to trim stacks");
    assert!(!isochron_kernel::irq::are_masked(), "stacks are trimmed with interrupts masked");
    let _alone = TRIMMER.lock();
    stack::trim(Thread::stack_in_use)
}

impl Thread {
    /// The lowest address of its stack. For the thread itself, `me`.
    pub fn stack_limit(&self, me: ThreadPtr) -> usize {
        if packed::is_packed(me) {
            me.as_ptr().addr() + packed::ZONE_OFFSET + packed::ZONE
        } else {
            stack::bottom_of(self.stack_top.get(), self.stack_size()).as_usize()
        }
    }

    /// The thread's stack has grown, and is its own now. For the thread itself, or its CPU before it begins.
    #[cold]
    pub fn take_grown_stack(thread: ThreadPtr) {
        // SAFETY: alive, as who calls has it.
        let it = unsafe { thread.as_ref() };
        it.stack_size.set(it.stack_size.get() | GROWN);
        // SAFETY: the stack is the thread's; it is left in `release_stack`, before the thread gives up its own reference.
        unsafe { stack::taken(it.stack_top.get(), thread.as_ptr().expose_provenance()) }
    }

    /// A stack has grown because `addr` was touched. For the running thread; interrupts are masked.
    pub fn stack_grew(thread: ThreadPtr, addr: usize) {
        // SAFETY: the running thread's block is alive.
        let it = unsafe { thread.as_ref() };
        // If it is not its own, it is that of the thread that is left just now, a few words of a switch. It will be known when it grows
        // by more.
        let is_new = it.stack_size.get() & GROWN == 0;
        let is_own =
            is_new && !packed::is_packed(thread) && (it.stack_limit(thread)..it.stack_top.get()).contains(&addr);
        if is_own {
            Self::take_grown_stack(thread);
        }
    }

    /// All of the stack, which the running thread has taken, is to stay as it is.
    pub fn keep_stack(thread: ThreadPtr) {
        Self::take_grown_stack(thread);
        // SAFETY: it was just taken.
        unsafe { stack::kept(thread.as_ref().stack_top.get()) }
    }

    /// What a thread has in use of its stack: see [`Judge`](stack::Judge).
    ///
    /// # Safety
    /// `thread` came from [`Self::take_grown_stack`], and the thread is alive.
    pub unsafe fn stack_in_use(thread: usize) -> InUse {
        let thread = ptr::with_exposed_provenance::<Self>(thread);
        // SAFETY: alive.
        let it = unsafe { &*thread };
        let waits = it.state.stillness();
        // SAFETY: there is a context; of a thread that may run, it may be anything.
        let end = unsafe { Context::stack_end_of(it.context.get()) };
        match waits {
            Stillness::Parked => InUse::Above(end),
            Stillness::Handed => InUse::PerhapsAbove(end),
            Stillness::Ended | Stillness::Moving => InUse::All,
        }
    }
}
