//! Four-level page tables, the same walk on both architectures; a port encodes the entries.

use isochron_boot::PhysAddr;

/// What a mapping allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaf {
    /// Write-back memory: read and execute.
    Text,
    /// Write-back memory: read.
    ReadOnly,
    /// Write-back memory: read and write.
    Data,
    /// Device registers (ARM64 Device-nGnRE, x86-64 uncacheable): read and write.
    Device,
}

/// One entry of a table, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing is mapped.
    Empty,
    /// The next table.
    Table(PhysAddr),
    /// A page or block.
    Leaf(PhysAddr),
}
