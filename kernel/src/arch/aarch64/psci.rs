//! Calls to PSCI, the firmware's power interface (Arm DEN 0022), by the SMC calling convention (DEN 0028).

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering};

/// `CPU_ON`, 64-bit.
const CPU_ON: u64 = 0xc400_0003;
/// `SYSTEM_OFF`.
const SYSTEM_OFF: u64 = 0x8400_0008;

/// How the firmware is called, for [`system_off`]: 0 not at all, 1 by HVC, 2 by SMC. Written once by discovery.
static CONDUIT: AtomicU8 = AtomicU8::new(0);

/// Notes how the firmware is called.
pub(super) fn set_conduit(smc: bool) {
    CONDUIT.store(if smc { 2 } else { 1 }, Ordering::Relaxed);
}

/// Starts the CPU `target` (affinity fields) at the physical address `entry`.
///
/// # Errors
/// The firmware's code.
///
/// # Safety
/// The firmware takes such calls. `entry` is the secondaries' entry, which is prepared for this CPU.
pub(super) unsafe fn cpu_on(smc: bool, target: u64, entry: u64) -> Result<(), i64> {
    // SAFETY: the caller's.
    match unsafe { call(smc, [CPU_ON, target, entry, 0]) } {
        0 => Ok(()),
        code => Err(code),
    }
}

/// Switches the machine off, if the firmware can. Returns if it cannot.
pub(super) fn system_off() {
    match CONDUIT.load(Ordering::Relaxed) {
        0 => {}
        // SAFETY: the device tree named this conduit; the caller wants the machine to end.
        conduit => drop(unsafe { call(conduit == 2, [SYSTEM_OFF, 0, 0, 0]) }),
    }
}

unsafe fn call(smc: bool, arguments: [u64; 4]) -> i64 {
    let [function, a, b, c] = arguments;
    let result: u64;
    macro_rules! call {
        ($instruction:literal) => {
            // SAFETY: the caller's. The convention lets the firmware change x0 to x17.
            unsafe {
                asm!(
                    $instruction,
                    inout("x0") function => result, inout("x1") a => _, inout("x2") b => _, inout("x3") c => _,
                    out("x4") _, out("x5") _, out("x6") _, out("x7") _, out("x8") _, out("x9") _, out("x10") _,
                    out("x11") _, out("x12") _, out("x13") _, out("x14") _, out("x15") _, out("x16") _, out("x17") _,
                    options(nostack)
                )
            }
        };
    }
    if smc {
        call!("smc #0");
    } else {
        call!("hvc #0");
    }
    // CPU_ON and SYSTEM_OFF answer 32 bits (DEN 0022, 5.2.2).
    i64::from(result as u32 as i32)
}
