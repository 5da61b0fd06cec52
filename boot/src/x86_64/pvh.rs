//! PVH: the start info that a virtual-machine monitor leaves (Xen, `public/arch-x86/hvm/start_info.h`).

use super::{FIRST_TABLES_REACH, HAND_OFF, isochron_kernel_start, physical_bytes};
use crate::addr::{PhysAddr, PhysRange};
use crate::info::{BootInfo, EntryLevel, MAX_COMMAND_LINE, Protocol};
use crate::layout::IMAGE_BASE;

/// What the structure begins with ("xEn3", bit 7 of the first byte set).
const MAGIC: u32 = 0x336e_c578;
/// Bytes of version 0; version 1 appends the memory map.
const LEN_V0: usize = 40;
const LEN_V1: usize = 56;
/// The kind of memory-map entry that is RAM (as in the BIOS's E820).
const RAM: u32 = 1;
/// Bytes of a memory-map entry and of a module entry.
const ENTRY_LEN: usize = 24;
const MODULE_LEN: usize = 32;
/// More entries than this are not believed.
const MAX_ENTRIES: usize = 512;

/// The first Rust code after PVH's entry.
pub(super) extern "C" fn start(start_info: u64, entry_ticks: u64) -> ! {
    // SAFETY: nobody else touches the hand-off: one CPU runs, and this function runs once.
    let info = unsafe { &mut *HAND_OFF.0.get() };
    info.protocol = Protocol::Pvh;
    info.entry_level = EntryLevel::Ring0;
    info.entry_ticks = entry_ticks;
    info.primary_hardware_id = super::cpuid::apic_id();
    let (image, len) = super::image();
    info.image = PhysRange::with_len(PhysAddr::new(image.as_usize() - IMAGE_BASE), len);
    // SAFETY: the protocol passes this address in `ebx`; nothing has touched RAM since.
    unsafe { parse(info, start_info) };
    // SAFETY: the kernel's entry, called once, as its type asks: masked, on the boot stack, first tables active.
    unsafe { isochron_kernel_start(info) }
}

/// Reads the start info at `address`. What cannot be reached or does not look right is left out; the kernel reports
/// that there is no memory.
///
/// # Safety
/// What the start info points to is not written meanwhile.
unsafe fn parse(info: &mut BootInfo, address: u64) {
    // SAFETY: the caller's promise, here and below.
    let Some(head) = (unsafe { physical_bytes(address, LEN_V0) }) else { return };
    if u32_at(head, 0) != MAGIC {
        return;
    }
    info.add_reserved(address, LEN_V1 as u64);
    let (modules, modules_at, line_at) = (u32_at(head, 12) as usize, u64_at(head, 16), u64_at(head, 24));
    info.rsdp = Some(u64_at(head, 32)).filter(|rsdp| *rsdp != 0).map(|rsdp| PhysAddr::new(rsdp as usize));

    let reach = (FIRST_TABLES_REACH as u64).saturating_sub(line_at).min(MAX_COMMAND_LINE as u64 + 1);
    // SAFETY: as above.
    if let Some(line) = unsafe { physical_bytes(line_at, reach as usize) } {
        info.set_command_line(line);
        // It is copied: its memory is free again.
    }

    let modules = modules.min(MAX_ENTRIES);
    // SAFETY: as above.
    if let Some(list) = unsafe { physical_bytes(modules_at, modules * MODULE_LEN) } {
        for module in list.chunks_exact(MODULE_LEN) {
            info.add_reserved(u64_at(module, 0), u64_at(module, 8));
        }
    }

    if u32_at(head, 4) == 0 {
        return;
    }
    // SAFETY: as above; version 1 and later have these fields.
    let Some(tail) = (unsafe { physical_bytes(address, LEN_V1) }) else { return };
    let entries = (u32_at(tail, 48) as usize).min(MAX_ENTRIES);
    // SAFETY: as above.
    if let Some(map) = unsafe { physical_bytes(u64_at(tail, 40), entries * ENTRY_LEN) } {
        for entry in map.chunks_exact(ENTRY_LEN).filter(|entry| u32_at(entry, 16) == RAM) {
            info.add_memory(u64_at(entry, 0), u64_at(entry, 8));
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|field| field.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|field| field.try_into().ok()).map_or(0, u64::from_le_bytes)
}
