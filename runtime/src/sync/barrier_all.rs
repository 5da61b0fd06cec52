//! [`system_wide_barrier`].

use isochron_kernel::irq;

/// Has every CPU execute a full memory barrier before it returns, so that a frequent path elsewhere needs none.
///
/// Where one side runs often and the other rarely, as readers and whoever replaces what they read, both would need a full
/// barrier between their store and their load. With this on the rare side, `compiler_fence(SeqCst)` is enough on the
/// frequent one: the store and the load there lie on the same side of the barrier that its CPU is made to execute, or that
/// barrier lies between them.
///
/// It interrupts all other CPUs, those that sleep too, and waits for them: microseconds. (Linux has this as `membarrier`.)
///
/// # Panics
/// If interrupts are masked, and if a CPU does not answer within ten seconds, with its number.
#[track_caller]
pub fn system_wide_barrier() {
    assert!(!irq::are_masked(), "a system-wide barrier with interrupts masked might wait for one that waits for it");
    if let Err(cpu) = isochron_kernel::smp::system_wide_barrier() {
        panic!("CPU {cpu} has not passed a system-wide barrier in ten seconds");
    }
}
