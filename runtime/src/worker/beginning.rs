//! A thread's first turn: it gets its stack only now.
//!
//! A thread that is made and one that has ended need a stack at most for as long as they run in between. So of a million
//! threads that wait for their first turn none has a stack, and most of them will run on the one that the thread before
//! them has just left, which is still in the cache.
//!
//! That one does not even go through the pool: a CPU keeps the last stack of the usual size that was left on it at hand.
//!
//! If there is no memory for a stack, the thread must end without having run, and that takes a stack too, for a moment: each
//! CPU has two small ones in reserve. Two, because the next thread may be in the same plight, and its context is made while
//! the CPU still stands on the first; with interrupts masked from one to the next, two are enough for any number. On the same
//! stacks a packed thread's panic is told, and that of a thread whose stack would have to grow for it, in the same way: masked, and left
//! for good.

use super::Worker;
use super::switch::AFTER_PARK;
use crate::kernel::arch;
use crate::thread::Death;
use crate::thread::control::{self, Thread, ThreadPtr};
use crate::thread::packed::is_packed;
use crate::trace::points;
use core::cell::Cell;
use core::ptr::NonNull;
use isochron_kernel::boot::VirtAddr;
use isochron_kernel::memory::Stack;
use isochron_kernel::memory::stack::USUAL_SIZE;
use isochron_kernel::panic::SPARE_STACK_SIZE;

/// The stacks in reserve, and which is next.
pub(super) struct LastResort {
    stacks: [Stack; 2],
    next: Cell<usize>,
}

impl LastResort {
    /// # Panics
    /// Without memory, at boot.
    pub fn new() -> Self {
        let stack = || Stack::new(SPARE_STACK_SIZE).expect("a CPU's first stacks need memory");
        Self { stacks: [stack(), stack()], next: Cell::new(0) }
    }

    /// The top of the one whose turn it is. Interrupts are masked, and stay so until that stack is left for good.
    pub fn take(&self) -> VirtAddr {
        self.stacks[self.next.replace(1 - self.next.get())].top()
    }
}

impl Worker {
    /// Makes ready a thread that has never run. On its way to `switch`, interrupts masked.
    #[cold]
    #[inline(never)]
    pub(super) fn begin(&self, next: ThreadPtr) {
        if !Self::begin_quickly(next) {
            self.begin_slowly(next);
        }
    }

    /// The same, if it runs on the stack that was last left on this CPU. False: nothing is done.
    #[inline(always)]
    pub(super) fn begin_quickly(next: ThreadPtr) -> bool {
        // SAFETY: a queued thread is alive.
        let thread = unsafe { next.as_ref() };
        // Neither a packed thread nor one that was given its stack has one of this size.
        let begins = thread.stack_size() == USUAL_SIZE && Stack::has_last_irqoff() && thread.state.begin();
        if begins && let Some(stack) = Stack::last_irqoff() {
            points::began(next);
            // SAFETY: this CPU took it from a queue, and it has never run.
            unsafe { Thread::begin_on(next, stack, super::thread_main) };
        }
        begins
    }

    #[cold]
    #[inline(never)]
    fn begin_slowly(&self, next: ThreadPtr) {
        // SAFETY: a queued thread is alive.
        let thread = unsafe { next.as_ref() };
        assert!(thread.state.begin(), "a thread is to run on two CPUs");
        points::began(next);
        // SAFETY: this CPU took it from a queue, and it has never run.
        if unsafe { Thread::take_stack(next, super::thread_main) }.is_err() {
            let top = self.last_resort.take();
            // SAFETY: this stack is not in use: see the module's documentation. The context is this CPU's alone.
            unsafe { Thread::begin_on_another(next, top, give_up) };
        }
    }
}

/// A stack for the end of the running thread, if that is packed or `is_short` of stack.
pub(crate) fn spare_stack(is_short: bool) -> Option<VirtAddr> {
    control::current_ptr().filter(|me| is_short || is_packed(*me)).map(|_| Worker::this().last_resort.take())
}

/// In place of a thread's own code. Interrupts stay masked.
extern "C" fn give_up(argument: *mut (), message: usize) -> ! {
    Worker::finish::<AFTER_PARK>(message);
    let Some(me) = NonNull::new(argument.cast::<Thread>()) else { unreachable!("a thread without a block") };
    // SAFETY: alive, and its CPU does this instead of running it.
    unsafe { me.as_ref() }.set_death(Death::OutOfMemory);
    super::give_back_claims(me);
    crate::thread::exit_current()
}

/// Where every thread begins: on its own stack, interrupts masked.
pub(crate) extern "C" fn thread_main(argument: *mut (), message: usize) -> ! {
    Worker::finish::<AFTER_PARK>(message);
    // SAFETY: threads run with interrupts on; nothing of the switch is left to be done.
    unsafe { arch::irq::unmask() };
    let Some(me) = NonNull::new(argument.cast::<Thread>()) else { unreachable!("a thread without a block") };
    // SAFETY: `prepare` got the block of this very thread, and this is its one run.
    unsafe { Thread::run(me) };
    crate::thread::exit(me)
}
