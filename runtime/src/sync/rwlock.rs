//! [`RwLock`].

use super::{Semaphore, TimedOut};
use crate::{Duration, Instant};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// What a writer takes: all of it.
const ALL: u32 = Semaphore::MAX;

/// A value that many threads read at the same time, or one writes.
///
/// First come, first served: a reader that comes after a waiting writer waits behind it, so writers are not starved, and
/// readers that wait in a row enter together. A thread that reads must not ask to read again: if a writer waits between
/// the two, that is a deadlock.
pub struct RwLock<T: ?Sized> {
    lock: Semaphore,
    value: UnsafeCell<T>,
}

// SAFETY: readers share the value (`Sync`), a writer has it to itself (`Send`).
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// SAFETY: a lock that moves takes its value along.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}

/// Access to read the value of an [`RwLock`].
#[must_use = "the lock is given back when the guard is dropped"]
pub struct ReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    _not_send: PhantomData<*const ()>,
}

/// Access to read and write the value of an [`RwLock`].
#[must_use = "the lock is given back when the guard is dropped"]
pub struct WriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: sharing a guard is sharing the value.
unsafe impl<T: ?Sized + Sync> Sync for ReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for WriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self { lock: Semaphore::new(ALL), value: UnsafeCell::new(value) }
    }

    /// The value, when nobody else can have the lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    fn reader(&self) -> ReadGuard<'_, T> {
        ReadGuard { lock: self, _not_send: PhantomData }
    }

    fn writer(&self) -> WriteGuard<'_, T> {
        WriteGuard { lock: self, _not_send: PhantomData }
    }

    /// Waits until no writer has the lock or waited before, and reads.
    ///
    /// # Panics
    /// If the thread must not block here and would have to.
    #[track_caller]
    pub fn read(&self) -> ReadGuard<'_, T> {
        self.lock.take(1, None);
        self.reader()
    }

    /// Waits until nobody else has the lock, and writes.
    ///
    /// # Panics
    /// If the thread must not block here and would have to.
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_, T> {
        self.lock.take(ALL, None);
        self.writer()
    }

    /// Reads if no writer has the lock or waits.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        self.lock.try_acquire(1).map(|units| {
            units.forget();
            self.reader()
        })
    }

    /// Writes if nobody has the lock.
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.lock.try_acquire(ALL).map(|units| {
            units.forget();
            self.writer()
        })
    }

    /// As [`read`](Self::read), waiting for `timeout` at the most.
    ///
    /// # Errors
    /// [`TimedOut`].
    #[track_caller]
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_, T>, TimedOut> {
        if self.lock.take(1, Some(Instant::now() + timeout)) { Ok(self.reader()) } else { Err(TimedOut) }
    }

    /// As [`write`](Self::write), waiting for `timeout` at the most.
    ///
    /// # Errors
    /// [`TimedOut`].
    #[track_caller]
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_, T>, TimedOut> {
        if self.lock.take(ALL, Some(Instant::now() + timeout)) { Ok(self.writer()) } else { Err(TimedOut) }
    }

    /// The value, through the only reference there is.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn give_back(&self, units: u32) {
        let given = self.lock.release(units);
        debug_assert!(given.is_ok(), "a guard gives back what it took");
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized> Deref for ReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: while there is a reader there is no writer.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Deref for WriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard is the proof that this thread alone has the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<'a, T: ?Sized> WriteGuard<'a, T> {
    /// From writing to reading, with no other writer in between; readers that wait first in the queue enter too.
    pub fn downgrade(self) -> ReadGuard<'a, T> {
        let lock = self.lock;
        core::mem::forget(self);
        lock.give_back(ALL - 1);
        lock.reader()
    }
}

impl<T: ?Sized> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.give_back(1);
    }
}

impl<T: ?Sized> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.give_back(ALL);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Some(guard) => f.debug_tuple("RwLock").field(&&*guard).finish(),
            None => f.write_str("RwLock(locked)"),
        }
    }
}
