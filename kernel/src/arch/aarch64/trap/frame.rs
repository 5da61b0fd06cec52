//! What a fault saves.

use super::vectors;

/// The general registers of what was interrupted by a fault.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct TrapFrame {
    /// x0 to x30.
    pub(super) x: [u64; 31],
    /// The stack pointer it ran on.
    pub(super) sp: u64,
    /// Where it was (`ELR_EL1`).
    pub(super) pc: u64,
    /// Its state (`SPSR_EL1`).
    pub(super) pstate: u64,
}

const NAMES: [&str; 31] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
    "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
];

impl TrapFrame {
    /// Whether interrupts were on; or the vectors were about to save an interrupted thread's registers on its stack.
    #[must_use]
    pub fn is_threads_own(&self) -> bool {
        /// `PSTATE.I`: interrupts are masked.
        const I: u64 = 1 << 7;
        self.pstate & I == 0 || vectors::is_saving(self.pc())
    }

    /// The interrupted instruction.
    #[must_use]
    pub fn pc(&self) -> usize {
        self.pc as usize
    }

    /// The interrupted stack pointer.
    #[must_use]
    pub fn sp(&self) -> usize {
        self.sp as usize
    }

    /// The interrupted frame pointer.
    #[must_use]
    pub fn frame_pointer(&self) -> usize {
        self.x[29] as usize
    }

    /// Tells every register, by name.
    pub fn registers(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        for (name, value) in NAMES.iter().zip(self.x) {
            tell(name, value);
        }
        tell("sp", self.sp);
        tell("pc", self.pc);
        tell("pstate", self.pstate);
    }
}
