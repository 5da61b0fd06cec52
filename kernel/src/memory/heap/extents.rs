//! The shared heap's memory: one `linked_list_allocator` heap that grows at its end.

use super::central::Backing;
use core::alloc::Layout;
use core::ptr::NonNull;
use linked_list_allocator::Heap;

/// Where the heap's memory comes from: a window of addresses that is backed from its start on.
pub trait Grow {
    /// The first address of the window, page-aligned.
    fn base(&self) -> *mut u8;
    /// Backs at least `bytes` further bytes directly after the last, or fewer if memory is short. The answer is how
    /// many they are, a multiple of 4096, perhaps 0.
    fn grow(&mut self, bytes: usize) -> usize;
}

/// The heap and its source.
pub struct Extents<G> {
    heap: Heap,
    source: G,
}

/// Large blocks are multiples of this: the holes between them stay usable.
pub const GRAIN: usize = 256;

/// Bytes that a large block of this layout really takes.
fn rounded(layout: Layout) -> Option<Layout> {
    let size = layout.size().max(1).checked_next_multiple_of(GRAIN)?;
    Layout::from_size_align(size, layout.align().max(16)).ok()
}

impl<G: Grow> Extents<G> {
    /// Empty; the first request takes memory.
    pub const fn new(source: G) -> Self {
        Self { heap: Heap::empty(), source }
    }

    /// Where memory comes from.
    pub const fn source_mut(&mut self) -> &mut G {
        &mut self.source
    }

    /// Bytes taken from the source.
    pub fn capacity(&self) -> usize {
        self.heap.size()
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.heap.used()
    }

    /// Takes at least `bytes` further bytes; false if none came.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let added = self.source.grow(bytes);
        if added == 0 {
            return false;
        }
        if self.heap.size() == 0 {
            // SAFETY: the heap is empty, this is the first time, and the source says that these bytes are backed, and
            // they are nobody else's.
            unsafe { self.heap.init(self.source.base(), added) };
        } else {
            // SAFETY: the source backs its window in order, so the bytes follow those the heap has.
            unsafe { self.heap.extend(added) };
        }
        true
    }
}

impl<G: Grow> Backing for Extents<G> {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let layout = rounded(layout)?;
        if let Ok(block) = self.heap.allocate_first_fit(layout) {
            return Some(block);
        }
        // Enough for the worst alignment, and for a hole on either side.
        let wanted = layout.size().checked_add(layout.align())?.checked_add(2 * GRAIN)?;
        if !self.grow(wanted) {
            return None;
        }
        self.heap.allocate_first_fit(layout).ok()
    }

    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        // A layout that was allocated can be rounded.
        let Some(layout) = rounded(layout) else { return };
        // SAFETY: the block came from `allocate` with this layout (the caller's promise), which rounded it alike.
        unsafe { self.heap.deallocate(block, layout) }
    }
}
