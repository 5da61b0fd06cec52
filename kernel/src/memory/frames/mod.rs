//! Frames: physical memory in pages of 4 KiB, in blocks of 2 MiB, and in longer runs.
//!
//! [`Frames`] is the pure allocator over several [`Segment`]s; on bare metal one of them is behind a lock, and the free
//! functions here are its face. Contents of frames are undefined.

mod segment;
#[cfg(test)]
mod tests;

pub use segment::{Block, Segment};

use heapless::Vec;
use isochron_boot::layout::PAGE_SIZE;
use isochron_boot::{PhysAddr, PhysRange};

/// Bytes in a block.
pub const BLOCK_SIZE: usize = 2 * 1024 * 1024;

/// Frames in a block.
pub const FRAMES_PER_BLOCK: usize = BLOCK_SIZE / PAGE_SIZE;

/// The most segments; memory beyond is left unused.
pub const MAX_SEGMENTS: usize = 128;

/// All frames that can be handed out.
pub struct Frames<'a> {
    segments: Vec<Segment<'a>, MAX_SEGMENTS>,
    total: usize,
}

impl<'a> Frames<'a> {
    /// No memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { segments: Vec::new(), total: 0 }
    }

    /// Adds a segment that overlaps none of the others; false if there are too many.
    pub fn add(&mut self, segment: Segment<'a>) -> bool {
        let frames = segment.available();
        let added = self.segments.push(segment).is_ok();
        self.total += if added { frames } else { 0 };
        added
    }

    /// Bytes that were ever free.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total * PAGE_SIZE
    }

    /// Free bytes.
    #[must_use]
    pub fn available(&self) -> usize {
        self.segments.iter().map(Segment::available).sum::<usize>() * PAGE_SIZE
    }

    /// One frame.
    pub fn allocate(&mut self) -> Option<PhysAddr> {
        self.segments.iter_mut().filter(|segment| segment.available() > 0).find_map(Segment::allocate)
    }

    /// One aligned block of 2 MiB.
    pub fn allocate_block(&mut self) -> Option<PhysAddr> {
        self.segments.iter_mut().filter(|segment| segment.available() > 0).find_map(Segment::allocate_block)
    }

    /// `bytes` bytes (rounded up to pages) in a row, at a multiple of `align` bytes.
    ///
    /// # Panics
    /// If `align` is not a power of two.
    pub fn allocate_contiguous(&mut self, bytes: usize, align: usize) -> Option<PhysAddr> {
        assert!(align.is_power_of_two());
        let frames = bytes.div_ceil(PAGE_SIZE);
        self.segments.iter_mut().find_map(|segment| segment.allocate_run(frames, align.max(PAGE_SIZE)))
    }

    /// Takes back `bytes` bytes (rounded up to pages): what one of the above gave, or whole frames of it.
    ///
    /// # Panics
    /// If they were not handed out: somebody's bookkeeping is broken.
    pub fn free(&mut self, addr: PhysAddr, bytes: usize) {
        let owner = self.segments.iter_mut().find(|segment| segment.range().contains(addr));
        owner.expect("frame freed that is not ours").free_run(addr, bytes.div_ceil(PAGE_SIZE));
    }
}

impl Default for Frames<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a segment of `range` keeps its metadata, and what is left of the range.
///
/// The metadata is the range's first pages: it needs no memory from elsewhere. `None`: nothing worth having is left.
#[must_use]
pub const fn carve(range: PhysRange) -> Option<(PhysRange, PhysRange)> {
    let bytes = (Segment::blocks_for(range) * size_of::<Block>()).div_ceil(PAGE_SIZE) * PAGE_SIZE;
    if bytes >= range.len() {
        return None;
    }
    let split = range.start.offset(bytes);
    Some((PhysRange { start: range.start, end: split }, PhysRange { start: split, end: range.end }))
}

#[cfg(isochron_bare)]
mod global {
    use super::{Block, Frames, PAGE_SIZE, PhysAddr, PhysRange, Segment, carve};
    use crate::irq::IrqLock;
    use crate::lock_rank;
    use crate::memory::shortage::{self, Supply};
    use core::mem::MaybeUninit;
    use isochron_boot::layout::direct_map;

    static FRAMES: IrqLock<Frames<'static>> = IrqLock::new(lock_rank::FRAMES, Frames::new());

    /// Hands a range of whole pages to the allocator. False: it was too small or there are too many segments.
    ///
    /// # Safety
    /// The range is RAM that the direct map shows, nobody uses it, and it is given away for ever.
    pub(crate) unsafe fn add(range: PhysRange) -> bool {
        let Some((metadata, rest)) = carve(range) else { return false };
        let first = direct_map(metadata.start).as_mut_ptr::<MaybeUninit<Block>>();
        // SAFETY: the pages are mapped and ours alone (the caller's promise), and `carve` made them large enough for
        // the blocks of the whole range, of which `rest` is a part. `MaybeUninit` asks nothing of their contents.
        let blocks = unsafe { core::slice::from_raw_parts_mut(first, Segment::blocks_for(range)) };
        FRAMES.lock().add(Segment::new(rest, blocks))
    }

    fn refused() -> bool {
        shortage::refuses(Supply::Frames)
    }

    /// One frame of 4 KiB, contents undefined.
    #[must_use]
    pub fn alloc() -> Option<PhysAddr> {
        if refused() { None } else { FRAMES.lock().allocate() }
    }

    /// One aligned block of 2 MiB, contents undefined.
    #[must_use]
    pub fn alloc_block() -> Option<PhysAddr> {
        if refused() { None } else { FRAMES.lock().allocate_block() }
    }

    /// `bytes` bytes (rounded up to pages) in a row, at a multiple of `align` bytes, contents undefined.
    ///
    /// # Panics
    /// If `align` is not a power of two.
    #[must_use]
    pub fn alloc_contiguous(bytes: usize, align: usize) -> Option<PhysAddr> {
        if refused() { None } else { FRAMES.lock().allocate_contiguous(bytes, align) }
    }

    /// Takes back a frame of [`alloc`].
    ///
    /// # Panics
    /// If it was not handed out.
    pub fn free(frame: PhysAddr) {
        FRAMES.lock().free(frame, PAGE_SIZE);
    }

    /// Takes back what [`alloc_contiguous`] or [`alloc_block`] gave, with the size it was asked for.
    ///
    /// # Panics
    /// If it was not handed out.
    pub fn free_contiguous(addr: PhysAddr, bytes: usize) {
        FRAMES.lock().free(addr, bytes);
    }

    /// Bytes that the allocator began with.
    #[must_use]
    pub fn total() -> usize {
        FRAMES.lock().total()
    }

    /// Bytes that are free now.
    #[must_use]
    pub fn available() -> usize {
        FRAMES.lock().available()
    }
}

#[cfg(isochron_bare)]
pub(crate) use global::add;
#[cfg(isochron_bare)]
pub use global::{alloc, alloc_block, alloc_contiguous, available, free, free_contiguous, total};
