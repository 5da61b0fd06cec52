//! The one layout of the virtual address space, the same on both architectures.
//!
//! Both use four levels of 4 KiB tables and 48-bit addresses; everything is in the upper half (ARM64: `TTBR1_EL1`;
//! x86-64: the upper 256 entries of the PML4). The lower half is empty once the kernel runs, so that no null pointer
//! with whatever offset finds a page.
//!
//! | from | what |
//! | --- | --- |
//! | `0xffff_8000_0000_0000` | direct map: RAM (write-back, never executable) and mapped device registers, at base + physical address |
//! | `0xffff_c000_0000_0000` | heap window, backed by frames as the heap grows |
//! | `0xffff_d000_0000_0000` | stacks window, each stack above an unmapped guard page |
//! | `0xffff_e000_0000_0000` | packed slots: threads whose blocks and small stacks lie close together, in blocks of 2 MiB between unmapped ones |
//! | `0xffff_f000_0000_0000` | what is charged to groups of threads: the heap's blocks that count towards a limit |
//! | `0xffff_ffff_8000_0000` | the kernel image: text (read, execute), constants (read), data (read, write) |
//!
//! A program of the `hosted` port has only the four windows, at other addresses: in the half that belongs to processes, away
//! from where Linux puts things by itself.

use crate::addr::{PhysAddr, VirtAddr};

/// Bytes in a page and in a frame.
pub const PAGE_SIZE: usize = 4096;

/// Start of the direct map: the physical address 0 is seen here.
pub const DIRECT_MAP_BASE: usize = 0xffff_8000_0000_0000;
/// Bytes the direct map can cover (64 TiB).
pub const DIRECT_MAP_SIZE: usize = 0x4000_0000_0000;

/// Start of the window the heap grows in.
#[cfg(not(isochron_hosted))]
pub const HEAP_BASE: usize = 0xffff_c000_0000_0000;
/// Start of the window the heap grows in.
#[cfg(isochron_hosted)]
pub const HEAP_BASE: usize = 0x2000_0000_0000;
/// Bytes of that window (16 TiB).
pub const HEAP_SIZE: usize = 0x1000_0000_0000;

/// Start of the window that thread, exception and idle stacks are placed in.
#[cfg(not(isochron_hosted))]
pub const STACKS_BASE: usize = 0xffff_d000_0000_0000;
/// Start of the window that thread, exception and idle stacks are placed in.
#[cfg(isochron_hosted)]
pub const STACKS_BASE: usize = 0x4000_0000_0000;
/// Bytes of that window (16 TiB).
pub const STACKS_SIZE: usize = 0x1000_0000_0000;

/// Start of the window that packed slots are placed in: see [`is_packed`].
#[cfg(not(isochron_hosted))]
pub const PACKED_BASE: usize = 0xffff_e000_0000_0000;
/// Start of the window that packed slots are placed in: see [`is_packed`].
#[cfg(isochron_hosted)]
pub const PACKED_BASE: usize = 0x3000_0000_0000;
/// Bytes of that window (16 TiB).
pub const PACKED_SIZE: usize = 0x1000_0000_0000;

/// The number of the bit of an address that tells the window of packed slots from those of heap and stacks.
pub const PACKED_BIT: u32 = if cfg!(isochron_hosted) { 44 } else { 45 };

/// Whether an address of heap, stacks or packed slots is of the latter: one bit, which one instruction tests.
#[inline(always)]
#[must_use]
pub const fn is_packed(addr: usize) -> bool {
    addr & 1 << PACKED_BIT != 0
}

const _: () = {
    let mut window = 0;
    while window < 2 {
        let base = [HEAP_BASE, STACKS_BASE][window];
        assert!(!is_packed(base) && !is_packed(base + HEAP_SIZE - 1) && HEAP_SIZE == STACKS_SIZE);
        window += 1;
    }
    assert!(is_packed(PACKED_BASE) && is_packed(PACKED_BASE + PACKED_SIZE - 1));
};

/// Start of the window for blocks of the heap that are charged to a group of threads: see [`is_charged`].
#[cfg(not(isochron_hosted))]
pub const CHARGED_BASE: usize = 0xffff_f000_0000_0000;
/// Start of the window for blocks of the heap that are charged to a group of threads: see [`is_charged`].
#[cfg(isochron_hosted)]
pub const CHARGED_BASE: usize = 0x6000_0000_0000;
/// Bytes of that window (8 TiB: what follows it on bare metal is the kernel's image).
pub const CHARGED_SIZE: usize = 0x0800_0000_0000;

/// The number of the bit of an address that tells the blocks that are charged to a group from the heap's others.
pub const CHARGED_BIT: u32 = if cfg!(isochron_hosted) { 46 } else { 44 };

/// Whether a block of the heap is charged to a group: one bit of its address, which one instruction tests.
#[inline(always)]
#[must_use]
pub const fn is_charged(addr: usize) -> bool {
    addr & 1 << CHARGED_BIT != 0
}

const _: () = assert!(
    !is_charged(HEAP_BASE)
        && !is_charged(HEAP_BASE + HEAP_SIZE - 1)
        && is_charged(CHARGED_BASE)
        && is_charged(CHARGED_BASE + CHARGED_SIZE - 1)
);

/// Start of the last 2 GiB, where the kernel image is linked (x86-64's *kernel* code model wants it there).
pub const IMAGE_BASE: usize = 0xffff_ffff_8000_0000;

/// The most CPUs that are brought up: one bit each in a 64-bit word.
pub const MAX_CPUS: usize = 64;

/// Where the direct map shows a physical address. It says nothing about whether a page is mapped there.
#[must_use]
pub const fn direct_map(addr: PhysAddr) -> VirtAddr {
    VirtAddr::new(DIRECT_MAP_BASE + addr.as_usize())
}

// The windows do not overlap.
#[cfg(not(isochron_hosted))]
const _: () = assert!(
    DIRECT_MAP_BASE + DIRECT_MAP_SIZE <= HEAP_BASE
        && HEAP_BASE + HEAP_SIZE <= STACKS_BASE
        && STACKS_BASE + STACKS_SIZE <= PACKED_BASE
        && PACKED_BASE + PACKED_SIZE <= CHARGED_BASE
        && CHARGED_BASE + CHARGED_SIZE <= IMAGE_BASE
);
#[cfg(isochron_hosted)]
const _: () = assert!(
    HEAP_BASE + HEAP_SIZE <= PACKED_BASE
        && PACKED_BASE + PACKED_SIZE <= STACKS_BASE
        && STACKS_BASE + STACKS_SIZE <= CHARGED_BASE
        && CHARGED_BASE + CHARGED_SIZE <= 0x7000_0000_0000
);
