//! Interrupts from CPU to CPU.

use super::cpu::Does;
use super::trace::{self, What};
use super::{world, world::point};
use crate::cpu::PerCpu;
use crate::irq::Ipi;

/// Interrupts `target`. What this CPU wrote before is visible to the target's handler.
pub fn send(target: &PerCpu, kind: Ipi) {
    point();
    world::settle();
    trace::note(What::SendsIpi, kind as usize, target.id.index());
    if kind == Ipi::Stop {
        return stop_hard(target);
    }
    target.arch.lines.send(kind, world::now() + world::ipi_delay());
}

/// Halts `target` even if it has interrupts masked.
pub fn stop_hard(target: &PerCpu) {
    target.arch.does.set(Does::Halted);
    target.mark_stopped();
}
