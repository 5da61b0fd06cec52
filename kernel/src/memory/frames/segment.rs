//! One run of free frames, in blocks of 2 MiB with a bitmap each.
//!
//! A block is in one of four states: *untouched* (its metadata was never written; all its frames that lie in the segment
//! are free), *whole* (all 512 free; in the list `whole`), *partial* (some free; in the list `partial`), *used* (none
//! free; in no list). Blocks below `touched` have metadata. So making a segment costs the same whatever its size, a
//! frame costs a list head and one bit, and freeing puts blocks together again by a count.
//!
//! Rejected: a buddy system (nothing asks for its sizes between a page and a block often), and a bitmap over all frames
//! (a pass over it at boot, and no O(1) for whole blocks).

use super::{BLOCK_SIZE, FRAMES_PER_BLOCK};
use core::mem::MaybeUninit;
use isochron_boot::layout::PAGE_SIZE;
use isochron_boot::{PhysAddr, PhysRange};

const WORDS: usize = FRAMES_PER_BLOCK / 64;
/// No block: the end of a list.
const NONE: u32 = u32::MAX;

/// What is known of a touched block.
pub struct Block {
    /// A set bit is a free frame.
    bits: [u64; WORDS],
    next: u32,
    prev: u32,
    /// Set bits.
    free: u16,
}

/// A run of frames.
pub struct Segment<'a> {
    range: PhysRange,
    /// Where block 0 begins; at or below `range.start`.
    base: usize,
    blocks: &'a mut [MaybeUninit<Block>],
    touched: usize,
    partial: u32,
    whole: u32,
    available: usize,
}

impl<'a> Segment<'a> {
    /// Blocks that a range needs metadata for.
    #[must_use]
    pub const fn blocks_for(range: PhysRange) -> usize {
        let base = range.start.align_down(BLOCK_SIZE).as_usize();
        (range.end.as_usize() - base).div_ceil(BLOCK_SIZE)
    }

    /// All frames of `range` free.
    ///
    /// # Panics
    /// If the range is not made of whole pages, or `blocks` are fewer than [`Self::blocks_for`] says.
    #[must_use]
    pub fn new(range: PhysRange, blocks: &'a mut [MaybeUninit<Block>]) -> Self {
        assert!(range.start.is_aligned(PAGE_SIZE) && range.end.is_aligned(PAGE_SIZE) && !range.is_empty());
        let needed = Self::blocks_for(range);
        assert!(needed < NONE as usize);
        let base = range.start.align_down(BLOCK_SIZE).as_usize();
        let blocks = &mut blocks[..needed];
        Self { range, base, blocks, touched: 0, partial: NONE, whole: NONE, available: range.len() / PAGE_SIZE }
    }

    /// The frames it was made of.
    #[must_use]
    pub const fn range(&self) -> PhysRange {
        self.range
    }

    /// Free frames.
    #[must_use]
    pub const fn available(&self) -> usize {
        self.available
    }

    fn block(&mut self, nth: u32) -> &mut Block {
        assert!((nth as usize) < self.touched);
        // SAFETY: blocks below `touched` were written by `touch`.
        unsafe { self.blocks[nth as usize].assume_init_mut() }
    }

    fn address(&self, block: u32, frame: usize) -> PhysAddr {
        PhysAddr::new(self.base + block as usize * BLOCK_SIZE + frame * PAGE_SIZE)
    }

    fn list(&mut self, whole: bool) -> &mut u32 {
        if whole { &mut self.whole } else { &mut self.partial }
    }

    fn link(&mut self, nth: u32, whole: bool) {
        let head = core::mem::replace(self.list(whole), nth);
        let block = self.block(nth);
        block.next = head;
        block.prev = NONE;
        if head != NONE {
            self.block(head).prev = nth;
        }
    }

    fn unlink(&mut self, nth: u32, whole: bool) {
        let &mut Block { next, prev, .. } = self.block(nth);
        if prev == NONE {
            *self.list(whole) = next;
        } else {
            self.block(prev).next = next;
        }
        if next != NONE {
            self.block(next).prev = prev;
        }
    }

    /// Writes the metadata of the next untouched block and puts it in its list; false if there is none.
    fn touch(&mut self) -> bool {
        let nth = self.touched;
        if nth == self.blocks.len() {
            return false;
        }
        let start = self.base + nth * BLOCK_SIZE;
        let first = self.range.start.as_usize().saturating_sub(start) / PAGE_SIZE;
        let last = ((self.range.end.as_usize() - start) / PAGE_SIZE).min(FRAMES_PER_BLOCK);
        let mut bits = [0; WORDS];
        for (word, bits) in bits.iter_mut().enumerate() {
            *bits = ones_below(last, word) & !ones_below(first, word);
        }
        let free = (last - first) as u16;
        self.blocks[nth].write(Block { bits, next: NONE, prev: NONE, free });
        self.touched += 1;
        self.link(nth as u32, free as usize == FRAMES_PER_BLOCK);
        true
    }

    /// One frame.
    pub fn allocate(&mut self) -> Option<PhysAddr> {
        while self.partial == NONE {
            if self.whole != NONE {
                let nth = self.whole;
                self.unlink(nth, true);
                self.link(nth, false);
            } else if !self.touch() {
                return None;
            }
        }
        let nth = self.partial;
        let block = self.block(nth);
        let word = block.bits.iter().position(|&bits| bits != 0)?;
        let bit = block.bits[word].trailing_zeros() as usize;
        self.take(nth, word * 64 + bit, 1);
        Some(self.address(nth, word * 64 + bit))
    }

