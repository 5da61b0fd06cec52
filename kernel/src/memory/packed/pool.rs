//! The slots that no CPU has in stock, and the window that new ones are carved out of.

use super::{CLASSES, SlotSize};
use crate::memory::OutOfMemory;

/// What is mapped in one piece if it can be, and followed by as much that never is.
pub const BLOCK: usize = 2 << 20;

/// How the pool reaches memory.
pub trait PackedMemory {
    /// Backs memory from `at` on, a multiple of a page, where `wanted` bytes would be welcome. How many it was: as many, or a
    /// number of pages; `None` if there is no memory.
    fn back(&mut self, at: usize, wanted: usize) -> Option<usize>;
    /// Writes the first word of a slot that nobody uses.
    fn set_next(&mut self, slot: usize, next: usize);
    /// Reads it again.
    fn next(&self, slot: usize) -> usize;
}

/// All slots that nobody uses, and the addresses not yet used.
pub struct PackedPool<M> {
    memory: M,
    /// First address that is in no slot yet; what is backed and free goes from here to `backed`.
    next: usize,
    backed: usize,
    /// End of the block that `next` is in.
    block_end: usize,
    /// End of the window.
    end: usize,
    /// The slots given back, by size: lists.
    free: [usize; CLASSES],
    mapped: usize,
}

impl<M: PackedMemory> PackedPool<M> {
    /// An empty pool that places blocks from `start`, a multiple of twice [`BLOCK`], up to `end`.
    pub const fn new(memory: M, start: usize, end: usize) -> Self {
        Self { memory, next: start, backed: start, block_end: start, end, free: [0; CLASSES], mapped: 0 }
    }

    /// Sets where it places blocks, before it has any: as in [`Self::new`].
    pub const fn place(&mut self, start: usize, end: usize) {
        (self.next, self.backed, self.block_end, self.end) = (start, start, start, end);
    }

    /// Bytes of all memory that slots were ever carved out of; it stays mapped.
    pub const fn mapped(&self) -> usize {
        self.mapped
    }

    /// Bytes that are in no slot that somebody has.
    #[cfg(any(test, isochron_sim))]
    pub fn ready(&self) -> usize {
        let mut ready = self.backed - self.next;
        for (size, first) in [(SlotSize::Kib1, self.free[0]), (SlotSize::Kib2, self.free[1])] {
            let mut slot = first;
            while slot != 0 {
                ready += size.bytes();
                slot = self.memory.next(slot);
            }
        }
        ready
    }

    /// A slot: its address.
    ///
    /// # Errors
    /// [`OutOfMemory`], also when the window is full.
    pub fn take(&mut self, size: SlotSize) -> Result<usize, OutOfMemory> {
        self.pop(size).map_or_else(|| self.carve(size), Ok)
    }

    /// A slot that was given back or lies ready beside the last one, if there is one.
    pub fn take_ready(&mut self, size: SlotSize) -> Option<usize> {
        self.pop(size).or_else(|| self.carve_backed(size))
    }

    fn pop(&mut self, size: SlotSize) -> Option<usize> {
        let head = self.free[size.class()];
        if head == 0 {
            return None;
        }
        self.free[size.class()] = self.memory.next(head);
        Some(head)
    }

    /// Takes back a slot that [`Self::take`] gave for the same size.
    pub fn give(&mut self, size: SlotSize, slot: usize) {
        let next = core::mem::replace(&mut self.free[size.class()], slot);
        self.memory.set_next(slot, next);
    }

    fn carve_backed(&mut self, size: SlotSize) -> Option<usize> {
        let end = self.next + size.bytes();
        (end <= self.backed).then(|| core::mem::replace(&mut self.next, end))
    }

    #[cold]
    fn carve(&mut self, size: SlotSize) -> Result<usize, OutOfMemory> {
        loop {
            if let Some(slot) = self.carve_backed(size) {
                return Ok(slot);
            }
            if self.next + size.bytes() > self.block_end {
                self.begin_block()?;
            }
            let got = self.memory.back(self.backed, self.block_end - self.backed).ok_or(OutOfMemory)?;
            self.backed += got;
            self.mapped += got;
        }
    }

    /// Goes on in a new block. What is left of the old one becomes slots of the smaller size.
    fn begin_block(&mut self) -> Result<(), OutOfMemory> {
        // The first block begins where the window does.
        let start = if self.block_end.is_multiple_of(2 * BLOCK) { self.block_end } else { self.block_end + BLOCK };
        let end = start.checked_add(2 * BLOCK).filter(|&end| end <= self.end).ok_or(OutOfMemory)? - BLOCK;
        while let Some(rest) = self.carve_backed(SlotSize::Kib1) {
            self.give(SlotSize::Kib1, rest);
        }
        (self.next, self.backed, self.block_end) = (start, start, end);
        Ok(())
    }
}
