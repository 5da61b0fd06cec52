//! [`Mutex`].

use super::TimedOut;
use crate::thread::control::{self, ThreadPtr};
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use isochron_core::raw_mutex::{Attempt, RawMutex};
use isochron_kernel::irq;

/// A value that one thread at a time may use. Whoever finds it taken parks; the order is first come, first served.
pub struct Mutex<T: ?Sized> {
    lock: RawMutex<ThreadPtr>,
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
        Self { lock: RawMutex::new(), value: UnsafeCell::new(value) }
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
    /// If this thread has it already, or if it must not block here and would have to.
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
        self.lock.try_lock(me()).then(|| self.guard())
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

    /// The value, through the only reference there is.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    #[cold]
    #[track_caller]
    fn lock_slow(&self, deadline: Option<Instant>) -> bool {
        let wait = Waiting::new();
        let mut node = wait.node(me());
        // SAFETY: the node and its token stay on this stack until the token has its outcome, or the node is forgotten.
        match irq::without(|| unsafe { self.lock.lock_or_wait(node.pointer()) }) {
            Attempt::Locked => {
                wait.not_needed();
                true
            }
            Attempt::Waiting => {
                let locked = wait.block(deadline);
                if !locked {
                    // SAFETY: linked in this lock by `lock_or_wait` above.
                    irq::without(|| unsafe { self.lock.forget(node.pointer()) });
                    crate::thread::die_if_doomed();
                }
                locked
            }
            Attempt::Twice => {
                wait.not_needed();
                panic!("a thread takes a mutex that it has already: it would wait for itself for ever")
            }
        }
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
            unlock_slow(&self.mutex.lock);
        }
    }
}

#[cold]
fn unlock_slow(lock: &RawMutex<ThreadPtr>) {
    let _undisturbed = waiting::undisturbed();
    if let Some(next) = irq::without(|| lock.unlock_slow()) {
        waiting::end(next);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("Mutex").field(&&*guard).finish(),
            None => f.write_str("Mutex(locked)"),
        }
    }
}
