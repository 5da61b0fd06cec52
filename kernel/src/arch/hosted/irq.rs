//! Masking: a word in the CPU's block that the signal handler asks.
//!
//! Masking and unmasking cost no system call. A signal that arrives while the word says "masked" leaves its bit in the
//! CPU's pending word and goes; [`unmask`] looks there afterwards. No interrupt is lost: the handler runs on the same
//! thread of the host's, so it comes either before the store of [`unmask`], which then sees its bit, or after it, and
//! then takes the interrupt itself. A green thread may be moved to another CPU between the store and the look: then the
//! first CPU's handler has already taken what was pending there, and the look at the second one's word is a look more.
//!
//! Each access is one instruction relative to `gs`, so it is always about one CPU.

use super::cpu::{ENABLED, PENDING};
use super::signals;
use core::arch::asm;

/// The word as it was before [`mask`]: 1 while interrupts are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct State(u32);

impl State {
    /// Whether interrupts were masked then.
    #[inline(always)]
    #[must_use]
    pub const fn is_masked(self) -> bool {
        self.0 == 0
    }
}

/// Masks interrupts; the answer says whether they were masked before.
#[inline(always)]
#[must_use]
pub fn mask() -> State {
    let before;
    // SAFETY: `gs` points at this CPU's block. A thread that is moved between the two instructions was unmasked on the
    // CPU it left and is on the one it came to. No `nomem`: what follows must stay behind the masking.
    unsafe {
        asm!(
            "mov {:e}, gs:[{enabled}]",
            "mov dword ptr gs:[{enabled}], 0",
            out(reg) before,
            enabled = const ENABLED,
            options(nostack, preserves_flags),
        );
    }
    State(before)
}

/// Brings back the state that [`mask`] returned.
///
/// # Safety
/// The state is of this stack's last [`mask`] that was not yet restored, and an interrupt may come from here on.
#[inline(always)]
pub unsafe fn restore(state: State) {
    if state.0 != 0 {
        // SAFETY: the caller's promise.
        unsafe { unmask() }
    }
}

/// Takes interrupts from here on, and those that are pending at once.
///
/// # Safety
/// Nothing relies on their being masked, and handlers are set up.
#[inline(always)]
pub unsafe fn unmask() {
    let pending: u32;
    // SAFETY: as in `mask`; the rest is the caller's promise. No `nomem`: what came before must stay before.
    unsafe {
        asm!(
            "mov dword ptr gs:[{enabled}], 1",
            "mov {:e}, gs:[{pending}]",
            out(reg) pending,
            enabled = const ENABLED,
            pending = const PENDING,
            options(nostack, preserves_flags),
        );
    }
    if pending != 0 {
        signals::take_pending();
    }
}

/// Whether interrupts are masked.
#[inline(always)]
#[must_use]
pub fn are_masked() -> bool {
    let enabled: u32;
    // SAFETY: as in `mask`.
    unsafe {
        asm!("mov {:e}, gs:[{}]", out(reg) enabled, const ENABLED, options(readonly, nostack, preserves_flags));
    }
    enabled == 0
}
