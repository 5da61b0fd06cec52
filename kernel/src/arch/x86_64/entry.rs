//! The entries of interrupts and exceptions, and the way to the one preemption boundary.
//!
//! An interrupt lands on the CPU's interrupt stack (IST). It saves what a call may clobber: nine general registers,
//! `rbp` (for backtraces), all of `xmm0` to `xmm15` and MXCSR, because Rust code uses SSE everywhere. Its handler says
//! whether the interrupted thread is to be preempted. If so, the words that `iretq` takes are moved to the thread's own
//! stack, 128 bytes below its stack pointer (the prebuilt core library uses the red zone), and the interrupt returns to
//! `preempt_here` with interrupts masked and every register as it was. `preempt_here` saves all that a call may clobber
//! on the thread's stack, calls the runtime, and goes on with the thread, perhaps much later and on another CPU. Thus no
//! thread's frame ever stays on an interrupt stack.
//!
//! A packed thread has no room for that: its words and registers go to an area instead ([`crate::areas`]).
//!
//! An interrupt is taken only by code that runs unmasked, so it never interrupts a handler, and a thread's stack
//! pointer is always a thread's. Exceptions end in a report: their entry saves all, and has no way back. But for page faults
//! by which a stack grows or a page is unfolded: these may strike wherever something is written to a thread's stack, in the way to
//! the preemption boundary too, or in a handler or a report, and go back.

use super::descriptors::{IST_FATAL, IST_FAULT, IST_INTERRUPT, IST_NMI, IST_PAGE_FAULT};
use super::{interrupts, trap};
use crate::areas;
use crate::cpu::this_cpu;
use core::arch::global_asm;
use isochron_boot::layout::PACKED_BIT;
use x86_64::VirtAddr;
use x86_64::structures::idt::{EntryOptions, InterruptDescriptorTable};

/// MXCSR after reset: all exceptions masked, round to nearest.
const MXCSR: u32 = 0x1f80;
/// Bytes of `xmm0` to `xmm15`, MXCSR, and what aligns the stack.
const SSE_AREA: u32 = 16 * 16 + 8;

