//! Exceptions: the host's signals, told as faults.

use super::power;
use super::trap::TrapFrame;
use crate::trap::{Fault, FaultKind, on_fault};
use crate::wire::exit;
use core::cell::UnsafeCell;
use core::mem::zeroed;
use core::ptr;

/// Bytes of the stack that a fault is told from.
const STACK: usize = 64 * 1024;

#[repr(C, align(16))]
struct SignalStack(UnsafeCell<[u8; STACK]>);

// SAFETY: only the host writes there, for the only thread.
unsafe impl Sync for SignalStack {}

static SIGNAL_STACK: SignalStack = SignalStack(UnsafeCell::new([0; STACK]));

/// Takes the signals that stand for exceptions, on a stack of their own.
pub(super) fn init() {
    let description = libc::stack_t { ss_sp: SIGNAL_STACK.0.get().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: descriptions that are filled in; the stack stays for ever.
    unsafe {
        assert!(libc::sigaltstack(&raw const description, ptr::null_mut()) == 0, "no alternate signal stack");
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP] {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = on_exception as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            assert!(libc::sigaction(signal, &raw const action, ptr::null_mut()) == 0, "a signal handler is refused");
        }
    }
}

extern "C" fn on_exception(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the host gives both to a handler of this kind.
    let (frame, address) = unsafe { (TrapFrame::new(&*context.cast(), false), (*info).si_addr() as usize) };
    let kind = match signal {
        libc::SIGSEGV => FaultKind::Page { write: frame.error() & 1 << 1 != 0, fetch: frame.error() & 1 << 4 != 0 },
        libc::SIGILL => FaultKind::IllegalInstruction,
        libc::SIGFPE => FaultKind::Division,
        libc::SIGTRAP => FaultKind::Breakpoint,
        _ => FaultKind::Other,
    };
    let syndrome = frame.vector() << 32 | frame.error() & 0xffff_ffff;
    // No thread dies alone of one: the programs here cause none.
    let _ = on_fault(Fault { kind, address: Some(address), syndrome }, &frame);
    power::exit(exit::FAILED)
}
