//! What a secondary CPU needs to come up.

use super::image_to_phys;
use crate::layout::MAX_CPUS;
use crate::{PhysAddr, VirtAddr};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// One CPU's start: read by `entry.s` with the MMU off, by offset. A line of its own (at most 128 bytes on any core we
/// know), so that cleaning it cannot meet a neighbour's write.
#[repr(C, align(128))]
pub(super) struct Slot {
    hardware_id: u64,
    root: u64,
    stack_top: u64,
    entry: u64,
    argument: u64,
}

const _: () = {
    assert!(core::mem::offset_of!(Slot, hardware_id) == 0);
    assert!(core::mem::offset_of!(Slot, root) == 8);
    assert!(core::mem::offset_of!(Slot, stack_top) == 16);
    assert!(core::mem::offset_of!(Slot, entry) == 24);
    assert!(core::mem::offset_of!(Slot, argument) == 32);
};

#[repr(transparent)]
pub(super) struct Slots(UnsafeCell<[Slot; MAX_CPUS]>);

// SAFETY: a slot is written by `prepare_secondary` alone, whose caller vouches that its CPU is off, and read by that
// CPU's first instructions.
unsafe impl Sync for Slots {}

/// The first [`USED`] of them mean something to a CPU whose caches are off: the zeros of the others may never have been
/// written to memory.
pub(super) static SLOTS: Slots =
    Slots(UnsafeCell::new([const { Slot { hardware_id: 0, root: 0, stack_top: 0, entry: 0, argument: 0 } }; MAX_CPUS]));

/// How many slots are in use. A line of its own, as a slot is.
#[repr(C, align(128))]
pub(super) struct Used(AtomicUsize);

/// Part of the image, so that it is right in memory before anybody writes it.
#[unsafe(link_section = ".data.isochron_slots_used")]
pub(super) static USED: Used = Used(AtomicUsize::new(0));

/// Where a secondary CPU is to go.
#[derive(Clone, Copy, Debug)]
pub struct SecondaryStart {
    /// Its `MPIDR_EL1` affinity fields.
    pub hardware_id: u64,
    /// Root of the kernel's page tables.
    pub root: PhysAddr,
    /// Top of the stack it runs on, 16-byte aligned.
    pub stack_top: VirtAddr,
    /// The function it calls, with `argument`, at EL1 on `SP_EL0`, interrupts masked.
    pub entry: extern "C" fn(*const ()) -> !,
    /// Passed to `entry`.
    pub argument: *const (),
}

/// Writes the next slot and pushes it out to memory; the answer is the physical address that the firmware shall enter at.
///
/// # Safety
/// On the primary CPU. The CPU to be started is off or waits in the firmware. No other slot has its number. What `start` names
/// lives for ever.
///
/// # Panics
/// If all [`MAX_CPUS`] slots are in use.
pub unsafe fn prepare_secondary(start: &SecondaryStart) -> PhysAddr {
    unsafe extern "C" {
        static isochron_secondary_entry: u8;
    }
    // Relaxed: the primary alone writes it, and reads what it wrote.
    let index = USED.0.load(Ordering::Relaxed);
    assert!(index < MAX_CPUS, "no slot is left");
    // SAFETY: in bounds; the CPU is not running, so nobody reads the slot now (the caller's word).
    unsafe {
        let slot = SLOTS.0.get().cast::<Slot>().add(index);
        slot.write(Slot {
            hardware_id: start.hardware_id,
            root: start.root.as_u64(),
            stack_top: start.stack_top.as_u64(),
            entry: start.entry as usize as u64,
            argument: start.argument.addr() as u64,
        });
        // Its 40 bytes are within one line of 64 bytes or more; a core with shorter lines needs both.
        asm!("dc cvac, {0}", "dc cvac, {1}", "dsb sy", in(reg) slot, in(reg) slot.byte_add(32), options(nostack));
    }
    USED.0.store(index + 1, Ordering::Relaxed);
    // SAFETY: cleaning a line changes nothing. The slot is in memory before the number that counts it.
    unsafe { asm!("dc cvac, {0}", "dsb sy", in(reg) &raw const USED, options(nostack)) };
    image_to_phys(VirtAddr::new((&raw const isochron_secondary_entry).addr()))
}
