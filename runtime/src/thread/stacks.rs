//! Memory of stacks: all of one beforehand, and what nobody uses.

use super::control::Thread;
use super::{current_ptr, packed, stack_range};
use crate::sync::Mutex;
use isochron_kernel::boot::VirtAddr;
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
