//! The global allocator: the fast path to this CPU's stock, and the locked rest.

use super::HeapStats;
use super::central::Central;
use super::classes::class_of;
use super::extents::Extents;
use super::window::Window;
use crate::cpu::PerCpu;
use crate::irq::{self, IrqLock};
use crate::lock_rank;
use crate::memory::frames::BLOCK_SIZE;
use crate::memory::shortage::{self, Supply};
use crate::memory::{account, source, this_cpu_if_set};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use isochron_boot::layout::{HEAP_BASE, HEAP_SIZE, is_charged};

static SHARED: IrqLock<Central<Extents<Window>>> =
    IrqLock::new(lock_rank::HEAP, Central::new(Extents::new(Window::new(HEAP_BASE, HEAP_SIZE))));

/// Backs the first part of the heap: 2 MiB where RAM is ample, less where it is not.
pub(crate) fn init() -> bool {
    let step = (source::available() / 16).clamp(64 * 1024, BLOCK_SIZE);
    let mut shared = SHARED.lock();
    let extents = shared.backing_mut();
    extents.source_mut().set_step(1 << step.ilog2());
    extents.grow(1)
}

/// How full the heap is.
#[must_use]
pub fn stats() -> HeapStats {
    let shared = SHARED.lock();
    let extents = shared.backing();
    let used = extents.used() - shared.span_bytes() + shared.small_used();
    let capacity = extents.capacity();
    drop(shared);
    let (charged_used, charged_capacity) = account::charged_stats();
    HeapStats { used: (used + charged_used) as u64, capacity: (capacity + charged_capacity) as u64 }
}

/// How often a CPU took a batch of blocks from, and gave one to, the shared heap.
///
/// Another CPU's counts may be slightly old.
#[must_use]
pub fn cache_batches(cpu: &PerCpu) -> (u64, u64) {
    cpu.heap.batches()
}

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: small blocks come from one class's magazine or span and go back by the same class, which `class_of` computes
// from the layout alone; large ones go to the backing heap and back with the same layout. A block is in one place at a
// time: a magazine is touched by its own CPU with interrupts masked, the rest under the lock. It does not unwind.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if shortage::refuses(Supply::Heap) {
            return ptr::null_mut();
        }
        let Some(class) = class_of(layout) else { return alloc_large(layout) };
        let stocked = irq::without(|| this_cpu_if_set().and_then(|cpu| cpu.open_heap()?.pop(class)));
        match stocked {
            Some(block) => ptr::with_exposed_provenance_mut(block),
            // With interrupts unmasked again, so that this is a tail call and the fast path needs no frame. The thread
            // may go on on another CPU then, whose stock is filled instead.
            None => alloc_slow(class, layout),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe {
            if is_charged(block.addr()) {
                account::free(block, layout);
            } else {
                free_uncharged(block, layout);
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: the new size, rounded up to the alignment, does not overflow `isize`.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let class = class_of(layout);
        if class.is_some() && class == class_of(new_layout) {
            return block;
        }
        // SAFETY: as `GlobalAlloc` asks of our caller; the new block is another one, and both hold what is copied.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// As the allocator does it, but charged to nobody, whoever runs: for what the runtime keeps itself.
#[inline(always)]
#[must_use]
pub fn alloc_uncharged(layout: Layout) -> *mut u8 {
    if shortage::refuses(Supply::Heap) {
        return ptr::null_mut();
    }
    let Some(class) = class_of(layout) else { return alloc_large_uncharged(layout) };
    let stocked = irq::without(|| this_cpu_if_set().and_then(|cpu| cpu.heap.pop(class)));
    stocked.map_or_else(|| refill(class), ptr::with_exposed_provenance_mut)
}

/// Takes a block back that is charged to nobody, as [`alloc_uncharged`]'s are: without asking.
///
/// # Safety
/// It came from there, or from the allocator and is not charged, with this layout; nobody uses it.
#[inline(always)]
pub unsafe fn free_uncharged(block: *mut u8, layout: Layout) {
    let Some(class) = class_of(layout) else {
        // SAFETY: the caller's promise.
        return unsafe { free_large(block, layout) };
    };
    let addr = block.expose_provenance();
    let stocked = irq::without(|| this_cpu_if_set().is_some_and(|cpu| cpu.heap.push(class, addr)));
    if !stocked {
        // SAFETY: the caller's promise: the block came from `alloc` with this layout, so it is of this class.
        unsafe { flush(class, addr) }
    }
}

/// The stock is empty, or not for who runs here.
#[cold]
#[inline(never)]
fn alloc_slow(class: usize, layout: Layout) -> *mut u8 {
    charged(layout).unwrap_or_else(|| refill(class))
}

/// A block that is charged, if the memory of who runs here is.
fn charged(layout: Layout) -> Option<*mut u8> {
    let _irq = irq::IrqGuard::new();
    // SAFETY: null, or alive as long as it is set: as long as the thread runs here with interrupts masked.
    unsafe { account::current().as_ref() }.map(|account| account.alloc(layout))
}

#[cold]
#[inline(never)]
fn refill(class: usize) -> *mut u8 {
    // The lock masks interrupts, so the CPU stays the same.
    let mut shared = SHARED.lock();
    let block = match this_cpu_if_set() {
        Some(cpu) => cpu.heap.refill(class, &mut *shared),
        None => shared.take(class),
    };
    block.map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
}

/// # Safety
/// The block is of this class and nobody uses it.
#[cold]
#[inline(never)]
unsafe fn flush(class: usize, block: usize) {
    let mut shared = SHARED.lock();
    // SAFETY: the caller's promise.
    unsafe {
        match this_cpu_if_set() {
            Some(cpu) => cpu.heap.flush(class, block, &mut *shared),
            None => shared.give(class, block),
        }
    }
}

#[cold]
#[inline(never)]
fn alloc_large(layout: Layout) -> *mut u8 {
    charged(layout).unwrap_or_else(|| alloc_large_uncharged(layout))
}

#[cold]
#[inline(never)]
fn alloc_large_uncharged(layout: Layout) -> *mut u8 {
    SHARED.lock().allocate_large(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// # Safety
/// The block came from [`alloc_large_uncharged`] with the same layout, and nobody uses it.
#[cold]
#[inline(never)]
unsafe fn free_large(block: *mut u8, layout: Layout) {
    if let Some(block) = NonNull::new(block) {
        // SAFETY: the caller's promise.
        unsafe { SHARED.lock().free_large(block, layout) }
    }
}
