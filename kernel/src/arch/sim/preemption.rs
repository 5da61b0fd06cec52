//! Preemption is a call at a point, and saves nothing by itself.

/// Whether the instruction at an address saves the registers of a thread that is being preempted: there is none.
pub(super) const fn is_saving(_pc: usize) -> bool {
    false
}
