//! This CPU's one-shot timer: a timer of the host's that signals this thread.
//!
//! Setting the host's timer is a system call, so it is set only if it would strike too late. It may therefore strike for
//! nothing: the handler asks [`is_due`], and nobody above hears of it.

use super::cpu::PerCpuArch;
use super::{clock, signals};
use crate::cpu::this_cpu;
use core::mem::zeroed;
use core::ptr;

/// Nothing is armed.
const NEVER: u64 = u64::MAX;

/// Makes this CPU's timer, disarmed.
pub fn init_this_cpu() {
    let arch = &this_cpu().arch;
    // SAFETY: the event is filled in; the timer's number is written to a word of ours. `timer_t` is a pointer's size.
    unsafe {
        let mut event: libc::sigevent = zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signals::ALARM;
        event.sigev_notify_thread_id = libc::syscall(libc::SYS_gettid) as i32;
        let mut timer: libc::timer_t = ptr::null_mut();
        let result = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
        assert!(result == 0, "the host has no timer for this CPU");
        arch.timer.set(timer.addr());
    }
}

/// One interrupt on this CPU at or as soon as possible after `deadline` ticks; replaces what was armed.
#[inline]
pub fn arm(deadline: u64) {
    let _irq = crate::irq::IrqGuard::new();
    let arch = &this_cpu().arch;
    arch.deadline.set(deadline);
    if deadline < arch.host_deadline.get() {
        arm_host(arch, deadline);
    }
}

fn arm_host(arch: &PerCpuArch, deadline: u64) {
    arch.host_deadline.set(deadline);
    // Nothing at all would disarm.
    let ns = clock::ns_of(deadline.saturating_sub(clock::ticks_unordered())).max(1);
    let value = libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
    let once = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
    // SAFETY: the timer was made by `init_this_cpu`, the setting is filled in.
    unsafe { libc::timer_settime(ptr::without_provenance_mut(arch.timer.get()), 0, &raw const once, ptr::null_mut()) };
}

/// No interrupt until the timer is armed again.
#[inline]
pub fn disarm() {
    let _irq = crate::irq::IrqGuard::new();
    this_cpu().arch.deadline.set(NEVER);
}

/// The host's timer has struck and is off now. In the signal handler, interrupts masked or not.
pub(super) fn host_timer_struck(arch: &PerCpuArch) {
    arch.host_deadline.set(NEVER);
}

/// Whether the deadline is reached. If not, the host's timer is set for it again. Interrupts are masked.
#[inline]
pub(super) fn is_due() -> bool {
    let arch = &this_cpu().arch;
    let deadline = arch.deadline.get();
    if clock::ticks_unordered() >= deadline {
        arch.deadline.set(NEVER);
        return true;
    }
    if deadline < arch.host_deadline.get() {
        arm_host(arch, deadline);
    }
    false
}
