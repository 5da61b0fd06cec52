//! ARM64: x2 to x30, the flags, the floating-point control and status, q0 to q31.

use super::Block;
use alloc::format;
use alloc::string::String;
use core::arch::{asm, naked_asm};
use core::sync::atomic::AtomicU64;

/// x0 is the block and x1 works, so neither is watched. Word `i` is `x[i]` for 2 to 30.
pub const WORDS: usize = 98;
const NZCV: usize = 31;
const FPCR: usize = 32;
const FPSR: usize = 33;
const Q: usize = 34;

/// Rounding mode, flush to zero, default NaN (Arm ARM, C5.2.8).
const FPCR_MASK: u64 = 0b1111 << 22;
/// Cumulative exception bits and saturation (Arm ARM, C5.2.10).
const FPSR_MASK: u64 = 0b1001_1111 | 1 << 27;

/// Takes bits out of the control words that must not be set.
pub fn make_valid(fill: &mut [u64; WORDS]) {
    fill[NZCV] &= 0xf << 28;
    fill[FPCR] &= FPCR_MASK;
    fill[FPSR] &= FPSR_MASK;
}

/// The bits of a word that are compared.
pub const fn mask(word: usize) -> u64 {
    match word {
        0 | 1 => 0,
        NZCV => 0xf << 28,
        FPCR => FPCR_MASK,
        FPSR => FPSR_MASK,
        _ => u64::MAX,
    }
}

/// The register behind a word.
pub fn name(word: usize) -> String {
    match word {
        NZCV => "nzcv".into(),
        FPCR => "fpcr".into(),
        FPSR => "fpsr".into(),
        2..NZCV => format!("x{word}"),
        _ => format!("q{} ({} half)", (word - Q) / 2, if word.is_multiple_of(2) { "low" } else { "high" }),
    }
}

/// The rounding mode and its like, as this thread has it.
#[must_use]
pub fn float_control() -> u64 {
    let value: u64;
    // SAFETY: reads a register that every thread may read.
    unsafe { asm!("mrs {}, fpcr", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value & FPCR_MASK
}

/// Executes an instruction that no CPU knows (Arm ARM, C6.2.404: permanently undefined).
pub fn illegal_instruction() {
    // SAFETY: it faults; nothing after it runs.
    unsafe { asm!("udf #7") };
}

/// Calls `function` with the stack pointer at `sp`.
///
/// # Safety
/// Below `sp`, a multiple of 16, is a stack for it.
pub unsafe fn call_at(sp: usize, function: extern "C" fn(usize), argument: usize) {
    // SAFETY: x20 is kept by the function, so the stack pointer comes back; the rest is the caller's promise.
    unsafe {
        asm!(
            "mov x20, sp",
            "mov sp, {sp}",
            "blr {function}",
            "mov sp, x20",
            sp = in(reg) sp,
            function = in(reg) function,
            in("x0") argument,
            out("x20") _,
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
            "mov {kept}, sp",
            "mov sp, {sp}",
            "2: ldr {word}, [{stop}]",
            "cbz {word}, 2b",
            "mov sp, {kept}",
            kept = out(reg) _,
            word = out(reg) _,
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
        // What the caller wants back: x19 to x30, d8 to d15, the control register.
        "sub sp, sp, #176",
        "stp x19, x20, [sp]",
        "stp x21, x22, [sp, #16]",
        "stp x23, x24, [sp, #32]",
        "stp x25, x26, [sp, #48]",
        "stp x27, x28, [sp, #64]",
        "stp x29, x30, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mrs x1, fpcr",
        "str x1, [sp, #160]",
        // x18 belongs to the platform; whatever it held comes back too.
        "str x18, [sp, #168]",
        "ldp q0, q1, [x0, #272]",
        "ldp q2, q3, [x0, #304]",
        "ldp q4, q5, [x0, #336]",
        "ldp q6, q7, [x0, #368]",
        "ldp q8, q9, [x0, #400]",
        "ldp q10, q11, [x0, #432]",
        "ldp q12, q13, [x0, #464]",
        "ldp q14, q15, [x0, #496]",
        "ldp q16, q17, [x0, #528]",
        "ldp q18, q19, [x0, #560]",
        "ldp q20, q21, [x0, #592]",
        "ldp q22, q23, [x0, #624]",
        "ldp q24, q25, [x0, #656]",
        "ldp q26, q27, [x0, #688]",
        "ldp q28, q29, [x0, #720]",
        "ldp q30, q31, [x0, #752]",
        "ldr x1, [x0, #264]",
        "msr fpsr, x1",
        "ldr x1, [x0, #256]",
        "msr fpcr, x1",
        "ldr x1, [x0, #248]",
        "msr nzcv, x1",
        ".irp i, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, \
         29, 30",
        "ldr x\\i, [x0, #(8 * \\i)]",
        ".endr",
        // No instruction here touches a register that is watched, nor the flags. The first may find no page.
        "ldr x1, [x0, #1568]",
        "cbz x1, 2f",
        "str xzr, [x1]",
        "2: ldr x1, [x0]",
        "ldr x1, [x1]",
        "cbz x1, 2b",
        "add x1, x0, #784",
        ".irp i, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, \
         29, 30",
        "str x\\i, [x1, #(8 * \\i)]",
        ".endr",
        "mrs x2, nzcv",
        "mrs x3, fpcr",
        "mrs x4, fpsr",
        "str x2, [x1, #248]",
        "stp x3, x4, [x1, #256]",
        "stp q0, q1, [x1, #272]",
        "stp q2, q3, [x1, #304]",
        "stp q4, q5, [x1, #336]",
        "stp q6, q7, [x1, #368]",
        "stp q8, q9, [x1, #400]",
        "stp q10, q11, [x1, #432]",
        "stp q12, q13, [x1, #464]",
        "stp q14, q15, [x1, #496]",
        "stp q16, q17, [x1, #528]",
        "stp q18, q19, [x1, #560]",
        "stp q20, q21, [x1, #592]",
        "stp q22, q23, [x1, #624]",
        "stp q24, q25, [x1, #656]",
        "stp q26, q27, [x1, #688]",
        "stp q28, q29, [x1, #720]",
        "stp q30, q31, [x1, #752]",
        "ldr x18, [sp, #168]",
        "ldr x1, [sp, #160]",
        "msr fpcr, x1",
        "ldp d14, d15, [sp, #144]",
        "ldp d12, d13, [sp, #128]",
        "ldp d10, d11, [sp, #112]",
        "ldp d8, d9, [sp, #96]",
        "ldp x29, x30, [sp, #80]",
        "ldp x27, x28, [sp, #64]",
        "ldp x25, x26, [sp, #48]",
        "ldp x23, x24, [sp, #32]",
        "ldp x21, x22, [sp, #16]",
        "ldp x19, x20, [sp]",
        "add sp, sp, #176",
        "ret",
    )
}
