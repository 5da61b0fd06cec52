//! Which CPUs are near which: by shared pipeline, cache and memory.
//!
//! What the firmware or the host says is gathered by the ports as numbers of its own ([`CpuDescription`],
//! [`Nodes`](crate::machine::Nodes)). Here they become a [`Map`], once, before any other CPU runs; what asks later reads
//! arrays.
//!
//! | port | cores and clusters | nodes |
//! | --- | --- | --- |
//! | `aarch64` | device tree: `cpu-map`, `next-level-cache`; else `MPIDR_EL1` ([`mpidr`]) | device tree: `numa-node-id`, `distance-map` |
//! | `x86_64` | the APIC id, parted as CPUID says ([`cpuid`]) | ACPI: SRAT, SLIT |
//! | `hosted` | sysfs ([`sysfs`]) | sysfs |
//!
//! [`CpuDescription`]: crate::machine::CpuDescription

pub mod cpuid;
mod map;
pub mod mpidr;
pub mod sysfs;
#[cfg(any(isochron_bare, isochron_hosted))]
mod table;

pub use map::{Counts, LOCAL, MAX_NODES, Map, REMOTE};
#[cfg(any(isochron_bare, isochron_hosted))]
pub(crate) use table::init;
#[cfg(any(isochron_bare, isochron_hosted))]
pub use table::{counts, distance, has_one_node, node_at, node_distance, node_memory, place};

/// How far one CPU is from another, nearest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Distance {
    /// The same CPU.
    Same = 0,
    /// Threads of one core (SMT).
    Sibling = 1,
    /// Cores that share a cache below memory: a cluster.
    Cache = 2,
    /// The same memory, no shared cache.
    Node = 3,
    /// Another NUMA node.
    Far = 4,
}

/// Where a CPU stands: two CPUs with the same numbers share that part. Numbers are dense from 0 within the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The core: SMT siblings share it.
    pub core: u16,
    /// The cluster: its cores share a cache.
    pub cluster: u16,
    /// The NUMA node.
    pub node: u16,
}

impl Place {
    /// How far a CPU that stands there is from another that stands here.
    #[inline]
    #[must_use]
    pub fn distance(self, other: Self) -> Distance {
        if self.core == other.core {
            Distance::Sibling
        } else if self.cluster == other.cluster {
            Distance::Cache
        } else if self.node == other.node {
            Distance::Node
        } else {
            Distance::Far
        }
    }
}
