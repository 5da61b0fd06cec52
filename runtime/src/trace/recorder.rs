//! What the points write into, and the word that says what they write.

use super::entry::Event;
use crate::worker::Worker;
use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use isochron_core::trace_ring::{Place, TraceRing, Words};
use isochron_kernel::arch;

/// The ring of one CPU.
pub(crate) type Ring = TraceRing<Box<[Place]>>;

/// Where a worker's CPU finds its ring, while there is a session.
pub(crate) struct Hook(AtomicPtr<Ring>);

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
    // Acquire: partner is the release in `hang`.
    let ring = Worker::this().trace.0.load(Ordering::Acquire);
    // SAFETY: a ring that hangs here is freed only after every CPU has taken an interrupt since it was taken down.
    if let Some(ring) = unsafe { ring.as_ref() } {
        // SAFETY: this is the ring's CPU, and interrupts are masked.
        unsafe { ring.write(Words { time: arch::clock::ticks_unordered(), what, who, argument }) };
    }
}

impl Hook {
    /// Without a ring.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Hangs a ring here, or takes it away.
    pub fn hang(&self, ring: *mut Ring) {
        // Release: partner is the load in `record`.
        self.0.store(ring, Ordering::Release);
    }
}
