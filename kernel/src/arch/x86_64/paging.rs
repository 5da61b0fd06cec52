//! Page-table entries, the root register, the translation cache (Intel SDM vol. 3, 5.5 and 5.10).

use crate::memory::page_table::{Entry, Leaf};
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};
use isochron_boot::{PhysAddr, VirtAddr};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
/// Write-through and cache-disable: together they choose entry 3 of the page attribute table, which is uncacheable
/// after reset (SDM vol. 3, 13.12.4).
const UNCACHED: u64 = 1 << 3 | 1 << 4;
/// Set beforehand, so that the CPU never has to write the entry.
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// A large page, on levels 1 and 2.
const LARGE: u64 = 1 << 7;
/// Survives a switch of tables; there is one address space, so everything is global.
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
/// The address in an entry; in a large page's, bit 12 belongs to the page attribute table.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The entry that maps `addr` at `level`: 3 is a 4 KiB page, 2 a 2 MiB block, 1 a 1 GiB block.
#[must_use]
pub fn encode_leaf(addr: PhysAddr, level: u8, leaf: Leaf) -> u64 {
    let rights = match leaf {
        Leaf::Text => 0,
        Leaf::ReadOnly => NO_EXECUTE,
        Leaf::Data => NO_EXECUTE | WRITABLE,
        Leaf::Device => NO_EXECUTE | WRITABLE | UNCACHED,
    };
    let size = if level < 3 { LARGE } else { 0 };
    addr.as_u64() | rights | size | PRESENT | ACCESSED | DIRTY | GLOBAL
}

/// The entry that leads to the next table.
#[must_use]
pub fn encode_table(addr: PhysAddr) -> u64 {
    addr.as_u64() | PRESENT | WRITABLE | ACCESSED
}

/// What an entry of `level` says.
#[must_use]
pub fn decode(entry: u64, level: u8) -> Entry {
    if entry & PRESENT == 0 {
        Entry::Empty
    } else if level == 3 || level > 0 && entry & LARGE != 0 {
        let size = 1_u64 << (12 + 9 * (3 - u32::from(level)));
        Entry::Leaf(PhysAddr::new((entry & ADDRESS & !(size - 1)) as usize))
    } else {
        Entry::Table(PhysAddr::new((entry & ADDRESS) as usize))
    }
}

/// Whether this CPU has 1 GiB blocks (CPUID 0x8000_0001 EDX bit 26).
#[must_use]
pub fn has_gib_blocks() -> bool {
    __cpuid(0x8000_0000).eax >= 0x8000_0001 && __cpuid(0x8000_0001).edx & 1 << 26 != 0
}

/// Switches this CPU to the tables under `root`.
///
/// # Safety
/// They map, as they must be, this code, its data and its stack.
pub unsafe fn activate(root: PhysAddr) {
    // Stores are seen by the walker in program order (SDM vol. 3, 5.10.4 needs nothing for new entries); the missing
    // `nomem` keeps the compiler from holding them back.
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) root.as_usize(), options(nostack, preserves_flags)) }
}

/// The tables that are active on this CPU.
#[must_use]
pub fn root() -> PhysAddr {
    let root: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) }
    PhysAddr::new(root & ADDRESS as usize)
}

/// After an entry was written where nothing was mapped before: the CPU keeps no record of absent entries (SDM vol. 3,
/// 5.10.4.3), so only the compiler must not hold the store back.
#[inline(always)]
pub fn publish() {
    // Partner: the next access to what was mapped, by this CPU, whose walk reads the entry.
    compiler_fence(Ordering::SeqCst);
}

/// Puts a table in the place of the block at `addr` that `entry` maps, the same pages in it but for some that it has not. The CPUs
/// may go by the block until they are made to forget it.
///
/// One store: a CPU that knows both finds the same memory behind either (SDM vol. 3, 5.10.2.3).
pub fn split(entry: &AtomicU64, table: PhysAddr, _addr: VirtAddr) {
    // Release: partner is the hardware's walk, which must find the table filled.
    entry.store(encode_table(table), Ordering::Release);
}

/// Whether [`invalidate`] is for every CPU.
pub const INVALIDATES_EVERYWHERE: bool = false;

/// Forgets all that the tables said, on this CPU, global entries included: the switch of `CR4.PGE` does that (SDM vol. 3,
/// 5.10.4.1).
pub fn forget_all() {
    const GLOBAL_PAGES: u64 = 1 << 7;
    // SAFETY: forgetting translations is always sound; the register is as it was afterwards, and nothing comes in between:
    // interrupts are masked.
    unsafe {
        asm!(
            "mov {old}, cr4",
            "mov {new}, {old}",
            "xor {new}, {bit}",
            "mov cr4, {new}",
            "mov cr4, {old}",
            old = out(reg) _,
            new = out(reg) _,
            bit = const GLOBAL_PAGES,
            options(nostack)
        );
    }
}

/// After an entry was changed or removed: this CPU forgets it. Others keep it: tell them.
#[inline]
pub fn invalidate(addr: VirtAddr) {
    // SAFETY: forgetting a translation is always sound.
    unsafe { asm!("invlpg [{}]", in(reg) addr.as_usize(), options(nostack, preserves_flags)) }
}
