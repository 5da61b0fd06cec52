//! Packed threads: block, closure and stack in one slot of 1 or 2 KiB, side by side with others.
//!
//! ```text
//! slot's start                                                        slot's end
//! | block | red zone | closure, then result |  <- stack, downwards        |
//! |                  | <- while it runs, the stack's too                  |
//! ```
//! There is no guard page between two slots, so an overflow is found afterwards: the red zone holds a pattern, which is looked
//! at whenever the thread leaves its CPU (it parks, yields, is preempted, ends), and so is its stack pointer when it is
//! preempted. Below the zone lies the thread's own block, and below that the top of a neighbour's stack.
//!
//! * **The zone's lowest 64 bytes are intact**: the overflow is contained. The thread dies, alone, by
//!   [`Death::StackOverflow`](super::Death::StackOverflow).
//! * **It is not**: the block may be damaged, by which queues find their way. The machine ends, and names the thread, by its
//!   address: its name is in the block. Nothing of the block is used for that, and the zone is at the same place in every slot.
//! * **The thread runs on and on down**: it faults at the end of its block of slots, and the machine ends in the same way.
//!
//! A panic, and an overflow, are told on a spare stack: `isochron_kernel::panic`. Preemption takes none of the slot:
//! `isochron_kernel::areas`.
//!
//! # Rejected
//! *The block at the slot's top, the zone at its bottom*: what an overflow harms first is then the neighbour's block. *A look in
//! every function*: the compiler has no such option on a stable toolchain but for probes of whole pages. *A flag for packed
//! threads in the block*: the paths of all threads would have to look at it, and an overflow may have cleared it. One bit of the
//! block's address says it.

use super::control::{self, Thread, ThreadPtr};
use super::packet;
use super::traits::Traits;
use super::{Builder, JoinHandle, SpawnError, current_ptr, end_current};
use crate::kernel::arch;
use core::hint::black_box;
use core::ops::Range;
use isochron_kernel::areas;
use isochron_kernel::boot::layout;
use isochron_kernel::memory::packed::SlotSize;
use isochron_kernel::memory::sanitizer;
use isochron_kernel::panic::{PackedOverflow, packed_overflow};

/// Words of the red zone.
pub(super) const WORDS: usize = 20;
/// Of these, the lowest: while all of them are intact, nothing has gone through. Frames have holes that are not written; more than
/// one word of them in a row is rare, eight are hardly found.
const LOWEST: usize = 8;
const PATTERN: usize = 0x5a3c_96e1_d287_4bf0;

/// Bytes of the red zone.
pub(super) const ZONE: usize = WORDS * size_of::<usize>();

/// Where it is in a slot.
pub(super) const ZONE_OFFSET: usize = size_of::<Thread>();

/// The least that a slot must have above the body: what begins and ends a thread must not reach down to it. That takes a third of it, as
/// does a park: see `tests/src/bin/packed.rs`.
pub(super) const LEAST_STACK: usize = 512;

/// Whether a thread is packed.
#[inline(always)]
pub(crate) fn is_packed(thread: ThreadPtr) -> bool {
    layout::is_packed(thread.as_ptr().addr())
}

/// The words of the red zone, those that are harmed last first.
///
/// # Safety
/// The thread is alive and packed.
#[inline(always)]
unsafe fn zone(thread: ThreadPtr) -> *mut [usize; WORDS] {
    // SAFETY: the caller's promise; the offset is inside of the slot.
    unsafe { thread.as_ptr().byte_add(ZONE_OFFSET).cast() }
}

impl Builder<'_> {
    /// Makes a thread that has all of its own in one slot of 1 or 2 KiB, side by side with others: block, closure, result and stack.
    /// For a million threads that wait. A [`stack_size`](Self::stack_size) has no effect on it.
    ///
    /// What is given up:
    /// * **Room.** [`stack_left`](super::stack_left) tells how much there is: some 560 bytes of 1 KiB when the closure begins, of
    ///   which parking and yielding take up to 350, as the CPU has to choose who is next. Who sleeps, uses channels and locks, takes
    ///   memory, makes threads or prints should have 2 KiB: that may go 550 bytes deep by itself.
    /// * **The guard.** An overflow is found when the thread next leaves its CPU, or is interrupted with its stack pointer too
    ///   low, not at the moment it happens; a thread that is alone on its CPU and never waits is not looked at. An overflow that
    ///   stays within 96 bytes ends the thread, with
    ///   [`Death::StackOverflow`](super::Death::StackOverflow). A deeper one may have damaged the thread's own block and the
    ///   stack of the neighbour below: the machine ends. A frame may reach past the red zone without touching it; then it is
    ///   not found at all, unless an interrupt finds the stack pointer there.
    /// * **The room of the result.** A slot is kept until the result has been fetched.
    ///
    /// Preemption, panics and kills need no room on it.
    ///
    /// ```ignore
    /// let waiting = Builder::new().spawn_packed(SlotSize::Kib1, thread::park)?;
    /// waiting.thread().unpark();
    /// assert_eq!(waiting.join(), Ok(()));
    /// ```
    ///
    /// # Errors
    /// See [`SpawnError`]; the closure is dropped then.
    pub fn spawn_packed<F, T>(self, slot: SlotSize, closure: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if !packet::fits::<F, T>(slot) {
            return Err(SpawnError::Slot(slot.bytes()));
        }
        let traits = self.traits(core::ptr::null(), slot.bytes(), false)?;
        let has_extras = traits.extras.is_some();
        let thread = packet::allocate_packed(closure, Traits { stack_size: slot.bytes(), ..traits }, slot)?;
        // SAFETY: just made, of this closure.
        Ok(unsafe { self.start(thread, has_extras) })
    }
}

