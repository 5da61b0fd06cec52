//! The windows of addresses that the heap grows in: the pieces of its own, and that of blocks that are charged to groups.

use super::extents::Grow;
use crate::memory::source;
use core::ops::Range;
use isochron_boot::VirtAddr;
use isochron_boot::layout::PAGE_SIZE;

/// How far a window is backed.
pub(crate) struct Window {
    range: Range<usize>,
    /// Bytes backed so far.
    bytes: usize,
    /// The least that is added at once.
    step: usize,
}

impl Window {
    /// The window of `size` bytes from `base` on. Nothing is backed yet.
    pub(crate) const fn new(base: usize, size: usize) -> Self {
        Self { range: base..base + size, bytes: 0, step: PAGE_SIZE }
    }

    /// Sets where it lies, before anything is backed, and the least that is added at once, a power of two.
    pub(super) fn place(&mut self, range: Range<usize>, step: usize) {
        self.range = range;
        self.step = step;
    }
}

impl Grow for Window {
    fn base(&self) -> *mut u8 {
        VirtAddr::new(self.range.start).as_mut_ptr()
    }

    fn grow(&mut self, bytes: usize) -> usize {
        // A request that can not be met must not eat all memory first.
        if bytes > source::available() || bytes > self.range.len() - self.bytes {
            return 0;
        }
        let end = self.bytes + bytes.next_multiple_of(self.step).min(self.range.len() - self.bytes);
        let start = self.bytes;
        while self.bytes < end {
            let Some(added) = source::back_heap(VirtAddr::new(self.range.start + self.bytes), end - self.bytes) else {
                break;
            };
            self.bytes += added;
        }
        self.bytes - start
    }
}
