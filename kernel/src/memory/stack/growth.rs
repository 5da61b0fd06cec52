//! A stack grows: the page fault's part. The way back is in [`trim`](super::trim).
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
//! **A page that is shut** ([`trim`](super::trim)) is there again, as it was, by a change of its entry.
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
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use isochron_boot::layout::{PAGE_SIZE, STACKS_BASE, STACKS_SIZE};
use isochron_boot::{PhysAddr, VirtAddr};
use isochron_core::page_word::{Page, PageWord};

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

/// So many bytes were given back.
pub(super) fn shrunk(bytes: usize) {
    BACKED.fetch_sub(bytes, Ordering::Relaxed);
}

/// Whether the page at `addr` is a stack's, and touching it is a fault.
#[must_use]
pub(crate) fn is_reserved(addr: usize) -> bool {
    Entries::of(addr).entry(addr).is_some_and(is_away)
}

/// Whether touching the page of this entry is a fault by which it is there again.
fn is_away(entry: &AtomicU64) -> bool {
    matches!(PageWord::of(entry).look(), Page::Here(RESERVED) | Page::Shut(_))
}

/// The entry of a page that is there, in this frame.
pub(super) fn encoded(frame: u64) -> u64 {
    arch::paging::encode_leaf(PhysAddr::new(frame as usize), PAGE_LEVEL, Leaf::Data)
}

/// The frame in the entry of a page that is there.
pub(super) fn frame_of(raw: u64) -> Option<u64> {
    match arch::paging::decode(raw, PAGE_LEVEL) {
        Entry::Leaf(frame) => Some(frame.as_u64()),
        _ => None,
    }
}

/// Entries of pages of the stacks' window: those around one page without a walk for each.
pub(super) struct Entries {
    /// Of the table that is at hand.
    block: usize,
    table: Option<&'static Table>,
}

impl Entries {
    pub(super) fn of(addr: usize) -> Self {
        let is_inside = (STACKS_BASE..STACKS_BASE + STACKS_SIZE).contains(&addr);
        let table = if is_inside { last_table(VirtAddr::new(addr)) } else { None };
        Self { block: addr / BLOCK_SIZE, table }
    }

    pub(super) fn entry(&mut self, addr: usize) -> Option<&'static AtomicU64> {
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
    match entries.entry(page) {
        Some(entry) if is_away(entry) => {}
        // Another CPU was faster.
        Some(entry) if is_page(entry.load(Ordering::Relaxed)) => return Growth::Grown,
        _ => return Growth::Elsewhere,
    }
    let mut highest = page;
    while entries.entry(highest + PAGE_SIZE).is_some_and(is_away) {
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

/// Sees to it that the page of an entry is there; false if there is no memory.
// Relaxed, all of it: the entry is one word, and leads to a frame in which nothing has been written that matters, or to the one that
// the page had.
fn back(entry: &AtomicU64, unmasked: bool) -> bool {
    let word = PageWord::of(entry);
    loop {
        match word.look() {
            Page::Shut(frame) => {
                word.reopen(frame, encoded(frame));
            }
            Page::Here(RESERVED) => {
                let Some(frame) = frames::for_a_fault(unmasked) else { return false };
                let leaf = encoded(frame.as_u64());
                if entry.compare_exchange(RESERVED, leaf, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    BACKED.fetch_add(PAGE_SIZE, Ordering::Relaxed);
                } else {
                    frames::back_from_a_fault(frame, unmasked);
                }
            }
            _ => return true,
        }
    }
}

fn is_page(raw: u64) -> bool {
    matches!(arch::paging::decode(raw, PAGE_LEVEL), Entry::Leaf(_))
}

/// Backs all of a stack, from `bottom` on. Interrupts are on, or nobody else runs.
pub(in crate::memory) fn back_all(bottom: VirtAddr) -> Result<(), OutOfMemory> {
    if grow(bottom.as_usize(), true) == Growth::Grown { Ok(()) } else { Err(OutOfMemory) }
}
