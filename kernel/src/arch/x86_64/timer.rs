//! This CPU's one-shot timer: the TSC deadline where the CPU has it, else the local APIC's counter.
//!
//! The counter runs by a clock of its own, whose ratio to the TSC was measured with a known error. It is armed for a
//! little longer than the ratio says, by that error, so that the interrupt comes after the deadline; if it still comes
//! before, or the deadline is beyond 32 bits of counter, the handler arms it for the rest.

use super::apic::{self, Register};
use super::{calibrate, clock, interrupts, io};
use crate::cpu::this_cpu;
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU64, Ordering};

/// `IA32_TSC_DEADLINE`: an interrupt when the TSC reaches it; 0 disarms.
const TSC_DEADLINE: u32 = 0x6e0;
/// The timer's mode in its local vector: by TSC deadline. 0 is one-shot.
const MODE_DEADLINE: u32 = 2 << 17;
/// Divide by one.
const DIVIDE_BY_1: u32 = 0b1011;
/// Nothing is armed.
const NEVER: u64 = u64::MAX;

/// Counts per tick, as a fraction of 2^32, rounded up by its error. 0: the TSC deadline is used.
static COUNTS_PER_TICK: AtomicU64 = AtomicU64::new(0);

/// Whether this CPU has the TSC deadline (CPUID 1 ECX bit 24).
pub(super) fn has_deadline() -> bool {
    __cpuid(1).ecx & 1 << 24 != 0
}

/// Sets this CPU's timer up, disarmed. The primary, which is first, decides for all which kind is used.
pub fn init_this_cpu() {
    let cpu = this_cpu();
    cpu.arch.deadline.set(NEVER);
    let is_primary = cpu.id == crate::cpu::CpuId::PRIMARY;
    if is_primary && !has_deadline() {
        // Relaxed: the other CPUs start later.
        COUNTS_PER_TICK.store(calibrate::counts_per_tick(), Ordering::Relaxed);
    }
    let by_deadline = COUNTS_PER_TICK.load(Ordering::Relaxed) == 0;
    // SAFETY: the APIC is on; a timer that is disarmed does nothing.
    unsafe {
        let mode = if by_deadline { MODE_DEADLINE } else { 0 };
        apic::write(Register::TimerDivide, DIVIDE_BY_1);
        apic::write(Register::TimerInitial, 0);
        apic::write(Register::LocalTimer, mode | u32::from(interrupts::TIMER));
        if by_deadline {
            // In xAPIC mode the first write of the deadline must not overtake the mode (SDM vol. 3, 11.5.4.1).
            asm!("mfence", options(nostack, preserves_flags));
        }
    }
}

/// Starts the counter masked, for its calibration.
pub(super) fn run_free() {
    // SAFETY: the APIC is on; a masked timer interrupts nobody.
    unsafe {
        apic::write(Register::LocalTimer, 1 << 16 | u32::from(interrupts::TIMER));
        apic::write(Register::TimerDivide, DIVIDE_BY_1);
        apic::write(Register::TimerInitial, u32::MAX);
    }
}

/// Counts since [`run_free`].
pub(super) fn free_count() -> u32 {
    // SAFETY: the APIC is on; reading the count changes nothing.
    u32::MAX - unsafe { apic::read(Register::TimerCurrent, 0) }
}

/// One interrupt on this CPU at or as soon as possible after `deadline` ticks; replaces what was armed.
#[inline]
pub fn arm(deadline: u64) {
    this_cpu().arch.deadline.set(deadline);
    arm_hardware(deadline);
}

#[inline]
fn arm_hardware(deadline: u64) {
    let ratio = COUNTS_PER_TICK.load(Ordering::Relaxed);
    if ratio == 0 {
        // SAFETY: the register is there; a deadline in the past fires at once; 0 would disarm.
        unsafe { io::write_msr(TSC_DEADLINE, deadline.max(1)) };
        return;
    }
    let ticks = deadline.saturating_sub(clock::ticks_unordered());
    let counts = (u128::from(ticks) * u128::from(ratio)) >> 32;
    // A count of 0 would disarm; more than 32 bits are armed for in parts.
    let counts = (counts.min(u128::from(u32::MAX - 1)) + 1) as u32;
    // SAFETY: the APIC is on, the timer in one-shot mode.
    unsafe { apic::write(Register::TimerInitial, counts) }
}

/// No interrupt until the timer is armed again.
#[inline]
pub fn disarm() {
    this_cpu().arch.deadline.set(NEVER);
    if COUNTS_PER_TICK.load(Ordering::Relaxed) == 0 {
        // SAFETY: 0 disarms.
        unsafe { io::write_msr(TSC_DEADLINE, 0) }
    } else {
        // SAFETY: 0 stops the counter.
        unsafe { apic::write(Register::TimerInitial, 0) }
    }
}

/// Called by the timer's handler: whether the deadline is reached. If not, it is armed again: the counter was early or
/// too short, or the interrupt was on its way when the deadline was moved.
#[inline]
pub(super) fn is_due() -> bool {
    let deadline = this_cpu().arch.deadline.get();
    if clock::ticks_unordered() >= deadline {
        this_cpu().arch.deadline.set(NEVER);
        return true;
    }
    if deadline != NEVER {
        arm_hardware(deadline);
    }
    false
}
