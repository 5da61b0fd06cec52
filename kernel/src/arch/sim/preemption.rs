//! Preemption is a call at a point, and saves nothing by itself. A packed thread makes it in an area ([`crate::areas`]).

use crate::{areas, trap};
use core::arch::naked_asm;
use isochron_boot::layout::is_packed;

/// Whether the instruction at an address saves the registers of a thread that is being preempted: there is none.
pub(super) const fn is_saving(_pc: usize) -> bool {
    false
}

/// Has the running thread preempted. Interrupts are masked.
pub(super) fn preempt() {
    let here = 0_u8;
    let sp = core::hint::black_box(&raw const here).addr();
    if !is_packed(sp) {
        return trap::preempt();
    }
    let area = areas::take(sp);
    if area == 0 {
        // No memory: it goes on, and the next interrupt asks again.
        return;
    }
    // SAFETY: an area is a stack that nobody else uses, and it is left before it is given back, interrupts masked all the time.
    unsafe {
        call_on(area, call);
        areas::give(area - 1);
    }
}

extern "C" fn call() {
    trap::preempt();
}

/// Calls `function` on the stack that ends at `top`.
///
/// # Safety
/// There is room for it, and nobody else uses that stack.
#[unsafe(naked)]
unsafe extern "C" fn call_on(top: usize, function: extern "C" fn()) {
    naked_asm!("push rbp", "mov rbp, rsp", "mov rsp, rdi", "call rsi", "mov rsp, rbp", "pop rbp", "ret")
}
