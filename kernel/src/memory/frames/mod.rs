//! Frames: physical memory in pages of 4 KiB, in chunks of 64 KiB, in blocks of 2 MiB, and in longer runs.
//!
//! [`Frames`] is the pure allocator over several [`Segment`]s, each in one NUMA node; on bare metal one of them is behind a
//! lock, with a stock of pages on each CPU before it ([`FrameCache`]), and the free functions here are its face. Page faults
//! have some for themselves (`reserve`). Contents of frames are undefined.

pub mod cache;
mod segment;
#[cfg(test)]
mod tests;

pub use cache::FrameCache;
pub use segment::{Block, Segment};

use heapless::Vec;
use isochron_boot::layout::PAGE_SIZE;
use isochron_boot::{PhysAddr, PhysRange};

/// Bytes in a block.
pub const BLOCK_SIZE: usize = 2 * 1024 * 1024;

/// Bytes in a chunk: what ARM64 can keep as one entry of its translation buffer, 16 pages in a row.
pub const CHUNK_SIZE: usize = 64 * 1024;

/// Frames in a block.
pub const FRAMES_PER_BLOCK: usize = BLOCK_SIZE / PAGE_SIZE;

/// The most segments; memory beyond is left unused.
pub const MAX_SEGMENTS: usize = 128;

/// How far a node's memory is from who asks: the nearest that has some is taken.
pub type Distances<'d> = &'d dyn Fn(u16) -> u8;

/// All frames that can be handed out.
pub struct Frames<'a> {
    /// With the node that each lies in.
    segments: Vec<(u16, Segment<'a>), MAX_SEGMENTS>,
    total: usize,
}

impl<'a> Frames<'a> {
    /// No memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { segments: Vec::new(), total: 0 }
    }

    /// Adds a segment of a node, which overlaps none of the others; false if there are too many.
    pub fn add(&mut self, node: u16, segment: Segment<'a>) -> bool {
        let frames = segment.available();
        let added = self.segments.push((node, segment)).is_ok();
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
        self.segments.iter().map(|(_, segment)| segment.available()).sum::<usize>() * PAGE_SIZE
    }

    /// The node that an address lies in; 0 if it is in none of the segments.
    #[must_use]
    pub fn node_of(&self, addr: PhysAddr) -> u16 {
        self.segments.iter().find(|(_, segment)| segment.range().contains(addr)).map_or(0, |(node, _)| *node)
    }

    /// What `take` gets from the nearest segment that has it.
    fn nearest(
        &mut self,
        from: Distances<'_>,
        mut take: impl FnMut(&mut Segment<'a>) -> Option<PhysAddr>,
    ) -> Option<PhysAddr> {
        let mut tried = None;
        loop {
            let distances = self.segments.iter().map(|(node, _)| from(*node));
            let next = distances.filter(|distance| tried.is_none_or(|tried| *distance > tried)).min()?;
            let near =
                self.segments.iter_mut().filter(|(node, segment)| segment.available() > 0 && from(*node) == next);
            if let Some(found) = near.map(|(_, segment)| segment).find_map(&mut take) {
                return Some(found);
            }
            tried = Some(next);
        }
    }

    /// One frame.
    pub fn allocate(&mut self, from: Distances<'_>) -> Option<PhysAddr> {
        self.nearest(from, Segment::allocate)
    }

    /// One aligned block of 2 MiB.
    pub fn allocate_block(&mut self, from: Distances<'_>) -> Option<PhysAddr> {
        self.nearest(from, Segment::allocate_block)
    }

    /// `bytes` bytes (rounded up to pages) in a row, at a multiple of `align` bytes.
    ///
    /// # Panics
    /// If `align` is not a power of two.
    pub fn allocate_contiguous(&mut self, bytes: usize, align: usize, from: Distances<'_>) -> Option<PhysAddr> {
        assert!(align.is_power_of_two());
        let frames = bytes.div_ceil(PAGE_SIZE);
        self.nearest(from, |segment| segment.allocate_run(frames, align.max(PAGE_SIZE)))
    }

    /// Takes back `bytes` bytes (rounded up to pages): what one of the above gave, or whole frames of it.
    ///
    /// # Panics
    /// If they were not handed out: somebody's bookkeeping is broken.
    pub fn free(&mut self, addr: PhysAddr, bytes: usize) {
        let owner = self.segments.iter_mut().find(|(_, segment)| segment.range().contains(addr));
        owner.expect("frame freed that is not ours").1.free_run(addr, bytes.div_ceil(PAGE_SIZE));
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
mod global;
#[cfg(isochron_bare)]
mod reserve;
#[cfg(isochron_bare)]
pub(crate) use global::add;
#[cfg(isochron_bare)]
pub use global::{alloc, alloc_block, alloc_chunk, alloc_contiguous, available, free, free_contiguous, origin, total};
#[cfg(isochron_bare)]
pub(crate) use reserve::{Reserve, back_from_a_fault, for_a_fault};
