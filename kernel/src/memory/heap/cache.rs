//! A CPU's own stock of small blocks, and how it is filled from and emptied to the shared part.

use super::central::{Backing, Central};
use super::classes::{CLASSES, cache_limit};
use crate::memory::magazine::Magazine;
use core::cell::Cell;

/// Small blocks ready for one CPU, by class.
///
/// It belongs to its CPU, which touches it with interrupts masked. What it holds counts as used in the shared part, at
/// most about 100 KiB for a CPU.
pub struct HeapCache {
    magazines: [Magazine<31>; CLASSES],
    refills: Cell<u64>,
    flushes: Cell<u64>,
}

impl HeapCache {
    /// Nothing in stock.
    #[must_use]
    pub const fn new() -> Self {
        let mut magazines = [const { Magazine::new(1) }; CLASSES];
        let mut class = 0;
        while class < CLASSES {
            magazines[class] = Magazine::new(cache_limit(class));
            class += 1;
        }
        Self { magazines, refills: Cell::new(0), flushes: Cell::new(0) }
    }

    /// A block from stock.
    #[inline(always)]
    pub fn pop(&self, class: usize) -> Option<usize> {
        self.magazines[class].pop()
    }

    /// Puts a block in stock; false if there is no room.
    #[inline(always)]
    #[must_use]
    pub fn push(&self, class: usize, block: usize) -> bool {
        self.magazines[class].push(block)
    }

    /// A block when the stock was empty: takes a batch from the shared part.
    pub fn refill<B: Backing>(&self, class: usize, central: &mut Central<B>) -> Option<usize> {
        self.refills.set(self.refills.get() + 1);
        let magazine = &self.magazines[class];
        let block = central.take(class)?;
        for _ in 1..magazine.batch() {
            let Some(further) = central.take(class) else { break };
            if !magazine.push(further) {
                // SAFETY: it was just taken, with this class.
                unsafe { central.give(class, further) };
                break;
            }
        }
        Some(block)
    }

    /// Gives a batch, and then the block itself, to the shared part, when there is no room in stock.
    ///
    /// # Safety
    /// The block is of this class and nobody uses it.
    pub unsafe fn flush<B: Backing>(&self, class: usize, block: usize, central: &mut Central<B>) {
        self.flushes.set(self.flushes.get() + 1);
        let magazine = &self.magazines[class];
        for _ in 1..magazine.batch() {
            let Some(stocked) = magazine.pop() else { break };
            // SAFETY: what is in stock was freed by its owner, and its class was checked then.
            unsafe { central.give(class, stocked) };
        }
        // SAFETY: the caller's promise.
        unsafe { central.give(class, block) };
    }

    /// How many blocks of a class are in stock.
    #[cfg(any(isochron_bare, isochron_hosted))]
    pub(crate) fn len(&self, class: usize) -> usize {
        self.magazines[class].len()
    }

    /// How often a batch was taken from and given to the shared part.
    pub fn batches(&self) -> (u64, u64) {
        (self.refills.get(), self.flushes.get())
    }
}

impl Default for HeapCache {
    fn default() -> Self {
        Self::new()
    }
}
