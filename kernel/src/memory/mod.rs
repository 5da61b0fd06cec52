//! Memory: the address space, frames, the heap, stacks.
//!
//! | module | what | where it is tested |
//! | --- | --- | --- |
//! | [`page_table`] | a tree of tables, generic over the port's entries | host |
//! | [`frames`] | physical memory in pages and blocks | host |
//! | [`heap`] | the global allocator: size classes, a stock per CPU, one growing heap | host |
//! | [`account`] | what groups of threads have taken of the heap, and how much they may | host |
//! | [`stack`] | pooled stacks with guards | host |
//! | [`packed`] | slots of 1 and 2 KiB without guards, for a thread's block and stack in one | host |
//! | [`folding`] | pages of packed slots that nobody touches, kept as records | host (records and their store), models (the protocol), guest |
//! | `pieces` | windows of addresses divided among NUMA nodes | guest |
//! | [`ranges`] | sets of physical ranges | host |
//! | [`sanitizer`] | what AddressSanitizer is told of heap and stacks | guest |
//! | `shortage` | requests that are refused because a test wants it | guest |
//! | `census` | how much is in use, exactly | guest, simulation |
//! | `space` | the kernel's tree, and the rule that nothing is unmapped while other CPUs run | guest |
//! | `init` | from the boot code's tables to all of the above | guest |
//! | `bare`, `hosted` | what heap and stacks grow by: frames that are mapped, or the host's pages | guest |
//!
//! Lock order: an account's arena, its ledger; then heap, stacks or packed slots, then what is folded, then the address space, then frames. All mask interrupts while they are held.

pub mod account;
pub mod folding;
pub mod frames;
pub mod heap;
pub mod magazine;
pub mod packed;
pub mod page_table;
#[cfg(any(isochron_bare, isochron_hosted))]
mod pieces;
pub mod ranges;
pub mod sanitizer;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod shortage;
pub mod stack;

#[cfg(isochron_bare)]
mod bare;
#[cfg(isochron_bare)]
mod init;
#[cfg(isochron_bare)]
pub mod space;

#[cfg(isochron_hosted)]
mod hosted;

#[cfg(any(isochron_bare, isochron_hosted))]
pub mod census;

#[cfg(isochron_hosted)]
pub use hosted::{InitError, init, is_mapped, is_ready};
#[cfg(isochron_bare)]
pub use init::{InitError, init};
#[cfg(isochron_bare)]
pub use space::{is_mapped, is_ready, translate};

/// Where frames and mapped pages come from: the machine's RAM, or the operating system below the `hosted` port.
#[cfg(isochron_bare)]
use bare as source;
#[cfg(isochron_hosted)]
use hosted as source;

pub use heap::{HeapCache, HeapCounts, HeapStats};
pub use packed::PackedCache;
pub use stack::{Stack, StackCache};

use core::fmt;

/// There is not enough memory left for what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl core::error::Error for OutOfMemory {}

/// How much memory there is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryStats {
    /// RAM in the machine.
    pub total: u64,
    /// Frames that nobody has.
    pub free: u64,
    /// The heap.
    pub heap: HeapStats,
    /// Memory of all stacks, in use or pooled.
    pub stacks: u64,
    /// Address space of all stacks, in use or pooled: what they could grow to.
    pub stacks_reserved: u64,
    /// All memory for packed slots, in use or pooled.
    pub packed: u64,
}

/// Where the memory came from that a CPU was given, in bytes since the start: what it backed heap, stacks and packed slots with,
/// and tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// Out of the CPU's own NUMA node.
    pub local: u64,
    /// Out of another.
    pub remote: u64,
}

/// Where a CPU's memory came from so far. Nothing on the `hosted` port, where the host gives pages.
#[cfg(any(isochron_bare, isochron_hosted))]
#[must_use]
pub fn origin(cpu: &crate::cpu::PerCpu) -> Origin {
    source::origin(cpu)
}

/// The NUMA node of the memory behind an address. `None`: there is none, or only the host knows.
#[cfg(any(isochron_bare, isochron_hosted))]
#[must_use]
pub fn node_of(addr: isochron_boot::VirtAddr) -> Option<u16> {
    source::node_of(addr)
}

/// So many bytes that whoever runs this machine can read while it runs, at a multiple of
/// [`isochron_wire::trace::area::ALIGN`] of physical memory. They are given for good; contents undefined.
///
/// `None`: there is not so much in one piece; in a process, nobody has asked for it.
#[cfg(any(isochron_bare, isochron_hosted))]
#[must_use]
pub fn shared(bytes: usize) -> Option<core::ptr::NonNull<u8>> {
    source::shared(bytes)
}

/// This CPU's block, if it has one already. Called with interrupts masked.
#[cfg(any(isochron_bare, isochron_hosted))]
#[inline(always)]
fn this_cpu_if_set() -> Option<&'static crate::cpu::PerCpu> {
    // SAFETY: null, or a block that lives for ever: the contract of `set_per_cpu`.
    unsafe { crate::arch::cpu::per_cpu().as_ref() }
}

/// How much memory there is. Takes locks one after another, so the parts are of slightly different moments.
#[cfg(any(isochron_bare, isochron_hosted))]
#[must_use]
pub fn stats() -> MemoryStats {
    MemoryStats {
        total: source::ram_bytes() as u64,
        free: source::available() as u64,
        heap: heap::stats(),
        stacks: stack::backed_bytes() as u64,
        stacks_reserved: stack::reserved_bytes() as u64,
        packed: packed::mapped_bytes() as u64,
    }
}
