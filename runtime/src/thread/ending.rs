//! The end of a thread that dies: by a panic, an exception, or because somebody has killed it.
//!
//! Nothing of it is unwound (see `isochron_kernel::panic`): what it owned is lost, without its destructors. But its joiner is
//! told why, its stack goes back to the pool (unless others may still hold references into it), and the rest runs on.
//!
//! # Kill
//! A flag in the thread's state, sticky. Who waits for something looks at it when woken, and the kill wakes (one that is
//! [handed over](isochron_core::thread_state), after all CPUs have passed a barrier): the wait ends as
//! on a time-out, so nothing of it is left in any queue, and then the thread ends. Who runs is made to look by an interrupt,
//! at the preemption boundary; who is in a run queue, by [`DOOMED`]: while that is not zero, CPUs choose their next thread
//! the careful way, and send themselves that interrupt when they have chosen one that is to die.
//!
//! It does not act while preemption is held off, nor while others hold references into the thread's stack (in a scope, say):
//! then it waits until that is over.
//!
//! # Rejected
//! *Ending a thread wherever it is, from outside*: it may be in the middle of a list. *A look at the flag in every yield
//! and every switch*: all pay for what nearly nobody uses.

use super::control::ThreadPtr;
use super::{Death, current_ptr, exit_current, packed};
use crate::fork::Pending;
use crate::group;
use crate::policy;
use crate::sync::system_wide_barrier;
use crate::worker::{self, Worker};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use isochron_core::thread_state::Unpark;
use isochron_kernel::boot::VirtAddr;
use isochron_kernel::irq;
use isochron_kernel::memory::sanitizer;
use isochron_kernel::trap::Cause;

/// Threads that are killed and not dead yet.
static DOOMED: AtomicUsize = AtomicUsize::new(0);

/// The main thread: its end is the program's.
static MAIN: AtomicPtr<super::control::Thread> = AtomicPtr::new(null_mut());

/// What else is to be told of deaths: see [`call_at_deaths`].
static TOLD: AtomicPtr<fn(ThreadPtr, Death)> = AtomicPtr::new(null_mut());

/// From now on `told` is called with each thread that dies, on its stack, interrupts masked. A pointer, so that programs
/// without tasks do not have what they do not use.
pub(crate) fn call_at_deaths(told: &'static fn(ThreadPtr, Death)) {
    // Relaxed: it is a constant, there since the program was loaded.
    TOLD.store(core::ptr::from_ref(told).cast_mut(), Ordering::Relaxed);
}

/// The running thread is the main one.
pub(crate) fn this_is_main() {
    MAIN.store(current_ptr().as_ptr(), Ordering::Relaxed);
}

fn is_main(thread: ThreadPtr) -> bool {
    MAIN.load(Ordering::Relaxed) == thread.as_ptr()
}

impl From<Cause> for Death {
    fn from(cause: Cause) -> Self {
        match cause {
            // Unless a group has refused it: see `note_death`.
            Cause::Panic | Cause::NoMemory(_) => Self::Panicked,
            Cause::StackOverflow => Self::StackOverflow,
            Cause::OutOfMemory => Self::OutOfMemory,
            Cause::Fault(kind) => Self::Fault(kind),
        }
    }
}

/// The running thread has panicked, or caused an exception. If it may die alone, notes the cause; the top of its stack.
pub(crate) fn note_death(cause: Cause) -> Option<VirtAddr> {
    let me = super::control::current_ptr()?;
    // SAFETY: the running thread's block is alive.
    let thread = unsafe { me.as_ref() };
    if is_main(me) || thread.is_held_off() {
        return None;
    }
    if matches!(cause, Cause::StackOverflow | Cause::OutOfMemory) && thread.may_be_linked() {
        // It was about to park, and what it waits for knows a place on its stack: that is kept for ever.
        thread.forks.set(Pending::keep_stack());
    }
    thread.set_death(match cause {
        Cause::NoMemory(bytes) if group::memory::dies_of_refusal(me, bytes) => Death::OverLimit,
        cause => cause.into(),
    });
    Some(thread.stack_top())
}

/// Ends the running thread, whose death is noted: on its stack, of which nothing is needed any more, interrupts masked.
pub(crate) fn end_current() -> ! {
    {
        // SAFETY: the running thread's block is alive.
        let me = unsafe { current_ptr().as_ref() };
        sanitizer::stack_begins(me.stack_top().as_usize(), me.stack_size());
    }
    if let Some(orphan) = policy::rescue(current_ptr()) {
        // It died in a policy's hook: who was to be placed goes where it would without one.
        Worker::this().make_runnable(orphan);
    }
    // SAFETY: null, or a static.
    if let Some(told) = unsafe { TOLD.load(Ordering::Relaxed).as_ref() } {
        // SAFETY: the running thread's block is alive.
        told(current_ptr(), unsafe { current_ptr().as_ref() }.death());
    }
    crate::sync::abandon_locks();
    worker::give_back_claims(current_ptr());
    // SAFETY: the running thread's block is alive.
    unsafe { current_ptr().as_ref() }.forget_body();
    exit_current()
}

