//! Exceptions: the registers of what was interrupted, and what the vector means (Intel SDM vol. 3, 6.15).

use super::entry;
use crate::cpu::this_cpu;
use crate::panic::{self, Origin};
use crate::trap::{Fault, FaultKind, end_thread, on_fault};
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

/// The registers of interrupted code, as the exception entry leaves them on its stack.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TrapFrame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    rbp: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

// What `entry.rs` relies on: it pushes the vector, then rbp, then the others, the last at the lowest address.
const _: () = {
    assert!(offset_of!(TrapFrame, r15) == 0);
    assert!(offset_of!(TrapFrame, rbp) == 14 * 8);
    assert!(offset_of!(TrapFrame, vector) == 15 * 8);
    assert!(offset_of!(TrapFrame, rip) == 17 * 8);
    assert!(size_of::<TrapFrame>() == 22 * 8);
};

impl TrapFrame {
    /// Whether interrupts were on; or the way to the preemption boundary was about to save a thread's registers on its stack.
    #[must_use]
    pub fn is_threads_own(&self) -> bool {
        /// `RFLAGS.IF`: interrupts are taken.
        const IF: u64 = 1 << 9;
        self.rflags & IF != 0 || entry::is_saving(self.pc())
    }

    /// The interrupted instruction's address.
    #[must_use]
    pub fn pc(&self) -> usize {
        self.rip as usize
    }

    /// The interrupted code's stack pointer.
    #[must_use]
    pub fn sp(&self) -> usize {
        self.rsp as usize
    }

    /// The interrupted code's frame pointer: where a backtrace goes on.
    #[must_use]
    pub fn frame_pointer(&self) -> usize {
        self.rbp as usize
    }

    /// Calls `each` with every register's name and value.
    pub fn registers(&self, each: &mut dyn FnMut(&'static str, u64)) {
        for (name, value) in [
            ("rip", self.rip),
            ("rsp", self.rsp),
            ("rflags", self.rflags),
            ("rax", self.rax),
            ("rbx", self.rbx),
            ("rcx", self.rcx),
            ("rdx", self.rdx),
            ("rsi", self.rsi),
            ("rdi", self.rdi),
            ("rbp", self.rbp),
            ("r8", self.r8),
            ("r9", self.r9),
            ("r10", self.r10),
            ("r11", self.r11),
            ("r12", self.r12),
            ("r13", self.r13),
            ("r14", self.r14),
            ("r15", self.r15),
        ] {
            each(name, value);
        }
    }
}

const DIVIDE_ERROR: u64 = 0;
const NON_MASKABLE: u64 = 2;
const BREAKPOINT: u64 = 3;
const INVALID_OPCODE: u64 = 6;
const DOUBLE_FAULT: u64 = 8;
pub(super) const PAGE_FAULT: u64 = 14;
const ALIGNMENT_CHECK: u64 = 17;
const MACHINE_CHECK: u64 = 18;

/// A page fault's error code: the page is there; the access was a write; it was an instruction fetch.
const ERROR_PRESENT: u64 = 1 << 0;
const ERROR_WRITE: u64 = 1 << 1;
const ERROR_FETCH: u64 = 1 << 4;

/// The address of the last page fault.
fn faulting_address() -> usize {
    let address;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) }
    address
}

/// What a page fault's entry calls first: whether the access is to be tried again, since a stack has grown.
pub(super) extern "C" fn grow(frame: &TrapFrame) -> bool {
    frame.error & (ERROR_PRESENT | ERROR_FETCH) == 0 && crate::trap::grow(faulting_address(), frame)
}

/// What every exception's entry calls, on the stack of its kind.
pub(super) extern "C" fn exception(frame: &TrapFrame) -> ! {
    // Acquire: partner of the release in `ipi::stop_hard`.
    if frame.vector == NON_MASKABLE && this_cpu().arch.stop_by_nmi.load(Ordering::Acquire) {
        this_cpu().mark_stopped();
        super::cpu::halt()
    }
    let mut address = None;
    let kind = match frame.vector {
        DIVIDE_ERROR => FaultKind::Division,
        NON_MASKABLE | MACHINE_CHECK => FaultKind::Asynchronous,
        BREAKPOINT => FaultKind::Breakpoint,
        INVALID_OPCODE => FaultKind::IllegalInstruction,
        ALIGNMENT_CHECK => FaultKind::Alignment,
        PAGE_FAULT => {
            address = Some(faulting_address());
            FaultKind::Page { write: frame.error & ERROR_WRITE != 0, fetch: frame.error & ERROR_FETCH != 0 }
        }
        _ => FaultKind::Other,
    };
    let fault = Fault { kind, address, syndrome: frame.vector << 32 | frame.error & 0xffff_ffff };
    if frame.vector == DOUBLE_FAULT {
        panic::report(format_args!("{fault}, while another exception was being delivered"), Origin::Interrupted(frame))
    }
    let stack = on_fault(fault, frame);
    // SAFETY: the thread that caused it has ended, so nothing on its stack is needed, nor on this one, which every exception
    // begins at its top. The stack pointer is a multiple of 16 before the call.
    unsafe {
        asm!(
            "mov rsp, {}",
            "xor ebp, ebp",
            "call {}",
            "ud2",
            in(reg) stack.as_usize(),
            in(reg) end_thread as extern "C" fn() -> !,
            options(noreturn),
        )
    }
}
