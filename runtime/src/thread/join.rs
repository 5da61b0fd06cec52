//! Handles: to a thread, and to its result.

use super::control::{ThreadRef, WaitRef};
use super::ending::{die_if_doomed, is_doomed, kill, killed_has_ended};
use super::packet::BodyAccess;
use super::{Death, current_ptr};
use crate::fork::ScopeState;
use crate::worker::{self, Worker};
use crate::{Duration, Instant};
use core::fmt;
use core::mem::ManuallyDrop;
use isochron_core::completion::RegisterError;
use isochron_kernel::irq;

/// A handle to a thread: its name, its number, a way to wake it.
#[derive(Clone)]
pub struct Thread {
    inner: ThreadRef,
}

impl Thread {
    pub(super) fn new(inner: ThreadRef) -> Self {
        Self { inner }
    }

    /// Its block.
    pub(crate) fn block(&self) -> &super::control::Thread {
        &self.inner
    }

    /// Its number, unique since boot.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.inner.id()
    }

    /// The name it was given, if any.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.name()
    }

    /// Whether the thread has ended, by whatever way.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.inner.completion.is_done()
    }

    /// Asks the thread to die: it ends at the next place where it blocks or could be preempted, without its destructors, and
    /// who joins it gets [`Death::Killed`]. Not while it holds preemption off, nor while others borrow from its stack (in a
    /// scope, or a join that forks): then it ends afterwards. Returns at once, before that.
    ///
    /// It may have been in the middle of anything: what it shared with others without a lock may be half changed, and a
    /// [`Mutex`](crate::sync::Mutex) that it held says that it was orphaned.
    pub fn kill(&self) {
        kill(self.inner.as_ptr());
    }

    /// Ends the thread's park, or makes its next one return at once. From threads and interrupt handlers.
    #[inline]
    pub fn unpark(&self) {
        worker::unpark(self.inner.as_ptr());
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thread(")?;
        self.inner.write_name(f)?;
        write!(f, ")")
    }
}

/// The way to a thread's result. Dropping it lets the thread run on by itself.
pub struct JoinHandle<T> {
    thread: ThreadRef,
    body: BodyAccess<T>,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(thread: ThreadRef, body: BodyAccess<T>) -> Self {
        Self { thread, body }
    }

    /// Waits for the thread's end and returns its result.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// If a thread joins itself.
    #[track_caller]
    pub fn join(self) -> Result<T, Death> {
        if self.register() {
            while !self.thread.completion.is_done() {
                worker::block_current();
                if !self.thread.completion.is_done() && is_doomed(current_ptr()) && self.withdraw() {
                    drop(self);
                    die_if_doomed();
                    unreachable!("a thread that is to die goes on");
                }
            }
        }
        self.take()
    }

    /// As [`JoinHandle::join`], for `timeout` at the most.
    ///
    /// # Errors
    /// The handle, if the thread still runs then.
    ///
    /// # Panics
    /// If a thread joins itself.
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, Death>, Self> {
        let deadline = Instant::now() + timeout;
        if self.register() && !worker::block_until(deadline, || self.thread.completion.is_done()) && self.withdraw() {
            die_if_doomed();
            return Err(self);
        }
        Ok(self.take())
    }

    /// Whether the thread has ended: then `join` returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.completion.is_done()
    }

    /// The thread itself.
    #[must_use]
    pub fn thread(&self) -> Thread {
        Thread::new(self.thread.clone())
    }

    /// Lets the thread run on by itself; its result is dropped when it is there.
    pub fn detach(self) {}

    /// Puts the running thread in the completion cell; false if there is nothing to wait for.
    ///
    /// The cell gets a reference of its own: the wake-up may come when the joiner, having seen the end some other way,
    /// is long gone.
    #[track_caller]
    fn register(&self) -> bool {
        let me = current_ptr();
        assert!(me != self.thread.as_ptr(), "a thread that joins itself would wait for ever");
        if self.thread.completion.is_done() {
            return false;
        }
        // SAFETY: the running thread's block is alive.
        let waiter = ManuallyDrop::new(unsafe { WaitRef::count(me) });
        match self.thread.completion.register(me) {
            Ok(_) => true,
            Err(RegisterError::AlreadyDone) => {
                drop(ManuallyDrop::into_inner(waiter));
                false
            }
            Err(RegisterError::Occupied) => unreachable!("a join handle is not shared"),
        }
    }

    /// Takes the running thread out of the completion cell again; false if it is on its way to be woken.
    fn withdraw(&self) -> bool {
        let me = current_ptr();
        let withdrawn = self.thread.completion.unregister(me);
        if withdrawn {
            // SAFETY: counted by `register`; the completion has forgotten it.
            drop(unsafe { WaitRef::from_counted(me) });
        }
        withdrawn
    }

    fn take(self) -> Result<T, Death> {
        let handle = ManuallyDrop::new(self);
        // SAFETY: the completion is done, `body` was made with the thread, and this handle, which is consumed, is the
        // only one.
        let result = unsafe { handle.thread.take_result(handle.body) };
        // SAFETY: moved out once; the handle is not used again, and its destructor, which would abandon the result, does
        // not run.
        let thread = unsafe { core::ptr::read(&handle.thread) };
        match result {
            Some(result) => Ok(result),
            None => Err(thread.death()),
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // SAFETY: `body` was made with the thread; `take` prevents this drop.
        unsafe { self.thread.abandon_result(self.body) }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle(")?;
        self.thread.write_name(f)?;
        write!(f, ")")
    }
}

/// The end of a thread: its result is in place, its joiner is woken, and its CPU goes on with another. Called on the
/// thread's own stack.
pub(crate) fn exit_current() -> ! {
    let me = current_ptr();
    // SAFETY: the running thread's block is alive: its own reference is given back after the last switch.
    let thread = unsafe { me.as_ref() };
    let _irq = irq::IrqGuard::new();
    if thread.state.exit() {
        killed_has_ended();
    }
    if !thread.scope().is_null() {
        // SAFETY: the scope waits for this thread, which counts as running in it.
        unsafe { ScopeState::leave(thread.scope()) };
    }
    if let Some(joiner) = thread.completion.complete() {
        worker::wake(joiner);
        // SAFETY: counted by `JoinHandle::register` for this wake-up.
        drop(unsafe { WaitRef::from_counted(joiner) });
    }
    Worker::leave_for_ever(me)
}
