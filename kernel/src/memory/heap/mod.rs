//! The heap: size classes with a stock of blocks on each CPU, over one shared `linked_list_allocator` heap.
//!
//! ```text
//! alloc ── small ──► this CPU's stock (HeapCache): interrupts masked, no lock
//!   │                  │ empty / full: half a stock at once, under the lock
//!   │                  ▼
//!   │                spans of blocks of one size (Central)
//!   └──── large ────────┤
//!                       ▼
//!                linked_list_allocator::Heap, in one window of addresses that frames are mapped into (Extents)
//! ```
//!
//! A block may be freed on any CPU; it goes to that CPU's stock. Out of memory is a null pointer, which `alloc` turns
//! into its own error or panic. Other CPUs' stocks, at most about 100 KiB each, are not searched then.

pub mod cache;
pub mod central;
pub mod classes;
pub mod extents;
#[cfg(test)]
mod tests;

pub use cache::HeapCache;

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
#[cfg(any(isochron_bare, isochron_hosted))]
pub(crate) use global::init;
#[cfg(any(isochron_bare, isochron_hosted))]
pub use global::{alloc_uncharged, cache_batches, free_uncharged, stats};
