//! Where packed threads are preempted.
//!
//! The registers of a preempted thread lie on its own stack, and so do the frames of the switch. A packed thread (see
//! [`crate::memory::packed`]) has no room for them: on ARM64 the registers alone are 736 bytes. It gets an *area* for as long as
//! it is preempted: an ordinary stack of a page, with a guard, out of the pool. The ports put the registers there and call
//! [`crate::trap::preempt`] on it; when the thread is chosen again, the area is given back and the thread goes on, on its slot.
//!
//! So only as many areas are in use as packed threads are preempted, and wait. Without memory for one, the thread is not
//! preempted: it goes on, and the next interrupt asks again.
//!
//! # Given back while in use
//! The last steps of going on read the registers out of the area that has just been given back. That is sound because they run
//! with interrupts masked, and what is given back stays this CPU's own until its next preemption: [`Areas`] keeps it.

use crate::cpu::this_cpu;
use crate::hooks;
use crate::memory::Stack;
use crate::memory::magazine::Magazine;
use crate::memory::stack::HEADER;
use core::num::NonZero;
use isochron_boot::layout::is_packed;

/// Bytes of an area. Stacks of this size are aligned to it.
const SIZE: usize = 4096;

/// The areas that a CPU has ready. It touches them with interrupts masked.
pub(crate) struct Areas {
    tops: Magazine<7>,
}

impl Areas {
    pub(crate) const fn new() -> Self {
        Self { tops: Magazine::new(7) }
    }

    /// Bytes of them.
    pub(crate) fn bytes(&self) -> usize {
        self.tops.len() * SIZE
    }
}

/// An area for the running packed thread, whose stack pointer is `sp`: its top, or 0 if there is no memory. Interrupts are masked.
pub(crate) fn take(sp: usize) -> usize {
    // If it has overflowed, the way to the next thread finds that: there is a stack to tell it on.
    let _ = hooks::isochron_packed_interrupted(sp);
    let ready = this_cpu().areas.tops.pop();
    ready.unwrap_or_else(|| Stack::new(SIZE).map_or(0, |stack| stack.into_raw().get()))
}

/// The area that was given back last, once more. Interrupts were masked all the time since.
#[cfg(all(isochron_hosted, not(isochron_sim)))]
pub(crate) fn take_again() {
    let area = this_cpu().areas.tops.pop();
    debug_assert!(area.is_some(), "an area was given back, and is gone");
}

/// Gives back the area that `sp` is in. Interrupts are masked.
///
/// # Safety
/// [`take`] gave it. It is left before interrupts are unmasked on this CPU.
pub(crate) unsafe fn give(sp: usize) {
    let tops = &this_cpu().areas.tops;
    let top = (sp & !(SIZE - 1)) + SIZE - HEADER;
    if !tops.push(top) {
        // Another one goes; this one is still in use.
        let other = tops.pop().and_then(NonZero::new);
        // SAFETY: `take` got it by `into_raw`, with this size, and nobody uses it.
        drop(other.map(|other| unsafe { Stack::from_raw(other, SIZE) }));
        let _ = tops.push(top);
    }
}

/// For a packed thread that ends while it is preempted: if the stack pointer is in an area, gives that back.
///
/// # Safety
/// In a packed thread's context, interrupts masked; whoever calls leaves this stack for good, before they are unmasked.
pub unsafe fn give_running() {
    let here = 0_u8;
    let sp = core::hint::black_box(&raw const here).addr();
    if !is_packed(sp) {
        // SAFETY: a packed thread's context is on its slot, or in an area; the rest is the caller's promise.
        unsafe { give(sp) }
    }
}
