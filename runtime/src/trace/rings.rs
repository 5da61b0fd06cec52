//! The rings that there are: one session's at a time, in the heap, or in memory that the host reads.

use super::entry::{CPU_SHIFT, Classes};
use super::recorder::{self, Ring};
use super::session::{Settings, TraceError};
use crate::sync::Mutex;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::{self, NonNull};
use isochron_core::trace_ring::{Place, Words};
use isochron_kernel::cpu::{self, CpuId};
use isochron_kernel::smp;

/// The rings of the session that there is, if there is one.
static RINGS: Mutex<Vec<Held>> = Mutex::new(Vec::new());

/// A ring that a CPU may be writing.
pub(super) struct Held {
    pub cpu: CpuId,
    pub ring: NonNull<Ring>,
    /// A session's own; `None` if the host reads it.
    pub places: Option<NonNull<[Place]>>,
}

// SAFETY: a ring may be used from any CPU; the pointers stand for boxes, or for memory that nobody else in the guest has.
unsafe impl Send for Held {}

impl Held {
    fn make(cpu: CpuId, records: usize) -> Option<Self> {
        let mut places = Vec::new();
        places.try_reserve_exact(records).ok()?;
        places.resize_with(records, Place::new);
        let places = NonNull::from(Box::leak(places.into_boxed_slice()));
        // SAFETY: leaked a moment ago, and a box again only when no CPU has the ring any more.
        let ring = Box::new(Ring::new(unsafe { places.as_ref() }));
        Some(Self { cpu, ring: NonNull::from(Box::leak(ring)), places: Some(places) })
    }

    /// # Safety
    /// No CPU has the ring.
    unsafe fn free(self) {
        if let Some(places) = self.places {
            // SAFETY: leaked in `make`.
            unsafe {
                drop(Box::from_raw(self.ring.as_ptr()));
                drop(Box::from_raw(places.as_ptr()));
            }
        }
    }
}

pub(super) fn start(settings: &Settings) -> Result<(), TraceError> {
    let mut rings = RINGS.lock();
    if !rings.is_empty() {
        return Err(TraceError::Busy);
    }
    let mut made = Vec::new();
    for cpu in cpu::online() {
        let Some(held) = Held::make(cpu.id, settings.records) else {
            // SAFETY: no CPU was given them.
            made.into_iter().for_each(|held: Held| unsafe { held.free() });
            return Err(TraceError::OutOfMemory);
        };
        made.push(held);
    }
    *rings = made;
    begin(&rings, settings.classes);
    Ok(())
}

/// Begins with rings that the host reads, for good.
pub(super) fn start_exported(made: Vec<Held>, classes: Classes) {
    let mut rings = RINGS.lock();
    *rings = made;
    begin(&rings, classes);
}

fn begin(rings: &[Held], classes: Classes) {
    recorder::hang(|cpu| rings.iter().find(|held| held.cpu == cpu).map_or(ptr::null_mut(), |held| held.ring.as_ptr()));
    recorder::set(classes);
}

pub(super) fn set_classes(classes: Classes) {
    recorder::set(classes);
}

pub(super) fn drain(take: &mut dyn FnMut(Words)) {
    for held in &*RINGS.lock() {
        let here = (held.cpu.index() as u64) << CPU_SHIFT;
        // SAFETY: a session's rings live until `stop`, which takes the same lock; under the lock this is the only reader.
        unsafe { held.ring.as_ref().read(|words| take(Words { what: words.what | here, ..words })) };
    }
}

pub(super) fn dropped() -> u64 {
    // SAFETY: as in `drain`.
    RINGS.lock().iter().map(|held| unsafe { held.ring.as_ref() }.dropped()).sum()
}

pub(super) fn stop() {
    let mut rings = RINGS.lock();
    recorder::set(Classes::NONE);
    recorder::hang(|_| ptr::null_mut());
    // A record is written with interrupts masked, so whoever has answered an interrupt since has done with its ring.
    let all_answered = smp::system_wide_barrier().is_ok();
    for held in rings.drain(..).filter(|_| all_answered) {
        // SAFETY: no CPU has it any more.
        unsafe { held.free() };
    }
}
