//! The machine's frames: a stock on each CPU, and the rest behind one lock.

use super::{Block, CHUNK_SIZE, FrameCache, Frames, PAGE_SIZE, PhysAddr, PhysRange, Segment, carve, reserve};
use crate::cpu::{self, CpuId, PerCpu};
use crate::irq::{self, IrqLock, IrqLockGuard};
use crate::memory::shortage::{self, Supply};
use crate::memory::{Origin, this_cpu_if_set};
use crate::{lock_rank, topology};
use core::mem::MaybeUninit;
use isochron_boot::layout::direct_map;

pub(super) static FRAMES: IrqLock<Frames<'static>> = IrqLock::new(lock_rank::FRAMES, Frames::new());

/// The lock; whoever takes it fills up its CPU's reserve first, see [`reserve`].
fn lock() -> IrqLockGuard<'static, Frames<'static>> {
    let mut frames = FRAMES.lock();
    reserve::fill(&mut frames);
    frames
}

/// Hands a range of whole pages, in one node, to the allocator. False: it was too small or there are too many segments.
///
/// # Safety
/// The range is RAM that the direct map shows, nobody uses it, and it is given away for ever.
pub(crate) unsafe fn add(node: u16, range: PhysRange) -> bool {
    let Some((metadata, rest)) = carve(range) else { return false };
    let first = direct_map(metadata.start).as_mut_ptr::<MaybeUninit<Block>>();
    // SAFETY: the pages are mapped and ours alone (the caller's promise), and `carve` made them large enough for
    // the blocks of the whole range, of which `rest` is a part. `MaybeUninit` asks nothing of their contents.
    let blocks = unsafe { core::slice::from_raw_parts_mut(first, Segment::blocks_for(range)) };
    FRAMES.lock().add(node, Segment::new(rest, blocks))
}

fn refused() -> bool {
    shortage::refuses(Supply::Frames)
}

/// The node of the CPU that this runs on. Interrupts are masked.
pub(super) fn here() -> u16 {
    topology::place(this_cpu_if_set().map_or(CpuId::PRIMARY, |cpu| cpu.id)).node
}

/// Memory from the node of the CPU that this runs on, or from the nearest that has some, counted for it.
fn nearest(
    bytes: usize,
    take: impl FnOnce(&mut Frames<'static>, &dyn Fn(u16) -> u8) -> Option<PhysAddr>,
) -> Option<PhysAddr> {
    // The lock masks interrupts, so the CPU stays the same.
    let mut frames = lock();
    let own = here();
    let found = take(&mut frames, &|node| topology::node_distance(own, node))?;
    if let Some(cpu) = this_cpu_if_set() {
        cpu.frames.count(bytes, frames.node_of(found) == own);
    }
    Some(found)
}

/// One frame of 4 KiB, contents undefined.
#[inline]
#[must_use]
pub fn alloc() -> Option<PhysAddr> {
    if refused() {
        return None;
    }
    irq::without(|| this_cpu_if_set().and_then(|cpu| cpu.frames.pop())).or_else(refill)
}

#[cold]
#[inline(never)]
fn refill() -> Option<PhysAddr> {
    let mut frames = lock();
    let own = here();
    let from = |node| topology::node_distance(own, node);
    let Some(cpu) = this_cpu_if_set() else { return frames.allocate(&from) };
    let before = cpu.frames.bytes();
    let found = cpu.frames.refill(&mut frames, &from)?;
    // A batch at the end of a node's memory may be of two nodes: it counts by the page that was asked for.
    cpu.frames.count(cpu.frames.bytes() - before + PAGE_SIZE, frames.node_of(found) == own);
    Some(found)
}

/// One aligned chunk of 64 KiB, contents undefined.
#[must_use]
pub fn alloc_chunk() -> Option<PhysAddr> {
    alloc_contiguous(CHUNK_SIZE, CHUNK_SIZE)
}

/// One aligned block of 2 MiB, contents undefined.
#[must_use]
pub fn alloc_block() -> Option<PhysAddr> {
    if refused() { None } else { nearest(super::BLOCK_SIZE, |frames, from| frames.allocate_block(from)) }
}

/// `bytes` bytes (rounded up to pages) in a row, at a multiple of `align` bytes, contents undefined.
///
/// # Panics
/// If `align` is not a power of two.
#[must_use]
pub fn alloc_contiguous(bytes: usize, align: usize) -> Option<PhysAddr> {
    if refused() { None } else { nearest(bytes, |frames, from| frames.allocate_contiguous(bytes, align, from)) }
}

/// Takes back a frame of [`alloc`].
///
/// # Panics
/// If it was not handed out: at once in builds with debug assertions, else when the stock is emptied.
#[inline]
pub fn free(frame: PhysAddr) {
    let is_one = topology::has_one_node();
    if !(is_one && irq::without(|| this_cpu_if_set().is_some_and(|cpu| cpu.frames.push(frame)))) {
        flush(frame);
    }
}

/// A page of another node goes back there, not into the stock.
#[cold]
#[inline(never)]
fn flush(frame: PhysAddr) {
    let mut frames = lock();
    match this_cpu_if_set() {
        Some(cpu) if frames.node_of(frame) == here() => {
            if !cpu.frames.push(frame) {
                cpu.frames.flush(frame, &mut frames);
            }
        }
        _ => frames.free(frame, PAGE_SIZE),
    }
}

/// Takes back what [`alloc_contiguous`], [`alloc_chunk`] or [`alloc_block`] gave, with the size it was asked for.
///
/// # Panics
/// If it was not handed out.
pub fn free_contiguous(addr: PhysAddr, bytes: usize) {
    lock().free(addr, bytes);
}

/// Bytes that the allocator began with.
#[must_use]
pub fn total() -> usize {
    FRAMES.lock().total()
}

/// Bytes that are free now, those in stock on the CPUs among them, but for the reserves. Exact if nobody takes or gives frames meanwhile.
#[must_use]
pub fn available() -> usize {
    let stocked: usize = cpu::described().map(|cpu| cpu.frames.bytes()).sum();
    FRAMES.lock().available() + stocked
}

/// Where a CPU's memory came from so far.
#[must_use]
pub fn origin(cpu: &PerCpu) -> Origin {
    let (local, remote) = FrameCache::counts(&cpu.frames);
    Origin { local, remote }
}
