//! [`Condvar`].

use super::MutexGuard;
use crate::thread::control::ThreadPtr;
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use core::fmt;
use isochron_core::notify::Notify;
use isochron_kernel::irq;

/// Waiting until a value behind a [`Mutex`](super::Mutex) is as it should be.
///
/// A notification reaches who waits when it is given, and nobody later. Nobody is woken without one; but when it has the
/// mutex again, others may have had it before: look again, as `wait_while` does.
///
/// ```ignore
/// static READY: Mutex<bool> = Mutex::new(false);
/// static CHANGED: Condvar = Condvar::new();
/// let ready = CHANGED.wait_while(READY.lock(), |ready| !*ready);
/// // elsewhere
/// *READY.lock() = true;
/// CHANGED.notify_one();
/// ```
pub struct Condvar {
    waiters: Notify<ThreadPtr>,
}

// SAFETY: the thread addresses in the queue are names that whoever takes one out may wake, on any CPU.
unsafe impl Sync for Condvar {}
// SAFETY: as above.
unsafe impl Send for Condvar {}

impl Condvar {
    /// Nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiters: Notify::new() }
    }

    /// Unlocks the guard's mutex, waits for a notification, and locks it again.
    ///
    /// # Panics
    /// If the thread must not block here.
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.wait_until(guard, None).0
    }

    /// Waits as long as `unfinished` is true of the value.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut unfinished: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while unfinished(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// As [`wait`](Self::wait), for `timeout` at the most. True if there was a notification.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        self.wait_until(guard, Some(Instant::now() + timeout))
    }

    /// As [`wait_while`](Self::wait_while), for `timeout` at the most. True if the value is as it should be.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_while_timeout<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut unfinished: impl FnMut(&mut T) -> bool,
    ) -> (MutexGuard<'a, T>, bool) {
        let deadline = Instant::now() + timeout;
        loop {
            if !unfinished(&mut guard) {
                return (guard, true);
            }
            let notified;
            (guard, notified) = self.wait_until(guard, Some(deadline));
            if !notified {
                let finished = !unfinished(&mut guard);
                return (guard, finished);
            }
        }
    }

    /// Ends the wait of the thread that has waited longest.
    pub fn notify_one(&self) {
        let _undisturbed = waiting::undisturbed();
        waiting::end_any(irq::without(|| self.waiters.one()));
    }

    /// Ends the wait of all that wait now.
    pub fn notify_all(&self) {
        let _undisturbed = waiting::undisturbed();
        let mark = irq::without(|| self.waiters.mark());
        waiting::end_all(irq::without(|| self.waiters.one_before(mark)), || self.waiters.one_before(mark));
    }

    #[track_caller]
    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, T>, bool) {
        let mutex = guard.mutex();
        let wait = Waiting::new();
        let mut node = wait.node(0);
        // SAFETY: the node and its token stay on this stack until the wait is over, or the node is forgotten below.
        irq::without(|| unsafe { self.waiters.wait(node.pointer()) });
        drop(guard);
        let notified = wait.block(deadline);
        if !notified {
            // SAFETY: linked in this queue above.
            irq::without(|| unsafe { self.waiters.forget(node.pointer()) });
            crate::thread::die_if_doomed();
        }
        (mutex.lock(), notified)
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}
