//! [`Once`] and [`OnceLock`].

use super::TimedOut;
use super::inherit::{self, Awaited};
use crate::thread::control::{self, ThreadPtr};
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use isochron_core::raw_once::{Begin, NO_THREAD, RawOnce};
use isochron_kernel::irq;

/// Something that is done once, by whoever comes first; the others wait until it is done.
///
/// # A thread that dies in the middle
/// Its turn passes on to the first who waits, or to the next who comes, with that one's own closure, and the once says
/// [`is_orphaned`](Self::is_orphaned): something may be half done.
pub struct Once {
    raw: RawOnce<ThreadPtr>,
}

// SAFETY: the thread addresses in the queue are names that whoever takes one out may wake, on any CPU.
unsafe impl Sync for Once {}
// SAFETY: as above.
unsafe impl Send for Once {}

impl Once {
    /// Not done yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { raw: RawOnce::new() }
    }

    /// Whether it is done.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.raw.is_done()
    }

    /// Whether a thread has died in the middle of it. Whoever does it after that can ask from inside its closure.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        irq::without(|| self.raw.is_orphaned())
    }

    /// Does it, or waits until it is done.
    ///
    /// # Panics
    /// If the closure comes back here: it would wait for itself for ever. If the thread must not block here and would have to.
    #[inline]
    #[track_caller]
    pub fn call_once(&self, f: impl FnOnce()) {
        let done: Result<(), core::convert::Infallible> = self.try_call_once(|| {
            f();
            Ok(())
        });
        let Ok(()) = done;
    }

    /// As [`call_once`](Self::call_once), with a closure that may fail: then the next one tries.
    ///
    /// # Errors
    /// What this thread's closure returned.
    ///
    /// # Panics
    /// As [`call_once`](Self::call_once).
    #[inline]
    #[track_caller]
    pub fn try_call_once<E>(&self, f: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        match self.is_done() || self.begin(None) != Ok(true) {
            true => Ok(()),
            false => self.run(f),
        }
    }

    /// As [`call_once`](Self::call_once), but waits for `timeout` at the most if another thread is at it. The time that `f` takes
    /// here does not count.
    ///
    /// # Errors
    /// [`TimedOut`]; `f` was not called then.
    ///
    /// # Panics
    /// As [`call_once`](Self::call_once).
    #[track_caller]
    pub fn call_once_timeout(&self, timeout: Duration, f: impl FnOnce()) -> Result<(), TimedOut> {
        if !self.is_done() && self.begin(Some(Instant::now() + timeout))? {
            let done: Result<(), core::convert::Infallible> = self.run(|| {
                f();
                Ok(())
            });
            let Ok(()) = done;
        }
        Ok(())
    }

    /// What this thread is to do, then the others are woken.
    fn run<E>(&self, f: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let done = f();
        let _undisturbed = waiting::undisturbed();
        match done {
            Ok(()) => {
                irq::without(|| self.raw.finish());
                waiting::end_all(irq::without(|| self.raw.next()), || self.raw.next());
            }
            Err(_) => waiting::end_any(irq::without(|| self.raw.give_up())),
        }
        done
    }

    /// True: the caller is to do it. False: it is done.
    #[cold]
    #[track_caller]
    fn begin(&self, deadline: Option<Instant>) -> Result<bool, TimedOut> {
        let me = control::current_ptr().map_or(NO_THREAD, |thread| thread.as_ptr().addr());
        if irq::without(|| self.raw.try_begin(me)) {
            return Ok(true);
        }
        if self.is_done() {
            return Ok(false);
        }
        let wait = Waiting::new();
        let mut node = wait.node(me);
        let mut record = inherit::Wait::new(me, Awaited::Once(&self.raw), deadline.is_some());
        let begun = irq::without(|| {
            // SAFETY: it and the once stay in place until `leave`.
            unsafe { record.enter() };
            // SAFETY: the node and its token stay on this stack until the token has its outcome, or the node is forgotten.
            let begun = unsafe { self.raw.begin(node.pointer()) };
            if begun != Begin::Waiting {
                record.leave();
            }
            begun
        });
        if begun != Begin::Waiting {
            wait.not_needed();
            assert!(begun != Begin::Twice, "what is done once waits for its own end");
            return Ok(begun == Begin::Run);
        }
        irq::without(|| {
            // Who dies from here on finds the record.
            if let Some(runner) = self.raw.runner()
                && inherit::is_dead(runner)
            {
                waiting::end_any(self.raw.orphan(runner));
            }
        });
        let woken = wait.block(deadline);
        irq::without(|| {
            record.leave();
            if !woken {
                // SAFETY: linked in this one by `begin` above.
                unsafe { self.raw.forget(node.pointer()) };
            }
        });
        if !woken {
            crate::thread::die_if_doomed();
            return Err(TimedOut);
        }
        // Whoever is woken has its turn, or finds it done.
        Ok(!self.is_done())
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Once({})", if self.is_done() { "done" } else { "not done" })
    }
}

/// A value that is made once, by whoever needs it first.
///
/// If a thread dies while it makes the value, the next one makes it anew: see [`Once`]. Then the value says nothing of that;
/// [`is_orphaned`](Self::is_orphaned) does.
///
/// ```ignore
/// static TABLE: OnceLock<Vec<u32>> = OnceLock::new();
/// let table = TABLE.get_or_init(|| (0..100).collect());
/// ```
pub struct OnceLock<T> {
    once: Once,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written once, by one thread, before it is shared (`Send`), and shared then (`Sync`).
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}
// SAFETY: a cell that moves takes its value along.
unsafe impl<T: Send> Send for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// No value yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { once: Once::new(), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if it is made.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: once it is done, the value is there, and nobody writes it any more.
        self.once.is_done().then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// Whether a thread has died while it made the value.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.once.is_orphaned()
    }

    /// The value, which `make` makes if nobody has.
    ///
    /// # Panics
    /// As [`Once::call_once`].
    #[inline]
    #[track_caller]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        // SAFETY: one closure runs, and nobody reads before it has.
        self.once.call_once(|| unsafe {
            (*self.value.get()).write(make());
        });
        // SAFETY: it is done.
        unsafe { (*self.value.get()).assume_init_ref() }
    }

    /// As [`get_or_init`](Self::get_or_init), but waits for `timeout` at the most if another thread makes the value.
    ///
    /// # Errors
    /// [`TimedOut`].
    ///
    /// # Panics
    /// As [`Once::call_once`].
    #[track_caller]
    pub fn get_or_init_timeout(&self, timeout: Duration, make: impl FnOnce() -> T) -> Result<&T, TimedOut> {
        // SAFETY: as in `get_or_init`.
        self.once.call_once_timeout(timeout, || unsafe {
            (*self.value.get()).write(make());
        })?;
        // SAFETY: it is done.
        Ok(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// Sets the value.
    ///
    /// # Errors
    /// `value`, if there was one.
    ///
    /// # Panics
    /// As [`Once::call_once`].
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| match value.take() {
            Some(value) => value,
            None => unreachable!("a closure that runs once"),
        });
        value.map_or(Ok(()), Err)
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for OnceLock<T> {
    fn drop(&mut self) {
        if self.once.is_done() {
            // SAFETY: it is done, and this is the last access.
            unsafe { self.value.get_mut().assume_init_drop() }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceLock").field(&self.get()).finish()
    }
}
