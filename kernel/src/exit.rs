//! The end: of the program, with a code.

use crate::{arch, irq, report, smp};

/// Stops the other CPUs, tells the host the code, and ends the machine with it.
///
/// Codes up to [`isochron_wire::exit::MAX`] pass through every machine's exit device; a larger one is told to
/// the host exactly, and to the device as that maximum.
pub fn exit(code: u8) -> ! {
    let _irq = irq::IrqGuard::new();
    smp::stop_others();
    report::exit(code);
    arch::power::exit(code)
}
