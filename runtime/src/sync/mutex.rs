//! [`Mutex`].

use super::TimedOut;
use super::inherit::{self, Awaited, Verdict};
use crate::thread::control::{self, ThreadPtr};
use crate::thread::{PreemptGuard, current_ptr};
use crate::trace::points;
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use isochron_core::raw_mutex::{Attempt, Contender, RawMutex};
use isochron_kernel::irq;

/// How long who wants a barging mutex watches it before it parks, and how long before the first look and at most between two, in
/// spin hints. Each look takes the word's line from the CPU that works with it, so there are few, and the first comes when that
/// has done some hundred short sections.
const WATCH: u32 = 512;
const FIRST_PAUSE: u32 = 64;
const LONGEST_PAUSE: u32 = 128;

/// A value that one thread at a time may use. Whoever finds it taken parks; the order is that of ranks, and first come, first
/// served among equals.
///
/// # Priority inheritance
/// A thread that holds it goes on with at least the rank of those who wait, and so does whoever holds what that thread waits
/// for in turn, on whatever CPU: see [`Inheritance`](super::Inheritance) for how far and how long.
///
/// # A thread that dies with it
/// The mutex passes on to who waits, or to the next who comes, and says [`is_orphaned`](Self::is_orphaned): the value may be
/// half changed.
///
/// # Barging
/// [`new`](Self::new) makes one that is handed over: nobody overtakes those who wait. [`barging`](Self::barging) makes one
/// that is free for whoever comes first, which is faster where sections are short and may let a thread wait for long.
pub struct Mutex<T: ?Sized> {
    lock: RawMutex<ThreadPtr>,
    barging: bool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives the value to one thread at a time, which is the same as sending it there.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

/// Access to the value of a [`Mutex`]; dropping it unlocks.
#[must_use = "the mutex is unlocked again when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// A guard stays with the thread that locked.
    _not_send: PhantomData<*const ()>,
}

