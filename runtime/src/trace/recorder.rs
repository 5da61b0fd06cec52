//! The rings themselves, and the word that says what is recorded.

use super::entry::{CPU_SHIFT, Event};
use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use isochron_core::trace_ring::{Place, TraceRing, Words};
use isochron_kernel::arch;
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::cpu::{CpuId, this_cpu};

/// The ring of one CPU.
pub(super) type Ring = TraceRing<Box<[Place]>>;

/// Each CPU's ring, while there is a session.
static RINGS: [AtomicPtr<Ring>; MAX_CPUS] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];

/// The classes that go into the rings.
///
/// Relaxed: a CPU that sees a new set a moment later has one record more or less.
static ON: AtomicU32 = AtomicU32::new(0);

#[inline(always)]
pub(super) fn is_wanted(event: Event) -> bool {
    ON.load(Ordering::Relaxed) & u32::from(event.class().bits()) != 0
}

/// Sets the classes that are recorded.
pub(super) fn set(classes: u16) {
    ON.store(classes.into(), Ordering::Relaxed);
}

/// Writes a record into this CPU's ring. Interrupts are masked.
#[inline(never)]
pub(super) fn record(what: u64, who: u64, argument: u64) {
    let cpu = this_cpu().id.index();
    // Acquire: partner is the release in `hang`.
    let ring = RINGS[cpu].load(Ordering::Acquire);
    // SAFETY: a ring that hangs here is freed only after every CPU has taken an interrupt since it was taken down.
    if let Some(ring) = unsafe { ring.as_ref() } {
        let words =
            Words { time: arch::clock::ticks_unordered(), what: what | (cpu as u64) << CPU_SHIFT, who, argument };
        // SAFETY: this is the ring's CPU, and interrupts are masked.
        unsafe { ring.write(words) };
    }
}

/// Gives `cpu` a ring, or takes it away. The one before.
pub(super) fn hang(cpu: CpuId, ring: *mut Ring) -> *mut Ring {
    // Acquire and release: partner is the load in `record`, and of the one that takes a ring down, the one that hung it.
    RINGS[cpu.index()].swap(ring, Ordering::AcqRel)
}
