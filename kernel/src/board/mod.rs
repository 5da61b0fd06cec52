//! Boards, as data only: what is known of a machine that does not describe itself.

#[cfg(any(not(isochron_bare), target_arch = "aarch64"))]
pub mod raspi4b;
#[cfg(any(not(isochron_bare), target_arch = "aarch64"))]
pub mod virt;

use crate::machine::{CpuDescription, Uart};
use isochron_boot::PhysRange;

/// Where a board has its GIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GicAddresses {
    /// Distributor.
    pub distributor: PhysRange,
    /// GICv2's CPU interface.
    pub cpu_interface: PhysRange,
    /// GICv3's redistributors, on boards that may have one.
    pub redistributors: Option<PhysRange>,
}

/// RAM that is safe to use without being told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssumedMemory {
    /// Exactly this.
    Fixed(PhysRange),
    /// This many bytes from the start of the 2 MiB block in which the image lies.
    FromImage(usize),
}

/// A board that can be used without a device tree.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Its short name.
    pub name: &'static str,
    /// RAM.
    pub memory: AssumedMemory,
    /// RAM to leave alone.
    pub reserved: &'static [PhysRange],
    /// Its CPUs. Empty: only the one that runs is known to be there.
    pub cpus: &'static [CpuDescription],
    /// Its interrupt controller.
    pub gic: GicAddresses,
    /// Its console.
    pub uart: Uart,
    /// INTID of the virtual timer.
    pub timer_irq: u32,
    /// The counter's frequency in Hz, if the register that should say so does not.
    pub timer_hz: u32,
}
