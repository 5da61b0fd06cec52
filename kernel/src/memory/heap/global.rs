//! The global allocator: the fast path to this CPU's stock, and the locked rest.

use super::central::Central;
use super::classes::{SIZES, class_of};
use super::extents::Extents;
use super::hardened::{self, Hardened};
use super::window::Window;
use super::{HeapCounts, HeapStats};
use crate::arch;
use crate::cpu::PerCpu;
use crate::hooks::{self, Noted};
use crate::irq::{self, IrqGuard, IrqLock, IrqLockGuard};
use crate::lock_rank;
use crate::memory::frames::BLOCK_SIZE;
use crate::memory::pieces::{self, Pieces};
use crate::memory::shortage::{self, Supply};
use crate::memory::{account, sanitizer, source, this_cpu_if_set};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use isochron_boot::layout::{HEAP_BASE, HEAP_SIZE, is_charged};

type Part = Central<Extents<Window>>;

/// The shared heap: a part for each piece of its window, with its own lock.
static PARTS: [IrqLock<Part>; pieces::MOST] =
    [const { IrqLock::new(lock_rank::HEAP, Central::new(Extents::new(Window::new(HEAP_BASE, HEAP_SIZE)))) };
        pieces::MOST];

/// How the window is divided.
pub(in crate::memory) static PIECES: Pieces = Pieces::new(HEAP_BASE, HEAP_SIZE);

/// The part that a block came from.
fn home(block: usize) -> usize {
    PIECES.of(block)
}

fn open(part: usize) -> IrqLockGuard<'static, Part> {
    PARTS[part].lock()
}

/// Backs the first part of the heap: 2 MiB where RAM is ample, less where it is not.
pub(crate) fn init() -> bool {
    PIECES.divide();
    let step = (source::available() / 16).clamp(64 * 1024, BLOCK_SIZE);
    for part in 0..PIECES.count() {
        open(part).backing_mut().source_mut().place(PIECES.range(part), 1 << step.ilog2());
    }
    open(PIECES.own()).backing_mut().grow(1)
}

/// How full the heap is.
#[must_use]
pub fn stats() -> HeapStats {
    let mut stats = HeapStats::default();
    for part in &PARTS[..PIECES.count()] {
        let shared = part.lock();
        let extents = shared.backing();
        stats.used += (extents.used() - shared.span_bytes() + shared.small_used()) as u64;
        stats.capacity += extents.capacity() as u64;
    }
    let (used, capacity) = account::charged_stats();
    HeapStats { used: stats.used + used as u64, capacity: stats.capacity + capacity as u64 }
}

