//! x86-64: all general registers but rdi, rcx and rsp, the flags, MXCSR, xmm0 to xmm15, the red zone.

use super::Block;
use alloc::format;
use alloc::string::String;
use core::arch::{asm, naked_asm};
use core::sync::atomic::AtomicU64;

/// rdi is the block and rcx works, so neither is watched.
pub const WORDS: usize = 64;
const GENERAL: [&str; 13] = ["rax", "rbx", "rdx", "rsi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
const FLAGS: usize = 14;
const MXCSR: usize = 15;
const XMM: usize = 16;
const RED_ZONE: usize = 48;

/// Carry, parity, auxiliary carry, zero, sign, direction, overflow (Intel SDM vol. 1, 3.4.3).
const FLAGS_MASK: u64 = 0b1100_1101_0101;
/// Sticky exceptions, rounding, flush to zero (Intel SDM vol. 1, 10.2.3).
const MXCSR_MASK: u64 = 0b1110_0000_0011_1111;
/// All exceptions masked.
const MXCSR_ALWAYS: u64 = 0b1_1111_1000_0000;
/// Interrupts on, and the bit that is always 1.
const FLAGS_ALWAYS: u64 = 1 << 9 | 2;

/// Takes bits out of the control words that must not be set, and sets those that must be.
pub fn make_valid(fill: &mut [u64; WORDS]) {
    fill[FLAGS] = fill[FLAGS] & FLAGS_MASK | FLAGS_ALWAYS;
    fill[MXCSR] = fill[MXCSR] & MXCSR_MASK | MXCSR_ALWAYS;
}

/// The bits of a word that are compared.
pub const fn mask(word: usize) -> u64 {
    match word {
        0 => 0,
        FLAGS => FLAGS_MASK | FLAGS_ALWAYS,
        MXCSR => MXCSR_MASK | MXCSR_ALWAYS,
        _ => u64::MAX,
    }
}

/// The register behind a word.
pub fn name(word: usize) -> String {
    match word {
        FLAGS => "rflags".into(),
        MXCSR => "mxcsr".into(),
        1..FLAGS => GENERAL[word - 1].into(),
        XMM..RED_ZONE => {
            format!("xmm{} ({} half)", (word - XMM) / 2, if word.is_multiple_of(2) { "low" } else { "high" })
        }
        _ => format!("red zone word {}", word - RED_ZONE),
    }
}

/// The rounding mode and its like, as this thread has it.
#[must_use]
pub fn float_control() -> u64 {
    let mut value = 0u32;
    // SAFETY: stores a register that every thread may read into a word of this function's own.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    // Without the sticky bits: arithmetic sets them.
    u64::from(value) & MXCSR_MASK & !0x3f
}

/// Executes an instruction that no CPU knows (Intel SDM vol. 2, UD2).
pub fn illegal_instruction() {
    // SAFETY: it faults; nothing after it runs.
    unsafe { asm!("ud2") };
}

/// Calls `function` with the stack pointer at `sp`.
///
/// # Safety
/// Below `sp`, a multiple of 16, is a stack for it.
pub unsafe fn call_at(sp: usize, function: extern "C" fn(usize), argument: usize) {
    // SAFETY: r12 is kept by the function, so the stack pointer comes back; the rest is the caller's promise.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {sp}",
            "call {function}",
            "mov rsp, r12",
            sp = in(reg) sp,
            function = in(reg) function,
            in("rdi") argument,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}

/// Spins with the stack pointer at `sp`, and touches nothing below it, until `stop` is not 0.
///
/// # Safety
/// Below `sp`, a multiple of 16, is a stack.
pub unsafe fn spin_at(sp: usize, stop: &AtomicU64) {
    // SAFETY: the stack pointer comes back; the word is read.
    unsafe {
        asm!(
            "mov {kept}, rsp",
            "mov rsp, {sp}",
            "2: cmp qword ptr [{stop}], 0",
            "je 2b",
            "mov rsp, {kept}",
            kept = out(reg) _,
            sp = in(reg) sp,
            stop = in(reg) stop.as_ptr(),
        );
    }
}

/// # Safety
/// Word 0 is the address of a 64-bit word that stays readable; the control words are valid.
#[unsafe(naked)]
pub unsafe extern "C" fn fill_and_spin(block: *mut Block) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        // Filling the flags uses the word that is the top of the red zone, so it comes before that.
        "ldmxcsr [rdi + 120]",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movups xmm\\i, [rdi + 128 + 16 * \\i]",
        ".endr",
        "push qword ptr [rdi + 112]",
        "popfq",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "mov rax, [rdi + 384 + 8 * \\i]",
        "mov [rsp - 128 + 8 * \\i], rax",
        ".endr",
        "mov rax, [rdi + 8]",
        "mov rbx, [rdi + 16]",
        "mov rdx, [rdi + 24]",
        "mov rsi, [rdi + 32]",
        "mov rbp, [rdi + 40]",
        "mov r8, [rdi + 48]",
        "mov r9, [rdi + 56]",
        "mov r10, [rdi + 64]",
        "mov r11, [rdi + 72]",
        "mov r12, [rdi + 80]",
        "mov r13, [rdi + 88]",
        "mov r14, [rdi + 96]",
        "mov r15, [rdi + 104]",
        // No instruction here touches a register that is watched, nor the flags. The first may find no page.
        "mov rcx, [rdi + 1024]",
        "jrcxz 2f",
        "mov byte ptr [rcx], 0",
        "2: mov rcx, [rdi]",
        "mov rcx, [rcx]",
        "jrcxz 2b",
        "mov [rdi + 512 + 8], rax",
        "mov [rdi + 512 + 16], rbx",
        "mov [rdi + 512 + 24], rdx",
        "mov [rdi + 512 + 32], rsi",
        "mov [rdi + 512 + 40], rbp",
        "mov [rdi + 512 + 48], r8",
        "mov [rdi + 512 + 56], r9",
        "mov [rdi + 512 + 64], r10",
        "mov [rdi + 512 + 72], r11",
        "mov [rdi + 512 + 80], r12",
        "mov [rdi + 512 + 88], r13",
        "mov [rdi + 512 + 96], r14",
        "mov [rdi + 512 + 104], r15",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "mov rax, [rsp - 128 + 8 * \\i]",
        "mov [rdi + 512 + 384 + 8 * \\i], rax",
        "movups [rdi + 512 + 128 + 16 * \\i], xmm\\i",
        ".endr",
        "pushfq",
        "pop qword ptr [rdi + 512 + 112]",
        "cld",
        "stmxcsr [rdi + 512 + 120]",
        "ldmxcsr [rsp]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}
