//! Interrupts from CPU to CPU: a bit in the other's pending word, and what makes it look.

use super::cpu::{SLEEPS, SPINS};
use super::signals::{self, INTERRUPT, STOP_HARD};
use crate::cpu::PerCpu;
use crate::irq::{Ipi, IrqGuard};
use core::sync::atomic::Ordering;

/// Interrupts `target`. What this CPU wrote before is visible to the target's handler.
#[inline]
pub fn send(target: &PerCpu, kind: Ipi) {
    let arch = &target.arch;
    // SeqCst: see `cpu::wait_for_interrupt_irqoff`; the release half partners with the swap in `signals::deliver`.
    let before = arch.pending.fetch_or(signals::bit(kind), Ordering::SeqCst);
    match arch.idle.load(Ordering::SeqCst) {
        SPINS => {}
        SLEEPS => wake(target),
        // Whoever set the first bit has sent the signal, or does in a moment.
        _ if before & !signals::TIMER != 0 => {}
        _ => signal(target, INTERRUPT),
    }
}

/// Halts `target` even if it has interrupts masked.
pub fn stop_hard(target: &PerCpu) {
    signal(target, STOP_HARD);
}

#[cold]
fn wake(target: &PerCpu) {
    let _irq = IrqGuard::new();
    // SAFETY: the word lives for ever; the call only wakes who waits on it.
    unsafe {
        libc::syscall(libc::SYS_futex, target.arch.pending.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
    }
}

#[cold]
fn signal(target: &PerCpu, signal: libc::c_int) {
    let _irq = IrqGuard::new();
    // Acquire: partner is the release in `cpu::init_this_cpu`.
    let thread = target.arch.thread.load(Ordering::Acquire);
    if thread != 0 {
        // SAFETY: names a thread of this process, which never ends, and a signal that has a handler.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
    }
}