global_asm!(
    // Saves what a call may clobber, below the words that the CPU (or a preemption) pushed. The stack pointer is 8 off
    // a multiple of 16 before, and a multiple of 16 afterwards.
    ".macro isochron_save",
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
    "isochron_save_sse",
    "cld",
    ".endm",

    // The floating-point registers and MXCSR, below a stack pointer that is 8 off a multiple of 16.
    ".macro isochron_save_sse",
    "sub rsp, {sse_area}",
    "movaps [rsp], xmm0",
    "movaps [rsp + 16], xmm1",
    "movaps [rsp + 32], xmm2",
    "movaps [rsp + 48], xmm3",
    "movaps [rsp + 64], xmm4",
    "movaps [rsp + 80], xmm5",
    "movaps [rsp + 96], xmm6",
    "movaps [rsp + 112], xmm7",
    "movaps [rsp + 128], xmm8",
    "movaps [rsp + 144], xmm9",
    "movaps [rsp + 160], xmm10",
    "movaps [rsp + 176], xmm11",
    "movaps [rsp + 192], xmm12",
    "movaps [rsp + 208], xmm13",
    "movaps [rsp + 224], xmm14",
    "movaps [rsp + 240], xmm15",
    "stmxcsr [rsp + 256]",
    "ldmxcsr [rip + isochron_mxcsr]",
    ".endm",

    ".macro isochron_restore_sse",
    "movaps xmm0, [rsp]",
    "movaps xmm1, [rsp + 16]",
    "movaps xmm2, [rsp + 32]",
    "movaps xmm3, [rsp + 48]",
    "movaps xmm4, [rsp + 64]",
    "movaps xmm5, [rsp + 80]",
    "movaps xmm6, [rsp + 96]",
    "movaps xmm7, [rsp + 112]",
    "movaps xmm8, [rsp + 128]",
    "movaps xmm9, [rsp + 144]",
    "movaps xmm10, [rsp + 160]",
    "movaps xmm11, [rsp + 176]",
    "movaps xmm12, [rsp + 192]",
    "movaps xmm13, [rsp + 208]",
    "movaps xmm14, [rsp + 224]",
    "movaps xmm15, [rsp + 240]",
    "ldmxcsr [rsp + 256]",
    "add rsp, {sse_area}",
    ".endm",

    ".macro isochron_restore",
    "isochron_restore_sse",
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
    "iretq",
    ".endm",

    ".macro isochron_interrupt name, handler",
    ".balign 16",
    "\\name:",
    "isochron_save",
    "call \\handler",
    "test al, al",
    "jnz isochron_to_preemption",
    "isochron_restore",
    ".endm",

    ".pushsection .text.hot.entry, \"ax\", @progbits",
    "isochron_interrupt isochron_on_timer_entry, {timer}",
    "isochron_interrupt isochron_on_wake_entry, {wake}",
    "isochron_interrupt isochron_on_probe_entry, {probe}",
    "isochron_interrupt isochron_on_stop_entry, {stop}",
    "isochron_interrupt isochron_on_other_entry, {other}",

    // A spurious interrupt of the local APIC is not acknowledged (SDM vol. 3, 11.9).
    ".balign 16",
    "isochron_on_spurious_entry:",
    "iretq",

    // `rbp` points at the saved rbp; above it: rip, cs, rflags, rsp, ss.
    ".balign 16",
    ".global isochron_to_preemption",
    "isochron_to_preemption:",
    "mov rax, [rbp + 32]",
    "bt rax, {packed_bit}",
    "jc isochron_to_area",
    "sub rax, 128 + 40",
    "and rax, -16",
    "sub rax, 8",
    "movups xmm0, [rbp + 8]",
    "movups xmm1, [rbp + 24]",
    "mov rcx, [rbp + 40]",
    "movups [rax], xmm0",
    "movups [rax + 16], xmm1",
    "mov [rax + 32], rcx",
    "lea rcx, [rip + isochron_preempt_here]",
    "mov [rbp + 8], rcx",
    "and qword ptr [rbp + 24], {flags_kept}",
    "mov [rbp + 32], rax",
    "isochron_restore",

    ".balign 16",
    "isochron_preempt_here:",
    "isochron_save",
    ".global isochron_preempt_saved",
    "isochron_preempt_saved:",
    "call {preempt}",
    "isochron_restore",

    // A packed thread: the same, in an area. Without memory for one it goes on.
    ".balign 16",
    "isochron_to_area:",
    "mov rdi, rax",
    "call {take_area}",
    "test rax, rax",
    "jz 2f",
    "sub rax, 56",
    "movups xmm0, [rbp + 8]",
    "movups xmm1, [rbp + 24]",
    "mov rcx, [rbp + 40]",
    "movups [rax], xmm0",
    "movups [rax + 16], xmm1",
    "mov [rax + 32], rcx",
    "lea rcx, [rip + isochron_preempt_in_area]",
    "mov [rbp + 8], rcx",
    "and qword ptr [rbp + 24], {flags_kept}",
    "mov [rbp + 32], rax",
    "2:",
    "isochron_restore",

    // Interrupts stay masked up to the last instruction, so the area is still this thread's when it is given back.
    ".balign 16",
    "isochron_preempt_in_area:",
    "isochron_save",
    "call {preempt}",
    "mov rdi, rsp",
    "call {give_area}",
    "isochron_restore",
    ".popsection",

    ".pushsection .rodata.isochron_mxcsr, \"a\", @progbits",
    ".balign 4",
    "isochron_mxcsr: .long {mxcsr}",
    ".popsection",

    // Exceptions: one entry each, 16 bytes apart, all with an error code, their own or 0.
    ".pushsection .text.isochron_exceptions, \"ax\", @progbits",
    ".balign 16",
    "isochron_exception_entries:",
    ".set isochron_vector, 0",
    ".rept 32",
    ".balign 16",
    ".if {error_codes} & (1 << isochron_vector) == 0",
    "push 0",
    ".endif",
    "push isochron_vector",
    ".if isochron_vector == {page_fault}",
    "jmp isochron_on_page_fault",
    ".else",
    "jmp isochron_on_exception",
    ".endif",
    ".set isochron_vector, isochron_vector + 1",
    ".endr",

    ".macro isochron_save_frame",
    "push rbp",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "cld",
    ".endm",

    // A stack may have to grow: then there is a way back. The stack pointer was a multiple of 16 before the CPU pushed its
    // six words; with vector and registers they are 22.
    "isochron_on_page_fault:",
    "isochron_save_frame",
    "mov rdi, rsp",
    "sub rsp, 8",
    "isochron_save_sse",
    "call {grow}",
    "mov ecx, eax",
    "isochron_restore_sse",
    "add rsp, 8",
    "test cl, cl",
    "jz isochron_on_page_fault_for_good",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "pop rbp",
    "add rsp, 16",
    "iretq",

    // Its report may touch pages that are folded: it goes to the stack of the other exceptions, and leaves this one to those.
    "isochron_on_page_fault_for_good:",
    "call {fault_stack}",
    "lea rdi, [rax - {trap_frame}]",
    "mov rsi, rsp",
    "mov ecx, {trap_frame} / 8",
    "mov rsp, rdi",
    "rep movsq",
    "jmp isochron_on_saved_exception",

    "isochron_on_exception:",
    "isochron_save_frame",
    "isochron_on_saved_exception:",
    "ldmxcsr [rip + isochron_mxcsr]",
    "mov rdi, rsp",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {exception}",
    "ud2",
    ".popsection",

    sse_area = const SSE_AREA,
    mxcsr = const MXCSR,
    // Without interrupt, trap and direction flag.
    flags_kept = const -0x701_i32,
    error_codes = const ERROR_CODES,
    timer = sym interrupts::on_timer,
    wake = sym interrupts::on_wake,
    probe = sym interrupts::on_probe,
    stop = sym interrupts::on_stop,
    other = sym interrupts::on_other,
    preempt = sym interrupts::preempt,
    packed_bit = const PACKED_BIT,
    take_area = sym take_area,
    give_area = sym give_area,
    exception = sym trap::exception,
    grow = sym trap::grow,
    fault_stack = sym fault_stack,
    trap_frame = const size_of::<trap::TrapFrame>(),
    page_fault = const trap::PAGE_FAULT,
);

