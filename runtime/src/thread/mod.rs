//! Threads: spawn and join, yield, park and unpark, sleep.
//!
//! A thread is a stackful green thread: it runs on its own stack until it blocks, yields, or is preempted because
//! another one waits. Threads are cheap enough to have one for every connection or timer.

mod boost;
mod builder;
pub(crate) mod control;
mod death;
mod ending;
mod extras;
#[cfg(not(isochron_sim))]
mod folding;
mod guard;
mod hint;
mod home;
mod join;
#[cfg(feature = "listed")]
mod listed;
pub(crate) mod packed;
pub(crate) mod packet;
mod preferences;
mod reserve;
mod stacks;
mod traits;

pub use builder::{Builder, SpawnError};
pub use death::Death;
pub(crate) use ending::{
    call_at_deaths, die_if_doomed, doom, end_current, is_doomed, look_everywhere, may_end, note_death,
    somebody_is_doomed, this_is_main,
};
#[cfg(not(isochron_sim))]
pub use folding::{fold_parked, folded};
pub use guard::PreemptGuard;
pub use hint::{Hint, MAX_PRIORITY, set_hint, set_priority};
pub use isochron_kernel::memory::packed::SlotSize;
pub use join::{JoinHandle, Thread};
pub(crate) use join::{exit, exit_current};
pub use packed::{stack_left, stack_range};
pub use preferences::{region, set_policy, set_region};
pub use reserve::{Reservation, ReserveError, reserve_cpu};
pub use stacks::{back_stack, trim_stacks};
pub(crate) use traits::Traits;

use crate::worker::{self, Worker};
use crate::{Duration, Instant};
use alloc::alloc::Layout;
use control::{ThreadPtr, ThreadRef};
use isochron_kernel::cpu::CpuId;
use isochron_kernel::irq;

/// Runs `closure` in a new thread, with the default stack and on whatever CPU has time.
///
/// # Panics
/// If there is no memory for it: [`Builder::spawn`] returns that as an error.
#[track_caller]
pub fn spawn<F, T>(closure: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Builder::new().spawn(closure) {
        Ok(handle) => handle,
        Err(error) => cannot_be_made(error),
    }
}

#[cold]
#[track_caller]
fn cannot_be_made(error: SpawnError) -> ! {
    // The group that refused it is told that it cannot cope.
    if error == SpawnError::OutOfMemory
        && let Some(layout) =
            crate::group::memory::bytes_refused().and_then(|bytes| Layout::from_size_align(bytes, 1).ok())
    {
        alloc::alloc::handle_alloc_error(layout);
    }
    panic!("a thread cannot be made: {error}")
}

/// Lets the next runnable thread of this CPU run; this one comes again when the others had their turn. Returns at once
/// if nobody waits.
#[inline(always)]
pub fn yield_now() {
    Worker::yield_current();
}

/// Waits until somebody calls [`Thread::unpark`] on this thread; at once if somebody has since the last park.
///
/// One permit is kept, however many unparks came. Never returns without one.
#[track_caller]
#[inline(always)]
pub fn park() {
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    let state = unsafe { &me.as_ref().state };
    if !state.take_permit() {
        loop {
            worker::block(me);
            if state.take_permit() {
                break;
            }
            // Something else has woken it: a kill, perhaps.
            die_if_doomed();
        }
    }
}

/// As [`park`], but for `timeout` at the most. True if there was an unpark.
#[track_caller]
pub fn park_timeout(timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    let state = unsafe { &me.as_ref().state };
    let unparked = worker::block_until(deadline, || state.take_permit());
    if !unparked {
        die_if_doomed();
    }
    unparked
}

/// Sleeps for `time`. It may be longer by the cost of a timer interrupt and a switch.
#[track_caller]
pub fn sleep(time: Duration) {
    sleep_until(Instant::now() + time);
}

/// Sleeps until `deadline`; not at all if that is past.
#[track_caller]
pub fn sleep_until(deadline: Instant) {
    worker::block_until(deadline, || false);
    if is_doomed(current_ptr()) {
        die_if_doomed();
    }
}

/// A handle to the running thread.
///
/// # Panics
/// Outside a thread (in an interrupt handler on an idle CPU).
#[must_use]
#[track_caller]
pub fn current() -> Thread {
    let me = current_ptr();
    // SAFETY: the running thread holds a reference to its own block; this counts one more.
    Thread::new(unsafe { count_one_more(me) })
}

/// The CPU this thread runs on: true at the moment of asking, and for longer only for a pinned thread or while a
/// [`PreemptGuard`] is held.
#[must_use]
pub fn current_cpu() -> CpuId {
    irq::without(|| isochron_kernel::cpu::this_cpu().id)
}

/// How many CPUs run threads.
#[must_use]
pub fn cpu_count() -> usize {
    isochron_kernel::cpu::online_count()
}

/// Binds the running thread to `cpu` and moves it there.
///
/// # Errors
/// [`SpawnError::NoSuchCpu`] if that CPU does not run.
#[track_caller]
pub fn pin_to(cpu: CpuId) -> Result<(), SpawnError> {
    builder::check_cpu(cpu)?;
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    irq::without(|| unsafe { me.as_ref() }.set_pinned(Some(cpu)));
    if current_cpu() != cpu {
        // Off to the other CPU's inbox: the queue step after the switch looks at the binding.
        Worker::requeue_current();
    }
    debug_assert_eq!(current_cpu(), cpu);
    Ok(())
}

/// Sets the running thread free to run on any CPU.
#[track_caller]
pub fn unpin() {
    // SAFETY: the running thread's block is alive.
    let me = unsafe { current_ptr().as_ref() };
    irq::without(|| {
        me.set_home(isochron_kernel::cpu::this_cpu().id);
        me.set_pinned(None);
    });
}

/// The running thread.
#[inline(always)]
#[track_caller]
pub(crate) fn current_ptr() -> ThreadPtr {
    match control::current_ptr() {
        Some(thread) => thread,
        None => panic!("this works in a thread only"),
    }
}

/// # Safety
/// `thread` is alive and somebody's reference keeps it so.
pub(crate) unsafe fn count_one_more(thread: ThreadPtr) -> ThreadRef {
    // SAFETY: the caller's promise; the temporary reference is not given back.
    let borrowed = core::mem::ManuallyDrop::new(unsafe { ThreadRef::from_counted(thread) });
    ThreadRef::clone(&borrowed)
}