// SAFETY: sharing a guard is sharing the value.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self { lock: RawMutex::new(), barging: false, value: UnsafeCell::new(value) }
    }

    /// An unlocked mutex for which those who wait compete with those who come.
    pub const fn barging(value: T) -> Self {
        Self { lock: RawMutex::new(), barging: true, value: UnsafeCell::new(value) }
    }

    /// The value, when nobody else can have the mutex.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, _not_send: PhantomData }
    }

    /// Waits for the mutex and takes it.
    ///
    /// # Panics
    /// If this thread has it already, if that would be a deadlock (who has it waits, over mutexes, for this thread), or if it
    /// must not block here and would have to.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if !self.lock.try_lock(me()) {
            self.lock_slow(None);
        }
        self.guard()
    }

    /// Takes the mutex if it is free.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        (self.lock.try_lock(me()) || self.try_lock_slow()).then(|| self.guard())
    }

    /// As [`lock`](Self::lock), waiting for `timeout` at the most.
    ///
    /// # Errors
    /// [`TimedOut`].
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>, TimedOut> {
        if self.lock.try_lock(me()) || self.lock_slow(Some(Instant::now() + timeout)) {
            Ok(self.guard())
        } else {
            Err(TimedOut)
        }
    }

    /// Whether a thread has died while it had the mutex, and nobody has called [`clear_orphaned`](Self::clear_orphaned)
    /// since. Exact for who has it locked.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.lock.is_orphaned()
    }

    /// The value is as it should be again.
    pub fn clear_orphaned(&self) {
        self.lock.clear_orphaned();
    }

    /// The value, through the only reference there is.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// It is taken, but perhaps by a thread that is dead, or free and waited for.
    #[cold]
    fn try_lock_slow(&self) -> bool {
        match self.lock.owner() {
            None => self.lock.try_lock(me()),
            Some(owner) => irq::without(|| inherit::is_dead(owner) && self.lock.take_over(owner, me())),
        }
    }

    #[cold]
    #[track_caller]
    fn lock_slow(&self, deadline: Option<Instant>) -> bool {
        if self.barging && self.spin() {
            return true;
        }
        let mut between = None;
        loop {
            match self.lock_or_wait(deadline, &mut between) {
                // Woken to try again.
                Some(true) if self.barging && self.lock.owner() != Some(me()) => {}
                Some(locked) => return locked,
                None => panic!("a deadlock: who has this mutex waits for one that this thread has"),
            }
        }
    }

    /// Looks again and again for a moment, ever more rarely.
    fn spin(&self) -> bool {
        let (mut left, mut pause) = (WATCH, FIRST_PAUSE);
        while left > 0 {
            for _ in 0..pause {
                isochron_kernel::arch::cpu::spin_hint();
            }
            if self.lock.owner().is_none() && self.lock.try_lock(me()) {
                return true;
            }
            left = left.saturating_sub(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        false
    }

    /// Waits once: whether it was woken, or has the mutex, before the deadline. `None` for a deadlock.
    ///
    /// Who was woken to try again must not die before it has: then nobody would wake those behind it. Meanwhile `between` holds
    /// preemption off.
    #[track_caller]
    fn lock_or_wait(&self, deadline: Option<Instant>, between: &mut Option<PreemptGuard>) -> Option<bool> {
        let wait = Waiting::new();
        *between = None;
        // SAFETY: the running thread's block is alive.
        let rank = unsafe { current_ptr().as_ref() }.rank();
        let mut node = wait.node(Contender { owner: me(), rank: rank.to_bits() });
        let mut record = inherit::Wait::new(me(), Awaited::Mutex(&self.lock, node.pointer()), deadline.is_some());
        let attempt = irq::without(|| {
            // SAFETY: all of it stays on this stack until `leave`.
            unsafe { record.enter() };
            // SAFETY: the node and its token stay on this stack until the token has its outcome, or the node is forgotten.
            let attempt = unsafe { self.lock.lock_or_wait(node.pointer()) };
            if attempt != Attempt::Waiting {
                record.leave();
            } else {
                points::lock_wait(self, || self.lock.owner());
            }
            attempt
        });
        match attempt {
            Attempt::Locked => {
                wait.not_needed();
                return Some(true);
            }
            Attempt::Twice => {
                wait.not_needed();
                panic!("a thread takes a mutex that it has already: it would wait for itself for ever")
            }
            Attempt::Waiting => {}
        }
        let verdict = irq::without(|| match inherit::walk_chain(me(), rank, &self.lock, deadline.is_some()) {
            Verdict::Dead(owner) => {
                waiting::end_any(self.lock.orphan(owner));
                Verdict::Wait
            }
            verdict => verdict,
        });
        let deadlock = verdict == Verdict::Deadlock && wait.give_up();
        let woken = !deadlock && wait.block(deadline);
        irq::without(|| {
            record.leave();
            points::lock_end(self);
            if !woken {
                // SAFETY: linked in this lock by `lock_or_wait` above.
                unsafe { self.lock.forget(node.pointer()) };
            }
        });
        if deadlock {
            return None;
        }
        if !woken {
            crate::thread::die_if_doomed();
        } else if self.barging && self.lock.owner() != Some(me()) {
            *between = waiting::undisturbed();
        }
        Some(woken)
    }
}

/// The owner number of the running thread: its block's address. Nothing but threads uses mutexes: handlers and the worker
/// loop run no code of the program's.
#[inline(always)]
fn me() -> usize {
    let me = control::current_ptr().map_or(0, |thread| thread.as_ptr().addr());
    debug_assert!(me != 0, "a mutex is for threads");
    me
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex that it locks.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard is the proof that this thread has the mutex.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A guard does not leave its thread, so it is still the owner.
        if !self.mutex.lock.try_unlock(me()) {
            unlock_slow(&self.mutex.lock, self.mutex.barging);
        }
    }
}

#[cold]
fn unlock_slow(lock: &RawMutex<ThreadPtr>, barging: bool) {
    let _undisturbed = waiting::undisturbed();
    let next = irq::without(|| if barging { lock.free_slow() } else { lock.unlock_slow() });
    inherit::gave_back();
    waiting::end_any(next);
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("Mutex").field(&&*guard).finish(),
            None => f.write_str("Mutex(locked)"),
        }
    }
}
