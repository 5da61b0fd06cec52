//! Memory of stacks: all of one beforehand, and what nobody uses.

use super::{PreemptGuard, current_ptr, packed, stack_range};
use isochron_kernel::boot::VirtAddr;
use isochron_kernel::memory::{OutOfMemory, stack};

/// Backs all of the running thread's stack now: from here on it takes no page fault to grow, and cannot die for want of memory
/// for it. For threads that must not be late, or not fail; the main thread does it at its beginning.
///
/// In a process it does nothing: there the host backs a stack as it is used.
///
/// # Errors
/// [`OutOfMemory`]: then some of it may be backed.
///
/// # Panics
/// Outside a thread.
pub fn back_stack() -> Result<(), OutOfMemory> {
    if packed::is_packed(current_ptr()) {
        return Ok(());
    }
    stack::back(VirtAddr::new(stack_range().start))
}

/// Gives back the memory that pooled stacks have grown by: those that all CPUs share, and what the CPU that this runs on has
/// in stock. How many bytes it was.
///
/// A stack grows by a page fault for each 4 KiB that its thread goes down. When the thread has ended, the stack stays as it is
/// and serves the next thread, so what many threads have once needed stays with the pool until somebody calls this. The
/// upper 8 KiB of each stack are kept, for the next threads to begin on at once.
///
/// On x86-64 every other CPU is interrupted once, if there was something to give back; on ARM64 and in a process nobody is.
///
/// ```ignore
/// isochron::thread::spawn(|| work_that_goes_deep()).join();
/// let bytes = isochron::thread::trim_stacks();
/// ```
///
/// # Panics
/// Outside a thread, and with interrupts masked.
pub fn trim_stacks() -> usize {
    // Whoever owns what was in the pool must come to its end.
    let _stays = PreemptGuard::new();
    assert!(!isochron_kernel::irq::are_masked(), "stacks are trimmed with interrupts masked");
    stack::trim()
}
