//! The heap: size classes with a stock of blocks on each CPU, over one shared `linked_list_allocator` heap.
//!
//! ```text
//! alloc ── small ──► this CPU's stock (HeapCache): interrupts masked, no lock
//!   │                  │ empty / full: half a stock at once, as a chain
//!   │                  ▼
//!   │                chains, and spans of blocks of one size (Central): under the lock of their NUMA node
//!   └──── large ────────┤
//!                       ▼
//!                linked_list_allocator::Heap, in one window of addresses that frames are mapped into (Extents)
//! ```
//!
//! A block may be freed on any CPU; it goes to that CPU's stock, and from there with others to the part that it came from.
//! There is a part for each NUMA node, all that is below the stocks, and it grows by memory of that node while there is some.
//! Out of memory is a null pointer, which `alloc` turns into its own error or panic. Other CPUs' stocks, at most about 100 KiB
//! each, are not searched then.

pub mod cache;
pub mod central;
pub mod classes;
pub mod extents;
pub mod hardened;
#[cfg(test)]
mod tests;

pub use cache::{HeapCache, HeapCounts};

/// How full the heap is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeapStats {
    /// Handed out: blocks as large as they really are, and what lies in stock on the CPUs.
    pub used: u64,
    /// Memory that the heap has taken from the machine so far.
    pub capacity: u64,
}

#[cfg(any(isochron_bare, isochron_hosted))]
mod global;
#[cfg(any(isochron_bare, isochron_hosted))]
pub(crate) mod window;
#[cfg(isochron_hosted)]
pub(in crate::memory) use global::PIECES;
#[cfg(any(isochron_bare, isochron_hosted))]
pub(crate) use global::init;
#[cfg(any(isochron_bare, isochron_hosted))]
pub use global::{HARDENED, alloc_uncharged, counts, free_uncharged, stats};