/// What a CPU did with the heap so far, but for what was charged to groups. Exact if it does nothing with it meanwhile.
#[must_use]
pub fn counts(cpu: &PerCpu) -> HeapCounts {
    cpu.heap.counts()
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
        given_out(if HARDENED { alloc_hardened(layout, take) } else { take(layout) }, layout)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe {
            coming_back(block, layout);
            if HARDENED { free_hardened(block, layout, give) } else { give(block, layout) }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: the new size, rounded up to the alignment, does not overflow `isize`.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let class = class_of(layout);
        if !HARDENED && !sanitizer::IS_ON && class.is_some() && class == class_of(new_layout) {
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
    given_out(if HARDENED { alloc_hardened(layout, take_uncharged) } else { take_uncharged(layout) }, layout)
}

/// Takes a block back that is charged to nobody, as [`alloc_uncharged`]'s are: without asking.
///
/// # Safety
/// It came from there, or from the allocator and is not charged, with this layout; nobody uses it.
#[inline(always)]
pub unsafe fn free_uncharged(block: *mut u8, layout: Layout) {
    // SAFETY: the caller's promise.
    unsafe {
        coming_back(block, layout);
        if HARDENED { free_hardened(block, layout, give_uncharged) } else { give_uncharged(block, layout) }
    }
}

/// A small block is somebody's from here on, as far as it was asked for.
#[inline(always)]
fn given_out(block: *mut u8, layout: Layout) -> *mut u8 {
    if sanitizer::IS_ON && !block.is_null() && class_of(layout).is_some() {
        sanitizer::unpoison(block.addr(), layout.size());
    }
    block
}

/// A small block is nobody's from here on, nor what it really has.
///
/// # Safety
/// The block is in use.
#[inline(always)]
unsafe fn coming_back(block: *mut u8, layout: Layout) {
    if sanitizer::IS_ON
        && let Some(class) = class_of(layout)
    {
        if layout.size() > 0 {
            // SAFETY: the caller's promise; the sanitizer tells if it is broken.
            let _ = unsafe { block.read_volatile() };
        }
        sanitizer::poison(block.addr(), SIZES[class].into());
    }
}

/// A block as it is, null if there is none.
#[inline(always)]
fn take(layout: Layout) -> *mut u8 {
    let Some(class) = class_of(layout) else { return alloc_large(layout) };
    let stocked = irq::without(|| this_cpu_if_set().and_then(|cpu| cpu.open_heap()?.pop(class)));
    match stocked {
        Some(block) => ptr::with_exposed_provenance_mut(block),
        // With interrupts unmasked again, so that this is a tail call and the fast path needs no frame. The thread
        // may go on on another CPU then, whose stock is filled instead.
        None => alloc_slow(class, layout),
    }
}

/// Takes back a block as it is.
///
/// # Safety
/// [`take`] or [`take_uncharged`] gave it for this layout, and nobody uses it.
#[inline(always)]
unsafe fn give(block: *mut u8, layout: Layout) {
    // SAFETY: the caller's promise.
    unsafe {
        if is_charged(block.addr()) {
            account::free(block, layout);
        } else {
            give_uncharged(block, layout);
        }
    }
}

/// As [`take`], charged to nobody.
#[inline(always)]
fn take_uncharged(layout: Layout) -> *mut u8 {
    let Some(class) = class_of(layout) else { return alloc_large_uncharged(layout) };
    let stocked = irq::without(|| this_cpu_if_set().and_then(|cpu| cpu.heap.pop(class)));
    stocked.map_or_else(|| refill(class), ptr::with_exposed_provenance_mut)
}

/// As [`give`], for a block that is charged to nobody.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn give_uncharged(block: *mut u8, layout: Layout) {
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

/// Whether blocks are hardened: see [`super::hardened`].
pub const HARDENED: bool = cfg!(feature = "hardened");

/// A hardened block of a layout, where its outer layout puts it.
fn hardened(block: *mut u8, layout: Layout, outer: Layout) -> Hardened {
    let real = class_of(outer).map_or(outer.size(), |class| SIZES[class].into());
    Hardened { block: block.expose_provenance(), size: layout.size(), real }
}

/// # Panics
/// If the block was written after it had been freed. It is lost then.
fn alloc_hardened(layout: Layout, take: impl FnOnce(Layout) -> *mut u8) -> *mut u8 {
    let Some(outer) = hardened::outer(layout) else { return ptr::null_mut() };
    let block = take(outer);
    if !block.is_null() {
        // SAFETY: the block is ours, and as large as its outer layout says. Memory of the windows was written (a fresh page
        // is zero, or holds what its last user left).
        let checked = unsafe { hardened(block, layout, outer).allocate(class_of(outer).is_some()) };
        checked.unwrap_or_else(|fault| panic!("{fault}"));
    }
    block
}

/// # Safety
/// As [`GlobalAlloc::dealloc`], as far as the caller can be trusted.
///
/// # Panics
/// If something is wrong with the block. It is lost then, or whose it was before.
unsafe fn free_hardened(block: *mut u8, layout: Layout, give: unsafe fn(*mut u8, Layout)) {
    let Some(outer) = hardened::outer(layout) else { return };
    // SAFETY: if the caller is right, the block is ours; if not, its memory is mapped still: the heap never shrinks.
    unsafe {
        let checked = hardened(block, layout, outer).free(arch::cpu::current_thread().addr());
        checked.unwrap_or_else(|fault| panic!("{fault}"));
        give(block, outer);
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
    let _irq = IrqGuard::new();
    // SAFETY: null, or alive as long as it is set: as long as the thread runs here with interrupts masked.
    unsafe { account::current().as_ref() }.map(|account| account.alloc(layout))
}

#[cold]
#[inline(never)]
fn refill(class: usize) -> *mut u8 {
    let _same_cpu = IrqGuard::new();
    let block = match this_cpu_if_set() {
        Some(cpu) => PIECES.nearest(|part| cpu.heap.refill(class, || open(part))),
        None => PIECES.nearest(|part| open(part).take(class)),
    };
    block.map_or_else(|| no_memory(SIZES[class].into()), ptr::with_exposed_provenance_mut)
}

/// Interrupts are masked.
#[cold]
fn no_memory(bytes: usize) -> *mut u8 {
    hooks::isochron_noted(Noted::NoMemory(bytes));
    ptr::null_mut()
}

/// # Safety
/// The block is of this class and nobody uses it.
#[cold]
#[inline(never)]
unsafe fn flush(class: usize, block: usize) {
    let _same_cpu = IrqGuard::new();
    // SAFETY: the caller's promise; a block's address tells the part that it came from.
    unsafe {
        match this_cpu_if_set() {
            Some(cpu) => cpu.heap.flush(class, block, PIECES.shift(), |block| open(home(block))),
            None => open(home(block)).give(class, block),
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
    let _same_cpu = IrqGuard::new();
    let Some(block) = PIECES.nearest(|part| open(part).allocate_large(layout)) else {
        return no_memory(layout.size());
    };
    if let Some(cpu) = this_cpu_if_set() {
        cpu.heap.count_large_alloc(layout.size());
    }
    block.as_ptr()
}

/// # Safety
/// The block came from [`alloc_large_uncharged`] with the same layout, and nobody uses it.
#[cold]
#[inline(never)]
unsafe fn free_large(block: *mut u8, layout: Layout) {
    let Some(block) = NonNull::new(block) else { return };
    let _same_cpu = IrqGuard::new();
    // SAFETY: the caller's promise.
    unsafe { open(home(block.addr().get())).free_large(block, layout) }
    if let Some(cpu) = this_cpu_if_set() {
        cpu.heap.count_large_free(layout.size());
    }
}
