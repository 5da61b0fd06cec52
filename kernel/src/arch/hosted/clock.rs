//! The counter: the TSC, its frequency measured against the host's monotonic clock.

use crate::machine::Machine;
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// What is known of the clock's frequency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Where the frequency comes from.
    pub source: &'static str,
    /// Whether the clock is known to tick evenly in every power state, and the same on all CPUs.
    pub constant: bool,
    /// How far the frequency may be off, in parts per thousand million.
    pub error_ppb: u32,
}

/// How long the two clocks are compared.
const COMPARED_NS: u64 = 10_000_000;
/// Readings at either end, of which the tightest counts.
const READINGS: usize = 16;

// Relaxed everywhere: set by the primary before other CPUs or threads exist. Until then a guess stands.
static FREQUENCY: AtomicU64 = AtomicU64::new(1_000_000_000);
static ERROR_PPB: AtomicU32 = AtomicU32::new(u32::MAX);
static IS_INVARIANT: AtomicBool = AtomicBool::new(false);

/// One moment by both clocks, and how many ticks the reading took.
#[derive(Clone, Copy)]
struct Moment {
    ticks: u64,
    ns: u64,
    width: u64,
}

fn host_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time to a place of ours; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn moment() -> Moment {
    let read = |_| {
        let before = ticks();
        let ns = host_ns();
        let width = ticks() - before;
        Moment { ticks: before + width / 2, ns, width }
    };
    let first = read(0);
    (1..READINGS).map(read).fold(first, |best, other| if other.width < best.width { other } else { best })
}

/// Finds the frequency, on the primary CPU.
pub fn init(_machine: &Machine) {
    let start = moment();
    while host_ns() - start.ns < COMPARED_NS {
        core::hint::spin_loop();
    }
    let end = moment();
    let (ticks, ns) = (end.ticks - start.ticks, end.ns - start.ns);
    let hz = (u128::from(ticks) * 1_000_000_000 / u128::from(ns)) as u64;
    FREQUENCY.store(hz, Ordering::Relaxed);
    // Each end is known to half of its reading's width.
    let error = (start.width + end.width) / 2;
    let ppb = u128::from(error) * 1_000_000_000 / u128::from(ticks);
    ERROR_PPB.store(u32::try_from(ppb).unwrap_or(u32::MAX), Ordering::Relaxed);
    // CPUID 0x8000_0007 EDX bit 8: invariant (Intel SDM vol. 3, 18.17.1).
    let is_invariant = __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0;
    IS_INVARIANT.store(is_invariant, Ordering::Relaxed);
    super::cpu::set_spin(hz);
}

/// Ticks in a second.
#[inline]
#[must_use]
pub fn frequency_hz() -> u64 {
    FREQUENCY.load(Ordering::Relaxed)
}

/// A short time in nanoseconds; one that does not fit is as long as can be said.
pub(super) fn ns_of(ticks: u64) -> u64 {
    let ns = u128::from(ticks) * 1_000_000_000 / u128::from(frequency_hz());
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// The counter, read after every earlier instruction is done and before any later one starts.
///
/// `lfence` waits for earlier instructions, and later ones wait for it (Intel SDM vol. 2, "RDTSC"); on AMD's CPUs Linux
/// sees to it.
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
        source: "the host's clock",
        constant: IS_INVARIANT.load(Ordering::Relaxed),
        error_ppb: ERROR_PPB.load(Ordering::Relaxed),
    }
}
