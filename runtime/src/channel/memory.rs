//! Where a channel's messages lie: the heap.

use alloc::alloc::Layout;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use isochron_core::channel::blocks::{Block, Memory, Slot};

/// Blocks of the heap's.
pub(super) struct Heap;

pub(super) type HeapBlock<T> = Block<T, Box<[Slot<T>]>>;

/// What the slots of one block of an unbounded channel take, in bytes, as near as may be.
const BLOCK_BYTES: usize = 4096;

/// Slots of a block of an unbounded channel.
const fn slots_in_a_block<T>() -> usize {
    match size_of::<T>() {
        0 => 256,
        size if BLOCK_BYTES / size < 4 => 4,
        size if BLOCK_BYTES / size > 256 => 256,
        size => BLOCK_BYTES / size,
    }
}

impl Heap {
    /// A block of `slots` slots; `None` if there is no memory for it.
    pub fn block<T>(slots: usize) -> Option<NonNull<HeapBlock<T>>> {
        let mut places = Vec::new();
        places.try_reserve_exact(slots).ok()?;
        places.extend((0..slots).map(|_| Slot::empty()));
        // SAFETY: a block is not zero-sized: it has a link.
        let memory = NonNull::new(unsafe { alloc::alloc::alloc(Layout::new::<HeapBlock<T>>()) })?.cast();
        // SAFETY: fresh memory of the right size and alignment.
        unsafe { memory.write(Block::new(places.into_boxed_slice())) };
        Some(memory)
    }

    /// The first block of a channel without a limit.
    pub fn first<T>() -> Option<NonNull<HeapBlock<T>>> {
        Self::block(slots_in_a_block::<T>())
    }
}

// SAFETY: what comes from the heap is unshared and stays where it is. (The heap may be used with interrupts masked.)
unsafe impl<T> Memory<T> for Heap {
    type Slots = Box<[Slot<T>]>;

    fn more() -> Option<NonNull<HeapBlock<T>>> {
        Self::first()
    }

    unsafe fn free(block: NonNull<HeapBlock<T>>) {
        // SAFETY: made by `block`, as a box is, and nobody's any more (caller).
        drop(unsafe { Box::from_raw(block.as_ptr()) });
    }
}
