//! Where a backtrace begins: the same for all ports of this architecture.

use core::arch::asm;

/// The caller's frame pointer.
#[inline(always)]
#[must_use]
pub fn frame_pointer() -> usize {
    let frame;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) }
    frame
}
