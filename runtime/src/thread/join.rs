//! Handles: to a thread, and to its result.

use super::control::{ThreadPtr, ThreadRef};
use super::ending::{die_if_doomed, is_doomed, kill, killed_has_ended};
use super::packet::Fetch;
use super::{Death, current_ptr};
use crate::fork::ScopeState;
use crate::worker::{self, Rest, Worker};
use crate::{Duration, Instant};
use core::fmt;
use isochron_core::completion::{Completion, End, RegisterError};
use isochron_core::thread_state::Unpark;
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
    /// scope, or a join that forks): then it ends afterwards. Returns before that, when every CPU has been interrupted for it.
    ///
    /// It may have been in the middle of anything: what it shared with others without a lock may be half changed, and a
    /// [`Mutex`](crate::sync::Mutex) that it held says that it was orphaned.
    ///
    /// # Panics
    /// If interrupts are masked (in an interrupt handler, say), unless it is the running thread.
    #[track_caller]
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
    fetch: Fetch<T>,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(fetch: Fetch<T>) -> Self {
        Self { fetch }
    }

    #[inline(always)]
    fn completion(&self) -> &Completion<super::control::Thread> {
        &self.fetch.thread().completion
    }

    /// Waits for the thread's end and returns its result.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// If a thread joins itself.
    #[track_caller]
    #[inline(always)]
    pub fn join(self) -> Result<T, Death> {
        if !self.completion().is_done()
            && let Some(me) = self.register()
        {
            // Inlined, as `yield_now` is and for the same reason: the switch loses every register.
            worker::block_to_join(me);
            if !self.completion().is_done() {
                return self.join_again(me);
            }
            self.leave_cell(me);
        }
        // SAFETY: the completion is done.
        unsafe { self.fetch.take() }
    }

    /// Something else has ended the first park, or it is not quite done yet.
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn join_again(self, me: ThreadPtr) -> Result<T, Death> {
        while !self.completion().is_ending() {
            if is_doomed(me) && self.withdraw(me) {
                drop(self);
                die_if_doomed();
                unreachable!("a thread that is to die goes on");
            }
            worker::block(me);
        }
        self.arrive(me);
        // SAFETY: the completion is done.
        unsafe { self.fetch.take() }
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
        if let Some(me) = self.register() {
            if worker::block_until(deadline, || self.completion().is_ending()) {
                self.arrive(me);
            } else if self.withdraw(me) {
                die_if_doomed();
                return Err(self);
            }
        }
        // SAFETY: the completion is done.
        Ok(unsafe { self.fetch.take() })
    }

    /// Whether the thread has ended: then `join` returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.completion().is_done()
    }

    /// The thread itself.
    #[must_use]
    pub fn thread(&self) -> Thread {
        Thread::new(self.fetch.thread().clone())
    }

    /// As [`Thread::unpark`] of its [`thread`](Self::thread), without counting a reference for that.
    #[inline]
    pub fn unpark(&self) {
        worker::unpark(self.fetch.thread().as_ptr());
    }

    /// Lets the thread run on by itself; its result is dropped when it is there.
    pub fn detach(self) {}

    /// Puts the running thread in the completion cell; `None` if there is nothing to wait for.
    ///
    /// From then on it is known to have something of its own elsewhere: it must not go before `arrive` or `withdraw`.
    #[track_caller]
    #[inline(always)]
    fn register(&self) -> Option<ThreadPtr> {
        let me = current_ptr();
        assert!(me != self.fetch.thread().as_ptr(), "a thread that joins itself would wait for ever");
        // SAFETY: the running thread's block is alive.
        let is_queued = unsafe { &me.as_ref().is_queued };
        is_queued.set(true);
        match self.completion().register(me) {
            Ok(_) => Some(me),
            Err(RegisterError::AlreadyDone) => {
                is_queued.set(false);
                None
            }
            Err(RegisterError::Occupied) => unreachable!("a join handle is not shared"),
        }
    }

    /// The running thread's wait is over: waits until it is done what it waited for, which is at once.
    #[cold]
    fn arrive(&self, me: ThreadPtr) {
        let mut spins = 0_u32;
        while !self.completion().is_done() {
            spins += 1;
            if spins.is_multiple_of(128) {
                // The other CPU may have lost its CPU: a guest's, the hosted port's.
                Worker::yield_current();
            }
            isochron_kernel::arch::cpu::spin_hint();
        }
        self.leave_cell(me);
    }

    /// Nothing of the running thread is in the cell any more.
    #[inline(always)]
    fn leave_cell(&self, me: ThreadPtr) {
        // SAFETY: the running thread's block is alive.
        unsafe { me.as_ref() }.is_queued.set(false);
    }

    /// Takes the running thread out of the completion cell again; false if its wait was ended meanwhile, and then that is over.
    #[cold]
    fn withdraw(&self, me: ThreadPtr) -> bool {
        let withdrawn = self.completion().unregister(me);
        if withdrawn {
            self.leave_cell(me);
        } else {
            self.arrive(me);
        }
        withdrawn
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle(")?;
        self.fetch.thread().write_name(f)?;
        write!(f, ")")
    }
}

