//! The voluntary switch from one stack to another.
//!
//! A context is a stack pointer; the stack holds the rest. The switch is inline assembly that declares every register
//! clobbered, not a function of its own: the compiler then saves what is alive at that place, once, together with what
//! the surrounding function saves anyway. In a function that never returns (a worker's loop) that is next to nothing; in
//! one that returns to unknown callers it is the callee-saved set, which a call to a switch function would have saved on
//! top of what its caller saved. Only x19 (which the compiler keeps for itself), the frame pointer and the address to go
//! on at are left to the assembly: 10 instructions.
//!
//! `FPCR` is not switched: it is 0 wherever a switch is made. Rust does not allow a thread to change it; one that does, in
//! assembly, keeps it to itself as long as it does not switch of its own will, because preemption saves and clears it.

use core::arch::{asm, naked_asm};
use isochron_boot::VirtAddr;

/// A stack that is not running: its stack pointer.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct Context {
    sp: usize,
}

/// What lies at a context's stack pointer.
#[repr(C)]
struct Saved {
    x19: usize,
    frame_pointer: usize,
    pc: usize,
    /// Only [`enter`] reads it.
    entry: usize,
}

const _: () = assert!(size_of::<Saved>() == 32);

/// A stack prepared so that the first switch to it calls `entry(argument)` with interrupts masked.
///
/// # Safety
/// The 32 bytes below `stack_top`, which is a multiple of 16, are writable, and nobody else uses the stack.
#[must_use]
pub unsafe fn prepare(stack_top: VirtAddr, entry: extern "C" fn(*mut ()) -> !, argument: *mut ()) -> Context {
    let sp = stack_top.as_usize() - size_of::<Saved>();
    let saved = Saved {
        x19: argument.expose_provenance(),
        frame_pointer: 0,
        pc: enter as *const () as usize,
        entry: entry as usize,
    };
    // SAFETY: the caller's.
    unsafe { VirtAddr::new(sp).as_mut_ptr::<Saved>().write(saved) };
    Context { sp }
}

/// The first code on a prepared stack: the end of its frame-pointer chain.
#[unsafe(naked)]
unsafe extern "C" fn enter() -> ! {
    naked_asm!("mov x0, x19", "mov x30, xzr", "br x3")
}

/// Saves the running context to `from` and goes on with `to`. Returns when somebody switches back to `from`.
///
/// # Safety
/// Interrupts are masked. `to` was written by [`prepare`] or by a switch, and has not been switched to since. `from` is
/// writable and stays so.
#[inline(always)]
pub unsafe fn switch(from: *mut Context, to: *const Context) {
    // SAFETY: everything is declared clobbered but x19, x29 and sp, which the assembly keeps itself. There is no red zone
    // on ARM64. The rest is the caller's.
    unsafe {
        asm!(
            "adr x2, 2f",
            "stp x19, x29, [sp, #-32]!",
            "mov x3, sp",
            "str x2, [sp, #16]",
            "ldr x2, [x1]",
            "str x3, [x0]",
            "mov sp, x2",
            "ldp x2, x3, [sp, #16]",
            "ldp x19, x29, [sp], #32",
            "br x2",
            "2:",
            inout("x0") from => _,
            inout("x1") to => _,
            out("x20") _, out("x21") _, out("x22") _, out("x23") _, out("x24") _,
            out("x25") _, out("x26") _, out("x27") _, out("x28") _,
            clobber_abi("C"),
        );
    }
}

/// Goes on with `to`, for good: nothing of the running context is saved.
///
/// # Safety
/// As for [`switch`], but for `from`; whatever is on the running stack is never used again.
#[inline(always)]
pub unsafe fn jump(to: *const Context) -> ! {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "ldr x2, [x1]",
            "mov sp, x2",
            "ldp x2, x3, [sp, #16]",
            "ldp x19, x29, [sp], #32",
            "br x2",
            in("x1") to,
            options(noreturn),
        )
    }
}
