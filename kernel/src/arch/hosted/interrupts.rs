//! There is no interrupt controller: signals are set up with the CPU, see `signals.rs`.

use crate::cpu::PerCpu;
use crate::machine::Machine;

/// Nothing to do.
///
/// # Safety
/// None is needed; the other ports ask for some.
pub unsafe fn init_primary(_machine: &Machine) {}

/// Nothing to do.
///
/// # Safety
/// None is needed; the other ports ask for some.
pub unsafe fn init_this_cpu(_cpu: &'static PerCpu) {}
