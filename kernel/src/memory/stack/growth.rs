//! A stack grows: the page fault's part, and the way back.
//!
//! Which page is to be backed when it is touched says its entry in the page tables ([`RESERVED`]), so the fault needs to know
//! nothing of threads, and serves whatever code runs on a stack, or on another CPU and touches it: a walk without a lock, a
//! frame, a compare-and-swap of the entry. The tables are there since the stack was made.
//!
//! **What is backed is always the upper part.** With a page all those above it are backed that are not yet; so of a thread
//! that has called a function, or was interrupted, all that it could have told others of is there.
//!
//! **No CPU need be told.** No CPU keeps a record of an entry that was not valid, so the store has to be seen by the tables'
//! readers, and that is all: `dsb ishst; isb` on ARM64, nothing on x86-64. One that faults on a page which another CPU has
//! just backed finds that out by the entry, and tries again.
//!
//! # Rejected
//! *The bounds of the running thread's stack in place of marked entries*: in the middle of a switch the thread that counts as
//! running is not the one whose stack is in use. *A lock around the tables*: the fault may have struck in a section under it.

use super::backed_at_first;
use crate::arch;
use crate::memory::OutOfMemory;
use crate::memory::frames::{self, BLOCK_SIZE};
use crate::memory::page_table::{Entry, Leaf, PAGE_LEVEL, RESERVED, Table, page_entry};
use crate::memory::space::last_table;
use crate::smp;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use isochron_boot::layout::{PAGE_SIZE, STACKS_BASE, STACKS_SIZE, direct_map};
use isochron_boot::{PhysAddr, VirtAddr};

/// Bytes of all stacks that are backed.
// Relaxed: a figure.
static BACKED: AtomicUsize = AtomicUsize::new(0);

/// What became of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Growth {
    /// The page is there now.
    Grown,
    /// It is a stack's, and there is no memory for it.
    NoMemory,
    /// It is no stack's.
    Elsewhere,
}

pub(in crate::memory) fn backed_bytes() -> usize {
    BACKED.load(Ordering::Relaxed)
}

/// A new stack is there, of `size` bytes.
pub(in crate::memory) fn made(size: usize) {
    BACKED.fetch_add(backed_at_first(size), Ordering::Relaxed);
}

/// Whether the page at `addr` is a stack's and not backed.
#[must_use]
pub(crate) fn is_reserved(addr: usize) -> bool {
    Entries::of(addr).entry(addr).is_some_and(|entry| entry.load(Ordering::Relaxed) == RESERVED)
}

/// Entries of pages of the stacks' window: those around one page without a walk for each.
struct Entries {
    /// Of the table that is at hand.
    block: usize,
    table: Option<&'static Table>,
}

impl Entries {
    fn of(addr: usize) -> Self {
        let is_inside = (STACKS_BASE..STACKS_BASE + STACKS_SIZE).contains(&addr);
        let table = if is_inside { last_table(VirtAddr::new(addr)) } else { None };
        Self { block: addr / BLOCK_SIZE, table }
    }

    fn entry(&mut self, addr: usize) -> Option<&'static AtomicU64> {
        if addr / BLOCK_SIZE != self.block {
            *self = Self::of(addr);
        }
        self.table.map(|table| page_entry(table, VirtAddr::new(addr)))
    }
}

/// Backs the page at `addr`, and those above it up to the first that is backed, if they are a stack's. Interrupts are masked;
/// `unmasked`: they were not when the page was touched.
pub(crate) fn grow(addr: usize, unmasked: bool) -> Growth {
    let page = addr & !(PAGE_SIZE - 1);
    let mut entries = Entries::of(page);
    // Relaxed, all of them: the entry is one word and leads to a frame in which nothing has been written that matters.
    match entries.entry(page).map(|entry| entry.load(Ordering::Relaxed)) {
        Some(RESERVED) => {}
        // Another CPU was faster.
        Some(raw) if is_page(raw) => return Growth::Grown,
        _ => return Growth::Elsewhere,
    }
    let mut highest = page;
    while entries.entry(highest + PAGE_SIZE).is_some_and(|entry| entry.load(Ordering::Relaxed) == RESERVED) {
        highest += PAGE_SIZE;
    }
    // From above, so that it stays the upper part if memory ends in between.
    let mut at = highest;
    while at >= page {
        let backed = entries.entry(at).is_some_and(|entry| back(entry, unmasked));
        if !backed {
            return Growth::NoMemory;
        }
        at -= PAGE_SIZE;
    }
    arch::paging::publish();
    Growth::Grown
}

/// Backs the page of an entry that was found reserved; false if there is no memory.
fn back(entry: &AtomicU64, unmasked: bool) -> bool {
    let Some(frame) = frames::for_a_fault(unmasked) else { return false };
    let leaf = arch::paging::encode_leaf(frame, PAGE_LEVEL, Leaf::Data);
    if entry.compare_exchange(RESERVED, leaf, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        BACKED.fetch_add(PAGE_SIZE, Ordering::Relaxed);
    } else {
        frames::back_from_a_fault(frame, unmasked);
    }
    true
}

fn is_page(raw: u64) -> bool {
    matches!(arch::paging::decode(raw, PAGE_LEVEL), Entry::Leaf(_))
}

/// Backs all of a stack, from `bottom` on. Interrupts are on, or nobody else runs.
pub(in crate::memory) fn back_all(bottom: VirtAddr) -> Result<(), OutOfMemory> {
    if grow(bottom.as_usize(), true) == Growth::Grown { Ok(()) } else { Err(OutOfMemory) }
}

/// What stacks that nobody uses had grown by: frames, each with the address of the next in its first word.
pub(in crate::memory) struct Shrunk {
    chain: PhysAddr,
}

impl Shrunk {
    pub const fn new() -> Self {
        Self { chain: PhysAddr::new(0) }
    }

    /// Takes away what a stack that nobody uses has grown by. Nobody may use it before [`Self::settle`]. How many bytes it was.
    pub fn shrink(&mut self, top: usize, size: usize) -> usize {
        let mut page = top - backed_at_first(size);
        let (mut entries, mut bytes) = (Entries::of(page), 0);
        while page > top - size {
            page -= PAGE_SIZE;
            let Some(entry) = entries.entry(page) else { break };
            let Entry::Leaf(frame) = arch::paging::decode(entry.load(Ordering::Relaxed), PAGE_LEVEL) else { break };
            entry.store(RESERVED, Ordering::Relaxed);
            arch::paging::invalidate(VirtAddr::new(page));
            // SAFETY: the frame is the stack's, which nobody uses, and the direct map shows all that frames are made of.
            unsafe { direct_map(frame).as_mut_ptr::<u64>().write(self.chain.as_u64()) };
            self.chain = frame;
            bytes += PAGE_SIZE;
        }
        BACKED.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }

    /// Sees to it that no CPU knows the frames any more, and hands them out again. False: a CPU does not answer, so neither the
    /// frames nor the stacks may be used.
    ///
    /// Interrupts are on.
    pub fn settle(self) -> bool {
        let mut chain = self.chain;
        if chain.as_usize() == 0 {
            return true;
        }
        if !arch::paging::INVALIDATES_EVERYWHERE
            && let Err(cpu) = smp::forget_translations()
        {
            log::warn!("CPU {cpu} does not answer: what stacks had grown by is lost");
            return false;
        }
        while chain.as_usize() != 0 {
            let frame = chain;
            // SAFETY: `shrink` wrote it.
            chain = PhysAddr::new(unsafe { direct_map(frame).as_mut_ptr::<u64>().read() } as usize);
            frames::free(frame);
        }
        true
    }
}