    /// Takes frames of a block in the list `partial`.
    fn take(&mut self, nth: u32, first: usize, count: usize) {
        let block = self.block(nth);
        for frame in first..first + count {
            block.bits[frame / 64] &= !(1 << (frame % 64));
        }
        block.free -= count as u16;
        if block.free == 0 {
            self.unlink(nth, false);
        }
        self.available -= count;
    }

    /// One whole block of 2 MiB.
    pub fn allocate_block(&mut self) -> Option<PhysAddr> {
        while self.whole == NONE {
            if !self.touch() {
                return None;
            }
        }
        let nth = self.whole;
        self.take_whole(nth);
        Some(self.address(nth, 0))
    }

    fn take_whole(&mut self, nth: u32) {
        self.unlink(nth, true);
        let block = self.block(nth);
        block.bits = [0; WORDS];
        block.free = 0;
        self.available -= FRAMES_PER_BLOCK;
    }

    /// `frames` frames in a row, the first at a multiple of `align` bytes (a power of two, at least a page).
    ///
    /// Looks at every block with free frames in the worst case.
    pub fn allocate_run(&mut self, frames: usize, align: usize) -> Option<PhysAddr> {
        if frames == 0 || frames > self.available {
            return None;
        }
        if frames > FRAMES_PER_BLOCK || align > BLOCK_SIZE {
            return self.allocate_blocks(frames, align);
        }
        loop {
            let mut nth = self.partial;
            while nth != NONE {
                let block = self.block(nth);
                if let Some(first) = find_run(&block.bits, frames, align / PAGE_SIZE) {
                    self.take(nth, first, frames);
                    return Some(self.address(nth, first));
                }
                nth = block.next;
            }
            while self.whole == NONE {
                if !self.touch() {
                    return None;
                }
                // The block just touched may be one at the segment's edge: not whole, but with a run.
                if self.whole == NONE {
                    break;
                }
            }
            if self.whole != NONE {
                let nth = self.whole;
                self.unlink(nth, true);
                self.link(nth, false);
            }
        }
    }

    /// More than a block, or aligned to more than one: whole blocks in a row; what is left of the last is free again.
    fn allocate_blocks(&mut self, frames: usize, align: usize) -> Option<PhysAddr> {
        let count = frames.div_ceil(FRAMES_PER_BLOCK);
        let mut first = 0;
        let mut length = 0;
        for nth in 0..self.blocks.len() {
            if length == 0 {
                first = nth;
            }
            let aligned = length > 0 || self.address(nth as u32, 0).is_aligned(align);
            length = if aligned && self.is_whole(nth) { length + 1 } else { 0 };
            if length == count {
                while self.touched <= nth {
                    self.touch();
                }
                (first..=nth).for_each(|block| self.take_whole(block as u32));
                let start = self.address(first as u32, 0);
                let extra = count * FRAMES_PER_BLOCK - frames;
                self.free_run(start.offset(frames * PAGE_SIZE), extra);
                return Some(start);
            }
        }
        None
    }

    fn is_whole(&mut self, nth: usize) -> bool {
        if nth < self.touched {
            return self.block(nth as u32).free as usize == FRAMES_PER_BLOCK;
        }
        let start = self.base + nth * BLOCK_SIZE;
        self.range.start.as_usize() <= start && start + BLOCK_SIZE <= self.range.end.as_usize()
    }

    /// Takes frames back.
    ///
    /// # Panics
    /// If one of them is free already or was never handed out: somebody's bookkeeping is broken.
    pub fn free_run(&mut self, addr: PhysAddr, frames: usize) {
        let last = addr.offset(frames * PAGE_SIZE);
        assert!(self.range.start <= addr && last <= self.range.end, "frame freed that is not ours");
        let mut at = (addr.as_usize() - self.base) / PAGE_SIZE;
        let end = at + frames;
        while at < end {
            let nth = (at / FRAMES_PER_BLOCK) as u32;
            let first = at % FRAMES_PER_BLOCK;
            let count = (end - at).min(FRAMES_PER_BLOCK - first);
            self.give(nth, first, count);
            at += count;
        }
        self.available += frames;
    }

    fn give(&mut self, nth: u32, first: usize, count: usize) {
        let block = self.block(nth);
        for frame in first..first + count {
            let bit = 1 << (frame % 64);
            assert!(block.bits[frame / 64] & bit == 0, "frame freed twice");
            block.bits[frame / 64] |= bit;
        }
        let before = block.free as usize;
        block.free += count as u16;
        let now = before + count;
        if before > 0 {
            if now < FRAMES_PER_BLOCK {
                return;
            }
            self.unlink(nth, false);
        }
        self.link(nth, now == FRAMES_PER_BLOCK);
    }
}

/// The bits of word `word` that stand for frames below `frame`.
const fn ones_below(frame: usize, word: usize) -> u64 {
    let bits = frame.saturating_sub(word * 64);
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// The first run of `count` set bits that begins at a multiple of `align`.
fn find_run(bits: &[u64; WORDS], count: usize, align: usize) -> Option<usize> {
    let mut length = 0;
    for frame in 0..FRAMES_PER_BLOCK {
        let free = bits[frame / 64] >> (frame % 64) & 1 == 1;
        length = if free && (length > 0 || frame % align == 0) { length + 1 } else { 0 };
        if length == count {
            return Some(frame + 1 - count);
        }
    }
    None
}
