//! What a secondary CPU needs to come up.

use super::image_to_phys;
use crate::layout::MAX_CPUS;
use crate::{PhysAddr, VirtAddr};
use core::arch::asm;
use core::cell::UnsafeCell;

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

/// No CPU has this number: bits outside the affinity fields are set.
const NOBODY: u64 = u64::MAX;

#[unsafe(link_section = ".data.isochron_slots")]
pub(super) static SLOTS: Slots = Slots(UnsafeCell::new(
    [const { Slot { hardware_id: NOBODY, root: 0, stack_top: 0, entry: 0, argument: 0 } }; MAX_CPUS],
));

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

/// Writes slot `index` and pushes it out to memory; the answer is the physical address that the firmware shall enter at.
///
/// # Safety
/// The CPU is off or waits in the firmware. No other slot has its number. What `start` names lives for ever.
///
/// # Panics
/// If `index` is not below [`MAX_CPUS`].
pub unsafe fn prepare_secondary(index: usize, start: &SecondaryStart) -> PhysAddr {
    unsafe extern "C" {
        static isochron_secondary_entry: u8;
    }
    assert!(index < MAX_CPUS, "no such slot");
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
    image_to_phys(VirtAddr::new((&raw const isochron_secondary_entry).addr()))
}
