//! The virtual timer: one shot, by compare value.

use super::clock;
use core::arch::asm;

/// `CNTV_CTL_EL0.ENABLE`; IMASK is 0.
const ENABLE: u64 = 1;

/// `CNTKCTL_EL1.EVNTEN`: the event stream is on.
const EVENT_STREAM: u64 = 1 << 2;

/// Disarms the timer, and sets the event stream to about a microsecond: a bound on how long WFE sleeps, without any
/// interrupt (Arm ARM D12.2.6). EL0 gets no access; nothing runs there.
pub fn init_this_cpu() {
    disarm();
    // The stream fires when the chosen bit of the counter goes from 0 to 1: every 2 << bit ticks.
    let ticks_per_us = (clock::frequency_hz() / 1_000_000).max(2);
    let bit = u64::from(ticks_per_us.ilog2() - 1).min(15);
    // SAFETY: concerns EL0 and WFE only.
    unsafe {
        asm!("msr cntkctl_el1, {}", "isb", in(reg) EVENT_STREAM | bit << 4, options(nomem, nostack, preserves_flags))
    };
}

/// One interrupt at or as soon as possible after `deadline` ticks; replaces what was armed; a deadline in the past fires at
/// once.
#[inline(always)]
pub fn arm(deadline: u64) {
    // SAFETY: the timer is this port's. The ISB bounds when the new deadline counts (Arm ARM D12.2.4: a write takes effect
    // at a context synchronization event at the latest).
    unsafe {
        asm!(
            "msr cntv_cval_el0, {}", "msr cntv_ctl_el0, {}", "isb",
            in(reg) deadline, in(reg) ENABLE,
            options(nostack, preserves_flags)
        );
    }
}

/// No interrupt from the timer until it is armed again.
#[inline(always)]
pub fn disarm() {
    // SAFETY: the timer is this port's.
    unsafe { asm!("msr cntv_ctl_el0, xzr", "isb", options(nostack, preserves_flags)) };
}
