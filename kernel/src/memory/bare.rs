//! What heap, stacks and packed slots grow by on bare metal: frames, mapped into their windows.

use super::frames::{self, BLOCK_SIZE, CHUNK_SIZE};
use super::page_table::Leaf;
use super::{OutOfMemory, space};
use core::ptr::NonNull;
use isochron_boot::VirtAddr;
use isochron_boot::layout::{PAGE_SIZE, direct_map};

pub(super) use super::frames::{available, origin};
pub(super) use super::init::ram_bytes;
pub(super) use super::stack::growth::back_all as back_all_of_stack;
use super::stack::{backed_at_first, growth};

/// Backs the next block, chunk or page of the heap, or of what is charged to groups, at `at`, where `wanted` bytes are wanted.
/// How many bytes it was.
pub(super) fn back_heap(at: VirtAddr, wanted: usize) -> Option<usize> {
    for (bytes, alloc) in [(BLOCK_SIZE, frames::alloc_block as fn() -> _), (CHUNK_SIZE, frames::alloc_chunk)] {
        if at.is_aligned(bytes)
            && wanted >= bytes
            && let Some(found) = alloc()
        {
            if space::map(at, found, bytes, Leaf::Data).is_ok() {
                return Some(bytes);
            }
            frames::free_contiguous(found, bytes);
        }
    }
    let frame = frames::alloc()?;
    if space::map(at, frame, PAGE_SIZE, Leaf::Data).is_ok() {
        return Some(PAGE_SIZE);
    }
    frames::free(frame);
    None
}

/// Packed slots take a whole block while so many are free; then pages.
const AMPLE: usize = 16 * BLOCK_SIZE;

/// Backs the next block or page of the packed slots at `at`, where `wanted` bytes are wanted. How many bytes it was.
pub(super) fn back_packed(at: VirtAddr, wanted: usize) -> Option<usize> {
    back_heap(at, if available() >= AMPLE { wanted } else { PAGE_SIZE })
}

/// Memory in one piece, as the direct map shows it.
pub(super) fn shared(bytes: usize) -> Option<NonNull<u8>> {
    let found = frames::alloc_contiguous(bytes, isochron_wire::trace::area::ALIGN)?;
    NonNull::new(direct_map(found).as_mut_ptr())
}

/// Makes a stack, of which the top is backed; or nothing. The guard region below it stays unmapped.
pub(super) fn make_stack(bottom: VirtAddr, bytes: usize) -> Result<(), OutOfMemory> {
    space::map_fresh(bottom, bytes - backed_at_first(bytes), bytes)?;
    growth::made(bytes);
    Ok(())
}

/// Bytes that all stacks take.
pub(super) fn backed_stack_bytes(_used: impl Iterator<Item = core::ops::Range<usize>>) -> usize {
    growth::backed_bytes()
}

/// The node of what is mapped at an address.
pub(super) fn node_of(addr: VirtAddr) -> Option<u16> {
    space::translate(addr).map(|found| crate::topology::node_at(found.addr))
}
