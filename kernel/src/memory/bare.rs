//! What heap, stacks and packed slots grow by on bare metal: frames, mapped into their windows.

use super::frames::{self, BLOCK_SIZE};
use super::page_table::Leaf;
use super::{OutOfMemory, space};
use isochron_boot::VirtAddr;
use isochron_boot::layout::PAGE_SIZE;

pub(super) use super::frames::available;
pub(super) use super::init::ram_bytes;

/// Backs the heap's next block or page at `at`, where `wanted` bytes are wanted. How many bytes it was.
pub(super) fn back_heap(at: VirtAddr, wanted: usize) -> Option<usize> {
    if at.is_aligned(BLOCK_SIZE)
        && wanted >= BLOCK_SIZE
        && let Some(block) = frames::alloc_block()
    {
        if space::map(at, block, BLOCK_SIZE, Leaf::Data).is_ok() {
            return Some(BLOCK_SIZE);
        }
        frames::free_contiguous(block, BLOCK_SIZE);
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

/// Backs a stack, all of it or nothing. The guard region below it stays unmapped.
pub(super) fn back_stack(bottom: VirtAddr, bytes: usize) -> Result<(), OutOfMemory> {
    space::map_fresh(bottom, bytes)
}
