//! Page-table entries (VMSAv8-64, 4 KiB granule, 48 bits), the root register, TLB maintenance.

use crate::memory::page_table::{Entry, Leaf};
use aarch64_cpu::registers::{Readable, TTBR1_EL1};
use core::arch::asm;
use core::sync::atomic::AtomicU64;
use isochron_boot::aarch64::settings;
use isochron_boot::{PhysAddr, VirtAddr};
use isochron_core::page_word::PageWord;

/// An entry that maps a page (level 3) or a block (levels 1 and 2).
#[inline]
#[must_use]
pub fn encode_leaf(addr: PhysAddr, level: u8, leaf: Leaf) -> u64 {
    let attributes = match leaf {
        Leaf::Text => settings::TEXT,
        Leaf::ReadOnly => settings::READ_ONLY,
        Leaf::Data => settings::DATA,
        Leaf::Device => settings::DEVICE,
    };
    let kind = if level == 3 { settings::PAGE } else { settings::BLOCK };
    addr.as_u64() & settings::ADDRESS | attributes | kind
}

/// An entry that leads to the next table.
#[inline]
#[must_use]
pub fn encode_table(addr: PhysAddr) -> u64 {
    addr.as_u64() & settings::ADDRESS | settings::TABLE
}

/// What an entry at `level` says.
#[inline]
#[must_use]
pub fn decode(entry: u64, level: u8) -> Entry {
    let addr = PhysAddr::new((entry & settings::ADDRESS) as usize);
    // Bit 0 is "valid"; with bit 1 a table, or at level 3 a page.
    match (entry & 0b11, level) {
        (0b11, 0..=2) => Entry::Table(addr),
        (0b11, _) | (0b01, 1 | 2) => Entry::Leaf(addr),
        _ => Entry::Empty,
    }
}

/// Whether 1 GiB blocks may be used: always, with this granule.
#[must_use]
pub fn has_gib_blocks() -> bool {
    true
}

/// Makes earlier writes to tables visible to the walker, then switches this CPU to them.
///
/// # Safety
/// Interrupts are masked. The tables map everything in use where it was.
pub unsafe fn activate(root: PhysAddr) {
    // SAFETY: the caller's.
    unsafe { isochron_boot::aarch64::replace_root(root) }
}

/// The root of this CPU's tables.
#[must_use]
pub fn root() -> PhysAddr {
    PhysAddr::new((TTBR1_EL1.get() & settings::ADDRESS) as usize)
}

/// After an entry was written where nothing was mapped before: invalid entries are not cached (Arm ARM D8.16.1), so the
/// write only has to be seen by the walkers.
#[inline]
pub fn publish() {
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Puts a table in the place of the block at `addr` that `entry` maps, the same pages in it but for some that it has not.
/// Interrupts are masked.
///
/// No CPU may know both at a time, so the block goes first, everywhere (*break before make*, Arm ARM D8.16.1). Meanwhile the entry
/// says that it is busy, and who faults tries again. In one piece, so that nothing in memory is needed in between: the stack that
/// this runs on may be in that block.
pub fn split(entry: &AtomicU64, table: PhysAddr, addr: VirtAddr) {
    // SAFETY: the entry is a word of ours, and what the tables say of the block is the same before and after.
    unsafe {
        asm!(
            "str {busy}, [{entry}]",
            "dsb ishst",
            "tlbi vaae1is, {page}",
            "dsb ish",
            "str {table}, [{entry}]",
            "dsb ishst",
            "isb",
            entry = in(reg) entry.as_ptr(),
            busy = in(reg) PageWord::BUSY,
            page = in(reg) addr.as_u64() >> 12 & ((1 << 44) - 1),
            table = in(reg) encode_table(table),
            options(nostack, preserves_flags)
        );
    }
}

/// Whether [`invalidate`] is for every CPU.
pub const INVALIDATES_EVERYWHERE: bool = true;

/// Forgets all that the tables said, on this CPU.
pub fn forget_all() {
    // SAFETY: forgetting what the tables hold is harmless.
    unsafe { asm!("dsb ishst", "tlbi vmalle1", "dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// After an entry was changed or removed: every CPU forgets it.
#[inline]
pub fn invalidate(addr: VirtAddr) {
    // The operand holds VA[55:12] (Arm ARM, TLBI VAAE1IS).
    let operand = addr.as_u64() >> 12 & ((1 << 44) - 1);
    // SAFETY: forgetting what the tables hold is harmless.
    unsafe {
        asm!("dsb ishst", "tlbi vaae1is, {}", "dsb ish", "isb", in(reg) operand, options(nostack, preserves_flags));
    }
}
