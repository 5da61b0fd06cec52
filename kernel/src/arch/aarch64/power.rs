//! Ending the machine with a code.
//!
//! Nothing tells a guest whether a semihosting host listens: without one, `HLT #0xf000` is an undefined instruction. So it is
//! tried under vectors of its own, which step over the instruction that caused the exception. The same holds for PSCI's
//! call. Where neither ends the machine (a Pi 4), the CPU halts. (A debugger with halting debug enabled stops at the
//! HLT: that is what it is attached for.)

use super::{cpu, psci, trap};
use core::arch::asm;

/// Semihosting `SYS_EXIT_EXTENDED` and its reason `ADP_Stopped_ApplicationExit` ("Semihosting for AArch32 and AArch64", 6.10).
const SYS_EXIT_EXTENDED: u64 = 0x20;
const APPLICATION_EXIT: u64 = 0x20026;

/// Ends the machine; where it cannot, halts this CPU.
pub fn exit(code: u8) -> ! {
    let block = [APPLICATION_EXIT, u64::from(code)];
    // SAFETY: everything is masked, so the only exception that can come is that of the HLT, which the vectors step over,
    // with x0 and x17 changed. The host reads the block only.
    unsafe {
        asm!(
            "msr daifset, #0xf",
            "msr vbar_el1, {vectors}",
            "isb",
            "hlt #0xf000",
            vectors = in(reg) trap::step_over_vectors(),
            inout("x0") SYS_EXIT_EXTENDED => _,
            in("x1") &raw const block,
            out("x17") _,
            options(nostack)
        );
    }
    // Its call may change x0 to x17, so the vectors may too.
    psci::system_off();
    cpu::halt()
}
