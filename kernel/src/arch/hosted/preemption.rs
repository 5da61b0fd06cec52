//! From a signal's return to the one preemption boundary.
//!
//! The signal returns to `isochron_hosted_preempt` with every register as it was, but for the instruction and stack
//! pointers: 144 bytes below the thread's stack pointer (128 of red zone) lie its flags and the address it was at. It saves
//! what a call may clobber, all of it on the thread's own stack (`fxsave64`: x87, SSE, MXCSR), calls the runtime, and goes
//! on with the thread, perhaps much later and on another CPU.

use crate::trap;
use core::arch::{asm, naked_asm};
use isochron_boot::VirtAddr;

/// Bytes below the stack pointer that code may use without moving it (System V ABI, x86-64, 3.2.2).
const RED_ZONE: u64 = 128;
/// Trap and direction flag.
const TRAP_AND_DIRECTION: u64 = 1 << 8 | 1 << 10;

/// MXCSR as a thread begins with it: all exceptions masked, round to nearest.
static MXCSR: u32 = 0x1f80;

/// Preemption at a place where the thread calls us: only how it rounds is not saved by the call.
pub(super) fn preempt_here() {
    let mut mxcsr = 0_u32;
    let mut control = 0_u16;
    // SAFETY: stores two control words to places of ours, and sets both to what every thread begins with.
    unsafe {
        asm!(
            "stmxcsr [{}]", "fnstcw [{}]", "ldmxcsr [{}]", "fninit",
            in(reg) &raw mut mxcsr, in(reg) &raw mut control, in(reg) &raw const MXCSR, options(nostack),
        );
    }
    trap::preempt();
    // SAFETY: loads what was stored above.
    unsafe {
        asm!(
            "ldmxcsr [{}]", "fldcw [{}]",
            in(reg) &raw const mxcsr, in(reg) &raw const control, options(nostack),
        );
    }
}

/// Makes the interrupted thread call the runtime instead of going on. Interrupts stay masked.
///
/// # Safety
/// The context is that of a green thread of this CPU, interrupted with interrupts unmasked in our own code.
pub(super) unsafe fn redirect(context: &mut libc::ucontext_t) {
    let registers = &mut context.uc_mcontext.gregs;
    let stack = registers[libc::REG_RSP as usize] as u64 - RED_ZONE;
    let (flags, pc) = (registers[libc::REG_EFL as usize] as u64, registers[libc::REG_RIP as usize] as u64);
    let words = core::ptr::with_exposed_provenance_mut::<u64>(stack as usize);
    // SAFETY: below the red zone nothing of the thread's is in use. If its stack ends here, this is a fault on the guard
    // region, which is reported as the overflow that it is.
    unsafe {
        words.sub(1).write(pc);
        words.sub(2).write(flags);
    }
    registers[libc::REG_RSP as usize] = (stack - 16) as i64;
    registers[libc::REG_EFL as usize] = (flags & !TRAP_AND_DIRECTION) as i64;
    registers[libc::REG_RIP as usize] = isochron_hosted_preempt as *const () as i64;
}

/// Makes the interrupted thread, which has died, go on at its end, on a stack that is empty again. Interrupts stay masked.
pub(super) fn abandon(context: &mut libc::ucontext_t, stack: VirtAddr) {
    let registers = &mut context.uc_mcontext.gregs;
    registers[libc::REG_RSP as usize] = stack.as_usize() as i64;
    registers[libc::REG_RBP as usize] = 0;
    registers[libc::REG_EFL as usize] &= !(TRAP_AND_DIRECTION as i64);
    registers[libc::REG_RIP as usize] = isochron_hosted_end as *const () as i64;
}

#[unsafe(naked)]
unsafe extern "C" fn isochron_hosted_end() {
    naked_asm!("fninit", "ldmxcsr [rip + {mxcsr}]", "call {end}", "ud2", mxcsr = sym MXCSR, end = sym trap::end_thread)
}

/// Whether the instruction at `pc` saves the registers of a thread that is being preempted on its own stack.
pub(super) fn is_saving(pc: usize) -> bool {
    (isochron_hosted_preempt as *const () as usize..isochron_hosted_preempt_saved as *const () as usize).contains(&pc)
}

unsafe extern "C" {
    fn isochron_hosted_preempt_saved();
}

extern "C" fn preempt() {
    trap::preempt();
}

/// The last step: interrupts are taken again, those that are pending on this CPU at once.
extern "C" fn unmask() {
    // SAFETY: the thread was interrupted unmasked, and all that is left is to pop its registers.
    unsafe { super::irq::unmask() }
}

#[unsafe(naked)]
unsafe extern "C" fn isochron_hosted_preempt() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rax",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "sub rsp, 512",
        "and rsp, -16",
        "fxsave64 [rsp]",
        ".globl isochron_hosted_preempt_saved",
        "isochron_hosted_preempt_saved:",
        // Threads that gave way by themselves go on with what is set here.
        "fninit",
        "ldmxcsr [rip + {mxcsr}]",
        "cld",
        "call {preempt}",
        "call {unmask}",
        "fxrstor64 [rsp]",
        "lea rsp, [rbp - 72]",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "pop rbp",
        "popfq",
        // Over the red zone, back to where the thread's stack ended.
        "ret 128",
        preempt = sym preempt,
        unmask = sym unmask,
        mxcsr = sym MXCSR,
    )
}
