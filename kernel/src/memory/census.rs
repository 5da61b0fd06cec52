//! How much of heap and stacks is in somebody's hands: what the simulation asks when a program is over.

use super::heap::classes::{CLASSES as HEAP_CLASSES, SIZES};
use super::stack::{self, CLASSES as STACK_CLASSES};
use super::{MemoryStats, stats};
use crate::cpu;
use isochron_boot::layout::PAGE_SIZE;

/// What is not in a pool or a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InUse {
    /// Bytes of the heap's blocks.
    pub heap: usize,
    /// Bytes of stacks.
    pub stacks: usize,
}

/// Counts. Other CPUs must not be at work with their caches: only the simulation can see to that.
#[must_use]
pub fn in_use() -> InUse {
    let MemoryStats { heap, stacks, .. } = stats();
    let cached =
        |class: usize| cpu::described().map(|cpu| cpu.heap.len(class)).sum::<usize>() * usize::from(SIZES[class]);
    let stocked = |class: usize| cpu::described().map(|cpu| cpu.stacks.class(class).len()).sum::<usize>();
    InUse {
        heap: heap.used as usize - (0..HEAP_CLASSES).map(cached).sum::<usize>(),
        stacks: stacks as usize
            - stack::pooled_bytes()
            - (0..STACK_CLASSES).map(|class| stocked(class) * (PAGE_SIZE << class)).sum::<usize>(),
    }
}
