//! The `bootloader` crate's stages, from a disk image under BIOS or UEFI.
//!
//! The bootloader leaves the image scattered: its file-backed pages lie in the ELF file's own frames, its zeroed data
//! elsewhere. The kernel wants it in one piece, so the first act is to move it into free RAM, on tables of our own.
//! After that nothing of the bootloader's is needed any more: not its tables, its stack, its descriptor table, nor the
//! ELF file, and their memory is RAM like any other.
//!
//! The ramdisk, if there is one, is the kernel command line as text.

use super::{FIRST_TABLES_REACH, HAND_OFF, isochron_kernel_start, tables};
use crate::addr::{PhysAddr, PhysRange};
use crate::info::{BootInfo, EntryLevel, MAX_COMMAND_LINE, Protocol};
use crate::layout::DIRECT_MAP_BASE;
use bootloader_api::config::{BootloaderConfig, Mapping};
use bootloader_api::info::MemoryRegionKind;

/// What the bootloader is asked for. It finds this by the section's name.
#[used]
#[unsafe(link_section = ".bootloader-config")]
#[unsafe(export_name = "isochron_bootloader_config")]
pub static CONFIG: [u8; BootloaderConfig::SERIALIZED_LEN] = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.physical_memory = Some(Mapping::FixedAddress(DIRECT_MAP_BASE as u64));
    config.serialize()
};

/// The image's home is a multiple of this, so that large pages can show it.
const HOME_ALIGN: usize = 2 << 20;

unsafe extern "C" {
    fn isochron_boot_relocate(to: usize, from: usize, words: usize, root: usize);
}

/// The first Rust code after the bootloader's entry.
pub(super) extern "C" fn start(handed: &'static bootloader_api::BootInfo, entry_ticks: u64) -> ! {
    // SAFETY: nobody else touches the hand-off: one CPU runs, and this function runs once.
    let info = unsafe { &mut *HAND_OFF.0.get() };
    info.protocol = Protocol::Bootloader;
    info.entry_level = EntryLevel::Ring0;
    info.entry_ticks = entry_ticks;
    info.primary_hardware_id = super::cpuid::apic_id();
    info.rsdp = handed.rsdp_addr.into_option().map(|rsdp| PhysAddr::new(rsdp as usize));
    if let Some(line) = handed.ramdisk_addr.into_option() {
        let len = (handed.ramdisk_len as usize).min(MAX_COMMAND_LINE + 1);
        // SAFETY: the bootloader maps the ramdisk at this virtual address.
        info.set_command_line(unsafe { core::slice::from_raw_parts(line as *const u8, len) });
    }
    for region in handed.memory_regions.iter() {
        if matches!(region.kind, MemoryRegionKind::Usable | MemoryRegionKind::Bootloader) {
            add_merged(info, region.start, region.end);
        }
    }

    let (image, len) = super::image();
    let free = handed.memory_regions.iter().filter(|region| region.kind == MemoryRegionKind::Usable);
    let Some(home) = free.filter_map(|region| home_in(region.start, region.end, len)).min() else { no_home() };
    info.image = PhysRange::with_len(home, len);
    // SAFETY: our tables are not in use; the new home is free RAM that the bootloader's direct map shows, a whole
    // number of pages; the tables that `build` made show the image there at the very same addresses, so that execution
    // goes on in the copy.
    unsafe {
        let root = tables::build(home);
        isochron_boot_relocate(DIRECT_MAP_BASE + home.as_usize(), image.as_usize(), len / 8, root.as_usize());
        isochron_kernel_start(info)
    }
}

/// The lowest place for `len` bytes in a free region, above the first MiB and within the first tables' reach.
fn home_in(start: u64, end: u64, len: usize) -> Option<PhysAddr> {
    let home = PhysAddr::new((start as usize).max(1)).align_up(HOME_ALIGN);
    let last = home.as_usize().checked_add(len)?;
    (last <= end as usize && last <= FIRST_TABLES_REACH).then_some(home)
}

/// Adds a range of RAM, joined to the last one where they touch: UEFI's maps are long and finely cut.
fn add_merged(info: &mut BootInfo, start: u64, end: u64) {
    match info.memory.last_mut() {
        Some(last) if last.end.as_u64() == start => last.end = PhysAddr::new(end as usize),
        _ => info.add_memory(start, end.saturating_sub(start)),
    }
}

/// No free RAM for the image: says so on the first serial port, as no console exists yet, and halts.
fn no_home() -> ! {
    for byte in b"Isochron: no free RAM below 4 GiB for the image\r\n" {
        // SAFETY: the first serial port's data register; where there is none, the write goes nowhere (Intel SDM vol. 1,
        // 19.1). `hlt` with interrupts masked sleeps for ever.
        unsafe { core::arch::asm!("out dx, al", in("dx") 0x3f8_u16, in("al") *byte, options(nomem, nostack)) }
    }
    loop {
        // SAFETY: as above.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) }
    }
}
