//! The generic timer's virtual counter.
//!
//! `CNTVCT_EL0` is the same on all CPUs: one counter feeds them, and the boot code sets every CPU's `CNTVOFF_EL2` to 0.

use super::platform;
use crate::machine::Machine;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// What is known of the counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Where the frequency comes from.
    pub source: &'static str,
    /// Whether it ticks at the same rate whatever the CPU does.
    pub constant: bool,
    /// How far the frequency may be off, in parts per billion.
    pub error_ppb: u32,
}

/// Frequencies that are believed, in Hz: 1 MHz is below any system counter in use, and the architecture fixes it at 1 GHz
/// from Armv8.6 on (Arm ARM D12.1.1).
pub(super) const PLAUSIBLE_HZ: core::ops::RangeInclusive<u64> = 1_000_000..=1_200_000_000;

/// A crystal of the usual quality. The register holds a nominal value: nothing here measures it.
const CRYSTAL_ERROR_PPB: u32 = 50_000;

static FREQUENCY: AtomicU64 = AtomicU64::new(0);

/// Finds the frequency.
pub fn init(_machine: &Machine) {
    // Relaxed: written before any other CPU is started.
    FREQUENCY.store(platform::counter().hz, Ordering::Relaxed);
}

/// Ticks in a second.
#[inline]
#[must_use]
pub fn frequency_hz() -> u64 {
    FREQUENCY.load(Ordering::Relaxed)
}

/// The counter, read after every earlier instruction is done and before any later one starts.
///
/// The CPU may read the counter early, out of program order (Arm ARM D12.2.2). The first ISB keeps the read behind what
/// was issued before it; the second keeps what comes later from starting before it.
#[inline(always)]
#[must_use]
pub fn ticks() -> u64 {
    let ticks;
    // SAFETY: reads a register. Memory is clobbered, so that the compiler moves nothing across either.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", "isb", out(reg) ticks, options(nostack, preserves_flags)) };
    ticks
}

/// The counter, read whenever the CPU likes.
#[inline(always)]
#[must_use]
pub fn ticks_unordered() -> u64 {
    let ticks;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
    ticks
}

/// What is known of the counter.
#[must_use]
pub fn facts() -> Facts {
    // The architecture asks for a fixed rate, seen so by software even if the hardware counts in larger steps to save
    // power (Arm ARM D12.1.1).
    Facts { source: platform::counter().source, constant: true, error_ppb: CRYSTAL_ERROR_PPB }
}
