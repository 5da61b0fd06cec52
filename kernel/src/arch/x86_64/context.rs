//! The voluntary switch.
//!
//! It is assembly in the middle of the caller rather than a function: the compiler then saves only those registers
//! that hold something, instead of all that a callee must keep. Only `rbx` and `rbp` are saved here, which it does not
//! let go of. The way back is an indirect jump, not a return: a return would be mispredicted every time.
//!
//! MXCSR and the x87 control word are not switched: a thread that changes how it rounds changes it for its CPU until it
//! gives way (preemption keeps both).

use core::arch::{asm, naked_asm};
use isochron_boot::VirtAddr;

/// A thread that is not running: where its stack ends, and where it goes on. At the stack's end lie `rbx` and `rbp`.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Context {
    rsp: usize,
    rip: usize,
}

impl Context {
    /// The end of the stack, below which it will go on; 0 if it was never prepared.
    #[inline(always)]
    #[must_use]
    pub const fn stack_end(&self) -> usize {
        self.rsp
    }

    /// As [`stack_end`](Self::stack_end), of one that somebody may be writing just now: then it may be anything.
    ///
    /// # Safety
    /// There is memory at `context`.
    #[inline]
    #[must_use]
    pub unsafe fn stack_end_of(context: *const Self) -> usize {
        // SAFETY: the caller's promise; one word.
        unsafe { (&raw const (*context).rsp).read_volatile() }
    }
}

/// Prepares the stack below `top` so that the first switch to it calls `entry(argument, message)`, interrupts masked.
///
/// # Safety
/// At least 64 bytes below `top` (16-byte aligned) are writable and unused, and stay this thread's.
#[must_use]
pub unsafe fn prepare(top: VirtAddr, entry: extern "C" fn(*mut (), usize) -> !, argument: *mut ()) -> Context {
    let words = top.align_down(16).as_mut_ptr::<usize>();
    // Two zero words end the chain of frame pointers; below them, for `first`: entry, argument. It pops them, and calls with
    // an aligned stack.
    // SAFETY: the caller's promise; four words of eight bytes.
    unsafe {
        words.sub(1).write(0);
        words.sub(2).write(0);
        words.sub(3).write(argument as usize);
        words.sub(4).write(entry as usize);
        Context { rsp: words.sub(4) as usize, rip: first as *const () as usize }
    }
}

/// With the message in rdx.
#[unsafe(naked)]
unsafe extern "C" fn first() {
    naked_asm!("pop rax", "pop rdi", "mov rsi, rdx", "xor ebp, ebp", "call rax", "ud2")
}

/// Saves the running context in `from` and goes on with `to`, which gets `message`. Returns when somebody switches back to
/// `from`, with that one's message. Interrupts are masked on both sides.
///
/// # Safety
/// `to` was prepared, or saved by a switch, and has not been switched to since; both live until they are switched to or
/// dropped for good; interrupts are masked.
#[inline(always)]
pub unsafe fn switch(from: *mut Context, to: *const Context, message: usize) -> usize {
    let received;
    // SAFETY: the caller's promise. The other side comes back to `2:` with our stack pointer as it was saved, so the
    // two words are popped by us. Every register but rbx, rbp and rsp is declared lost; the direction flag is clear on
    // both sides, as the calling convention wants.
    unsafe {
        asm!(
            "push rbp",
            "push rbx",
            "lea rax, [rip + 2f]",
            "mov [rdi], rsp",
            "mov [rdi + 8], rax",
            "mov rsp, [rsi]",
            "jmp qword ptr [rsi + 8]",
            "2:",
            "pop rbx",
            "pop rbp",
            inlateout("rdi") from => _,
            inlateout("rsi") to => _,
            inlateout("rdx") message => received,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("sysv64"),
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
    unsafe { asm!("mov rsp, [rsi]", "jmp qword ptr [rsi + 8]", in("rsi") to, in("rdx") message, options(noreturn)) }
}
