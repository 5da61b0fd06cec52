//! The window of addresses that the heap grows in.

use super::extents::Grow;
use crate::memory::source;
use isochron_boot::VirtAddr;
use isochron_boot::layout::{HEAP_BASE, HEAP_SIZE, PAGE_SIZE};

/// How far the window is backed.
pub(super) struct Window {
    /// Bytes backed so far.
    bytes: usize,
    /// The least that is added at once.
    step: usize,
}

impl Window {
    /// Nothing is backed yet.
    pub(super) const fn new() -> Self {
        Self { bytes: 0, step: PAGE_SIZE }
    }

    /// Sets the least that is added at once, a power of two.
    pub(super) const fn set_step(&mut self, step: usize) {
        self.step = step;
    }
}

impl Grow for Window {
    fn base(&self) -> *mut u8 {
        VirtAddr::new(HEAP_BASE).as_mut_ptr()
    }

    fn grow(&mut self, bytes: usize) -> usize {
        // A request that can not be met must not eat all memory first.
        if bytes > source::available() || bytes > HEAP_SIZE - self.bytes {
            return 0;
        }
        let end = self.bytes + bytes.next_multiple_of(self.step).min(HEAP_SIZE - self.bytes);
        let start = self.bytes;
        while self.bytes < end {
            let Some(added) = source::back_heap(VirtAddr::new(HEAP_BASE + self.bytes), end - self.bytes) else { break };
            self.bytes += added;
        }
        self.bytes - start
    }
}
