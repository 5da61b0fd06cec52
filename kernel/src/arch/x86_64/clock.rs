//! The counter: the TSC, and what is known of its frequency.

use super::{agreement, calibrate};
use crate::machine::Machine;
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// What is known of the clock's frequency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Where the frequency comes from.
    pub source: &'static str,
    /// Whether the clock is known to tick evenly in every power state, and the same on all CPUs that have come up.
    pub constant: bool,
    /// How far the frequency may be off, in parts per thousand million.
    pub error_ppb: u32,
}

/// Names of [`calibrate::Source`], by its number.
const SOURCES: [&str; 6] =
    ["nothing: 1 GHz is assumed", "hypervisor", "CPUID crystal", "HPET", "PIT", "CPUID base frequency"];

// Relaxed everywhere: set by the primary before other CPUs or threads exist. Until then a guess stands, so that bounds
// in milliseconds mean something.
static FREQUENCY: AtomicU64 = AtomicU64::new(1_000_000_000);
static SOURCE: AtomicU8 = AtomicU8::new(0);
static ERROR_PPB: AtomicU32 = AtomicU32::new(u32::MAX);
static IS_INVARIANT: AtomicBool = AtomicBool::new(false);

/// Finds the frequency, on the primary CPU.
pub fn init(machine: &Machine) {
    let estimate = calibrate::run(machine);
    FREQUENCY.store(estimate.hz, Ordering::Relaxed);
    SOURCE.store(estimate.source as u8, Ordering::Relaxed);
    ERROR_PPB.store(estimate.error_ppb, Ordering::Relaxed);
    // CPUID 0x8000_0007 EDX bit 8: invariant (SDM vol. 3, 18.17.1).
    let is_invariant = __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0;
    IS_INVARIANT.store(is_invariant, Ordering::Relaxed);
    if estimate.source == calibrate::Source::Nothing {
        log::warn!("the TSC's frequency is not known (no CPUID leaf, no HPET, no PIT): 1 GHz is assumed");
    }
}

/// Ticks in a second.
#[inline]
#[must_use]
pub fn frequency_hz() -> u64 {
    FREQUENCY.load(Ordering::Relaxed)
}

/// The counter, read after every earlier instruction is done and before any later one starts.
///
/// `lfence` waits for earlier instructions, and later ones wait for it (SDM vol. 2, "RDTSC"; on AMD's CPUs
/// `cpu::init_this_cpu` sees to it). `rdtscp` would save the first fence on paper, not in time.
#[inline(always)]
#[must_use]
pub fn ticks() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads the counter. No `nomem`: the compiler moves no access across either.
    unsafe { asm!("lfence", "rdtsc", "lfence", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) }
    low | high << 32
}

/// The counter, read whenever the CPU likes.
#[inline(always)]
#[must_use]
pub fn ticks_unordered() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads the counter.
    unsafe { asm!("rdtsc", out("rax") low, out("rdx") high, options(nomem, nostack, preserves_flags)) }
    low | high << 32
}

/// What is known of the clock.
#[must_use]
pub fn facts() -> Facts {
    Facts {
        source: SOURCES[usize::from(SOURCE.load(Ordering::Relaxed))],
        constant: IS_INVARIANT.load(Ordering::Relaxed) && agreement::worst_ticks() == 0,
        error_ppb: ERROR_PPB.load(Ordering::Relaxed),
    }
}
