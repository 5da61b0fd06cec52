//! From an address on a bus to one that the CPU can use.

use super::MAX_DEPTH;
use dtoolkit::fdt::FdtNode;
use dtoolkit::{Node, Property, ToCellInt};
use heapless::Vec;
use isochron_boot::layout::DIRECT_MAP_SIZE;
use isochron_boot::{PhysAddr, PhysRange};

/// The nodes from the root to a device's parent.
pub(super) struct Path<'a>(Vec<FdtNode<'a>, MAX_DEPTH>);

/// The tree is nested too deeply.
pub(super) struct TooDeep;

impl<'a> Path<'a> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, node: FdtNode<'a>) -> Result<(), TooDeep> {
        self.0.push(node).map_err(|_| TooDeep)
    }

    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Entry `index` of `node`'s `reg`, as the CPU sees it. `node` is a child of the last node of this path.
    pub(super) fn registers(&self, node: FdtNode<'a>, index: usize) -> Option<PhysRange> {
        let reg = node.reg().ok()??.nth(index)?;
        let size: u64 = reg.size().ok()?;
        let mut address: u64 = reg.address().ok()?;
        // The root's own addresses are the CPU's; every other parent translates.
        for bus in self.0.iter().skip(1).rev() {
            address = translate(*bus, address)?;
        }
        in_reach(address, size)
    }
}

/// A range the direct map can show, and that has at least one byte.
pub(super) fn in_reach(start: u64, size: u64) -> Option<PhysRange> {
    let end = start.checked_add(size)?;
    if size == 0 || end > DIRECT_MAP_SIZE as u64 {
        return None;
    }
    Some(PhysRange { start: PhysAddr::new(start as usize), end: PhysAddr::new(end as usize) })
}

/// Through one bus's `ranges`: none at all means no way through, an empty one that nothing changes.
fn translate(bus: FdtNode<'_>, address: u64) -> Option<u64> {
    if bus.property("ranges")?.value().is_empty() {
        return Some(address);
    }
    for range in bus.ranges().ok()?? {
        // A PCI bus has three address cells: not a bus that is looked behind.
        let child: u64 = range.child_bus_address.to_int().ok()?;
        let parent: u64 = range.parent_bus_address.to_int().ok()?;
        let length: u64 = range.length.to_int().ok()?;
        if let Some(offset) = address.checked_sub(child)
            && offset < length
        {
            return parent.checked_add(offset);
        }
    }
    None
}
