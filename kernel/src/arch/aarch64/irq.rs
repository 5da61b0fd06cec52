//! Masking interrupts: the I and F bits of `DAIF`.

use core::arch::asm;

/// `DAIF` as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State(u64);

/// `DAIF.I`: IRQs are masked.
const I: u64 = 1 << 7;

impl State {
    /// Whether interrupts were masked then.
    #[inline(always)]
    #[must_use]
    pub const fn is_masked(self) -> bool {
        self.0 & I != 0
    }
}

/// Masks interrupts; the answer is what [`restore`] takes.
#[inline(always)]
#[must_use = "the state before must be restored"]
pub fn mask() -> State {
    let before;
    // SAFETY: fewer interrupts break nobody. Memory is clobbered, so that no access moves out of the masked section.
    unsafe { asm!("mrs {}, daif", "msr daifset, #3", out(reg) before, options(nostack, preserves_flags)) };
    State(before)
}

/// Puts back what [`mask`] returned.
///
/// # Safety
/// Nothing that relies on interrupts being masked may be under way, but what relied on it before that `mask`.
#[inline(always)]
pub unsafe fn restore(state: State) {
    // SAFETY: the caller's.
    unsafe { asm!("msr daif, {}", in(reg) state.0, options(nostack, preserves_flags)) };
}

/// Unmasks interrupts.
///
/// # Safety
/// Nothing that relies on interrupts being masked may be under way; vectors and stacks are set up.
#[inline(always)]
pub unsafe fn unmask() {
    // SAFETY: the caller's.
    unsafe { asm!("msr daifclr, #3", options(nostack, preserves_flags)) };
}

/// Whether interrupts are masked.
#[inline(always)]
#[must_use]
pub fn are_masked() -> bool {
    let daif: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, daif", out(reg) daif, options(nomem, nostack, preserves_flags)) };
    daif & I != 0
}
