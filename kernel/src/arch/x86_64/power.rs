//! The end of the machine.

use super::{cpu, io};

/// QEMU's `isa-debug-exit`, as the host program sets it up.
const DEBUG_EXIT: u16 = 0xf4;
/// Added to the code, so that the exit status tells it from QEMU's own.
const OFFSET: u32 = 16;

/// Ends the machine: QEMU exits with `(code + 16) << 1 | 1`. Where there is no such device, this CPU halts.
///
/// A real PC stays on: powering it off takes the firmware's byte code, which nothing here interprets.
pub fn exit(code: u8) -> ! {
    // SAFETY: the device ends the machine, as is wanted; where it is missing, nobody listens at this port.
    unsafe { io::out_u32(DEBUG_EXIT, u32::from(code) + OFFSET) }
    cpu::halt()
}
