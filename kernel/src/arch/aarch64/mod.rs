//! ARM64, at EL1.
//!
//! Threads and worker loops run on `SP_EL0` (`SPSel` = 0), exceptions on `SP_EL1`, a stack of the CPU's own: whatever
//! state a thread's stack is in, there is a good one to say so on. `TPIDR_EL1` finds the CPU's block, `TPIDR_EL0` is the
//! running thread.
//!
//! Manuals: "Arm ARM" is DDI 0487; GIC architecture IHI 0048 (GICv2) and IHI 0069 (GICv3); PSCI is DEN 0022.

pub mod clock;
pub mod context;
pub mod cpu;
pub mod interrupts;
pub mod ipi;
pub mod irq;
pub mod paging;
pub mod platform;
pub mod power;
mod psci;
pub mod serial;
pub mod smp;
pub mod timer;
pub mod trap;

use core::sync::atomic::AtomicU64;

/// What reports call the architecture.
pub const NAME: &str = "aarch64";

/// What the port keeps in a CPU's block.
pub struct PerCpuArch {
    /// How an interrupt is addressed to this CPU: the target bits of `GICD_SGIR` or of `ICC_SGI1R_EL1`. Written by the CPU
    /// itself before it reports that it is online, read by those that send to CPUs that are.
    sgi_target: AtomicU64,
}

impl PerCpuArch {
    /// Nothing known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { sgi_target: AtomicU64::new(0) }
    }
}

impl Default for PerCpuArch {
    fn default() -> Self {
        Self::new()
    }
}
