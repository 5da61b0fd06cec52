//! Memory that the host has to give first.
//!
//! A virtual machine gives memory that nobody uses back to its host, and the host takes milliseconds to give it again: 4.7 ms for
//! 2 MiB where this was measured, against 0.25 ms otherwise. A program of a few hundred milliseconds is then measured at how
//! long ago another one had its memory. So every run, whoever's it is, begins after the same memory was taken, written and let go.

use memmap2::{Advice, MmapMut};

/// More than what any program writes for the first time while its clock runs, where that time counts.
const BYTES: usize = 512 << 20;

/// Pages are as large as the machine has them, or one write to each would not be enough.
const STEP: usize = 4096;

/// Has the host back the memory that the next process gets. Where there is not so much, it is not done: a program that needs
/// less is not to fail for it.
pub fn have_memory_backed() {
    let Ok(mut memory) = MmapMut::map_anon(BYTES) else { return };
    // Else each page has a fault of its own, and what is let go is in small pieces again.
    let _ = memory.advise(Advice::HugePage);
    memory.iter_mut().step_by(STEP).for_each(|byte| *byte = 1);
}