/// Where the stack for exceptions that are reported ends.
extern "C" fn fault_stack() -> usize {
    this_cpu().arch.fault_stack.get()
}

/// Called on the interrupt stack, masked.
extern "C" fn take_area(sp: usize) -> usize {
    areas::take(sp)
}

/// Called in the area, masked; `iretq` leaves it.
extern "C" fn give_area(sp: usize) {
    // SAFETY: `take_area` took it, and it is left with interrupts masked.
    unsafe { areas::give(sp) }
}

/// The vectors for which the CPU pushes an error code: 8, 10 to 14, 17, 21, 29, 30.
const ERROR_CODES: u32 = 1 << 8 | 0x1f << 10 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30;

unsafe extern "C" {
    fn isochron_on_timer_entry();
    fn isochron_on_wake_entry();
    fn isochron_on_probe_entry();
    fn isochron_on_stop_entry();
    fn isochron_on_other_entry();
    fn isochron_on_spurious_entry();
    fn isochron_exception_entries();
    fn isochron_to_preemption();
    fn isochron_preempt_saved();
}

/// Whether the instruction at `pc` saves the registers of a thread that is being preempted on its own stack.
pub(super) fn is_saving(pc: usize) -> bool {
    (isochron_to_preemption as *const () as usize..isochron_preempt_saved as *const () as usize).contains(&pc)
}

fn set(options: &mut EntryOptions, stack: u16) {
    // SAFETY: every stack of the task state is set before the vectors are loaded, and no two kinds share one that can
    // strike in one another.
    unsafe { options.set_stack_index(stack) };
}

/// Fills the table: all vectors through interrupt gates, so that handlers run masked.
///
/// # Safety
/// The table is not in use yet.
pub unsafe fn fill(idt: &mut InterruptDescriptorTable) {
    let exceptions = isochron_exception_entries as *const () as u64;
    let at = |vector: u64| VirtAddr::new(exceptions + vector * 16);
    // SAFETY: the entries are made for these vectors, with and without error code.
    unsafe {
        set(idt.divide_error.set_handler_addr(at(0)), IST_FAULT);
        set(idt.debug.set_handler_addr(at(1)), IST_FAULT);
        set(idt.non_maskable_interrupt.set_handler_addr(at(2)), IST_NMI);
        set(idt.breakpoint.set_handler_addr(at(3)), IST_FAULT);
        set(idt.overflow.set_handler_addr(at(4)), IST_FAULT);
        set(idt.bound_range_exceeded.set_handler_addr(at(5)), IST_FAULT);
        set(idt.invalid_opcode.set_handler_addr(at(6)), IST_FAULT);
        set(idt.device_not_available.set_handler_addr(at(7)), IST_FAULT);
        set(idt.double_fault.set_handler_addr(at(8)), IST_FATAL);
        set(idt.invalid_tss.set_handler_addr(at(10)), IST_FAULT);
        set(idt.segment_not_present.set_handler_addr(at(11)), IST_FAULT);
        set(idt.stack_segment_fault.set_handler_addr(at(12)), IST_FAULT);
        set(idt.general_protection_fault.set_handler_addr(at(13)), IST_FAULT);
        set(idt.page_fault.set_handler_addr(at(14)), IST_PAGE_FAULT);
        set(idt.x87_floating_point.set_handler_addr(at(16)), IST_FAULT);
        set(idt.alignment_check.set_handler_addr(at(17)), IST_FAULT);
        set(idt.machine_check.set_handler_addr(at(18)), IST_FATAL);
        set(idt.simd_floating_point.set_handler_addr(at(19)), IST_FAULT);
        set(idt.virtualization.set_handler_addr(at(20)), IST_FAULT);
        set(idt.cp_protection_exception.set_handler_addr(at(21)), IST_FAULT);
        set(idt.hv_injection_exception.set_handler_addr(at(28)), IST_FAULT);
        set(idt.vmm_communication_exception.set_handler_addr(at(29)), IST_FAULT);
        set(idt.security_exception.set_handler_addr(at(30)), IST_FAULT);
        for vector in 32..=255_u8 {
            let entry = match vector {
                interrupts::TIMER => isochron_on_timer_entry,
                interrupts::WAKE => isochron_on_wake_entry,
                interrupts::PROBE => isochron_on_probe_entry,
                interrupts::STOP => isochron_on_stop_entry,
                interrupts::SPURIOUS => isochron_on_spurious_entry,
                _ => isochron_on_other_entry,
            };
            set(idt[vector].set_handler_addr(VirtAddr::new(entry as *const () as u64)), IST_INTERRUPT);
        }
    }
}
