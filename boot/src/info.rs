//! [`BootInfo`]: all that the kernel is told.

use crate::addr::{PhysAddr, PhysRange};
use heapless::{String, Vec};

/// How the image was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// ARM64 Linux boot protocol: `Image` header, device tree in `x0`.
    LinuxImage,
    /// x86-64 PVH: 32-bit entry from the Xen ELF note, start info in `ebx`.
    Pvh,
    /// The `bootloader` crate's stages, from a disk image under BIOS or UEFI.
    Bootloader,
    /// A process of the host's: its arguments and environment.
    Process,
}

/// The privilege level the firmware entered at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryLevel {
    /// ARM64 EL1: the firmware or hypervisor keeps EL2.
    El1,
    /// ARM64 EL2: the boot code went down to EL1 itself.
    El2,
    /// x86-64 ring 0.
    Ring0,
    /// The host's user mode.
    User,
}

/// The most usable memory ranges that are kept; further ones are counted in [`BootInfo::dropped_ranges`].
pub const MAX_MEMORY_RANGES: usize = 64;

/// The longest kernel command line, in bytes; a longer one is cut, and [`BootInfo::command_line_cut`] is set.
pub const MAX_COMMAND_LINE: usize = 2048;

/// What the boot code found, handed to the kernel once.
#[derive(Debug)]
pub struct BootInfo {
    /// The clock (`CNTVCT_EL0` or TSC) as read by the first instructions after the reset vector, in ticks.
    pub entry_ticks: u64,
    /// How the image was started.
    pub protocol: Protocol,
    /// The privilege level at entry.
    pub entry_level: EntryLevel,
    /// Where the image (text to the end of its zeroed data) lies in memory.
    pub image: PhysRange,
    /// RAM, if the boot protocol tells (PVH, bootloader). On ARM64 it is empty: the device tree tells.
    /// Ranges may touch, are not sorted and may contain [`BootInfo::image`] and the ranges in `reserved`.
    pub memory: Vec<PhysRange, MAX_MEMORY_RANGES>,
    /// RAM that must not be handed out: firmware tables, the device tree, modules.
    pub reserved: Vec<PhysRange, MAX_MEMORY_RANGES>,
    /// Ranges that had no place in the two lists.
    pub dropped_ranges: usize,
    /// The flattened device tree, if `x0` held a plausible one (magic, size <= 2 MiB, mapped by the first tables).
    pub device_tree: Option<PhysRange>,
    /// Why there is no device tree where one was expected.
    pub device_tree_problem: Option<&'static str>,
    /// The ACPI root pointer, if the firmware told.
    pub rsdp: Option<PhysAddr>,
    /// The kernel command line, if the boot protocol carries it outside a device tree.
    pub command_line: String<MAX_COMMAND_LINE>,
    /// Whether the command line was longer than what is kept.
    pub command_line_cut: bool,
    /// This CPU's number in the interrupt controller: ARM64 `MPIDR_EL1` affinity, x86-64 APIC id.
    pub primary_hardware_id: u64,
}

impl BootInfo {
    /// A description with nothing found yet.
    #[must_use]
    pub const fn empty(protocol: Protocol) -> Self {
        Self {
            entry_ticks: 0,
            protocol,
            entry_level: EntryLevel::Ring0,
            image: PhysRange { start: PhysAddr::new(0), end: PhysAddr::new(0) },
            memory: Vec::new(),
            reserved: Vec::new(),
            dropped_ranges: 0,
            device_tree: None,
            device_tree_problem: None,
            rsdp: None,
            command_line: String::new(),
            command_line_cut: false,
            primary_hardware_id: 0,
        }
    }
}
