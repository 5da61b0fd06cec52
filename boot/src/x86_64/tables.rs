//! The first page tables for an image that the bootloader placed: built in Rust, like those of PVH's 32-bit entry.

use super::FIRST_TABLES_REACH;
use crate::addr::PhysAddr;
use core::cell::UnsafeCell;

/// One table of 512 entries.
#[repr(C, align(4096))]
struct Table(UnsafeCell<[u64; 512]>);

// SAFETY: written by the boot code alone, on the primary CPU, before any other CPU runs.
unsafe impl Sync for Table {}

unsafe extern "C" {
    static isochron_boot_pml4: Table;
    static isochron_boot_pdpt_low: Table;
    static isochron_boot_pdpt_high: Table;
    static isochron_boot_pd_low: [Table; 4];
    static isochron_boot_pd_image: Table;
}

/// Present, writable.
const TABLE: u64 = 0x3;
/// Present, writable, 2 MiB.
const PAGE_2M: u64 = 0x83;
/// No-execute.
const NX: u64 = 1 << 63;
const MIB_2: usize = 2 << 20;

/// Fills the tables for an image that will lie at `home` (a multiple of 2 MiB): the image at its link address, and the
/// first 4 GiB in the direct map. Returns the physical address of the root in the image's new home.
///
/// # Safety
/// On the primary CPU, while the tables are not in use.
pub(super) unsafe fn build(home: PhysAddr) -> PhysAddr {
    let (image, len) = super::image();
    let new_home = |table: &Table| home.as_u64() + (core::ptr::from_ref(table) as usize - image.as_usize()) as u64;
    // SAFETY: the caller's promise: nobody else reads or writes the tables.
    unsafe {
        let entries = |table: &Table| table.0.get().cast::<u64>();
        for index in 0..FIRST_TABLES_REACH / MIB_2 {
            entries(&isochron_boot_pd_low[index / 512]).add(index % 512).write((index * MIB_2) as u64 | PAGE_2M);
        }
        for (index, directory) in isochron_boot_pd_low.iter().enumerate() {
            entries(&isochron_boot_pdpt_low).add(index).write(new_home(directory) | TABLE);
        }
        for index in 0..len.div_ceil(MIB_2) {
            // The image is linked 2 MiB above the start of its GiB.
            let page = home.as_u64() + (index * MIB_2) as u64;
            entries(&isochron_boot_pd_image).add(index + 1).write(page | PAGE_2M);
        }
        entries(&isochron_boot_pdpt_high).add(510).write(new_home(&isochron_boot_pd_image) | TABLE);
        entries(&isochron_boot_pml4).add(256).write(new_home(&isochron_boot_pdpt_low) | TABLE | NX);
        entries(&isochron_boot_pml4).add(511).write(new_home(&isochron_boot_pdpt_high) | TABLE);
        PhysAddr::new(new_home(&isochron_boot_pml4) as usize)
    }
}