/// Fills the red zone of a new thread.
///
/// # Safety
/// As for [`zone`], and nobody else knows the thread yet.
#[inline]
pub(super) unsafe fn paint(thread: ThreadPtr) {
    // SAFETY: the caller's promise.
    unsafe { zone(thread).write([PATTERN; WORDS]) }
}

/// Ends the running thread if it has left its stack. It is packed; interrupts are masked.
#[inline(never)]
pub(crate) fn check(me: ThreadPtr) {
    // In place, since a copy would take more of the stack than most that the thread has called. The compiler knows nothing of
    // what is there.
    // SAFETY: the running thread's block is alive, and the zone its own, which nobody writes meanwhile.
    let words = unsafe { &*black_box(zone(me)) };
    if !is_intact(Some(words)) {
        overflowed(me)
    }
}

#[cold]
#[inline(never)]
fn overflowed(me: ThreadPtr) -> ! {
    // SAFETY: the running thread's block is alive, and the zone its own.
    let words = unsafe { zone(me).read_volatile() };
    // SAFETY: a packed thread's context, interrupts masked, and it does not come back.
    unsafe { areas::give_running() };
    packed_overflow(describe(&words))
}

fn describe(words: &[usize; WORDS]) -> PackedOverflow {
    PackedOverflow { contained: is_intact(words.first_chunk::<LOWEST>()) }
}

#[inline(always)]
fn is_intact<const N: usize>(words: Option<&[usize; N]>) -> bool {
    words.is_some_and(|words| words.iter().fold(0, |wrong, word| wrong | word ^ PATTERN) == 0)
}

/// Whether something has gone through the red zone of a thread, which is alive: if it is packed, nothing of its block can be
/// believed.
pub(crate) fn is_breached(thread: ThreadPtr) -> bool {
    // SAFETY: the zone of a packed thread that is alive.
    is_packed(thread) && !describe(&unsafe { zone(thread).read_volatile() }).contained
}

/// The running thread was interrupted with its stack pointer at `sp`: whether it has overflowed. That is written into the zone, for
/// [`check`] to find.
pub(crate) fn interrupted(sp: usize) -> Option<PackedOverflow> {
    let me = control::current_ptr().filter(|me| is_packed(*me))?;
    // SAFETY: the running thread's block is alive.
    let zone = unsafe { zone(me) };
    // On an area or a spare stack it says nothing.
    if layout::is_packed(sp) && sp < zone.addr() + ZONE {
        let word = if sp < zone.addr() { 0 } else { WORDS - 1 };
        // SAFETY: as above; the zone is the thread's own, which does not go on meanwhile.
        unsafe { (&raw mut (*zone)[word]).write_volatile(!PATTERN) };
    }
    // SAFETY: as above.
    let words = unsafe { zone.read_volatile() };
    (!is_intact(Some(&words))).then(|| describe(&words))
}

/// Ends the running thread, which is packed, on its own stack or in an area, because it was killed: at the top of its own stack, of
/// which nothing is needed any more. Interrupts are masked.
pub(super) fn die(me: ThreadPtr) -> ! {
    extern "C" fn end(_: *mut (), _message: usize) -> ! {
        // SAFETY: the running thread's block is alive.
        unsafe { current_ptr().as_ref() }.set_killed();
        end_current()
    }
    // SAFETY: a packed thread's context, interrupts masked, and what it stands on is left for good.
    unsafe {
        areas::give_running();
        sanitizer::stack_begins(me.as_ref().stack_top().as_usize(), me.as_ref().stack_size());
        let context = arch::context::prepare(me.as_ref().stack_top(), end, core::ptr::null_mut());
        arch::context::jump(&raw const context, 0)
    }
}

/// The addresses of the running thread's stack: of a packed thread's, from the end of its red zone on.
///
/// # Panics
/// Outside of a thread.
#[must_use]
#[track_caller]
pub fn stack_range() -> Range<usize> {
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    let thread = unsafe { me.as_ref() };
    thread.stack_limit(me)..thread.stack_top().as_usize()
}

/// Bytes that the running thread has left on its stack, about. A packed thread that is interrupted needs 16 of them.
///
/// # Panics
/// Outside of a thread.
#[must_use]
#[track_caller]
#[inline(never)]
pub fn stack_left() -> usize {
    let here = 0_u8;
    black_box(&raw const here).addr().saturating_sub(stack_range().start)
}
