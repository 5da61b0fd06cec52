//! Interrupts: what was asked for, and from when on the CPU can see it.

use super::trace::{self, What};
use super::{preemption, world};
use crate::cpu::PerCpu;
use crate::irq::Ipi;
use crate::trap;
use core::cell::Cell;

/// Not asked for.
pub(super) const NEVER: u64 = u64::MAX;
/// The kinds of IPI, in the order in which they are taken.
const KINDS: [Ipi; 3] = [Ipi::Stop, Ipi::Wake, Ipi::Probe];

/// A CPU's interrupt lines: for each, the time from which it is seen.
pub struct Lines {
    ipis: [Cell<u64>; 3],
    timer: Cell<u64>,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self { ipis: [const { Cell::new(NEVER) }; 3], timer: Cell::new(NEVER) }
    }

    /// Asks for an IPI. One that was asked for and not taken yet serves both.
    pub(super) fn send(&self, kind: Ipi, seen_at: u64) {
        let line = &self.ipis[kind as usize];
        line.set(line.get().min(seen_at));
    }

    pub(super) fn set_timer(&self, seen_at: u64) {
        self.timer.set(seen_at);
    }

    /// Whether an IPI was asked for and is not taken yet.
    pub(super) fn has_ipi(&self) -> bool {
        self.ipis.iter().any(|line| line.get() != NEVER)
    }

    /// When the next one is seen.
    pub(super) fn next(&self) -> u64 {
        self.ipis.iter().map(Cell::get).fold(self.timer.get(), u64::min)
    }
}

/// Whether an interrupt can be seen.
pub(super) fn is_due(cpu: &PerCpu) -> bool {
    cpu.arch.lines.next() <= world::now()
}

/// Handles all that can be seen. Interrupts are masked.
pub(super) fn handle_all(cpu: &PerCpu) {
    let lines = &cpu.arch.lines;
    // The hardware's way into a handler orders what was stored before.
    cpu.arch.buffer.settle();
    while is_due(cpu) {
        let now = world::now();
        for kind in KINDS {
            let line = &lines.ipis[kind as usize];
            if line.get() <= now {
                line.set(NEVER);
                trace::note(What::TakesIpi, kind as usize, 0);
                trap::on_ipi(kind);
            }
        }
        if lines.timer.get() <= now {
            lines.timer.set(NEVER);
            trace::note(What::Timer, 0, 0);
            trap::on_timer();
        }
    }
}

/// Takes what can be seen, if this CPU takes interrupts, and has the thread preempted that has to go.
#[inline]
pub(super) fn take() {
    // The thread may go on elsewhere after a preemption: each round asks anew where it is.
    while let Some(cpu) = world::running_cpu()
        && cpu.arch.enabled.get()
        && is_due(cpu)
    {
        cpu.arch.enabled.set(false);
        handle_all(cpu);
        if trap::should_preempt() {
            trace::note(What::Preempts, 0, 0);
            preemption::preempt();
        }
        if let Some(cpu) = world::running_cpu() {
            cpu.arch.enabled.set(true);
        }
    }
}
