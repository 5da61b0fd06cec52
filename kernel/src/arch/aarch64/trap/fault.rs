//! What a syndrome means (Arm ARM D19.2.40, `ESR_EL1`).

use super::{TrapFrame, vectors};
use crate::panic::{self, Origin};
use crate::trap::{self, Fault, FaultKind, end_thread, on_fault};
use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, Readable};

/// How the vectors call what they took: a synchronous exception, an FIQ, an SError, and anything on a stack or from a level
/// where none may come from. From those without this bit there may be a way back.
pub(super) const NO_WAY_BACK: u64 = 1;
pub(super) const SYNCHRONOUS: u64 = 0;
pub(super) const NESTED: u64 = 2;
pub(super) const FIQ: u64 = NO_WAY_BACK;
pub(super) const SERROR: u64 = 2 | NO_WAY_BACK;

/// The class of a syndrome: an access to memory, from this level.
pub(super) const DATA_ABORT: u64 = 0x25;

/// Called by the vectors, on the exception stack, everything masked.
pub(super) extern "C" fn handle(frame: &TrapFrame, origin: u64) -> ! {
    let syndrome = ESR_EL1.get();
    let (kind, address) = match origin {
        FIQ => (FaultKind::Other, None),
        SERROR => (FaultKind::Asynchronous, None),
        _ => decode(syndrome),
    };
    let fault = Fault { kind, address, syndrome };
    if origin == NESTED {
        // No logger here: this CPU may hold its lock.
        panic::report(
            format_args!("{fault}, while an exception or interrupt was being handled"),
            Origin::Interrupted(frame),
        )
    }
    if matches!(origin, FIQ | SERROR) {
        // No fault of the thread's that was there.
        panic::report(format_args!("{fault}"), Origin::Interrupted(frame))
    }
    let stack = on_fault(fault, frame);
    // SAFETY: this is the exception stack, in the handler of a fault that the running thread caused; it is to end.
    unsafe { vectors::abandon(stack, frame.pstate, end_thread) }
}

/// Called by the vectors, on the exception stack, everything masked, after a synchronous exception of what runs on `SP_EL0`, or in an
/// interrupt's handler: whether the access is to be tried again, since a stack has grown or a page was unfolded.
pub(super) extern "C" fn grow(frame: &TrapFrame) -> bool {
    let syndrome = ESR_EL1.get();
    // A data abort from this level by a translation that is not there, at whatever level of the tables.
    let is_missing = syndrome >> 26 & 0x3f == DATA_ABORT && matches!(syndrome & 0x3f, 0x04..=0x07);
    is_missing && trap::grow(FAR_EL1.get() as usize, frame)
}

/// Kind of the exception, and the address it is about.
fn decode(syndrome: u64) -> (FaultKind, Option<usize>) {
    let class = syndrome >> 26 & 0x3f;
    let status = syndrome & 0x3f;
    let address = FAR_EL1.get() as usize;
    match class {
        // Unknown, illegal execution state, trapped system register.
        0x00 | 0x0e | 0x18 => (FaultKind::IllegalInstruction, None),
        // Instruction or data abort; status 4 to 15: translation, access flag, permission.
        0x20 | 0x21 if matches!(status, 0x04..=0x0f) => (FaultKind::Page { write: false, fetch: true }, Some(address)),
        0x24 | 0x25 if matches!(status, 0x04..=0x0f) => {
            (FaultKind::Page { write: syndrome & 1 << 6 != 0, fetch: false }, Some(address))
        }
        0x24 | 0x25 if status == 0x21 => (FaultKind::Alignment, Some(address)),
        // A synchronous external abort may leave FAR_EL1 unset and then says so: FnV.
        0x20 | 0x21 | 0x24 | 0x25 => (FaultKind::Other, (syndrome & 1 << 10 == 0).then_some(address)),
        // PC alignment names the address, SP alignment does not.
        0x22 => (FaultKind::Alignment, Some(address)),
        0x26 => (FaultKind::Alignment, None),
        0x2f => (FaultKind::Asynchronous, None),
        0x3c => (FaultKind::Breakpoint, None),
        _ => (FaultKind::Other, None),
    }
}
