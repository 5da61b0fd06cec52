//! Frames for page faults, a few for each CPU.
//!
//! A stack may have to grow in the middle of anything that runs on it: with interrupts masked, with spin locks held, the one
//! of the frames among them. So a fault that strikes there takes a frame from its CPU's own reserve, without a lock, and the
//! reserve is filled up at the next opportunity: by such a fault itself if the lock happens to be free, and by whoever takes
//! the lock in the usual way ([`super::global`]). A section under the lock costs the reserve a frame at the most, since a few
//! hundred bytes of stack reach over one edge of a page, and it begins by filling it up; so the reserve lasts as long as
//! there is memory.
//!
//! A fault in a thread's own code, interrupts on, holds no spin lock: it waits for the lock like everybody, and leaves the
//! reserve alone, so that a thread which wants too much ends before code that must not fail is in need.

use super::Frames;
use super::global::{self, FRAMES, here};
use crate::cpu::this_cpu;
use crate::memory::this_cpu_if_set;
use crate::{arch, topology};
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_boot::PhysAddr;
use isochron_boot::layout::PAGE_SIZE;

/// Frames in a CPU's reserve.
const FRAMES_IN_RESERVE: usize = 4;

/// So often a fault that finds the reserve empty asks for the lock: some milliseconds. It may be its own CPU that has it.
const PATIENCE: usize = 1_000_000;

/// One CPU's, which that CPU alone touches, with interrupts masked.
///
/// A fault may strike in the middle of anything here that runs on a growing stack, and change what is in it. So each frame, or
/// 0, is in a word of its own, which is taken and put in place by one step.
// Relaxed, all accesses: one CPU's.
pub(crate) struct Reserve {
    frames: [AtomicUsize; FRAMES_IN_RESERVE],
}

impl Reserve {
    pub(crate) const fn new() -> Self {
        Self { frames: [const { AtomicUsize::new(0) }; FRAMES_IN_RESERVE] }
    }

    fn take(&self) -> Option<PhysAddr> {
        let found = self.frames.iter().map(|place| place.swap(0, Ordering::Relaxed)).find(|frame| *frame != 0);
        found.map(PhysAddr::new)
    }

    /// Puts a frame in; false if there is no room.
    fn put(&self, frame: PhysAddr) -> bool {
        let put = |place: &AtomicUsize| {
            place.compare_exchange(0, frame.as_usize(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        self.frames.iter().any(put)
    }

    fn is_full(&self) -> bool {
        self.frames.iter().all(|place| place.load(Ordering::Relaxed) != 0)
    }
}

/// Fills up the reserve of the CPU that this runs on, as far as there is memory. Interrupts are masked.
pub(super) fn fill(frames: &mut Frames<'_>) {
    let Some(cpu) = this_cpu_if_set() else { return };
    while !cpu.reserve.is_full() {
        let own = here();
        let Some(frame) = frames.allocate(&|node| topology::node_distance(own, node)) else { return };
        if !cpu.reserve.put(frame) {
            frames.free(frame, PAGE_SIZE);
        }
    }
}

/// A frame for a page of a stack that has just been touched; `unmasked`: by code that can be interrupted. Interrupts are
/// masked by now.
pub(crate) fn for_a_fault(unmasked: bool) -> Option<PhysAddr> {
    if unmasked {
        return global::alloc();
    }
    let reserve = &this_cpu().reserve;
    for _ in 0..PATIENCE {
        let frame = reserve.take();
        if let Some(mut frames) = FRAMES.try_lock_off_record() {
            fill(&mut frames);
            return frame.or_else(|| reserve.take());
        }
        if frame.is_some() {
            return frame;
        }
        arch::cpu::spin_hint();
    }
    None
}

/// Takes back a frame of [`for_a_fault`], with the same `unmasked`, that is not needed after all. Interrupts are masked.
#[cold]
pub(crate) fn back_from_a_fault(frame: PhysAddr, unmasked: bool) {
    if unmasked {
        return global::free(frame);
    }
    for _ in 0..PATIENCE {
        if this_cpu().reserve.put(frame) {
            return;
        }
        if let Some(mut frames) = FRAMES.try_lock_off_record() {
            return frames.free(frame, PAGE_SIZE);
        }
        arch::cpu::spin_hint();
    }
}
