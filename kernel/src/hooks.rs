//! What the kernel asks of the runtime, by name at link time.
//!
//! The kernel knows mechanism only; these are the points at which policy decides. They are plain functions rather than
//! a table of pointers, so that link-time optimisation can inline them into the interrupt path.

use crate::memory::account::Account;
use crate::panic::PackedOverflow;
use crate::trap::Cause;
use isochron_boot::VirtAddr;

/// Something that the runtime may want to write down, and nothing else.
#[derive(Clone, Copy, Debug)]
pub enum Noted {
    /// An interrupt of this number, which nobody asked for.
    Unexpected(u32),
    /// A page of this address was touched by a thread's own code, and is there now.
    PageFault(usize),
    /// The machine had no memory for a block of so many bytes.
    NoMemory(usize),
}

unsafe extern "Rust" {
    /// Called once on each CPU, interrupts masked, before the CPU counts as online: what the runtime keeps for it is to be
    /// in place when others may give it work.
    pub safe fn isochron_prepare_cpu();

    /// Called once on the primary CPU when all is up, on its worker stack, interrupts masked. Never returns.
    pub safe fn isochron_primary_main() -> !;

    /// Called once on each secondary CPU, on its worker stack, interrupts masked. Never returns.
    pub safe fn isochron_secondary_main() -> !;

    /// The one-shot timer fired. Interrupt context, masked, on the exception stack.
    pub safe fn isochron_on_timer();

    /// Another CPU poked this one ([`crate::irq::Ipi::Wake`]). Interrupt context.
    pub safe fn isochron_on_wake();

    /// Asked at the end of every interrupt: shall the interrupted thread be switched away from? Interrupt context.
    pub safe fn isochron_should_preempt() -> bool;

    /// The one preemption boundary. Called on the interrupted thread's own stack, in its context, interrupts masked;
    /// returns when the thread is next chosen, perhaps on another CPU, interrupts masked.
    pub safe fn isochron_preempt();

    /// The running thread has panicked, or caused an exception in its own code. If it may die alone, the cause is noted, and
    /// the top of its stack is returned. Interrupts masked; on its own stack or on the exception stack.
    pub safe fn isochron_thread_dies(cause: Cause) -> Option<VirtAddr>;

    /// Ends the running thread, for which `isochron_thread_dies` has returned a stack. On that stack, interrupts masked.
    pub safe fn isochron_end_thread() -> !;

    /// An account that the running thread's memory is charged to has refused it so many bytes: this one, or one above it, which
    /// `by` names and no more. Perhaps with interrupts masked.
    pub safe fn isochron_memory_refused(bytes: usize, by: *const Account);

    /// Called where that happens, interrupts masked.
    pub safe fn isochron_noted(noted: Noted);

    /// Writes the running thread's name, for panics. Must take no lock and must work in any state.
    pub safe fn isochron_thread_name(out: &mut dyn core::fmt::Write);

    /// If `addr` lies in the guard page of the running thread's stack: the stack's size in bytes.
    pub safe fn isochron_guard_hit(addr: usize) -> Option<usize>;

    /// A stack has grown, because this address was touched: that of the running thread, or of one that this CPU is about to leave.
    /// Interrupts masked, on the exception stack.
    pub safe fn isochron_stack_grew(addr: usize);

    /// The running thread was interrupted with its stack pointer at `sp`. If it is packed and has used more than its stack: that,
    /// and it is remembered until the thread is next looked at. Interrupt context.
    pub safe fn isochron_packed_interrupted(sp: usize) -> Option<PackedOverflow>;

    /// If the running thread is packed, or `is_short` of stack: the top of a stack of a page on which it may be told how it ended. Interrupts masked, and
    /// they stay so until the thread is left for good.
    pub safe fn isochron_spare_stack(is_short: bool) -> Option<VirtAddr>;

    /// Which CPUs may run a thread, as bits; it is named by the address of its state word.
    #[cfg(isochron_sim)]
    pub safe fn isochron_sim_may_run(state: usize) -> u64;

    /// Writes what is in the queues.
    #[cfg(isochron_sim)]
    pub safe fn isochron_sim_dump(out: &mut dyn core::fmt::Write);
}
