//! From the reset vector to one typed hand-off.
//!
//! Everything between the first instruction and [`BootInfo`] lives here: the ARM64 Linux `Image` header and its entry at
//! EL2 or EL1, the x86-64 PVH note and the `bootloader_api` entry, the first page tables, and the entry of secondary
//! CPUs. Nothing here knows a driver or a policy: what the firmware left in registers and tables is put into one
//! structure, and the kernel's [`KernelStart`] gets it.
//!
//! On the host only the types exist, so that the kernel's pure parts can be tested there.
#![cfg_attr(not(test), no_std)]

pub mod addr;
pub mod info;
pub mod layout;

#[cfg(all(isochron_bare, target_arch = "aarch64"))]
pub mod aarch64;
#[cfg(all(isochron_bare, target_arch = "x86_64"))]
pub mod x86_64;
// Tested on the host, too, under other names than the host's own.
#[cfg(all(any(isochron_bare, isochron_hosted, test), target_arch = "x86_64"))]
#[path = "x86_64/mem_functions.rs"]
mod mem_functions;

pub use addr::{PhysAddr, PhysRange, VirtAddr};
pub use info::{BootInfo, EntryLevel, Protocol};

/// What the boot code calls, once, on the primary CPU, with interrupts masked, on the boot stack, with the first page
/// tables active.
///
/// The kernel defines it as `isochron_kernel_start`.
pub type KernelStart = extern "C" fn(info: &'static mut BootInfo) -> !;
