//! What every port offers: the compiler checks each name and type here.

use super::*;
use crate::cpu::PerCpu;
use crate::irq::Ipi;
use crate::machine::Machine;
use core::sync::atomic::AtomicU32;
use isochron_boot::{BootInfo, VirtAddr};

const _: () = {
    // What reports call the architecture: `aarch64` or `x86_64`.
    let _: &str = NAME;
    // --- cpu -------------------------------------------------------------------------------------------------------
    // Sets the register that finds this CPU's block.
    let _: unsafe fn(*const PerCpu) = cpu::set_per_cpu;
    // Reads it; null before it was set. `#[inline(always)]`, one or two instructions.
    let _: fn() -> *const PerCpu = cpu::per_cpu;
    // The running thread, in a place that one instruction reads (so that preemption between two cannot mix CPUs).
    let _: fn() -> *mut () = cpu::current_thread;
    let _: unsafe fn(*mut ()) = cpu::set_current_thread;
    // Per-CPU control registers, exception vectors and stack. Interrupts stay masked. Needs `set_per_cpu` and
    // `exception_stack_top` before.
    let _: unsafe fn(&'static PerCpu) = cpu::init_this_cpu;
    // This CPU's number in the interrupt controller, as in `CpuDescription::hardware_id`.
    let _: fn() -> u64 = cpu::hardware_id;
    let _: fn() = cpu::spin_hint;
    // Has the line of an address fetched, which is about to be written. Any address will do.
    let _: fn(usize) = cpu::prefetch;
    // Whether this CPU may watch a word without keeping another CPU of this machine from running.
    let _: fn() -> bool = cpu::has_own_core;
    let _: u32 = cpu::LONGER_STAYS;
    // Waits until the word may have changed from the given value, for about a microsecond at the most.
    let _: fn(&AtomicU32, u32) = cpu::wait_for_store;
    // Called with interrupts masked; sleeps until one is pending, takes it, and returns with interrupts masked. No
    // interrupt that became pending before or during the call is slept over.
    let _: fn() = cpu::wait_for_interrupt_irqoff;
    // Masks everything and sleeps for ever.
    let _: fn() -> ! = cpu::halt;
    // The frame pointer of the caller: the start of a backtrace.
    let _: fn() -> usize = cpu::frame_pointer;
    // The name of the CPU's model, as far as its id registers tell.
    let _: fn(&mut dyn core::fmt::Write) = cpu::describe;

    // --- irq -------------------------------------------------------------------------------------------------------
    // Masks interrupts; the answer is what `restore` takes.
    let _: fn() -> irq::State = irq::mask;
    let _: unsafe fn(irq::State) = irq::restore;
    let _: unsafe fn() = irq::unmask;
    let _: fn() -> bool = irq::are_masked;

    // --- context ---------------------------------------------------------------------------------------------------
    // A stack prepared so that the first switch to it calls `entry(argument, message)` with interrupts masked.
    let _: unsafe fn(VirtAddr, extern "C" fn(*mut (), usize) -> !, *mut ()) -> context::Context = context::prepare;
    // `Context` is `Default`: a place that a first switch saves to.
    let _: fn() -> context::Context = context::Context::default;
    // Where its stack ends; 0 of the default.
    let _: fn(&context::Context) -> usize = context::Context::stack_end;
    // Saves what the calling convention asks a callee to save, swaps stacks; a message goes through. Interrupts are masked on
    // both sides.
    let _: unsafe fn(*mut context::Context, *const context::Context, usize) -> usize = context::switch;

    // Goes on with a saved context and forgets this one.
    let _: unsafe fn(*const context::Context, usize) -> ! = context::jump;

    // --- clock -----------------------------------------------------------------------------------------------------
    // Finds the frequency (primary CPU, once, after the console and the interrupt controller).
    let _: fn(&Machine) = clock::init;
    let _: fn() -> u64 = clock::frequency_hz;
    // The counter, read after every earlier instruction is done and before any later one starts.
    let _: fn() -> u64 = clock::ticks;
    // The counter, read whenever the CPU likes.
    let _: fn() -> u64 = clock::ticks_unordered;
    let _: fn() -> clock::Facts = clock::facts;

    // --- timer -----------------------------------------------------------------------------------------------------
    let _: fn() = timer::init_this_cpu;
    // One interrupt on this CPU at or as soon as possible after `deadline` ticks; replaces what was armed; a deadline
    // in the past fires at once.
    let _: fn(u64) = timer::arm;
    let _: fn() = timer::disarm;

    // --- ipi -------------------------------------------------------------------------------------------------------
    // What this CPU wrote before is visible to the target's handler.
    let _: fn(&PerCpu, Ipi) = ipi::send;
    // Halts a CPU that has its interrupts masked, where there is a way. For the end alone: it may hold any lock.
    let _: fn(&PerCpu) = ipi::stop_hard;

    // --- interrupts ------------------------------------------------------------------------------------------------
    let _: unsafe fn(&Machine) = interrupts::init_primary;
    let _: unsafe fn(&'static PerCpu) = interrupts::init_this_cpu;

    // --- smp -------------------------------------------------------------------------------------------------------
    // Starts a CPU that will call `crate::smp::secondary_start(cpu)` on the stack that ends at the given top.
    let _: unsafe fn(&'static PerCpu, VirtAddr) -> Result<(), crate::smp::StartError> = smp::start;

    // --- platform --------------------------------------------------------------------------------------------------
    let _: fn(&BootInfo) -> Machine = platform::discover;

    // --- serial ----------------------------------------------------------------------------------------------------
    // After the device registers are mapped.
    let _: unsafe fn(&Machine) = serial::init;
    // Takes no lock; drops bytes rather than wait for ever.
    let _: fn(&[u8]) = serial::write;

    // --- power -----------------------------------------------------------------------------------------------------
    // Ends the machine; where it cannot, halts this CPU.
    let _: fn(u8) -> ! = power::exit;

    // --- trap ------------------------------------------------------------------------------------------------------
    // Whether it is a thread's (or a worker's) own code that was interrupted, with interrupts on; or the saving of its
    // registers on its stack at the beginning of an interrupt.
    let _: fn(&trap::TrapFrame) -> bool = trap::TrapFrame::is_threads_own;
    let _: fn(&trap::TrapFrame) -> usize = trap::TrapFrame::pc;
    let _: fn(&trap::TrapFrame) -> usize = trap::TrapFrame::sp;
    let _: fn(&trap::TrapFrame) -> usize = trap::TrapFrame::frame_pointer;
    let _: fn(&trap::TrapFrame, &mut dyn FnMut(&'static str, u64)) = trap::TrapFrame::registers;
};

// --- paging: of the ports that have tables of their own -----------------------------------------------------------
#[cfg(isochron_bare)]
const _: () = {
    use crate::memory::page_table::{Entry, Leaf};
    use core::sync::atomic::AtomicU64;
    use isochron_boot::PhysAddr;
    // Level 3 is a 4 KiB page, 2 a 2 MiB block, 1 a 1 GiB block.
    let _: fn(PhysAddr, u8, Leaf) -> u64 = paging::encode_leaf;
    let _: fn(PhysAddr) -> u64 = paging::encode_table;
    let _: fn(u64, u8) -> Entry = paging::decode;
    // Whether 1 GiB blocks may be used.
    let _: fn() -> bool = paging::has_gib_blocks;
    // Makes earlier writes to tables visible to the walker, then switches this CPU to them.
    let _: unsafe fn(PhysAddr) = paging::activate;
    let _: fn() -> PhysAddr = paging::root;
    // After an entry was written where nothing was mapped before.
    let _: fn() = paging::publish;
    // After an entry was changed or removed: forgets it, on every CPU (ARM64) or on this one (x86-64).
    let _: fn(VirtAddr) = paging::invalidate;
    let _: bool = paging::INVALIDATES_EVERYWHERE;
    // Puts a table in the place of a block. Interrupts are masked.
    let _: fn(&AtomicU64, PhysAddr, VirtAddr) = paging::split;
    // Forgets everything, on this CPU. Interrupts are masked.
    let _: fn() = paging::forget_all;
};
