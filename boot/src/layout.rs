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
//! | `0xffff_ffff_8000_0000` | the kernel image: text (read, execute), constants (read), data (read, write) |
//!
//! A program of the `hosted` port has only the two windows, at other addresses: in the half that belongs to processes, away
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
        && STACKS_BASE + STACKS_SIZE <= IMAGE_BASE
);
#[cfg(isochron_hosted)]
const _: () = assert!(HEAP_BASE + HEAP_SIZE <= STACKS_BASE && STACKS_BASE + STACKS_SIZE <= 0x7000_0000_0000);