/// The end of a thread: its result is in place, its joiner is woken, and its CPU goes on with another. Called on the
/// thread's own stack.
pub(crate) fn exit_current() -> ! {
    exit(current_ptr())
}

/// As [`exit_current`], for who knows who it is.
///
/// Mostly somebody waits for it. What is not so, or may call others, is in functions of its own that never return: so this
/// one needs next to no frame.
#[inline(always)]
pub(crate) fn exit(me: ThreadPtr) -> ! {
    // SAFETY: the running thread's block is alive: its own reference is given back after the last switch.
    let thread = unsafe { me.as_ref() };
    let irq = irq::IrqGuard::new();
    let Some(joiner) = thread.completion.complete_if_awaited() else { exit_unawaited(me, irq) };
    core::mem::forget(irq);
    let killed = thread.state.exit();
    if killed || thread.extras().needs_farewell.get() {
        say_farewell(me, joiner, killed)
    }
    // SAFETY: the joiner stays until `finish`.
    if unsafe { joiner.as_ref() }.state.unpark_parked() {
        // It was parked, so it is in nobody's hands but these, and alive.
        thread.completion.finish();
        Worker::leave_for_joiner(me, joiner)
    }
    wake_joiner(me, joiner)
}

#[cold]
#[inline(never)]
fn exit_unawaited(me: ThreadPtr, irq: irq::IrqGuard) -> ! {
    // SAFETY: as in `exit`.
    let thread = unsafe { me.as_ref() };
    let end = match thread.completion.complete() {
        End::Abandoned if thread.has_litter() && (!irq.were_masked() || thread.never_ran()) => {
            // The result that nobody wants is dropped here, where its destructor may block.
            drop(irq);
            // SAFETY: the handle is gone, and this is the thread.
            unsafe { super::control::Thread::empty(me) };
            core::mem::forget(irq::IrqGuard::new());
            End::Abandoned
        }
        end => {
            core::mem::forget(irq);
            end
        }
    };
    let killed = thread.state.exit();
    match end {
        End::Awaited(joiner) => say_farewell(me, joiner, killed),
        End::Unawaited => tell_of_end(me, killed),
        End::Abandoned => {
            tell_of_end(me, killed);
            thread.completion.finish();
        }
    }
    Worker::leave_for_ever(me)
}

/// What the running thread is a part of, or has had charged, and few threads are or have. At its end, interrupts masked.
#[cold]
#[inline(never)]
fn farewell(me: ThreadPtr) {
    // SAFETY: the running thread's block is alive.
    let thread = unsafe { me.as_ref() };
    let extras = thread.extras();
    if let Some(charge) = &extras.charge {
        // The block of one that died is kept for a while for the sake of the mutexes that it held: its group need not pay for it.
        let stack = extras.charged_stack.take();
        charge.give_back(if thread.has_result() { stack } else { charge.bytes() });
    }
    // Its group may go with it: its run as a member ends here.
    Worker::this().stop_member(Rest::GivenBack);
    // SAFETY: this CPU holds the thread, and nobody uses a reference to its group any more.
    unsafe { thread.membership().leave(me) };
    if !thread.scope().is_null() {
        // SAFETY: the scope waits for this thread, which counts as running in it.
        unsafe { ScopeState::leave(thread.scope()) };
    }
}
/// The thread is at its end: those who are to know are told.
#[inline]
fn tell_of_end(me: ThreadPtr, killed: bool) {
    if killed {
        killed_has_ended();
    }
    // SAFETY: as in `exit`.
    if unsafe { me.as_ref() }.extras().needs_farewell.get() {
        farewell(me);
    }
}

#[cold]
#[inline(never)]
fn say_farewell(me: ThreadPtr, joiner: ThreadPtr, killed: bool) -> ! {
    tell_of_end(me, killed);
    wake_joiner(me, joiner)
}

#[cold]
#[inline(never)]
fn wake_joiner(me: ThreadPtr, joiner: ThreadPtr) -> ! {
    // SAFETY: it stays until `finish`.
    let unpark = unsafe { joiner.as_ref() }.state.unpark();
    // SAFETY: as in `exit`.
    unsafe { me.as_ref() }.completion.finish();
    // If it was parked, it is in nobody's hands but these, and so it is alive; if not, it may be gone.
    if unpark == Unpark::Enqueue {
        worker::enqueue_woken_with(joiner, irq::KeptMasked);
    }
    Worker::leave_for_ever(me)
}
