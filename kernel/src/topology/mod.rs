//! Which CPUs are near which: by shared pipeline, cache and memory.
//!
//! Until the ports say more, all CPUs are taken for cores of one cluster in one node.

use crate::cpu::{self, CpuId};

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

/// Where `cpu` stands.
#[must_use]
pub fn place(cpu: CpuId) -> Place {
    let node = cpu::cpu(cpu).map_or(0, |cpu| cpu.description.node as u16);
    Place { core: cpu.index() as u16, cluster: node, node }
}

/// How far `to` is from `from`.
#[must_use]
pub fn distance(from: CpuId, to: CpuId) -> Distance {
    let (a, b) = (place(from), place(to));
    if from == to {
        Distance::Same
    } else if a.core == b.core {
        Distance::Sibling
    } else if a.cluster == b.cluster {
        Distance::Cache
    } else if a.node == b.node {
        Distance::Node
    } else {
        Distance::Far
    }
}
