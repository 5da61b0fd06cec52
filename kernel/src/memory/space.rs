//! The kernel's own address space: one tree of tables that all CPUs use.
//!
//! The rule on unmapping: once another CPU runs, nothing is unmapped or restricted, but for stacks that are trimmed and slots that are
//! folded, where every CPU is made to forget them. The heap only grows and pooled stacks stay mapped, so no CPU ever holds a stale
//! translation, and x86-64 needs no TLB shoot-down for them.

use super::OutOfMemory;
use super::frames;
use super::page_table::{self, Entry, EntryFormat, Leaf, MapError, PageTable, Table, TableMemory, Translation};
use crate::arch;
use crate::irq::IrqLock;
use crate::lock_rank;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use isochron_boot::layout::{PAGE_SIZE, direct_map};
use isochron_boot::{PhysAddr, PhysRange, VirtAddr};

/// The port's entries.
pub(super) struct ArchFormat;

impl EntryFormat for ArchFormat {
    fn leaf(addr: PhysAddr, level: u8, leaf: Leaf) -> u64 {
        arch::paging::encode_leaf(addr, level, leaf)
    }

    fn table(addr: PhysAddr) -> u64 {
        arch::paging::encode_table(addr)
    }

    fn decode(raw: u64, level: u8) -> Entry {
        arch::paging::decode(raw, level)
    }

    fn top_leaf_level() -> u8 {
        if arch::paging::has_gib_blocks() { 1 } else { 2 }
    }

    fn publish() {
        arch::paging::publish();
    }

    fn invalidate(addr: VirtAddr) {
        arch::paging::invalidate(addr);
    }
}

/// Table frames: from the frame allocator, and before it has any, from a pool inside the image.
pub(super) struct KernelMemory {
    /// What is left of the pool: zeroed pages.
    pub(super) pool: PhysRange,
}

impl TableMemory for KernelMemory {
    fn allocate_table(&mut self) -> Option<PhysAddr> {
        if let Some(frame) = frames::alloc() {
            for entry in self.entries(frame) {
                // Relaxed: `PageTable` links the table with a release store.
                entry.store(0, Ordering::Relaxed);
            }
            return Some(frame);
        }
        if self.pool.is_empty() {
            return None;
        }
        let frame = self.pool.start;
        self.pool.start = frame.offset(PAGE_SIZE);
        Some(frame)
    }

    fn allocate_frame(&mut self) -> Option<PhysAddr> {
        frames::alloc()
    }

    fn free_frame(&mut self, frame: PhysAddr) {
        frames::free(frame);
    }

    fn entries(&self, frame: PhysAddr) -> &Table {
        // SAFETY: the frame came from the frame allocator, which holds only memory that the direct map shows, or from
        // the pool in the image's data, which the first tables' direct map and the final one show. It is a whole page,
        // a table of atomics may hold any bits, and it is never given back while it is a table.
        unsafe { &*direct_map(frame).as_mut_ptr::<Table>() }
    }
}

/// The tree.
pub(super) static SPACE: IrqLock<Option<PageTable<ArchFormat, KernelMemory>>> = IrqLock::new(lock_rank::SPACE, None);

/// Maps pages; see [`PageTable::map`].
pub(super) fn map(virt: VirtAddr, phys: PhysAddr, bytes: usize, leaf: Leaf) -> Result<(), MapError> {
    SPACE.lock().as_mut().map_or(Err(MapError::OutOfMemory), |space| space.map(virt, phys, bytes, leaf))
}

/// Backs pages with fresh frames, all or none, after `reserved` bytes that are to be backed when they are touched; see
/// [`PageTable::map_fresh`].
///
/// # Panics
/// If something is mapped there: the windows' bookkeeping is broken.
pub(super) fn map_fresh(virt: VirtAddr, reserved: usize, bytes: usize) -> Result<(), OutOfMemory> {
    let mut space = SPACE.lock();
    let mapped =
        space.as_mut().map_or(Err(MapError::OutOfMemory), |space| space.map_fresh(virt, reserved, bytes, Leaf::Data));
    match mapped {
        Ok(()) => Ok(()),
        Err(MapError::OutOfMemory) => Err(OutOfMemory),
        Err(error) => panic!("stack window: {error}"),
    }
}

/// What an address of the kernel translates to. Takes no lock, so that the panic path may ask; `None` before the
/// final tables are active.
#[must_use]
pub fn translate(addr: VirtAddr) -> Option<Translation> {
    if !is_ready() {
        return None;
    }
    page_table::translate::<ArchFormat>(arch::paging::root(), table_of, addr)
}

/// The table with the entry for the page at `addr`, if there is one. Takes no lock; `None` before the final tables are active.
pub(super) fn last_table(addr: VirtAddr) -> Option<&'static Table> {
    if is_ready() { page_table::last_table::<ArchFormat>(arch::paging::root(), table_of, addr) } else { None }
}

/// The entry that says what is at an address, and its level; see [`page_table::entry_of`]. Takes no lock; `None` before the final
/// tables are active.
pub(super) fn entry_of(addr: VirtAddr) -> Option<(&'static AtomicU64, u8)> {
    is_ready().then(|| page_table::entry_of::<ArchFormat>(arch::paging::root(), table_of, addr))
}

/// The memory of a frame that is to be a table.
pub(super) fn new_table(frame: PhysAddr) -> &'static Table {
    table_of(frame)
}

/// A table of the final tree.
fn table_of(table: PhysAddr) -> &'static Table {
    // SAFETY: every table of the final tree is a page that the direct map shows (see `KernelMemory::entries`), for ever.
    unsafe { &*direct_map(table).as_mut_ptr::<Table>() }
}

/// Whether something is mapped at an address. Takes no lock.
#[must_use]
pub fn is_mapped(addr: VirtAddr) -> bool {
    translate(addr).is_some()
}

/// Whether the final tables are active.
#[must_use]
pub fn is_ready() -> bool {
    // Acquire: partner of the release in `set_ready`.
    READY.load(Ordering::Acquire)
}

static READY: AtomicBool = AtomicBool::new(false);

/// Called once the final tables are active.
pub(super) fn set_ready() {
    // Release: partner of the acquire in `is_ready`; who sees it finds the tables.
    READY.store(true, Ordering::Release);
}
