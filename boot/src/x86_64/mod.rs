//! x86-64: PVH and the `bootloader` crate, to the same hand-off.

pub mod entry;

mod bootloader;
mod cpuid;
mod pvh;
mod tables;

pub use cpuid::apic_id;

use crate::BootInfo;
use crate::addr::{PhysAddr, PhysRange, VirtAddr};
use crate::info::MAX_COMMAND_LINE;
use crate::layout::DIRECT_MAP_BASE;
use core::cell::UnsafeCell;

#[expect(improper_ctypes, reason = "both sides are Rust; only the calling convention is C's")]
unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
    /// The kernel's entry, a [`crate::KernelStart`].
    fn isochron_kernel_start(info: &'static mut BootInfo) -> !;
}

/// The first 4 GiB are what the first tables' direct map shows.
pub const FIRST_TABLES_REACH: usize = 1 << 32;

/// The one hand-off structure; its only user is the boot code, then, by reference, the kernel.
struct HandOff(UnsafeCell<BootInfo>);

// SAFETY: touched on the primary CPU alone, before any other CPU runs; the kernel then holds the only reference.
unsafe impl Sync for HandOff {}

static HAND_OFF: HandOff = HandOff(UnsafeCell::new(BootInfo::empty(crate::Protocol::Pvh)));

/// The image's first byte and its length, as linked.
fn image() -> (VirtAddr, usize) {
    let (start, end) = (&raw const __image_start as usize, &raw const __image_end as usize);
    (VirtAddr::new(start), end - start)
}

impl BootInfo {
    /// Adds RAM, or counts it as dropped.
    fn add_memory(&mut self, start: u64, len: u64) {
        let range = PhysRange::with_len(PhysAddr::new(start as usize), len as usize);
        if !range.is_empty() && self.memory.push(range).is_err() {
            self.dropped_ranges += 1;
        }
    }

    /// Adds RAM that must not be handed out, or counts it as dropped.
    fn add_reserved(&mut self, start: u64, len: u64) {
        let range = PhysRange::with_len(PhysAddr::new(start as usize), len as usize);
        if !range.is_empty() && self.reserved.push(range).is_err() {
            self.dropped_ranges += 1;
        }
    }

    /// Takes the command line from `bytes`, up to the first zero, the first byte that is not UTF-8, or the limit.
    fn set_command_line(&mut self, bytes: &[u8]) {
        let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                self.command_line_cut = true;
                core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
            }
        };
        let text = text.trim();
        let mut end = text.len().min(MAX_COMMAND_LINE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.command_line_cut |= end < text.len();
        self.command_line.clear();
        let _ = self.command_line.push_str(&text[..end]);
    }
}

/// Bytes at a physical address, through the direct map, if the first tables show them.
///
/// # Safety
/// `start..start + len` is RAM that nobody writes while the answer lives.
unsafe fn physical_bytes(start: u64, len: usize) -> Option<&'static [u8]> {
    let end = start.checked_add(len as u64)?;
    if start == 0 || end > FIRST_TABLES_REACH as u64 {
        return None;
    }
    let address = VirtAddr::new(DIRECT_MAP_BASE + start as usize);
    // SAFETY: the direct map of the first 4 GiB is active; the caller vouches for what is there.
    Some(unsafe { core::slice::from_raw_parts(address.as_mut_ptr::<u8>(), len) })
}
