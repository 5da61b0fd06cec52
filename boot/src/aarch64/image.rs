//! Where the image lies in memory, and the switch from one set of page tables to the next.

use crate::layout::IMAGE_BASE;
use crate::{PhysAddr, VirtAddr};
use core::sync::atomic::{AtomicUsize, Ordering};

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
    fn isochron_replace_root(root: usize, identity: usize);
    static isochron_replace_root_identity: u8;
}

/// Written once by the hand-off, before any other CPU runs.
static PHYS_BASE: AtomicUsize = AtomicUsize::new(0);

pub(super) fn set_phys_base(base: PhysAddr) {
    // Relaxed: other CPUs are started after this, by a write that is ordered behind it (`prepare_secondary`).
    PHYS_BASE.store(base.as_usize(), Ordering::Relaxed);
}

/// Bytes from the image's start to the end of its zeroed data.
pub(super) fn size() -> usize {
    (&raw const __image_end).addr() - (&raw const __image_start).addr()
}

/// The physical address of something inside the image.
#[must_use]
pub fn image_to_phys(addr: VirtAddr) -> PhysAddr {
    PhysAddr::new(addr.as_usize() - IMAGE_BASE + PHYS_BASE.load(Ordering::Relaxed))
}

/// Makes `root` the upper half's tables on this CPU.
///
/// Old and new tables may map one address by leaves of different sizes, and the TLB must never hold both (Arm ARM
/// D8.16.1, break-before-make). So the CPU goes to the identity map, switches walks of the upper half off, empties the
/// TLB, and only then takes the new root.
///
/// # Safety
/// Interrupts are masked. The tables under `root` map the image, and everything that is used afterwards, where it was.
pub unsafe fn replace_root(root: PhysAddr) {
    let identity = image_to_phys(VirtAddr::new((&raw const isochron_replace_root_identity).addr()));
    // SAFETY: the routine touches no memory while the upper half is off; the identity map of the boot code still maps
    // its block, because nothing writes the boot tables; the rest is the caller's.
    unsafe { isochron_replace_root(root.as_usize(), identity.as_usize()) }
}
