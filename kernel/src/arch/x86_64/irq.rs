//! Masking: the interrupt flag in `RFLAGS` (Intel SDM vol. 3, 6.8.1).

use core::arch::asm;

/// `RFLAGS.IF`: set while interrupts are taken.
const IF: u64 = 1 << 9;

/// `RFLAGS` as it was before [`mask`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct State(u64);

impl State {
    /// Whether interrupts were masked then.
    #[inline(always)]
    #[must_use]
    pub const fn is_masked(self) -> bool {
        self.0 & IF == 0
    }
}

#[inline(always)]
fn flags() -> u64 {
    let flags;
    // SAFETY: reads the flags; the word pushed is popped again.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) }
    flags
}

/// Masks interrupts; the answer says whether they were masked before.
#[inline(always)]
#[must_use]
pub fn mask() -> State {
    let flags;
    // SAFETY: taking fewer interrupts is always sound. No `nomem`: what follows must stay behind the masking.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) }
    State(flags)
}

/// Brings back the state that [`mask`] returned.
///
/// # Safety
/// The state is of this stack's last [`mask`] that was not yet restored, and an interrupt may come from here on.
#[inline(always)]
pub unsafe fn restore(state: State) {
    if state.0 & IF != 0 {
        // SAFETY: the caller's promise.
        unsafe { unmask() }
    }
}

/// Takes interrupts from here on.
///
/// # Safety
/// Nothing relies on their being masked, and handlers are set up.
#[inline(always)]
pub unsafe fn unmask() {
    // SAFETY: the caller's promise. No `nomem`: what came before must stay before.
    unsafe { asm!("sti", options(nostack)) }
}

/// Whether interrupts are masked.
#[inline(always)]
#[must_use]
pub fn are_masked() -> bool {
    flags() & IF == 0
}
