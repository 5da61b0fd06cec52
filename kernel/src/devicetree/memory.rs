//! RAM, and what of it is taken.

use super::bus::in_reach;
use super::{Description, cells, is_enabled, number, reserve};
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};
use isochron_boot::layout::DIRECT_MAP_SIZE;

/// A `/memory` node.
pub(super) fn read(node: FdtNode<'_>, description: &mut Description) {
    if !is_enabled(node) || node.property("device_type").is_none_or(|kind| kind.value() != b"memory\0") {
        return;
    }
    let Ok(Some(banks)) = node.reg() else { return };
    let numa_node = number(node, "numa-node-id").and_then(|node| u32::try_from(node).ok());
    for bank in banks {
        let (Ok(start), Ok(size)) = (bank.address::<u64>(), bank.size::<u64>()) else { continue };
        // What lies beyond the direct map's reach is lost, the rest of the bank is not.
        let size = size.min((DIRECT_MAP_SIZE as u64).saturating_sub(start));
        let Some(range) = in_reach(start, size) else { continue };
        if description.memory.push(range).is_err() {
            description.dropped_ranges += 1;
        }
        if let Some(numa_node) = numa_node {
            description.nodes.add_memory(numa_node, range);
        }
    }
}

/// The children of `/reserved-memory`. One without `reg` is a wish for memory, not memory.
pub(super) fn read_reserved(node: FdtNode<'_>, description: &mut Description) {
    for child in node.children().filter(|child| is_enabled(*child)) {
        let Ok(Some(ranges)) = child.reg() else { continue };
        for range in ranges {
            if let (Ok(start), Ok(size)) = (range.address(), range.size())
                && let Some(range) = in_reach(start, size)
            {
                reserve(description, range);
            }
        }
    }
}

/// The reservation block (Devicetree Specification 0.4, 5.3).
pub(super) fn read_reservations(tree: Fdt<'_>, description: &mut Description) {
    for reservation in tree.memory_reservations() {
        if let Some(range) = in_reach(reservation.address(), reservation.size()) {
            reserve(description, range);
        }
    }
}

/// The page of a spin table: firmware's loop reads it until the CPU is started.
pub(super) fn reserve_spin_table(raw: &[u8], description: &mut Description) -> Option<u64> {
    let release = cells(raw)?;
    let page = in_reach(release & !0xfff, 0x1000)?;
    if !description.reserved.contains(&page) {
        reserve(description, page);
    }
    Some(release)
}
