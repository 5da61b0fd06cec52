//! Interrupts from CPU to CPU: the local APIC's interrupt command register (Intel SDM vol. 3, 11.6.1).

use super::apic::{self, Register};
use super::{interrupts, io};
use crate::cpu::PerCpu;
use crate::irq::{Ipi, IrqGuard};
use core::arch::asm;
use core::hint::spin_loop;
use core::sync::atomic::Ordering;

/// The x2APIC's command register, 64 bits in one.
const X2_COMMAND: u32 = 0x830;
/// In xAPIC mode: the last command is still on its way.
const PENDING: u32 = 1 << 12;
/// Times that is asked before the command register is written all the same.
const PATIENCE: u32 = 10_000;

/// Delivery modes, edge-triggered, physical destination, level asserted.
const FIXED: u32 = 1 << 14;
const NMI: u32 = 4 << 8 | 1 << 14;
pub(super) const INIT: u32 = 5 << 8 | 1 << 14;
pub(super) const START_UP: u32 = 6 << 8 | 1 << 14;

/// Interrupts `target`. What this CPU wrote before is visible to the target's handler.
#[inline]
pub fn send(target: &PerCpu, kind: Ipi) {
    let vector = match kind {
        Ipi::Wake => interrupts::WAKE,
        Ipi::Probe => interrupts::PROBE,
        Ipi::Stop => interrupts::STOP,
    };
    command(target.description.hardware_id as u32, FIXED | u32::from(vector));
}

/// Stops `target` even if it has interrupts masked, by NMI. It may hold any lock: for the panic path, after
/// [`Ipi::Stop`] did not help.
pub fn stop_hard(target: &PerCpu) {
    // Release: partner of the acquire in `trap::exception`.
    target.arch.stop_by_nmi.store(true, Ordering::Release);
    command(target.description.hardware_id as u32, NMI);
}

/// Writes the command register.
#[inline]
pub(super) fn command(destination: u32, command: u32) {
    if apic::is_x2apic() {
        // Unlike a store to the xAPIC's uncached registers, this write overtakes earlier stores: both fences are asked
        // for (SDM vol. 3, 11.12.3), and make what was written before visible to the target's handler.
        // SAFETY: fences are always sound; the register is there in x2APIC mode; the destination takes the interrupt.
        unsafe {
            asm!("mfence", "lfence", options(nostack, preserves_flags));
            io::write_msr(X2_COMMAND, u64::from(destination) << 32 | u64::from(command));
        }
        return;
    }
    // Two writes: an interrupt's handler between them could send one of its own.
    let _irq = IrqGuard::new();
    // SAFETY: the registers are mapped in xAPIC mode; the destination takes the interrupt. Stores to uncached memory
    // are done after all earlier stores (SDM vol. 3, 9.2.2).
    unsafe {
        for _ in 0..PATIENCE {
            if apic::read(Register::Command, 0) & PENDING == 0 {
                break;
            }
            spin_loop();
        }
        apic::write(Register::CommandHigh, destination << 24);
        apic::write(Register::Command, command);
    }
}
