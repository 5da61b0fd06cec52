//! Taking slots and giving them back.

use super::SlotSize;
use super::pool::{PackedMemory, PackedPool};
#[cfg(isochron_sim)]
use crate::cpu;
use crate::irq::{self, IrqGuard, IrqLock};
use crate::lock_rank;
use crate::memory::pieces::{self, Pieces};
use crate::memory::{OutOfMemory, source, this_cpu_if_set};
#[cfg(not(isochron_sim))]
use core::ops::Range;
use core::ptr::NonNull;
use isochron_boot::VirtAddr;
use isochron_boot::layout::{PACKED_BASE, PACKED_SIZE};

struct Window;

impl PackedMemory for Window {
    fn back(&mut self, at: usize, wanted: usize) -> Option<usize> {
        source::back_packed(VirtAddr::new(at), wanted)
    }

    fn set_next(&mut self, slot: usize, next: usize) {
        // SAFETY: the pool writes only to slots that it owns: mapped for ever, used by nobody else.
        unsafe { VirtAddr::new(slot).as_mut_ptr::<usize>().write(next) }
    }

    fn next(&self, slot: usize) -> usize {
        // SAFETY: as above; the pool wrote it before.
        unsafe { VirtAddr::new(slot).as_mut_ptr::<usize>().read() }
    }
}

type Pool = PackedPool<Window>;

/// A pool for each piece of the window. Lock order: one of these, then the address space, then the frames.
static POOLS: [IrqLock<Pool>; pieces::MOST] =
    [const { IrqLock::new(lock_rank::SLOTS, PackedPool::new(Window, PACKED_BASE, PACKED_BASE + PACKED_SIZE)) };
        pieces::MOST];

static PIECES: Pieces = Pieces::new(PACKED_BASE, PACKED_SIZE);

/// Divides the window among the nodes. On the primary, before any slot is taken.
pub(in crate::memory) fn init() {
    PIECES.divide();
    for (nth, pool) in POOLS[..PIECES.count()].iter().enumerate() {
        let piece = PIECES.range(nth);
        pool.lock().place(piece.start, piece.end);
    }
}

/// Bytes of all memory for packed slots so far, in use or pooled.
#[must_use]
pub fn mapped_bytes() -> usize {
    POOLS[..PIECES.count()].iter().map(|pool| pool.lock().mapped()).sum()
}

/// The blocks that have memory now: of each, the addresses that are backed.
#[cfg(not(isochron_sim))]
pub(in crate::memory) fn blocks() -> impl Iterator<Item = Range<usize>> {
    POOLS[..PIECES.count()].iter().flat_map(|pool| pool.lock().blocks())
}

/// Bytes of the slots that somebody has. Other CPUs must not be at work with their stocks: only the simulation can see to that.
#[cfg(isochron_sim)]
#[must_use]
pub fn in_hands() -> usize {
    let in_stock = |size: SlotSize| cpu::described().map(|cpu| cpu.packed.of(size).len()).sum::<usize>() * size.bytes();
    let in_pool = |pool: &IrqLock<Pool>| {
        let pool = pool.lock();
        pool.mapped() - pool.ready()
    };
    let out: usize = POOLS[..PIECES.count()].iter().map(in_pool).sum();
    out - in_stock(SlotSize::Kib1) - in_stock(SlotSize::Kib2)
}

/// A slot: mapped, aligned to 1024 bytes, contents undefined.
///
/// # Errors
/// [`OutOfMemory`]; nothing was taken then.
#[inline]
pub fn take(size: SlotSize) -> Result<NonNull<u8>, OutOfMemory> {
    let stocked = irq::without(|| this_cpu_if_set().and_then(|cpu| cpu.packed.of(size).pop()));
    match stocked.and_then(pointer) {
        Some(slot) => Ok(slot),
        // With interrupts unmasked again: see the heap's fast path.
        None => refill(size),
    }
}

fn pointer(slot: usize) -> Option<NonNull<u8>> {
    NonNull::new(core::ptr::with_exposed_provenance_mut(slot))
}

/// From the own node's pool or the nearest that has some, and some more into this CPU's stock if they lie there ready.
#[cold]
#[inline(never)]
fn refill(size: SlotSize) -> Result<NonNull<u8>, OutOfMemory> {
    let _same_cpu = IrqGuard::new();
    PIECES.nearest(|piece| refill_from(&mut POOLS[piece].lock(), size)).ok_or(OutOfMemory)
}

fn refill_from(pool: &mut Pool, size: SlotSize) -> Option<NonNull<u8>> {
    let slot = pointer(pool.take(size).ok()?)?;
    if let Some(cpu) = this_cpu_if_set() {
        let stock = cpu.packed.of(size);
        for _ in 1..stock.batch() {
            let Some(further) = pool.take_ready(size) else { break };
            if !stock.push(further) {
                pool.give(size, further);
                break;
            }
        }
    }
    Some(slot)
}

/// Gives a slot back.
///
/// # Safety
/// [`take`] gave it for this size, and nobody uses it from here on.
#[inline]
pub unsafe fn give(size: SlotSize, slot: NonNull<u8>) {
    let slot = slot.as_ptr().expose_provenance();
    if !irq::without(|| this_cpu_if_set().is_some_and(|cpu| cpu.packed.of(size).push(slot))) {
        flush(size, slot);
    }
}

/// Half of this CPU's stock, and then the slot itself, each to the pool that it came from.
#[cold]
#[inline(never)]
fn flush(size: SlotSize, slot: usize) {
    let _same_cpu = IrqGuard::new();
    let mut first = PIECES.of(slot);
    let mut pool = POOLS[first].lock();
    pool.give(size, slot);
    let Some(cpu) = this_cpu_if_set() else { return };
    let stock = cpu.packed.of(size);
    for _ in 1..stock.batch() {
        let Some(stocked) = stock.pop() else { break };
        let piece = PIECES.of(stocked);
        if piece != first {
            drop(pool);
            (first, pool) = (piece, POOLS[piece].lock());
        }
        pool.give(size, stocked);
    }
}
