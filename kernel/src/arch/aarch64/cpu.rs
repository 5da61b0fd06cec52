//! The per-CPU register, the current-thread register, waiting, this CPU's set-up.

use super::trap;
use crate::cpu::PerCpu;
use aarch64_cpu::registers::{MIDR_EL1, Readable};
use core::arch::asm;
use core::fmt::Write;
use core::sync::atomic::AtomicU32;

pub use isochron_boot::aarch64::hardware_id;

/// Sets the register that finds this CPU's block.
///
/// # Safety
/// `block` is this CPU's own and lives for ever.
#[inline(always)]
pub unsafe fn set_per_cpu(block: *const PerCpu) {
    // SAFETY: the register is software's own (Arm ARM D19.2.147); the value is the caller's.
    unsafe { asm!("msr tpidr_el1, {}", in(reg) block, options(nostack, preserves_flags)) };
}

/// This CPU's block; null before it was set (`init_this_cpu` on a fresh CPU runs after it is).
#[inline(always)]
#[must_use]
pub fn per_cpu() -> *const PerCpu {
    let block;
    // SAFETY: reads a register. Not `pure`: a thread that was switched must read it again.
    unsafe { asm!("mrs {}, tpidr_el1", out(reg) block, options(nomem, nostack, preserves_flags)) };
    block
}

/// The running thread.
#[inline(always)]
#[must_use]
pub fn current_thread() -> *mut () {
    let thread;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) thread, options(nomem, nostack, preserves_flags)) };
    thread
}

/// Says which thread runs.
///
/// # Safety
/// The caller is the scheduler: everybody who asks [`current_thread`] believes it.
#[inline(always)]
pub unsafe fn set_current_thread(thread: *mut ()) {
    // SAFETY: the register is software's own (Arm ARM D19.2.146).
    unsafe { asm!("msr tpidr_el0, {}", in(reg) thread, options(nostack, preserves_flags)) };
}

/// Vectors and exception stack of this CPU; from here on a bus error is reported as well.
///
/// # Safety
/// Once on each CPU, on `SP_EL0`, interrupts masked, with `cpu` in the per-CPU register.
pub unsafe fn init_this_cpu(cpu: &'static PerCpu) {
    if cpu.exception_stack_top.get() == 0 {
        cpu.exception_stack_top.set(trap::early_exception_stack_top());
    }
    // SAFETY: the stack is the CPU's own; `SPSel` is 0 before and after, so the running stack is not touched; the vectors
    // are those of `vectors.s`, 2 KiB aligned. DAIFClr #4 unmasks SError.
    unsafe {
        asm!(
            "msr spsel, #1",
            "mov sp, {stack}",
            "msr spsel, #0",
            "msr vbar_el1, {vectors}",
            "isb",
            "msr daifclr, #4",
            stack = in(reg) trap::first_stack_pointer(cpu),
            vectors = in(reg) trap::vectors(),
            options(nostack, preserves_flags)
        );
    }
}

/// Has the line of an address fetched, for writing. A hint: any address will do.
#[inline(always)]
pub fn prefetch(addr: usize) {
    // SAFETY: a hint, which reads nothing as far as the program can tell.
    unsafe { asm!("prfm pstl1keep, [{}]", in(reg) addr, options(nostack, preserves_flags, readonly)) };
}

/// Tells the CPU that this is a spinning loop: an emulator or a core with more threads hands the turn on at `YIELD`, which does
/// nothing on other cores; those are kept busy for some cycles by `ISB`.
#[inline(always)]
pub fn spin_hint() {
    // SAFETY: a hint, and a barrier that changes nothing but time.
    unsafe { asm!("yield", "isb", options(nomem, nostack, preserves_flags)) };
}

/// How often a parking thread's stay on its CPU is prolonged, if nobody else wants that: not at all, as a wake-up by way of
/// the worker loop costs little more.
pub const LONGER_STAYS: u32 = 0;

/// Whether this CPU may watch a word without keeping another from running.
#[must_use]
pub fn has_own_core() -> bool {
    true
}

/// Waits until `word` may have changed from `seen`, for about a microsecond at the most; may return at once. An interrupt
/// that is masked does not end it.
///
/// The exclusive load puts the word under this CPU's monitor, and a store of another CPU's to it is then an event that ends
/// `WFE` (Arm ARM D1.7.1, B2.12.3). What bounds it is the event stream: see `timer.rs`.
#[inline(always)]
pub fn wait_for_store(word: &AtomicU32, seen: u32) {
    // SAFETY: reads the word, which is alive, and waits. Memory is clobbered: the caller looks at the word again.
    unsafe {
        asm!(
            "ldxr {now:w}, [{word}]",
            "cmp {now:w}, {seen:w}",
            "b.ne 2f",
            "wfe",
            "2:",
            now = out(reg) _,
            word = in(reg) word.as_ptr(),
            seen = in(reg) seen,
            options(nostack)
        );
    }
}

/// Called with interrupts masked; sleeps until one is pending, takes it, and returns with interrupts masked.
///
/// A pending interrupt ends WFI whether it is masked or not (Arm ARM D1.7.2), so one that came before the WFI is not slept
/// over. It is taken right here, without an exception: the interrupt controller hands it out to whoever acknowledges it,
/// whatever `PSTATE.I` says (GIC architecture, IHI 0069, 4.1), and nothing is interrupted whose registers would have to be
/// saved. That is 75 instructions less for each wake-up. A second one that is pending ends the next WFI at once.
#[inline(always)]
pub fn wait_for_interrupt_irqoff() {
    // SAFETY: it only waits; what this CPU shares with others is clobbered.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
    // No thread runs on this CPU, so there is none to preempt.
    let _ = super::interrupts::handle();
}

/// Masks everything and sleeps for ever.
pub fn halt() -> ! {
    loop {
        // SAFETY: nothing is expected of this CPU any more.
        unsafe { asm!("msr daifset, #0xf", "dsb sy", "wfi", options(nostack, preserves_flags)) };
    }
}

/// The frame pointer of the caller.
#[inline(always)]
#[must_use]
pub fn frame_pointer() -> usize {
    let pointer;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, x29", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// The name of the CPU's model.
pub fn describe(out: &mut dyn Write) {
    let implementer = MIDR_EL1.read(MIDR_EL1::Implementer);
    let part = MIDR_EL1.read(MIDR_EL1::PartNum);
    let (variant, revision) = (MIDR_EL1.read(MIDR_EL1::Variant), MIDR_EL1.read(MIDR_EL1::Revision));
    // Arm's own parts; QEMU calls its `max` 0 and 0x51.
    let name = match (implementer, part) {
        (0x41, 0xd03) => "Cortex-A53",
        (0x41, 0xd04) => "Cortex-A35",
        (0x41, 0xd05) => "Cortex-A55",
        (0x41, 0xd07) => "Cortex-A57",
        (0x41, 0xd08) => "Cortex-A72",
        (0x41, 0xd0b) => "Cortex-A76",
        (0x41, 0xd0c) => "Neoverse-N1",
        (0x41, 0xd40) => "Neoverse-V1",
        (0x41, 0xd49) => "Neoverse-N2",
        (0x41, 0xd4f) => "Neoverse-V2",
        (0, 0x51) => "QEMU max",
        _ => "ARM64",
    };
    let _ = write!(out, "{name} r{variant}p{revision} (implementer {implementer:#x}, part {part:#x})");
}
