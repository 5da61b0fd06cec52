//! The last step: what the assembly found, as a [`BootInfo`].

use super::image;
use crate::layout::direct_map;
use crate::{BootInfo, EntryLevel, PhysAddr, PhysRange, Protocol};
use core::mem::MaybeUninit;
use core::ptr;

/// The largest device tree that the boot protocol allows.
pub(super) const MAX_DEVICE_TREE: usize = 2 * 1024 * 1024;

pub(super) const PROBLEM_NONE: u64 = 0;
pub(super) const PROBLEM_ABSENT: u64 = 1;
pub(super) const PROBLEM_ALIGNMENT: u64 = 2;
pub(super) const PROBLEM_RANGE: u64 = 3;
pub(super) const PROBLEM_ABORT: u64 = 4;
pub(super) const PROBLEM_MAGIC: u64 = 5;
pub(super) const PROBLEM_SIZE: u64 = 6;
pub(super) const PROBLEM_OVERLAP: u64 = 7;

static mut INFO: MaybeUninit<BootInfo> = MaybeUninit::uninit();

unsafe extern "C" {
    // Both sides are Rust of one build, so the layout agrees; only the name must be plain.
    #[expect(improper_ctypes, reason = "see above")]
    fn isochron_kernel_start(info: &'static mut BootInfo) -> !;
}

/// Called once by `entry.s`, at the link address, on the boot stack, interrupts masked.
#[unsafe(no_mangle)]
extern "C" fn isochron_hand_off(device_tree: usize, problem: u64, ticks: u64, level: u64, image: usize) -> ! {
    image::set_phys_base(PhysAddr::new(image));
    // SAFETY: this runs once, on the only CPU that is up; nobody else names `INFO`.
    let info = unsafe { (*ptr::addr_of_mut!(INFO)).write(BootInfo::empty(Protocol::LinuxImage)) };
    info.entry_ticks = ticks;
    info.entry_level = if level == 2 { EntryLevel::El2 } else { EntryLevel::El1 };
    info.image = PhysRange::with_len(PhysAddr::new(image), image::size());
    info.primary_hardware_id = super::hardware_id();
    match problem {
        PROBLEM_NONE => {
            let start = PhysAddr::new(device_tree);
            // SAFETY: `entry.s` checked alignment, magic and size, and `tables.s` mapped the whole of it; the size is
            // the header's second word, big-endian.
            let size = u32::from_be(unsafe { direct_map(start).as_mut_ptr::<u32>().add(1).read() });
            let range = PhysRange::with_len(start, size as usize);
            info.device_tree = Some(range);
            if info.reserved.push(range).is_err() {
                info.dropped_ranges += 1;
            }
        }
        problem => info.device_tree_problem = Some(describe(problem)),
    }
    // SAFETY: the kernel defines it with the type `KernelStart`.
    unsafe { isochron_kernel_start(info) }
}

fn describe(problem: u64) -> &'static str {
    match problem {
        PROBLEM_ABSENT => "the firmware passed none",
        PROBLEM_ALIGNMENT => "its address is not a multiple of 8",
        PROBLEM_RANGE => "its address is beyond the CPU's physical addresses",
        PROBLEM_ABORT => "there is no memory at its address",
        PROBLEM_MAGIC => "there is something else at its address",
        PROBLEM_SIZE => "its size is not between 40 bytes and 2 MiB",
        PROBLEM_OVERLAP => "it overlaps the kernel image",
        _ => "unknown",
    }
}
