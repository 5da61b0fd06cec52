//! [`join`]: the second half, where it waits, and how it is given away.

use super::INTERVAL;
use crate::kernel::arch;
use crate::thread::control::{Thread, ThreadPtr};
use crate::thread::{Builder, Death, JoinHandle, current_ptr};
use crate::worker::Worker;
use core::cell::UnsafeCell;
use core::mem::{ManuallyDrop, MaybeUninit};

/// Something on this thread's stack that another thread may hold: a half that waits to be done, or a [scope](super::scope()).
///
/// Touched by the thread that it belongs to alone.
#[repr(C)]
pub(crate) struct Pending {
    /// The one that was there before; null for the first.
    pub(super) older: *const Self,
    /// Does the half and stores what comes out. `None`: it is not to be given away.
    pub(super) run: Option<unsafe fn(*const Self)>,
    /// The thread that it was given to.
    given_to: UnsafeCell<Option<JoinHandle<()>>>,
}

impl Pending {
    pub(super) const fn new(older: *const Self, run: Option<unsafe fn(*const Self)>) -> Self {
        Self { older, run, given_to: UnsafeCell::new(None) }
    }

    /// For a thread that is at its end: its stack must not be used again.
    pub(crate) const fn keep_stack() -> *const Self {
        core::ptr::dangling()
    }
}

/// The second half: first the closure, then, if it was given away, the result.
#[repr(C)]
struct Job<F, T> {
    pending: Pending,
    closure: UnsafeCell<ManuallyDrop<F>>,
    result: UnsafeCell<MaybeUninit<T>>,
}

impl<F: FnOnce() -> T, T> Job<F, T> {
    /// # Safety
    /// `pending` is the head of a job of this type whose closure was not run, and whose owner waits for the end of this.
    unsafe fn run(pending: *const Pending) {
        let job = pending.cast::<Self>();
        // SAFETY: the owner keeps the job in place and its hands off (caller), and this is the one run.
        unsafe {
            let closure = ManuallyDrop::take(&mut *(*job).closure.get());
            (*(*job).result.get()).write(closure());
        }
    }
}

/// A half on its way to another thread.
struct Given(*const Pending, unsafe fn(*const Pending));

// SAFETY: closure and result of a job are `Send` (the bounds of `join`), and the rest of it is not touched over there.
unsafe impl Send for Given {}

impl Given {
    fn run(self) {
        // SAFETY: the owner joins this thread before it leaves the job's frame, or never leaves it (`stack_is_lent`).
        unsafe { (self.1)(self.0) }
    }
}

/// Does `a` and `b`, at once if a CPU is idle, and returns both results.
///
/// `a` is done by this thread. `b` is done by this thread afterwards, or by another one meanwhile; it may borrow from here,
/// because this returns only when both are done. Costs a few nanoseconds if `b` is not given away.
///
/// # Panics
/// Outside a thread. If `b` was given away and its thread died.
#[inline]
#[track_caller]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    let forks = unsafe { &me.as_ref().forks };
    let job = Job {
        pending: Pending::new(forks.get(), Some(Job::<B, RB>::run)),
        closure: UnsafeCell::new(ManuallyDrop::new(b)),
        result: UnsafeCell::new(MaybeUninit::uninit()),
    };
    // The address of the whole: who runs it needs more than its head.
    let job = &raw const job;
    forks.set(job.cast());
    if Worker::somebody_is_idle() {
        give_oldest(me);
    }
    let a = a();
    // SAFETY: the job is on this stack. What is pending since has been taken off again, and what the other thread touches
    // of it (closure, result) is not touched here before `has_done_it`, and was not touched there if that says no.
    let b = unsafe {
        forks.set((*job).pending.older);
        match (*(*job).pending.given_to.get()).take().is_some_and(has_done_it) {
            true => (*(*job).result.get()).assume_init_read(),
            false => ManuallyDrop::take(&mut *(*job).closure.get())(),
        }
    };
    (a, b)
}

/// Gives the oldest half that is still here to a thread, if it is time.
#[cold]
#[inline(never)]
fn give_oldest(me: ThreadPtr) {
    let now = arch::clock::ticks_unordered();
    if !Worker::may_fork(now) {
        return;
    }
    // SAFETY: the running thread's block is alive.
    let thread = unsafe { me.as_ref() };
    let mut oldest = None;
    let mut at = thread.forks.get();
    // SAFETY: what is pending lies further up on this very stack, in frames that are not left yet.
    while let Some(pending) = unsafe { at.as_ref() } {
        // SAFETY: only this thread touches the field.
        let here = unsafe { (*pending.given_to.get()).is_none() };
        if let (true, Some(run)) = (here, pending.run) {
            oldest = Some((at, run));
        }
        at = pending.older;
    }
    let given = oldest.is_some_and(|(pending, run)| give(thread, pending, run));
    Worker::has_forked(now, INTERVAL, given);
}

/// Makes a thread for a half that waits. False: there is no memory for it, and the half stays here.
fn give(thread: &Thread, pending: *const Pending, run: unsafe fn(*const Pending)) -> bool {
    let given = Given(pending, run);
    // A stack like this thread's: the half may go as deep as the whole.
    let builder = Builder::new().stack_size(thread.stack_size()).same_rank(thread.rank());
    let Ok(handle) = builder.spawn(move || given.run()) else { return false };
    // SAFETY: it is pending, so in place; the new thread does not touch the field.
    unsafe { *(*pending).given_to.get() = Some(handle) };
    true
}

/// Waits for the thread that the half was given to. False: it has ended without having begun, and the half is still to be done.
#[cold]
#[inline(never)]
#[track_caller]
fn has_done_it(thread: JoinHandle<()>) -> bool {
    match thread.join() {
        Ok(()) => true,
        // It got no stack, so it never began.
        Err(Death::OutOfMemory) => false,
        Err(death) => panic!("the other half of a join is missing: {death}"),
    }
}

/// Whether other threads may hold references into this thread's stack: then it must not be used again if the thread ends
/// here and now.
pub(crate) fn stack_is_lent(forks: *const Pending) -> bool {
    !forks.is_null()
}
