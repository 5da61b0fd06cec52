//! Interrupts from CPU to CPU: software-generated interrupts 0 to 2, one for each [`Ipi`].

use super::interrupts::{self, gicv2, gicv3};
use crate::cpu::PerCpu;
use crate::irq::Ipi;
use core::arch::asm;
use core::sync::atomic::Ordering;

/// Sends `kind` to `target`. What this CPU wrote before is visible to the target's handler.
#[inline(always)]
pub fn send(target: &PerCpu, kind: Ipi) {
    // Relaxed: written before the target reported online, and nobody sends before that.
    let address = target.arch.sgi_target.load(Ordering::Relaxed);
    // SAFETY: a barrier. It completes this CPU's earlier stores for all CPUs before the interrupt is generated, which is not
    // a memory access that a DMB would order (IHI 0069, 12.1.6; Arm ARM K13.6.1). Partner: taking the interrupt.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    match interrupts::gicv2_distributor() {
        Some(distributor) => gicv2::send(distributor, address, kind as u32),
        None => gicv3::send(address, kind as u32),
    }
}

/// Halts a CPU that has its interrupts masked: there is no way on the machines that are supported (no `FEAT_NMI`).
pub fn stop_hard(_target: &PerCpu) {}
