//! A CPU's own stock of pages, and how it is filled from and emptied to what all share.

use super::{Distances, Frames};
use crate::memory::magazine::Magazine;
use core::sync::atomic::{AtomicU64, Ordering};
use isochron_boot::PhysAddr;
use isochron_boot::layout::PAGE_SIZE;

/// A stock is filled by more than the page that is asked for while so many bytes are free: so a machine of a few MiB does
/// not keep its last pages where others cannot have them.
const AMPLE: usize = 8 << 20;

/// Pages ready for one CPU, which touches them with interrupts masked. The counts may be read anywhere.
pub struct FrameCache {
    frames: Magazine<15>,
    local: AtomicU64,
    remote: AtomicU64,
}

impl FrameCache {
    /// Nothing in stock.
    #[must_use]
    pub const fn new() -> Self {
        Self { frames: Magazine::new(15), local: AtomicU64::new(0), remote: AtomicU64::new(0) }
    }

    /// A page from stock.
    #[inline(always)]
    pub fn pop(&self) -> Option<PhysAddr> {
        self.frames.pop().map(PhysAddr::new)
    }

    /// Puts a page in stock; false if there is no room.
    ///
    /// # Panics
    /// In builds with debug assertions, if it is in stock already: it was freed twice.
    #[inline(always)]
    #[must_use]
    pub fn push(&self, frame: PhysAddr) -> bool {
        debug_assert!(!self.frames.contains(frame.as_usize()), "frame freed twice");
        self.frames.push(frame.as_usize())
    }

    /// A page when the stock was empty: takes a batch from what is shared, if that is ample.
    pub fn refill(&self, shared: &mut Frames<'_>, from: Distances<'_>) -> Option<PhysAddr> {
        let frame = shared.allocate(from)?;
        let batch = if shared.available() >= AMPLE { self.frames.batch() } else { 1 };
        for _ in 1..batch {
            let Some(further) = shared.allocate(from) else { break };
            if !self.frames.push(further.as_usize()) {
                shared.free(further, PAGE_SIZE);
                break;
            }
        }
        Some(frame)
    }

    /// Gives a batch, and then the page itself, to what is shared, when there is no room in stock.
    pub fn flush(&self, frame: PhysAddr, shared: &mut Frames<'_>) {
        for _ in 1..self.frames.batch() {
            let Some(stocked) = self.pop() else { break };
            shared.free(stocked, PAGE_SIZE);
        }
        shared.free(frame, PAGE_SIZE);
    }

    /// Bytes in stock.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.len() * PAGE_SIZE
    }

    /// Counts memory that the CPU was given, out of its own node or another.
    pub fn count(&self, bytes: usize, is_local: bool) {
        let count = if is_local { &self.local } else { &self.remote };
        // Relaxed: a count, which its CPU alone changes.
        count.store(count.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that the CPU was given so far, out of its own node and of others.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.local.load(Ordering::Relaxed), self.remote.load(Ordering::Relaxed))
    }
}

impl Default for FrameCache {
    fn default() -> Self {
        Self::new()
    }
}
