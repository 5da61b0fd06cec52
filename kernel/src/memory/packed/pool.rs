//! The slots that no CPU has in stock, and the window that new ones are carved out of.
//!
//! A block has slots of one size, and its address says which: so who comes across a page of it knows where in it threads begin
//! (`memory/folding`).

use super::{CLASSES, SlotSize};
use crate::memory::OutOfMemory;
use core::ops::Range;

/// What is mapped in one piece if it can be, and followed by as much that never is.
pub const BLOCK: usize = 2 << 20;

/// From one block to the next, of the other size.
const STRIDE: usize = 2 * BLOCK;

/// From one block to the next of the same size.
const ROUND: usize = CLASSES * STRIDE;

impl SlotSize {
    /// The size of the slots in the block that an address is in.
    #[must_use]
    pub const fn at(addr: usize) -> Self {
        if addr / STRIDE % CLASSES == Self::Kib1.class() { Self::Kib1 } else { Self::Kib2 }
    }
}

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

/// The addresses that slots of one size are carved out of.
#[derive(Clone, Copy)]
struct Quarry {
    /// First address that is in no slot yet; what is backed and free goes from here to `backed`.
    next: usize,
    backed: usize,
    /// End of the block that `next` is in.
    block_end: usize,
}

impl Quarry {
    /// Before the first block, of those from `start` on.
    const fn new(start: usize, class: usize) -> Self {
        let before = start + class * STRIDE;
        Self { next: before, backed: before, block_end: before }
    }
}

/// All slots that nobody uses, and the addresses not yet used.
pub struct PackedPool<M> {
    memory: M,
    /// By size.
    quarries: [Quarry; CLASSES],
    /// Start and end of the window.
    start: usize,
    end: usize,
    /// The slots given back, by size: lists.
    free: [usize; CLASSES],
    mapped: usize,
}

impl<M: PackedMemory> PackedPool<M> {
    /// An empty pool that places blocks from `start`, a multiple of four times [`BLOCK`] of each size, up to `end`.
    pub const fn new(memory: M, start: usize, end: usize) -> Self {
        let mut pool =
            Self { memory, quarries: [Quarry::new(0, 0); CLASSES], start, end, free: [0; CLASSES], mapped: 0 };
        pool.place(start, end);
        pool
    }

    /// Sets where it places blocks, before it has any: as in [`Self::new`].
    pub const fn place(&mut self, start: usize, end: usize) {
        (self.start, self.end) = (start, end);
        let mut class = 0;
        while class < CLASSES {
            self.quarries[class] = Quarry::new(start, class);
            class += 1;
        }
    }

    /// The blocks that have memory, from the lowest on: of each, the addresses that are backed.
    pub fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<M> {
        let (start, quarries) = (self.start, self.quarries);
        let highest = quarries.iter().map(|quarry| quarry.backed).max().unwrap_or(start);
        (start..highest).step_by(STRIDE).filter_map(move |block| {
            let backed = quarries[SlotSize::at(block).class()].backed;
            (block < backed).then(|| block..backed.min(block + BLOCK))
        })
    }

    /// Bytes of all memory that slots were ever carved out of; it stays mapped.
    pub const fn mapped(&self) -> usize {
        self.mapped
    }

    /// Bytes that are in no slot that somebody has.
    #[cfg(any(test, isochron_sim))]
    pub fn ready(&self) -> usize {
        let mut ready = self.quarries.iter().map(|quarry| quarry.backed - quarry.next).sum();
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
        let quarry = &mut self.quarries[size.class()];
        let end = quarry.next + size.bytes();
        (end <= quarry.backed).then(|| core::mem::replace(&mut quarry.next, end))
    }

    #[cold]
    fn carve(&mut self, size: SlotSize) -> Result<usize, OutOfMemory> {
        loop {
            if let Some(slot) = self.carve_backed(size) {
                return Ok(slot);
            }
            if self.quarries[size.class()].next == self.quarries[size.class()].block_end {
                self.begin_block(size)?;
            }
            let quarry = &mut self.quarries[size.class()];
            let got = self.memory.back(quarry.backed, quarry.block_end - quarry.backed).ok_or(OutOfMemory)?;
            quarry.backed += got;
            self.mapped += got;
        }
    }

    /// Goes on in a new block, as the last one is used up: slots of one size fill it.
    fn begin_block(&mut self, size: SlotSize) -> Result<(), OutOfMemory> {
        let quarry = &mut self.quarries[size.class()];
        // The first block begins where the quarry does.
        let start =
            if quarry.block_end.is_multiple_of(STRIDE) { quarry.block_end } else { quarry.block_end + ROUND - BLOCK };
        let end = start.checked_add(STRIDE).filter(|&end| end <= self.end).ok_or(OutOfMemory)? - BLOCK;
        *quarry = Quarry { next: start, backed: start, block_end: end };
        Ok(())
    }
}