/// A thread that was killed is at its end, by whatever way.
#[cold]
pub(super) fn killed_has_ended() {
    // Relaxed: a hint; it is exact once all kills have come to their end.
    DOOMED.fetch_sub(1, Ordering::Relaxed);
}

/// Asks a thread to die, which a reference of the caller's keeps alive. True: it may be running, or handed over, and
/// whoever asks sees to it [that all CPUs look](look_everywhere).
pub(crate) fn doom(thread: ThreadPtr) -> bool {
    // SAFETY: the caller's reference.
    let state = unsafe { &thread.as_ref().state };
    // Before the flag, so that who sees the flag does not take it off the count too early.
    DOOMED.fetch_add(1, Ordering::Relaxed);
    match state.kill() {
        // It is dying, or dead: nothing to be done.
        None => {
            DOOMED.fetch_sub(1, Ordering::Relaxed);
            false
        }
        Some(Unpark::Enqueue) => {
            worker::enqueue_woken(thread);
            false
        }
        Some(Unpark::Nothing) => true,
    }
}

/// All CPUs look whether they run one of those that were asked to die. What waits where whoever ends its wait takes it over is
/// taken from there: see `isochron_core::thread_state`.
///
/// # Panics
/// If interrupts are masked.
#[track_caller]
pub(crate) fn look_everywhere(doomed: impl Iterator<Item = ThreadPtr>) {
    worker::poke_all();
    system_wide_barrier();
    for thread in doomed {
        // SAFETY: the caller's reference keeps it alive.
        if unsafe { thread.as_ref() }.state.take_doomed() {
            // Masked: policies, which are the program's, are not asked where it goes.
            irq::without(|| worker::enqueue_woken(thread));
        }
    }
}

/// Asks a thread to die.
///
/// # Panics
/// If interrupts are masked and the thread is another.
#[track_caller]
pub(crate) fn kill(thread: ThreadPtr) {
    let is_this = super::control::current_ptr() == Some(thread);
    if doom(thread) {
        if is_this {
            worker::poke_all();
        } else {
            look_everywhere(core::iter::once(thread));
        }
    }
    if is_this {
        die_if_doomed();
    }
}

/// Whether CPUs have to look out for threads that are to die.
#[inline(always)]
pub(crate) fn somebody_is_doomed() -> bool {
    DOOMED.load(Ordering::Relaxed) != 0
}

/// Whether `thread`, which runs here, is to die, and may here and now.
pub(crate) fn is_doomed(thread: ThreadPtr) -> bool {
    // SAFETY: the running thread's block is alive.
    let thread = unsafe { thread.as_ref() };
    thread.state.is_killed() && !thread.is_held_off() && thread.forks.get().is_null()
}

/// Whether `thread`, which runs here or is this CPU's, may die where it stands, at the preemption boundary.
pub(crate) fn may_end(thread: ThreadPtr) -> bool {
    // SAFETY: alive, by the caller's word.
    is_doomed(thread) && !unsafe { thread.as_ref() }.may_be_linked() && !is_main(thread)
}

/// Ends the running thread if it is to die. Nothing of it is in any queue.
#[cold]
pub(crate) fn die_if_doomed() {
    let me = current_ptr();
    let irq = irq::IrqGuard::new();
    if irq.were_masked() || !is_doomed(me) {
        return;
    }
    if is_main(me) {
        drop(irq);
        panic!("the main thread was killed");
    }
    end_killed(me)
}

/// Nothing of it is in any queue, and interrupts are masked.
fn end_killed(me: ThreadPtr) -> ! {
    if packed::is_packed(me) {
        packed::die(me)
    }
    // SAFETY: the running thread's block is alive.
    unsafe { me.as_ref() }.set_killed();
    end_current()
}

impl super::control::Thread {
    /// Says that it ends because it was told to. For the thread itself.
    pub fn set_killed(&self) {
        // Relaxed: set before the kill, which the thread has acquired.
        let over = self.extras().is_over_limit.load(Ordering::Relaxed);
        self.set_death(if over { Death::OverLimit } else { Death::Killed });
    }
}

impl Worker {
    /// At the preemption boundary, in a thread's context, interrupts masked. One that is to die and may not yet, because it is
    /// in the middle of something, is taken there again soon: it may go on without a switch and without an interrupt.
    #[cold]
    pub(crate) fn end_if_doomed() {
        let me = current_ptr();
        // SAFETY: the running thread's block is alive.
        let thread = unsafe { me.as_ref() };
        if may_end(me) {
            end_killed(me)
        }
        if thread.state.is_killed() {
            Self::this().look_again_soon_at_this();
        }
    }
}
