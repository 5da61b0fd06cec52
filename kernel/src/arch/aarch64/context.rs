//! The voluntary switch from one stack to another.
//!
//! A context is a stack pointer and the address to go on at; the stack holds the rest. The switch is inline assembly that declares every register
//! clobbered, not a function of its own: the compiler then saves what is alive at that place, once, together with what
//! the surrounding function saves anyway. In a function that never returns (a worker's loop) that is next to nothing; in
//! one that returns to unknown callers it is the callee-saved set, which a call to a switch function would have saved on
//! top of what its caller saved. Only x19 (which the compiler keeps for itself), the frame pointer and the address to go
//! on at are left to the assembly: 8 instructions. A word goes through it in a register, from who leaves to who goes on.
//!
//! `FPCR` is not switched: it is 0 wherever a switch is made. Rust does not allow a thread to change it; one that does, in
//! assembly, keeps it to itself as long as it does not switch of its own will, because preemption saves and clears it.

use core::arch::{asm, naked_asm};
use isochron_boot::VirtAddr;

/// A stack that is not running.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Context {
    sp: usize,
    pc: usize,
}

impl Context {
    /// The end of the stack, below which it will go on; 0 if it was never prepared.
    #[inline(always)]
    #[must_use]
    pub const fn stack_end(&self) -> usize {
        self.sp
    }

    /// As [`stack_end`](Self::stack_end), of one that somebody may be writing just now: then it may be anything.
    ///
    /// # Safety
    /// There is memory at `context`.
    #[inline]
    #[must_use]
    pub unsafe fn stack_end_of(context: *const Self) -> usize {
        // SAFETY: the caller's promise; one word.
        unsafe { (&raw const (*context).sp).read_volatile() }
    }
}

/// What lies at a context's stack pointer.
#[repr(C)]
struct Saved {
    x19: usize,
    frame_pointer: usize,
}

const _: () = assert!(size_of::<Saved>() == 16);

/// A stack prepared so that the first switch to it calls `entry(argument, message)` with interrupts masked.
///
/// # Safety
/// The 16 bytes below `stack_top`, which is a multiple of 16, are writable, and nobody else uses the stack.
#[must_use]
pub unsafe fn prepare(stack_top: VirtAddr, entry: extern "C" fn(*mut (), usize) -> !, argument: *mut ()) -> Context {
    let sp = stack_top.as_usize() - size_of::<Saved>();
    // As `enter` finds them.
    let saved = Saved { x19: entry as usize, frame_pointer: argument.expose_provenance() };
    // SAFETY: the caller's.
    unsafe { VirtAddr::new(sp).as_mut_ptr::<Saved>().write(saved) };
    Context { sp, pc: enter as *const () as usize }
}

/// The first code on a prepared stack, with the message in x1 and the argument where the frame pointer is to be: the end of
/// its chain.
#[unsafe(naked)]
unsafe extern "C" fn enter() -> ! {
    naked_asm!("mov x0, x29", "mov x29, xzr", "mov x30, xzr", "br x19")
}

/// Saves the running context to `from` and goes on with `to`, which gets `message`. Returns when somebody switches back to
/// `from`, with that one's message.
///
/// # Safety
/// Interrupts are masked. `to` was written by [`prepare`] or by a switch, and has not been switched to since. `from` is
/// writable and stays so.
#[inline(always)]
pub unsafe fn switch(from: *mut Context, to: *const Context, message: usize) -> usize {
    let received;
    // SAFETY: everything is declared clobbered but x19, x29 and sp, which the assembly keeps itself. There is no red zone
    // on ARM64. The rest is the caller's.
    unsafe {
        asm!(
            "adr x4, 2f",
            "stp x19, x29, [sp, #-16]!",
            "mov x3, sp",
            "stp x3, x4, [x0]",
            "ldp x3, x4, [x2]",
            "mov sp, x3",
            "ldp x19, x29, [sp], #16",
            "br x4",
            "2:",
            inout("x0") from => _,
            inout("x2") to => _,
            inout("x1") message => received,
            out("x20") _, out("x21") _, out("x22") _, out("x23") _, out("x24") _,
            out("x25") _, out("x26") _, out("x27") _, out("x28") _,
            clobber_abi("C"),
        );
    }
    received
}

/// Goes on with `to`, which gets `message`, for good: nothing of the running context is saved.
///
/// # Safety
/// As for [`switch`], but for `from`; whatever is on the running stack is never used again.
#[inline(always)]
pub unsafe fn jump(to: *const Context, message: usize) -> ! {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "ldp x3, x4, [x2]",
            "mov sp, x3",
            "ldp x19, x29, [sp], #16",
            "br x4",
            in("x2") to,
            in("x1") message,
            options(noreturn),
        )
    }
}
