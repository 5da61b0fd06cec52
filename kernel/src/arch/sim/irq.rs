//! Masking: a flag of the CPU's.

use super::world;

/// Whether interrupts were taken before [`mask`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct State(bool);

impl State {
    /// Whether interrupts were masked then.
    #[inline(always)]
    #[must_use]
    pub const fn is_masked(self) -> bool {
        !self.0
    }
}

/// Masks interrupts; the answer says whether they were masked before.
#[inline]
#[must_use]
pub fn mask() -> State {
    // Memory may be freed or taken next: see `buffer.rs`.
    world::settle();
    State(world::running_cpu().is_some_and(|cpu| cpu.arch.enabled.replace(false)))
}

/// Brings back the state that [`mask`] returned.
///
/// # Safety
/// The state is of this stack's last [`mask`] that was not yet restored, and an interrupt may come from here on.
#[inline]
pub unsafe fn restore(state: State) {
    if state.0 {
        // SAFETY: the caller's promise.
        unsafe { unmask() }
    }
}

/// Takes interrupts from here on, and those that can be seen at once.
///
/// # Safety
/// Nothing relies on their being masked, and handlers are set up.
#[inline]
pub unsafe fn unmask() {
    if let Some(cpu) = world::running_cpu() {
        cpu.arch.enabled.set(true);
    }
    world::point();
}

/// Whether interrupts are masked.
#[inline]
#[must_use]
pub fn are_masked() -> bool {
    !world::running_cpu().is_some_and(|cpu| cpu.arch.enabled.get())
}
