//! [`RwLock`].

use super::TimedOut;
use super::inherit::{self, Awaited};
use crate::thread::control::{self, ThreadPtr};
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use isochron_core::raw_rwlock::{Attempt, RawRwLock, Want};
use isochron_kernel::irq;

/// A value that many threads read at the same time, or one writes.
///
/// First come, first served: a reader that comes after a waiting writer waits behind it, so writers are not starved, and
/// readers that wait in a row enter together. A thread that reads must not ask to read again: if a writer waits between
/// the two, that is a deadlock.
///
/// # A thread that dies with it
/// The lock passes on to who waits, or to the next who comes. If the thread wrote, it says
/// [`is_orphaned`](Self::is_orphaned): the value may be half changed. A reader changes nothing, so its death leaves no mark. Of
/// threads that read at the same time four are known; writers wait for ever for a fifth that dies.
pub struct RwLock<T: ?Sized> {
    lock: RawRwLock<ThreadPtr>,
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
        Self { lock: RawRwLock::new(), value: UnsafeCell::new(value) }
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
    /// If this thread writes, so that it would wait for itself; if it must not block here and would have to.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> ReadGuard<'_, T> {
        self.take(false, None);
        self.reader()
    }

    /// Waits until nobody else has the lock, and writes.
    ///
    /// # Panics
    /// If this thread has the lock already, so that it would wait for itself; if it must not block here and would have to.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_, T> {
        self.take(true, None);
        self.writer()
    }

    /// Reads if no writer has the lock or waits.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        self.try_take(false).then(|| self.reader())
    }

    /// Writes if nobody has the lock.
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.try_take(true).then(|| self.writer())
    }

    /// As [`read`](Self::read), waiting for `timeout` at the most.
    ///
    /// # Errors
    /// [`TimedOut`]; also if this thread writes.
    #[track_caller]
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_, T>, TimedOut> {
        if self.take(false, Some(timeout)) { Ok(self.reader()) } else { Err(TimedOut) }
    }

    /// As [`write`](Self::write), waiting for `timeout` at the most.
    ///
    /// # Errors
    /// [`TimedOut`]; also if this thread has the lock already.
    #[track_caller]
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_, T>, TimedOut> {
        if self.take(true, Some(timeout)) { Ok(self.writer()) } else { Err(TimedOut) }
    }

    /// Whether a thread has died while it wrote, and nobody has called [`clear_orphaned`](Self::clear_orphaned) since. Exact for
    /// who has the lock.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        irq::without(|| self.lock.is_orphaned())
    }

    /// The value is as it should be again.
    pub fn clear_orphaned(&self) {
        irq::without(|| self.lock.clear_orphaned());
    }

    /// The value, through the only reference there is.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    #[inline]
    fn give_back(&self) {
        if !irq::without(|| self.lock.try_unlock(me())) {
            give_back_slow(&self.lock);
        }
    }

    /// Takes the lock, within `timeout` if there is one; whether it did.
    #[inline]
    #[track_caller]
    fn take(&self, write: bool, timeout: Option<Duration>) -> bool {
        irq::without(|| self.lock.try_lock(want(write))) || take_slow(&self.lock, want(write), timeout)
    }

    fn try_take(&self, write: bool) -> bool {
        let attempt = || irq::without(|| self.lock.try_lock(want(write)));
        attempt() || take_from_dead(&self.lock) && attempt()
    }
}

/// The number of the running thread: its block's address; 0 where none runs.
#[inline(always)]
fn me() -> usize {
    control::current_ptr().map_or(0, |thread| thread.as_ptr().addr())
}

#[inline(always)]
fn want(write: bool) -> Want {
    Want { owner: me(), write }
}

/// Others wait.
#[cold]
#[inline(never)]
fn give_back_slow(lock: &RawRwLock<ThreadPtr>) {
    let _undisturbed = waiting::undisturbed();
    waiting::end_granted(irq::without(|| lock.unlock(me())));
}

/// Takes the lock from all who are known to have died with it; whether there were any.
#[cold]
fn take_from_dead(lock: &RawRwLock<ThreadPtr>) -> bool {
    irq::without(|| {
        let mut found = false;
        for holder in lock.known_holders() {
            if holder != 0 && inherit::is_dead(holder) {
                waiting::end_granted(lock.orphan(holder));
                found = true;
            }
        }
        found
    })
}

/// It is not to be had at once.
#[cold]
#[inline(never)]
#[track_caller]
fn take_slow(lock: &RawRwLock<ThreadPtr>, want: Want, timeout: Option<Duration>) -> bool {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    assert!(
        deadline.is_some() || !irq::without(|| lock.is_twice(want)),
        "a thread takes a reader-writer lock that it has already: it would wait for itself for ever"
    );
    let wait = Waiting::new();
    let mut node = wait.node(want);
    let mut record = inherit::Wait::new(me(), Awaited::RwLock(lock), deadline.is_some());
    let attempt = irq::without(|| {
        // SAFETY: it and the lock stay in place until `leave`.
        unsafe { record.enter() };
        // SAFETY: the node and its token stay on this stack until the token has its outcome, or the node is forgotten.
        let attempt = unsafe { lock.lock_or_wait(node.pointer()) };
        if attempt == Attempt::Locked {
            record.leave();
        }
        attempt
    });
    if attempt == Attempt::Locked {
        wait.not_needed();
        return true;
    }
    // Who dies from here on finds the record.
    take_from_dead(lock);
    let taken = wait.block(deadline);
    irq::without(|| record.leave());
    if !taken {
        {
            let _undisturbed = waiting::undisturbed();
            // SAFETY: linked in this lock by `lock_or_wait` above.
            waiting::end_granted(irq::without(|| unsafe { lock.forget(node.pointer()) }));
        }
        crate::thread::die_if_doomed();
    }
    taken
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
        let _undisturbed = waiting::undisturbed();
        waiting::end_granted(irq::without(|| lock.lock.downgrade()));
        lock.reader()
    }
}

impl<T: ?Sized> Drop for ReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.give_back();
    }
}

impl<T: ?Sized> Drop for WriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.give_back();
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
