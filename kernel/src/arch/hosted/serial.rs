//! The console's bytes: standard output.

use crate::irq::IrqGuard;
use crate::machine::Machine;

/// Standard output.
const OUTPUT: libc::c_int = 1;

/// Nothing to do: it is open.
///
/// # Safety
/// None is needed; the other ports ask for some.
pub unsafe fn init(_machine: &Machine) {}

/// Writes bytes. It takes no lock, waits as long as a reader lets it wait, and drops what nobody will read.
pub fn write(bytes: &[u8]) {
    let _irq = IrqGuard::new();
    let mut left = bytes;
    while !left.is_empty() {
        // SAFETY: reads bytes of ours.
        let written = unsafe { libc::write(OUTPUT, left.as_ptr().cast(), left.len()) };
        match usize::try_from(written) {
            Ok(written) => left = &left[written.min(left.len())..],
            // SAFETY: this thread's word, right after the call, interrupts masked.
            Err(_) if unsafe { *libc::__errno_location() } == libc::EINTR => {}
            Err(_) => return,
        }
    }
}
